"""Reads JSON, CSV and Parquet files with a post a row, under many names of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.formats.escapes import plain_text
from hashlens.indexer.posts.formats.files import SourceRow, first, show_path, within
from hashlens.indexer.posts.tables.aliases import ALIASES
from hashlens.indexer.posts.tables.rows import shown_names
from hashlens.indexer.posts.tables.tables import (
    BATCH,
    Row,
    count_lines,
    find_tables,
    left_out,
    read_rows,
)

COLUMNS = ("id", "image", "caption", "hashtags", "author", "taken_at", "topic", "origin")
_INSIDE: dict[str, tuple[tuple[str | int, ...], ...]] = {
    "caption": (("text",), ("edges", 0, "node", "text")),
    "author": (("username",), ("uniqueId",), ("screen_name",), ("name",), ("id",)),
}  # places of a field's text in an object
_MAX_TABLES = 5  # tables in a message


def rows(source: Path, columns: Mapping[str, str]) -> Iterator[SourceRow]:
    """Yield the rows of a file, or of a folder's tables, with our names of fields.

    Args:
        source: see `tables.find_tables`.
        columns: the source's names of columns by ours; `ALIASES` has the other names.

    Raises:
        InputError: there is no such file, or the only one cannot be read.
    """

    def read_table(table: Path) -> Iterator[SourceRow]:
        root = table.parent
        for row in read_named(table, columns):
            yield SourceRow(table, root, row)

    yield from each_table(find_tables(source), read_table)


def each_table(
    tables: Sequence[Path], read: Callable[[Path], Iterator[SourceRow]]
) -> Iterator[SourceRow]:
    """Yield the rows of tables in turn; one that cannot be read does not stop the others.

    Raises:
        InputError: the only table cannot be read.
    """
    for table in tables:
        try:
            yield from read(table)
        except InputError as error:
            if len(tables) == 1:
                raise
            yield unreadable(table, error)


def unreadable(table: Path, error: InputError) -> SourceRow:
    """Return the row that reports a table that cannot be read."""
    reason = str(error).removeprefix(f"{table}: ")
    return SourceRow(table, table.parent, Row(None, problem=reason))


def passed_over(source: Path) -> str | None:
    """Return a sentence about a folder's tables that are not read, or None."""
    left = left_out(source, find_tables(source))
    if not left:
        return None
    names = ", ".join(show_path(path.relative_to(source)) for path in left[:_MAX_TABLES])
    return f"tables left out: {len(left):,} ({names}{', …' if len(left) > _MAX_TABLES else ''})"


def count(source: Path) -> int | None:
    """Return about how many rows a source has, or None if it is unknown."""
    return count_all(find_tables(source))


def count_all(tables: Sequence[Path]) -> int | None:
    """Return about how many rows tables have, or None if it is unknown."""
    counts = [count_lines(table) for table in tables]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def read_named(table: Path, columns: Mapping[str, str], batch: int = BATCH) -> Iterator[Row]:
    """Yield the rows of a table with our names of fields, then remarks on it.

    Args:
        table: the file.
        columns: the table's names of columns by ours; `ALIASES` has the other names.
        batch: rows of Parquet read at a time.

    Raises:
        InputError: the table cannot be read.
    """
    taken = set(columns.values())
    others = {
        name: tuple(alias for alias in aliases if alias not in taken)
        for name, aliases in ALIASES.items()
    }
    names = others | {name: (column,) for name, column in columns.items()}
    notes: list[str] = []
    for row in read_rows(table, names, required=list(columns.values()), notes=notes, batch=batch):
        yield _clean_row(row)
    yield from (Row(None, note=note) for note in notes)


def _clean_row(row: Row) -> Row:
    """Return a row with the texts of its objects, and without escapes."""
    if row.problem is None and row.unused:
        found = shown_names(row.unused)
        reason = f"found neither caption, hashtags nor picture among {found}"
        return Row(row.line, problem=f"{reason}; name yours with --column caption=NAME")
    fields = dict(row.fields)
    for name, places in _INSIDE.items():
        if isinstance(value := fields.get(name), dict):
            fields[name] = first(*(within(value, *place) for place in places), value)
    for name in ("caption", "hashtags"):
        if isinstance(value := fields.get(name), str):
            fields[name] = plain_text(value)
    return Row(row.line, fields, row.problem)
