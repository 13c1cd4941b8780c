"""Parquet data sets as Hugging Face has them, pictures in their `image` column, into rows.

A post's picture is a file, so bytes of pictures are kept in the user's cache folder, under the
hash of their content: a picture is there once however often it is read, and an index may be built
and updated from where it lies. Columns are known by the names in `aliases`.
Memory holds a row group and a half; tools that write pictures make these small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hashlens.indexer.errors import InputError
from hashlens.indexer.images.kept_pictures import keep_picture, kept_pictures
from hashlens.indexer.posts.formats.files import SourceRow, show_path, walk
from hashlens.indexer.posts.formats.tabular import count_all, each_table, read_named
from hashlens.indexer.posts.tables.tables import Row, column_kinds

_BATCH = 16  # rows read at a time: each may bring a picture


def rows(source: Path, columns: Mapping[str, str]) -> Iterator[SourceRow]:
    """The rows of a Parquet file, or of all in a folder, in order; columns as in `tabular`.

    Raises:
        InputError: there is no Parquet file, or it, being the only one, cannot be read.
    """
    tables = _tables(source)
    if not tables:
        raise InputError(f"found no Parquet file in {show_path(source)}, expected a data set")
    yield from each_table(tables, lambda table: _table_rows(table, columns))


def count(source: Path) -> int | None:
    """How many rows a source has; None where that cannot be told."""
    return count_all(_tables(source))


def _tables(source: Path) -> list[Path]:
    return [
        folder.path / name
        for folder in walk(source)
        for name in folder.names
        if name.lower().endswith(".parquet")
    ]


def is_data_set(table: Path) -> bool:
    """Whether a Parquet file has pictures in it, or `image` and `text` for want of a caption.

    Raises:
        InputError: it cannot be read.
    """
    kinds = column_kinds(table)
    holds_pictures = kinds.get("image") in ("struct", "bytes")
    return holds_pictures or ({"image", "text"} <= kinds.keys() and "caption" not in kinds)


def _table_rows(table: Path, columns: Mapping[str, str]) -> Iterator[SourceRow]:
    for row in read_named(table, columns, batch=_BATCH):
        yield _pictured(table, row)


def _pictured(table: Path, row: Row) -> SourceRow:
    image = row.fields.get("image")
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes):
        name = image.get("path") if isinstance(image, dict) else image
        return SourceRow(table, table.parent, _with(row, name))
    try:
        return SourceRow(table, kept_pictures(), _with(row, keep_picture(content)))
    except InputError as error:
        return SourceRow(table, table.parent, _with(row, None), (f"picture: {error}",))


def _with(row: Row, image: object) -> Row:
    if row.problem or row.note:
        return row
    fields: dict[str, Any] = row.fields | {"image": image}
    return Row(row.line, fields)
