"""Rows of JSONL, CSV and Parquet files, one at a time; a bad row is told and reading goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from indexer.errors import InputError

SUFFIXES = (".jsonl", ".csv", ".parquet")
MAX_LINE = 1 << 20  # bytes of one JSON line
_PARQUET_BATCH = 8192  # rows held in memory

Row = dict[str, Any]


def files(source: Path, stem: str = "posts") -> list[Path]:
    """The tables of a source: the file itself, or those of a folder.

    A folder gives its own `posts.*`, else all its tables, else the `posts.*` of its sub-folders.

    Raises:
        InputError: there is nothing to read.
    """
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        return [source]
    wanted = ", ".join(SUFFIXES)
    if source.is_file():
        raise InputError(f"{source}: found a {source.suffix or 'nameless'} file, expected {wanted}")
    if not source.is_dir():
        raise InputError(f"{source}: found nothing there, expected a file ({wanted}) or a folder")
    tables = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    named = [path for path in tables if path.stem == stem]
    below = sorted(path for s in SUFFIXES for path in source.glob(f"*/{stem}{s}") if path.is_file())
    found = named or tables or below
    if not found:
        raise InputError(
            f"{source}: found no posts in this folder, expected {stem}.jsonl, {stem}.csv or "
            f"{stem}.parquet in it or one folder below"
        )
    return found


def rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Rows of one table with their numbers from 1: a dictionary, or why there is none.

    Raises:
        InputError: the file cannot be read at all.
    """
    read = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}[path.suffix.lower()]
    try:
        yield from read(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def count_rows(paths: Sequence[Path]) -> int:
    """About how many rows the tables hold, for a progress bar: lines, without parsing them."""
    return sum(_count(path) for path in paths)


def _count(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return int(pq.read_metadata(path).num_rows)
        except (OSError, pa.ArrowInvalid):
            return 0  # reading it will say what is wrong
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _jsonl(path: Path) -> Iterator[tuple[int, Row | str]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
                yield number, f"found a line over {MAX_LINE:,} bytes, expected one post a line"
            elif line.strip():
                yield number, _json_row(line.removeprefix(b"\xef\xbb\xbf"))


def _json_row(line: bytes) -> Row | str:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        return f"found bytes that are not UTF-8 at {error.start}"
    except (ValueError, RecursionError) as error:
        return f"found malformed JSON: {error}"
    return row if isinstance(row, dict) else f"found {type(row).__name__}, expected a JSON object"


def _csv(path: Path) -> Iterator[tuple[int, Row | str]]:
    csv.field_size_limit(MAX_LINE)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        number = 0
        while True:
            number += 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, f"found malformed CSV: {error}"
                continue
            if None in row:
                yield number, "found more cells than columns"
            else:
                yield number, {name: cell for name, cell in row.items() if cell not in ("", None)}


def _parquet(path: Path) -> Iterator[tuple[int, Row | str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(_PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: cell for name, cell in row.items() if cell is not None}
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: found no readable Parquet: {error}") from error
