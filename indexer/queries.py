"""Queries: one from the command line, many from a table of rows or a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from indexer.errors import HashlensError, InputError
from indexer.hashtags import extract, key, strip
from indexer.images import is_picture_file
from indexer.readers.files import shown, walk
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
            that holds one, or a folder of pictures, whose ids are their paths in it. Hashtags
            that a row has, in its caption or a field of that name, are not looked at.

    Raises:
        InputError: there is nothing to read.
    """
    tables = _tables(source)
    if not tables:
        yield from _picture_rows(source)
    for path in tables:
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
    tables = _tables(source)
    counts = [count_lines(path) for path in tables] or [_sorted(source).rows]
    return sum(count or 0 for count in counts) or None


def passed_over(source: Path) -> list[str]:
    """Files of a folder of pictures that are none by their content, as paths in it, in order.

    Raises:
        InputError: there is nothing to read.
    """
    return [] if _tables(source) else _sorted(source).others


class _Listed(NamedTuple):
    """A folder of pictures: these, what could not be looked at, and all other files."""

    pictures: list[Path]
    problems: list[tuple[Path, str]]
    others: list[str]

    @property
    def rows(self) -> int:
        """How many queries it stands for."""
        return len(self.pictures) + len(self.problems)


def _tables(source: Path) -> list[Path]:
    """Tables of rows; none where the source is a folder of pictures."""
    try:
        return find_tables(source)
    except InputError:
        if source.is_dir() and _sorted(source).rows:
            return []
        raise


def _sorted(source: Path) -> _Listed:
    """What a folder and those in it hold; hidden files, such as AppleDouble's, do not count."""
    found = _Listed([], [], [])
    for folder in walk(source):
        found.problems.extend(folder.problems)
        for path in (folder.path / name for name in folder.names):
            if is_picture_file(path):
                found.pictures.append(path)
            else:
                found.others.append(shown(path.relative_to(source)))
    return found


def _picture_rows(folder: Path) -> Iterator[tuple[str, Query | HashlensError]]:
    listed = _sorted(folder)
    for path, problem in listed.problems:
        yield shown(path.relative_to(folder)), InputError(f"{shown(path)}: {problem}")
    for path in listed.pictures:
        yield shown(path.relative_to(folder)), Query(path)


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
