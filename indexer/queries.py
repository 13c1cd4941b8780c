"""Queries: one from the command line, many from a table of rows or a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    tables, listed = _found(source)
    for path, problem in listed.problems:
        yield shown(path.relative_to(source)), InputError(f"{shown(path)}: {problem}")
    for path in listed.pictures:
        yield shown(path.relative_to(source)), Query(path)
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
    tables, listed = _found(source)
    counts = [count_lines(path) for path in tables]
    return sum(count or 0 for count in counts) + listed.rows or None


def passed_over(source: Path) -> list[str]:
    """Files of a folder of pictures that are none by their content, as paths in it, in order.

    Raises:
        InputError: there is nothing to read.
    """
    return _found(source)[1].others


@dataclass(frozen=True, slots=True)
class _Listed:
    """A folder of pictures: these, what could not be looked at, and all other files."""

    pictures: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many queries it stands for."""
        return len(self.pictures) + len(self.problems)


def _found(source: Path) -> tuple[list[Path], _Listed]:
    """The tables of rows that a source stands for, or else the pictures of a folder."""
    try:
        return find_tables(source), _Listed()
    except InputError:
        listed = _listed(source) if source.is_dir() else _Listed()
        if listed.rows:
            return [], listed
        raise


def _listed(source: Path) -> _Listed:
    """What a folder and those in it hold; hidden files, such as AppleDouble's, do not count."""
    found = _Listed()
    for folder in walk(source):
        linked = [path for path, _ in folder.problems if path.is_file()]  # a person's own links
        found.problems.extend(row for row in folder.problems if row[0] not in linked)
        for path in sorted([*linked, *(folder.path / name for name in folder.names)]):
            if is_picture_file(path):
                found.pictures.append(path)
            else:
                found.others.append(shown(path.relative_to(source)))
    return found


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
