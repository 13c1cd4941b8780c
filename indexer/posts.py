"""Posts: rows of whatever reader into a stream of `Post`, bad rows and parts of them reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from indexer.errors import InputError
from indexer.onepost import Reading, UnusablePostError
from indexer.readers.files import Found, shown
from indexer.readers.registry import AUTO, Reader, find_reader
from indexer.readers.tabular import COLUMNS, unreadable
from indexer.schema import Post, Rejection


@dataclass(frozen=True, slots=True)
class Sources:
    """Where posts are, and how they are read: see `read_posts`."""

    paths: Sequence[Path]
    rule: str
    reader: str = AUTO
    columns: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths)) or "nothing"


def read_posts(
    sources: Sequence[Path],
    *,
    rule: str = "instagram",
    rejections: list[Rejection],
    reader: str = AUTO,
    columns: Mapping[str, str] | None = None,
) -> Iterator[Post]:
    """Stream the posts of files and folders, in order.

    A post's hashtags are those of its caption, then those of its `hashtags` field whose key is
    new and that are no torn piece of one in the caption; scrapes and exports have no such
    field here. Of posts with one id, in whatever source, the first is taken. A post without an id
    is named after its content.

    Args:
        sources: files and folders that one of `READERS` is for.
        rule: hashtag grammar, one of `hashtags.RULES`.
        rejections: gets what could not be used, while reading goes on.
        reader: name of the reader of them all; `auto` finds it from what each source holds.
        columns: the tables' names of columns by ours, such as `{"caption": "text"}`.

    Raises:
        InputError: a source is missing or of no known form, or there is no such reader, column or
            rule.
    """
    found = parts(sources, rule=rule, reader=reader, columns=columns)
    yield from once_each(chain.from_iterable(part.rows() for part in found), rejections)


@dataclass(frozen=True, slots=True)
class ReadRow:
    """The outcome of a row: its post, without what `problems` tell of, or why it makes none.

    A row with a `note` is about its file.
    """

    place: str
    line: int | None
    post: Post | None
    problems: tuple[str, ...]
    note: str | None = None

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True, slots=True)
class Part:
    """A source, or one file of several that it stands for, and how its rows are read."""

    path: Path
    reader: Reader
    columns: Mapping[str, str]
    rule: str
    is_one_of_many: bool = False

    def rows(self) -> Iterator[ReadRow]:
        """Its rows in order.

        Raises:
            InputError: it cannot be read, and is not one of many.
        """
        for found, place, root in _placed(self._found()):
            if found.row.note:
                yield ReadRow(place, None, None, (), note=found.row.note)
                continue
            reading = Reading(found.row, root, self.rule, list(found.problems))
            try:
                post = reading.post()
            except UnusablePostError as error:
                yield ReadRow(place, found.row.line, None, (str(error),))
            else:
                yield ReadRow(place, found.row.line, post, tuple(reading.problems))

    def _found(self) -> Iterator[Found]:
        try:
            yield from self.reader.rows(self.path, self.columns)
        except InputError as error:
            if not self.is_one_of_many:
                raise
            yield unreadable(self.path, error)


def parts(
    sources: Sequence[Path],
    *,
    rule: str,
    reader: str = AUTO,
    columns: Mapping[str, str] | None = None,
    apart: bool = False,
) -> list[Part]:
    """The sources as they are read one after the other: see `read_posts`.

    Args:
        sources: files and folders.
        rule: hashtag grammar.
        reader: name of the reader of them all, or `auto`.
        columns: the tables' names of columns by ours.
        apart: whether to part sources into their tables, where their reader lets these be apart.

    Raises:
        InputError: as `read_posts`.
    """
    columns = _checked(columns or {})
    readers = [find_reader(source, reader, has_columns=bool(columns)) for source in sources]
    found = []
    for source, by in zip(sources, readers, strict=True):
        tables = by.tables(source) if apart and by.tables else []
        if len(tables) > 1:
            found += [Part(table, by, columns, rule, is_one_of_many=True) for table in tables]
        else:
            found.append(Part(source, by, columns, rule))
    return found


def once_each(rows: Iterable[ReadRow], rejections: list[Rejection]) -> Iterator[Post]:
    """The posts of rows, of those with one id the first; `rejections` gets what is left out."""
    seen: dict[str, str] = {}
    for row in rows:
        post, problems = row.post, row.problems
        if row.note:
            rejections.append(Rejection(row.place, None, row.note, post_kept=True, is_note=True))
        if post and (first := seen.get(post.post_id)):
            problems = (f"found id {post.post_id!r} again, first at {first}",)
            post = None
        for problem in problems:
            rejections.append(Rejection(row.place, row.line, problem, bool(post)))
        if post:
            seen[post.post_id] = str(row)
            yield post


def _placed(rows: Iterable[Found]) -> Iterator[tuple[Found, str, Path]]:
    """Rows with the name of their file and their resolved root, made once for many of a file."""
    file = root = None
    for found in rows:
        if found.file is not file:
            file, place = found.file, shown(found.file)
        if found.root is not root:
            root, resolved = found.root, found.root.resolve()
        yield found, place, resolved


def count_rows(sources: Sequence[Path], *, reader: str = AUTO) -> int | None:
    """About how many rows sources have, at little cost; None where that cannot be told."""
    try:
        counts = [find_reader(source, reader).count(source) for source in sources]
    except InputError:
        return None
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _checked(columns: Mapping[str, str]) -> Mapping[str, str]:
    for name in columns:
        if name not in COLUMNS:
            raise InputError(f"found a column for {name!r}, expected one of {', '.join(COLUMNS)}")
    return columns
