"""JSONL, CSV and Parquet files with a post a row, whatever their columns are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from indexer.errors import InputError
from indexer.readers.files import Found
from indexer.tables import Row, count_lines, find_tables, read_rows

COLUMNS = ("id", "image", "caption", "hashtags", "author", "taken_at", "topic", "origin")


def rows(source: Path, columns: Mapping[str, str]) -> Iterator[Found]:
    """The rows of a file, or of the files a folder stands for, their fields called as ours.

    Args:
        source: see `tables.find_tables`.
        columns: the source's name of a column by ours; others are called as ours.

    Raises:
        InputError: there is no such file, or it, being the only one, cannot be read.
    """
    yield from each_table(find_tables(source), lambda table: _table_rows(table, columns))


def each_table(tables: Sequence[Path], read: Callable[[Path], Iterator[Found]]) -> Iterator[Found]:
    """The rows of tables in turn; one of several that cannot be read does not stop the others.

    Raises:
        InputError: the only one cannot be read.
    """
    for table in tables:
        try:
            yield from read(table)
        except InputError as error:
            if len(tables) == 1:
                raise
            yield unreadable(table, error)


def unreadable(table: Path, error: InputError) -> Found:
    """What is told of one of several tables that cannot be read."""
    reason = str(error).removeprefix(f"{table}: ")
    return Found(table, table.parent, Row(None, problem=reason))


def count(source: Path) -> int | None:
    """About how many rows a source has; None where that cannot be told."""
    return count_all(find_tables(source))


def count_all(tables: Sequence[Path]) -> int | None:
    """About how many rows tables have; None where that cannot be told."""
    counts = [count_lines(table) for table in tables]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """A row with our names for its fields."""
    fields = {ours: row.fields[theirs] for ours, theirs in columns.items() if theirs in row.fields}
    return Row(row.line, fields, row.problem)


def _table_rows(table: Path, columns: Mapping[str, str]) -> Iterator[Found]:
    names = {name: name for name in COLUMNS} | dict(columns)
    root = table.parent
    for row in read_rows(table, list(names.values()), required=list(columns.values())):
        yield Found(table, root, renamed(row, names))
