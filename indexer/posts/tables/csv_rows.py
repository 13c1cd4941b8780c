"""Reads rows of delimited text; finds encoding, delimiter and line ends from the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol, TextIO

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.tables.encodings import GUESSED, find_encoding
from hashlens.indexer.posts.tables.rows import MAX_LINE, TOO_LONG, Columns, Row, split_lines

_DELIMITERS = (",", ";", "\t", "|")
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE | re.DOTALL)  # Excel's own first line
_NUMBERED = re.compile(r"(?<=[^\W\d])(?:[/.]\d+|\[\d+\])$")  # `hashtags/0`, a list in columns
_SURROGATE = re.compile("[\ud800-\udfff]")  # stands for a byte of no known encoding
_EMPTY = frozenset(
    {"", "nan", "NaN", "None", "null", "NULL", "<NA>", "#N/A"}
)  # as pandas reads them


class _Reader(Protocol):
    """The type of `csv.reader`, which has no public name before Python 3.13."""

    line_num: int

    def __next__(self) -> list[str]: ...


def read_csv(path: Path, columns: Columns, notes: list[str]) -> Iterator[Row]:
    """Yield the rows of a delimited file, which begins with the names of its columns.

    Args:
        path: the file.
        columns: the wanted columns.
        notes: gets a sentence if the encoding was guessed.

    Raises:
        InputError: the file has no column names, or no wanted column.
        OSError: the file cannot be read.
    """
    csv.field_size_limit(MAX_LINE)
    encoding = find_encoding(path)
    if encoding in GUESSED:
        notes.append(
            f"read as {GUESSED[encoding]}, since it is not UTF-8 "
            "(if letters are wrong, save it as UTF-8)"
        )
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    too_long: list[int] = []
    with path.open(encoding=encoding, errors=errors) as file:

        def read_lines() -> Iterator[str]:
            for number, line in split_lines(file):
                if line is None:
                    too_long.append(number)
                yield "\n" if line is None else line  # csv counts the lines that it gets

        delimiter, skipped = _find_dialect(file, columns)
        reader = csv.reader(read_lines(), delimiter=delimiter, strict=True)
        records = (record for _, record in _records(reader) if record)
        found = next(islice(records, skipped, None), "an empty file")
        if isinstance(found, str):
            raise InputError(f"{path}: found {found}, expected column names in its first line")
        # A message may show names of another encoding, so they must be printable.
        header = [name.encode("utf-8", "replace").decode("utf-8").strip() for name in found]
        given = set(columns.required)
        bases = [name if name in given else _NUMBERED.sub("", name) for name in header]
        chosen = {theirs: ours for ours, theirs in columns.check(path, bases).items()}
        names = [chosen.get(name) for name in bases]
        for number, record in _records(reader):
            yield from (Row(line, problem=TOO_LONG) for line in too_long)
            too_long.clear()
            if record:
                yield _build_row(number, names, record)
        yield from (Row(line, problem=TOO_LONG) for line in too_long)


def _find_dialect(file: TextIO, columns: Columns) -> tuple[str, int]:
    """Return the delimiter and the number of lines before the names, and rewind the file.

    The delimiter is the one that gives most wanted columns, then the one that gives most columns.
    """
    line, skipped = _read_first(file), 0
    declared = _SEP.fullmatch(line.rstrip("\r\n"))
    if declared:
        line, skipped = _read_first(file), 1
    file.seek(0)
    if declared and declared[1] in _DELIMITERS:
        return declared[1], skipped

    def score(delimiter: str) -> tuple[int, int]:
        try:
            names = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            return 0, 0
        return len(columns.choose(name.strip() for name in names)), len(names)

    return max(_DELIMITERS, key=score), skipped


def _read_first(file: TextIO) -> str:
    """Return the next line that is not blank."""
    while (line := file.readline(MAX_LINE)) and not line.strip():
        pass
    return line


def _records(reader: _Reader) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each record, or its problem, with its first line."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except csv.Error as error:
            yield line, f"malformed CSV ({error})"
        except StopIteration:
            return


def _build_row(number: int, names: list[str | None], record: list[str] | str) -> Row:
    """Return the row of a record; lists in several columns are joined."""
    if isinstance(record, str):
        return Row(number, problem=f"found {record}")
    if any(record[len(names) :]):
        return Row(number, problem=f"found {len(record)} cells, expected {len(names)}")
    if any(_SURROGATE.search(cell) for cell in record if not cell.isascii()):
        return Row(number, problem="found bytes that are not UTF-8")
    fields: dict[str, str] = {}
    for name, cell in zip(names, record, strict=False):
        if name is None or cell in _EMPTY:
            continue
        if name == "hashtags" and name in fields:
            cell = f"{fields[name]} {cell}"
        elif name in fields:
            continue
        fields[name] = cell
    return Row(number, fields)
