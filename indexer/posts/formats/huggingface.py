"""Reads Parquet data sets of Hugging Face, which have pictures in their `image` column.

A post's picture is a file, so pictures are copied to the user's cache folder, under the hash of
their content. A picture is there once, however often it is read; an index can be built and updated
from it. `aliases` has the names of columns. Memory has one and a half row groups; tools that write
pictures make row groups small.
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

_BATCH = 16  # rows read at a time, each perhaps with a picture


def rows(source: Path, columns: Mapping[str, str]) -> Iterator[SourceRow]:
    """Yield the rows of a Parquet file, or of all in a folder; columns as in `tabular`.

    Raises:
        InputError: there is no Parquet file, or the only one cannot be read.
    """
    tables = _list_tables(source)
    if not tables:
        raise InputError(f"found no Parquet file in {show_path(source)}, expected a data set")

    def read_table(table: Path) -> Iterator[SourceRow]:
        root, cache = table.parent, kept_pictures()
        for row in read_named(table, columns, batch=_BATCH):
            image = row.fields.get("image")
            content = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(content, bytes):
                name = image.get("path") if isinstance(image, dict) else image
                yield SourceRow(table, root, _with(row, name))
                continue
            try:
                found = SourceRow(table, cache, _with(row, keep_picture(content)))
            except InputError as error:
                found = SourceRow(table, root, _with(row, None), (f"picture: {error}",))
            yield found

    yield from each_table(tables, read_table)


def count(source: Path) -> int | None:
    """Return the number of rows of a source, or None if it is unknown."""
    return count_all(_list_tables(source))


def _list_tables(source: Path) -> list[Path]:
    return [
        folder.path / name
        for folder in walk(source)
        for name in folder.names
        if name.lower().endswith(".parquet")
    ]


def is_data_set(table: Path) -> bool:
    """Whether a Parquet file has pictures in it, or `image` and `text` without a caption.

    Raises:
        InputError: the file cannot be read.
    """
    kinds = column_kinds(table)
    holds_pictures = kinds.get("image") in ("struct", "bytes")
    return holds_pictures or ({"image", "text"} <= kinds.keys() and "caption" not in kinds)


def _with(row: Row, image: object) -> Row:
    """Return a row with another image."""
    if row.problem or row.note:
        return row
    fields: dict[str, Any] = row.fields | {"image": image}
    return Row(row.line, fields)
