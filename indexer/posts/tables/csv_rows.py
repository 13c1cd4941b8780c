"""Rows of delimited text: encoding, delimiter and line ends are found from the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TextIO

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.tables.encodings import GUESSED, find_encoding
from hashlens.indexer.posts.tables.rows import MAX_LINE, TOO_LONG, Columns, Row

_DELIMITERS = (",", ";", "\t", "|")
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE | re.DOTALL)  # Excel's own first line
_NUMBERED = re.compile(r"(?<=[^\W\d])(?:[/.]\d+|\[\d+\])$")  # `hashtags/0`, a list in columns
_EMPTY = frozenset({"", "nan", "NaN", "None", "null", "NULL", "<NA>", "#N/A"})  # as pandas has it


class _Reader(Protocol):
    """The type of `csv.reader`, which the library does not name before Python 3.13."""

    line_num: int

    def __next__(self) -> list[str]: ...


def read_csv(path: Path, columns: Columns, notes: list[str]) -> Iterator[Row]:
    """Rows of a delimited file, which begins with its names of columns.

    Args:
        path: the file.
        columns: the columns wanted.
        notes: gets a sentence where the encoding was guessed.

    Raises:
        InputError: it has no column names, or none that is wanted.
        OSError: it cannot be read.
    """
    csv.field_size_limit(MAX_LINE)
    encoding = find_encoding(path)
    if encoding in GUESSED:
        notes.append(
            f"read as {GUESSED[encoding]}, since it is not UTF-8 "
            "(if letters are wrong, save it as UTF-8)"
        )
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    with path.open(encoding=encoding, errors=errors) as file:
        too_long: list[int] = []
        delimiter, skipped = _dialect(file, columns)
        reader = csv.reader(_lines(file, too_long), delimiter=delimiter, strict=True)
        header = _header(path, reader, skipped)
        given = set(columns.required)
        bases = [name if name in given else _NUMBERED.sub("", name) for name in header]
        chosen = {theirs: ours for ours, theirs in columns.check(path, bases).items()}
        names = [chosen.get(name) for name in bases]
        for number, record in _records(reader):
            yield from (Row(line, problem=TOO_LONG) for line in too_long)
            too_long.clear()
            if record:
                yield _row(number, names, record)
        yield from (Row(line, problem=TOO_LONG) for line in too_long)


def _dialect(file: TextIO, columns: Columns) -> tuple[str, int]:
    """The delimiter, and how many lines stand before the names; the file is at its start again.

    The delimiter is the one that gives most columns wanted, then the one that gives most columns.
    """
    line, skipped = _first(file), 0
    named = _SEP.fullmatch(line.rstrip("\r\n"))
    if named:
        line, skipped = _first(file), 1
    file.seek(0)
    if named and named[1] in _DELIMITERS:
        return named[1], skipped

    def score(delimiter: str) -> tuple[int, int]:
        try:
            names = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            return 0, 0
        return len(columns.choose(name.strip() for name in names)), len(names)

    return max(_DELIMITERS, key=score), skipped


def _first(file: TextIO) -> str:
    """The next line that is not blank."""
    while (line := file.readline(MAX_LINE)) and not line.strip():
        pass
    return line


def _header(path: Path, reader: _Reader, skipped: int) -> list[str]:
    found: list[str] | str = "an empty file"
    for _, record in _records(reader):
        if record and skipped:
            skipped = 0
        elif record:
            found = record
            break
    if isinstance(found, str):
        raise InputError(f"{path}: found {found}, expected column names in its first line")
    # Names of another encoding are shown in a message, so they must be printable.
    return [name.encode("utf-8", "replace").decode("utf-8").strip() for name in found]


def _lines(file: TextIO, too_long: list[int]) -> Iterator[str]:
    """Lines of text; bytes of no known encoding are lone surrogates, and the row says so."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield line
            continue
        while line and not line.endswith("\n"):
            line = file.readline(MAX_LINE)
        too_long.append(number)
        yield "\n"  # csv counts lines by what it is given


def _records(reader: _Reader) -> Iterator[tuple[int, list[str] | str]]:
    """Records with the line they begin at, or what is wrong with one."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except csv.Error as error:
            yield line, f"malformed CSV ({error})"
        except StopIteration:
            return


def _row(number: int, names: list[str | None], record: list[str] | str) -> Row:
    if isinstance(record, str):
        return Row(number, problem=f"found {record}")
    if any(record[len(names) :]):
        return Row(number, problem=f"found {len(record)} cells, expected {len(names)}")
    if not all(cell.isascii() or _is_text(cell) for cell in record):
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


def _is_text(cell: str) -> bool:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
