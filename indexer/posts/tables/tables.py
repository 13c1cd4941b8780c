"""Finds the tables of a source, and streams the rows of a table of any form."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.tables.csv_rows import read_csv
from hashlens.indexer.posts.tables.encodings import find_json_encoding
from hashlens.indexer.posts.tables.json_rows import read_lines, read_lists
from hashlens.indexer.posts.tables.parquet_rows import column_kinds, count_parquet, read_parquet
from hashlens.indexer.posts.tables.rows import MAX_LINE, Columns, Row, kind

__all__ = [
    "BATCH",
    "MAX_LINE",
    "Row",
    "column_kinds",
    "count_lines",
    "find_tables",
    "kind",
    "read_rows",
]

BATCH = 1024  # rows of Parquet read at a time
_SAMPLED = 16 << 20  # bytes that are read to estimate a number of lines
_MAX_FOLDERS = 1000  # that are searched for unread tables
_DELIMITED = (".csv", ".tsv")


def find_tables(source: Path, name: str = "posts") -> list[Path]:
    """Return the tables of a source.

    In a folder, this is the first of `name`.jsonl, .csv, .parquet, .ndjson, .tsv or .json; else all
    files of these forms; else those of its sub-folders, found in the same way. A .json file in a
    folder counts if it begins as a list. Hidden files do not count.

    Raises:
        InputError: the source is missing, is a file of another form, or is a folder without any.
    """
    try:
        if source.is_dir():
            return _find_in_folder(source, name)
        if not source.is_file():
            raise InputError(f"found nothing at {source}, expected a file or folder of {name}")
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    if source.suffix.lower() not in _READERS:
        raise InputError(f"found {source}, expected a folder or a file named {_list_forms('*')}")
    return [source]


def left_out(source: Path, tables: Sequence[Path]) -> list[Path]:
    """Return the tables in or below a folder that are not among `tables`."""
    taken = set(tables)
    found = []
    if source.is_dir():
        for number, (folder, below, names) in enumerate(os.walk(source)):
            if number >= _MAX_FOLDERS:
                break
            below[:] = sorted(name for name in below if not name.startswith("."))
            inside = [Path(folder, name) for name in sorted(names)]
            found += [path for path in inside if path not in taken and _is_table(path)]
    return found


def _find_in_folder(folder: Path, name: str) -> list[Path]:
    """Return the tables of a folder or, if it has none, of its sub-folders."""
    if own := _find_named(folder, name) or _find_all(folder):
        return own
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    below = [path for path in inside if path.is_dir() and not path.is_symlink()]
    for find in (lambda path: _find_named(path, name), _find_all):
        if tables := [table for path in below for table in find(path)]:
            return tables
    names = ", ".join(path.name for path in inside[:3]) or "nothing"
    raise InputError(
        f"found {names}{', …' if len(inside) > 3 else ''} in {folder}, "
        f"expected {_list_forms(name)} there or in its sub-folders"
    )


def _find_named(folder: Path, name: str) -> list[Path]:
    return [p for suffix in _READERS if _is_table(p := folder / f"{name}{suffix}")][:1]


def _find_all(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_table(path)]


def _is_table(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in _READERS or path.name.startswith(".") or not path.is_file():
        return False
    if suffix != ".json":
        return True
    # Scrapes have many JSON files about one post each; a table begins as a list.
    try:
        with path.open(encoding=find_json_encoding(path), errors="replace") as file:
            return file.read(1024).lstrip().startswith("[")
    except OSError:
        return False


def _list_forms(name: str) -> str:
    *first, last = (f"{name}{suffix}" for suffix in _READERS)
    return f"{', '.join(first)} or {last}"


def read_rows(
    path: Path,
    columns: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    required: Sequence[str] = (),
    batch: int = BATCH,
    notes: list[str] | None = None,
) -> Iterator[Row]:
    """Yield the rows of one file in order, with their wanted fields.

    Args:
        path: a file whose name has the ending of its form.
        columns: names of the wanted fields, or the possible names of their columns by field.
        required: columns that CSV and Parquet must have.
        batch: rows of Parquet read at a time.
        notes: gets remarks on the file.

    Raises:
        InputError: the file cannot be read or has another form than its ending says. A CSV or
            Parquet file has none of `columns`, or lacks a required one.
    """
    names = columns if isinstance(columns, Mapping) else {name: (name,) for name in columns}
    wanted, notes = Columns(names, required), [] if notes is None else notes
    try:
        if (suffix := path.suffix.lower()) == ".parquet":
            yield from read_parquet(path, wanted, batch)
        else:
            yield from _TEXTS[suffix](path, wanted, notes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def count_lines(path: Path) -> int | None:
    """Return a cheap estimate of a file's number of rows, or None."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return count_parquet(path)
        if suffix == ".json":
            return None
        with path.open("rb") as file:
            start = file.read(_SAMPLED)
            size = path.stat().st_size
    except (OSError, InputError):
        return None
    is_csv = suffix in _DELIMITED
    # In CSV, line breaks in quotes belong to a cell; every second piece is outside of quotes.
    pieces = start.split(b'"')[::2] if is_csv else [start]
    lines = sum(piece.count(b"\n") for piece in pieces) + (start[-1:] not in (b"", b"\n"))
    lines = lines if len(start) == size else round(lines * size / max(len(start), 1))
    return max(0, lines - is_csv)


_TEXTS: dict[str, Callable[[Path, Columns, list[str]], Iterator[Row]]] = {
    ".jsonl": read_lines,
    ".csv": read_csv,
    ".ndjson": read_lines,
    ".tsv": read_csv,
    ".json": read_lists,
}
_READERS = (".jsonl", ".csv", ".parquet", ".ndjson", ".tsv", ".json")
