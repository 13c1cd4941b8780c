"""Queries: one from the command line, many from a table of rows or a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from indexer.errors import HashlensError, InputError
from indexer.hashtags import extract, key, strip
from indexer.images import ENDINGS
from indexer.schema import Query
from indexer.tables import count_lines, find_tables, read_rows

COLUMNS = ("id", "image", "caption", "seeds")


def make_query(image: Path | None, caption: str, seeds: Sequence[str]) -> Query:
    """A person's query; hashtags in the caption count as seeds.

    Raises:
        InputError: nothing is given, a seed is no hashtag, or there is no such picture.
    """
    if image and not image.is_file():
        found = "a folder" if image.is_dir() else "nothing there"
        raise InputError(f"--image {image}: found {found}, expected a picture")
    tags = [key(seed) for seed in [*seeds, *extract(caption)]]
    return Query(image, strip(caption), tuple(dict.fromkeys(tags)))


def read_queries(source: Path) -> Iterator[tuple[str, Query | HashlensError]]:
    """Rows to answer, with their ids (or row numbers); one that cannot be asked has its error.

    Args:
        source: a table with any of the fields `id`, `image`, `caption` and `seeds`, a folder
            that holds one, or a folder of pictures, whose ids are their names. Hashtags that a
            row has, in its caption or a field of that name, are not looked at.

    Raises:
        InputError: there is nothing to read.
    """
    for path in _pictures(source):
        yield path.name, Query(path)
    for path in _tables(source):
        root = path.parent.resolve()
        for row in read_rows(path, COLUMNS):
            row_id = str(row.fields.get("id", row.line))
            try:
                if row.problem:
                    raise InputError(f"{path}:{row.line}: {row.problem}")
                yield row_id, _query(row.fields, root)
            except InputError as error:
                yield row_id, error


def count_queries(source: Path) -> int | None:
    """About how many rows `read_queries` gives, for a progress bar; None where unknown.

    Raises:
        InputError: there is nothing to read.
    """
    counts = [count_lines(path) for path in _tables(source)] or [len(_pictures(source))]
    return sum(count or 0 for count in counts) or None


def _tables(source: Path) -> list[Path]:
    """Tables of rows; none where the source is a folder of pictures."""
    try:
        return find_tables(source)
    except InputError:
        if _listed_pictures(source):
            return []
        raise


def _pictures(source: Path) -> list[Path]:
    """Pictures of a folder that holds no table."""
    return [] if _tables(source) else _listed_pictures(source)


def _listed_pictures(source: Path) -> list[Path]:
    inside = sorted(source.iterdir()) if source.is_dir() else []
    return [path for path in inside if path.suffix.lower() in ENDINGS]


def _query(row: dict[str, Any], root: Path) -> Query:
    seeds = row.get("seeds") or []
    listed = seeds.replace(",", " ").split() if isinstance(seeds, str) else seeds
    caption, name = row.get("caption") or "", row.get("image")
    if not isinstance(caption, str) or not isinstance(listed, list):
        raise InputError("found a caption or seeds of another type, expected text and a list")
    image = _inside(root, name) if name else None
    tags = tuple(dict.fromkeys(key(str(seed)) for seed in listed))
    return Query(image, strip(caption), tags)


def _inside(root: Path, name: Any) -> Path:  # noqa: ANN401 (whatever the row holds)
    try:
        path = (root / str(name)).resolve()
        if path.is_relative_to(root) and path.is_file():
            return path
    except (OSError, ValueError):
        pass
    raise InputError(f"image {name!r}: found no such picture in {root}")
