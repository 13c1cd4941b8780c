"""Files of rows: which a source stands for, and their rows, streamed, whatever their form is."""

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
_SAMPLED = 16 << 20  # bytes looked at to estimate a number of lines
_MAX_FOLDERS = 1000  # that are looked into for tables left out
_DELIMITED = (".csv", ".tsv")


def find_tables(source: Path, name: str = "posts") -> list[Path]:
    """The files of rows that a source stands for.

    A folder stands for its file `name`.jsonl, .csv, .parquet, .ndjson, .tsv or .json (the first
    there is); without one, for all files of these forms in it; without any, for those of its
    sub-folders, found in the same way. A .json file in a folder counts where it begins as a list.
    Hidden files are no tables.

    Raises:
        InputError: the source is missing, is a file of another form, or is a folder without any.
    """
    try:
        if source.is_dir():
            return _folder_tables(source, name)
        if not source.is_file():
            raise InputError(f"found nothing at {source}, expected a file or folder of {name}")
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    if source.suffix.lower() not in _READERS:
        raise InputError(f"found {source}, expected a folder or a file named {_forms('*')}")
    return [source]


def left_out(source: Path, tables: Sequence[Path]) -> list[Path]:
    """Tables in a folder, or below it, that are not among those that it stands for."""
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


def _folder_tables(folder: Path, name: str) -> list[Path]:
    if own := _named(folder, name) or _loose(folder):
        return own
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    below = [path for path in inside if path.is_dir() and not path.is_symlink()]
    for find in (lambda path: _named(path, name), _loose):
        if tables := [table for path in below for table in find(path)]:
            return tables
    names = ", ".join(path.name for path in inside[:3]) or "nothing"
    raise InputError(
        f"found {names}{', …' if len(inside) > 3 else ''} in {folder}, "
        f"expected {_forms(name)} there or in its sub-folders"
    )


def _named(folder: Path, name: str) -> list[Path]:
    return [p for suffix in _READERS if _is_table(p := folder / f"{name}{suffix}")][:1]


def _loose(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_table(path)]


def _is_table(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in _READERS or path.name.startswith(".") or not path.is_file():
        return False
    return suffix != ".json" or _is_list(path)


def _is_list(path: Path) -> bool:
    """Whether a JSON file begins as a list: scrapes have many that are of one post."""
    try:
        with path.open(encoding=find_json_encoding(path), errors="replace") as file:
            return file.read(1024).lstrip().startswith("[")
    except OSError:
        return False


def _forms(name: str) -> str:
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
    """Rows of one file in order, with those of their fields that are wanted.

    Args:
        path: a file named as one of the forms is.
        columns: names of the fields wanted; or, by field, the names that its column may have.
        required: columns that CSV and Parquet must have.
        batch: rows of Parquet read at a time.
        notes: gets what is to be known of the file, by the end of its rows.

    Raises:
        InputError: the file cannot be opened or is not of the form its name says, or it is CSV or
            Parquet and none of its columns is in `columns`, or one of `required` is not there.
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
    """About how many rows a file has, at little cost; None where that cannot be told."""
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
    # In CSV, lines within quotes belong to a cell; every other piece between quotes is outside.
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
