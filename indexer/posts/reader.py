"""Streams the posts of any source, and reports faulty rows and parts of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.dedup import is_nameless
from hashlens.indexer.posts.formats.files import ReadOptions, SourceRow, show_path
from hashlens.indexer.posts.formats.registry import AUTO, Reader, find_reader, find_readers
from hashlens.indexer.posts.formats.tabular import COLUMNS, unreadable
from hashlens.indexer.posts.parser import Reading, UnusablePostError
from hashlens.indexer.types import Post, Rejection

_AGAIN = "posts read before, which count once"


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of posts, and options for reading: see `read_posts`."""

    paths: Sequence[Path]
    rule: str
    reader: str = AUTO
    columns: Mapping[str, str] | None = None
    first_comment: bool = True

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths)) or "nothing"


def read_posts(
    sources: Sequence[Path],
    *,
    rule: str = "instagram",
    rejections: list[Rejection],
    reader: str = AUTO,
    columns: Mapping[str, str] | None = None,
    first_comment: bool = True,
) -> Iterator[Post]:
    """Stream the posts of files and folders, in order.

    A post has the hashtags of its caption, then those of its `hashtags` field whose key is new.
    Pieces that an ASCII tokeniser cut from the caption's hashtags are left out. The first of all
    posts with one id counts. The id of a post without one is a hash of its content (see
    `once_each`).

    Args:
        sources: files and folders that one of `READERS` can read.
        rule: hashtag grammar, one of `hashtags.RULES`.
        rejections: gets rows and parts that cannot be used, while reading continues.
        reader: name of the reader for all sources; `auto` finds it from each source's content.
        columns: the tables' names of columns by ours, such as `{"caption": "text"}`.
        first_comment: whether hashtags of the author's own first comment count.

    Raises:
        InputError: a source is missing or of no known form, or there is no such reader, column or
            rule.
    """
    found = parts(sources, rule=rule, reader=reader, columns=columns, first_comment=first_comment)
    yield from once_each(chain.from_iterable(part.rows() for part in found), rejections)


@dataclass(frozen=True, slots=True)
class ReadRow:
    """The outcome of a row: its post, or none; `problems` are why, or the parts that it lacks.

    `remarks` are counted over all rows of the place; if each row is a file, of the `source`. A row
    with a `note` is about its file. If `is_named_by_picture`, several posts may have one id.
    """

    place: str
    line: int | None
    post: Post | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    note: str | None = None
    source: str = ""
    is_named_by_picture: bool = False

    @property
    def counted_at(self) -> str:
        """Return the place whose rows are counted together."""
        return self.place if self.line is not None else self.source or self.place

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True, slots=True)
class Part:
    """A source or one of its several files, and how its rows are read.

    `note` is a remark on the source `noted`.
    """

    path: Path
    reader: Reader
    options: ReadOptions
    rule: str
    is_one_of_many: bool = False
    note: str | None = None
    noted: Path | None = None

    def rows(self) -> Iterator[ReadRow]:
        """Yield the rows in order.

        Raises:
            InputError: the part cannot be read, and is not one of many.
        """
        if self.note:
            yield ReadRow(show_path(self.noted or self.path), None, None, (), note=self.note)
        source = show_path(self.path)
        # The rows of a file share its name and root.
        show, resolve = lru_cache(1)(show_path), lru_cache(1)(Path.resolve)
        for found in self._read_source():
            place, root = show(found.file), resolve(found.root)
            if found.row.note:
                yield ReadRow(place, None, None, (), note=found.row.note)
                continue
            reading = Reading(found.row, root, self.rule, list(found.problems), list(found.remarks))
            try:
                post = reading.post()
            except UnusablePostError as error:
                post, reading.problems = None, [str(error)]
            problems, remarks = tuple(reading.problems), tuple(reading.remarks)
            yield ReadRow(
                place,
                found.row.line,
                post,
                problems,
                remarks,
                source=source,
                is_named_by_picture=self.reader.is_named_by_picture,
            )

    def _read_source(self) -> Iterator[SourceRow]:
        try:
            yield from self.reader.rows(self.path, self.options)
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
    first_comment: bool = True,
    apart: bool = False,
) -> list[Part]:
    """Return the parts of sources in the order of reading: see `read_posts`.

    Args:
        sources: files and folders.
        rule: hashtag grammar.
        reader: name of the reader for all sources, or `auto`.
        columns: the tables' names of columns by ours.
        first_comment: whether hashtags of the author's own first comment count.
        apart: whether to split sources into their tables, if their reader allows it.

    Raises:
        InputError: see `read_posts`.
    """
    columns = columns or {}
    if unknown := next((name for name in columns if name not in COLUMNS), None):
        raise InputError(f"found a column for {unknown!r}, expected one of {', '.join(COLUMNS)}")
    readers = find_readers(sources, reader, has_columns=bool(columns))
    divided = [source for source, by in zip(sources, readers, strict=True) if by.is_divided]
    found = []
    for source, by in zip(sources, readers, strict=True):
        beside = tuple(other for other in divided if by.is_divided and other != source)
        options = ReadOptions(columns, first_comment, beside)
        note = by.passed_over(source) if by.passed_over else None
        tables = by.tables(source) if apart and by.tables else []
        if len(tables) > 1:
            several = [Part(table, by, options, rule, is_one_of_many=True) for table in tables]
            found += [replace(several[0], note=note, noted=source), *several[1:]]
        else:
            found.append(Part(source, by, options, rule, note=note, noted=source))
    return found


def once_each(rows: Iterable[ReadRow], rejections: list[Rejection]) -> Iterator[Post]:
    """Yield the posts of rows, each once.

    The first post with an id counts. The same content under the same id is the same post, and is
    only counted; other content is rejected. Some sources name a post after its picture, which two
    posts may show: then the second gets a number, if it has words or hashtags. A repeated row
    without an id is a copy: its id gets a number, too.

    Args:
        rows: rows of all sources.
        rejections: gets unused rows and parts, and notes at the end.
    """
    seen = _SeenPosts()
    remarks: Counter[tuple[str, str]] = Counter()
    for row in rows:
        remarks.update((row.counted_at, remark) for remark in row.remarks)
        if row.note:
            rejections.append(Rejection(row.place, None, row.note, post_kept=True, is_note=True))
        post, problems = (row.post, row.problems) if row.post is None else seen.add(row, row.post)
        if post is None and row.post is not None and not problems:
            remarks[row.counted_at, _AGAIN] += 1
        for problem in problems:
            rejections.append(Rejection(row.place, row.line, problem, bool(post)))
        if post:
            yield post
    for remark in dict.fromkeys(remark for _, remark in remarks):
        numbers = {place: n for (place, other), n in remarks.items() if other == remark}
        place = next(iter(numbers)) if len(numbers) == 1 else f"{len(numbers):,} files"
        reason = f"{remark}: {sum(numbers.values()):,}"
        rejections.append(Rejection(place, None, reason, post_kept=True, is_note=True))


class _SeenPosts:
    """The ids of earlier posts, with the place and content of each."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str]] = {}
        self._copies: Counter[str] = Counter()
        self._contents: dict[str, list[str]] = {}  # of ids that several posts share

    def add(self, row: ReadRow, post: Post) -> tuple[Post | None, tuple[str, ...]]:
        """Return the post under its own id, or None if it does not count; and its problems.

        A post that was read before has no problems.
        """
        if post.post_id in self._first:
            first, content = self._first[post.post_id]
            if is_nameless(post):
                self._copies[post.post_id] += 1
                post = replace(post, post_id=f"{post.post_id}-{self._copies[post.post_id] + 1}")
            elif content == post.content_hash:
                return None, ()
            elif not row.is_named_by_picture:
                return None, (f"found id {post.post_id!r} again, first at {first}",)
            else:
                contents = self._contents.setdefault(post.post_id, [content])
                says_more = bool(post.caption or post.hashtags)
                if post.content_hash in contents or not says_more:
                    return None, ()
                contents.append(post.content_hash)
                post = replace(post, post_id=f"{post.post_id}-{len(contents)}")
        self._first.setdefault(post.post_id, (str(row), post.content_hash))
        return post, row.problems


def count_rows(sources: Sequence[Path], *, reader: str = AUTO) -> int | None:
    """Return a cheap estimate of the number of rows, or None if it is unknown."""
    try:
        counts = [find_reader(source, reader).count(source) for source in sources]
    except InputError:
        return None
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
