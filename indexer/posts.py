"""Posts: rows of whatever reader into a stream of `Post`, bad rows and parts of them reported."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from indexer.errors import InputError
from indexer.hashtags import extract, key, strip
from indexer.pictures import find_picture
from indexer.readers.files import Found, shown
from indexer.readers.registry import AUTO, find_reader
from indexer.readers.tabular import COLUMNS
from indexer.schema import Post, Rejection
from indexer.tables import Row, kind

MAX_CAPTION = 100_000  # characters

_NOTHING = "found neither caption, hashtags nor picture"
_HASHTAG_BORDERS = re.compile(r"[\s,;#＃\[\]\"']+")
_EPOCH = re.compile(r"-?\d{9,}(\.\d+)?")  # shorter numbers are dates such as 20160326


class _UnusablePostError(Exception):
    """This row makes no post; the message says why."""


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
    columns = _checked(columns or {})
    readers = [find_reader(source, reader, has_columns=bool(columns)) for source in sources]
    seen: dict[str, str] = {}
    for source, found_reader in zip(sources, readers, strict=True):
        for found, place, root in _placed(found_reader.rows(source, columns)):
            reading = _Reading(found.row, root, rule, list(found.problems))
            try:
                post = reading.post()
                if post.post_id in seen:
                    first = seen[post.post_id]
                    raise _UnusablePostError(f"found id {post.post_id!r} again, first at {first}")
            except _UnusablePostError as error:
                rejections.append(Rejection(place, found.row.line, str(error)))
                continue
            line = found.row.line
            seen[post.post_id] = place if line is None else f"{place}:{line}"
            rejections += [Rejection(place, line, p, True) for p in reading.problems]
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


@dataclass(slots=True)
class _Reading:
    """One row on its way to a post; `problems` are parts that the post goes without."""

    row: Row
    root: Path
    rule: str
    problems: list[str] = field(default_factory=list)

    def post(self) -> Post:
        """The post of this row.

        Raises:
            _UnusablePostError: the row makes none.
        """
        if self.row.problem:
            raise _UnusablePostError(self.row.problem)
        caption = self._text("caption") or ""
        if len(caption) > MAX_CAPTION:
            raise _UnusablePostError(
                f"found a caption of {len(caption):,} characters, expected {MAX_CAPTION:,} at most"
            )
        tags = self._hashtags(caption)
        image, picture_hash = self._picture()
        caption = strip(caption, self.rule)
        if not (caption or tags or image):
            raise _UnusablePostError("; ".join([*self.problems, _NOTHING]))
        author, topic, taken_at = self._name("author"), self._text("topic"), self._taken_at()
        content = _hash(caption, list(tags), author, taken_at, topic, picture_hash)
        return Post(
            post_id=self._name("id") or f"sha256-{content[:16]}",
            image=image,
            caption=caption,
            hashtags=tuple(tags),
            forms=tuple(tags.values()),
            author=author,
            taken_at=taken_at,
            topic=topic,
            content_hash=content,
            origin=self._text("origin"),
            picture=picture_hash,
        )

    def _text(self, name: str) -> str | None:
        value = self.row.fields.get(name)
        if value is None or isinstance(value, str):
            return (_clean(value).strip() or None) if value else None
        raise _UnusablePostError(f"found {kind(value)} as {name}, expected text")

    def _name(self, name: str) -> str | None:
        """A text that may also be given as a whole number, as ids often are."""
        value = self.row.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self._text(name)

    def _hashtags(self, caption: str) -> dict[str, str]:
        """Form of each hashtag by key, in order."""
        found: dict[str, str] = {}
        written = extract(caption, self.rule)
        wide = [form for form in written if not form.isascii()]
        listed = [form for form in self._listed() if not _is_torn(form, wide)]
        for form in [*written, *listed]:
            try:
                found.setdefault(key(form), form.strip().lstrip("#＃"))
            except InputError as error:
                self.problems.append(str(error))
        return found

    def _listed(self) -> list[str]:
        """Entries of the `hashtags` field, a list or a text with spaces or commas."""
        value = self.row.fields.get("hashtags")
        if isinstance(value, str):
            return [form for form in _HASHTAG_BORDERS.split(_unescaped(value)) if form]
        if not isinstance(value, list | None):
            raise _UnusablePostError(f"found {kind(value)} as hashtags, expected a list or text")
        entries = value or []
        for entry in entries:
            if not isinstance(entry, str):
                self.problems.append(f"found {kind(entry)} among hashtags, expected text")
        return [_clean(entry) for entry in entries if isinstance(entry, str)]

    def _taken_at(self) -> datetime | None:
        value = self.row.fields.get("taken_at")
        if value is None or value == "":
            return None
        try:
            return _moment(value)
        except (ValueError, OverflowError, OSError):
            self.problems.append(
                f"found {str(value)[:40]!r} as taken_at, expected ISO 8601 or seconds since 1970"
            )
            return None

    def _picture(self) -> tuple[Path | None, str | None]:
        """Path and sha256 of the picture, where there is one that can be used."""
        try:
            return find_picture(self.row.fields.get("image"), self.root) or (None, None)
        except InputError as error:
            self.problems.append(str(error))
            return None, None


def _is_torn(listed: str, written: list[str]) -> bool:
    """Whether a listed hashtag is what a scraper's narrow pattern left of a written one.

    Many scrapers' lists hold `espa` where the caption has `#España`.
    """
    start = listed.strip().lstrip("#＃").lower()
    return bool(start) and any(
        form.lower().startswith(start) and not form[len(start) : len(start) + 1].isascii()
        for form in written
    )


def _clean(text: str) -> str:
    """Text that can be stored: NUL is a space, half of a cut emoji a replacement character."""
    text = text.replace("\0", " ")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _unescaped(text: str) -> str:
    """The text of a hashtags cell; a JSON list in it may have its letters escaped."""
    if text.lstrip().startswith("[") and "\\u" in text:
        try:
            return _clean(" ".join(map(str, json.loads(text))))
        except (ValueError, RecursionError):
            return text
    return text


def _moment(value: object) -> datetime:
    """A moment in UTC, from ISO 8601, a date or datetime, or seconds since 1970."""
    if isinstance(value, str) and not _EPOCH.fullmatch(value.strip()):
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)


def _hash(
    caption: str,
    hashtags: list[str],
    author: str | None,
    taken_at: datetime | None,
    topic: str | None,
    picture: str | None,
) -> str:
    """sha256 of a post's content, as canonical JSON."""
    content = {
        "author": author,
        "caption": caption,
        "hashtags": hashtags,
        "picture": picture,
        "taken_at": taken_at.isoformat() if taken_at else None,
        "topic": topic,
    }
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
