"""One row of whatever reader made a post, its bad parts told."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from indexer.errors import InputError
from indexer.hashtags import extract, key, strip
from indexer.pictures import find_picture
from indexer.schema import Post
from indexer.tables import Row, kind

MAX_CAPTION = 100_000  # characters

FROM_COMMENT = (
    "hashtags of the author's own first comment count (--no-first-comment leaves them out)"
)
_NOTHING = "found neither caption, hashtags nor picture"
_HASHTAG_BORDERS = re.compile(r"[\s,;#＃\[\]\"']+")
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_EPOCH = re.compile(r"-?\d{9,}(\.\d+)?")  # shorter numbers are dates such as 20160326


class UnusablePostError(Exception):
    """This row makes no post; the message says why."""


@dataclass(slots=True)
class Reading:
    """One row on its way to a post; `problems` are parts that the post goes without."""

    row: Row
    root: Path
    rule: str
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def post(self) -> Post:
        """The post of this row.

        Raises:
            UnusablePostError: the row makes none.
        """
        if self.row.problem:
            raise UnusablePostError(self.row.problem)
        caption = self._text("caption") or ""
        if len(caption) > MAX_CAPTION:
            raise UnusablePostError(
                f"found a caption of {len(caption):,} characters, expected {MAX_CAPTION:,} at most"
            )
        tags = self._hashtags(caption)
        image, picture_hash = self._picture()
        caption = strip(caption, self.rule)
        if not (caption or tags or image):
            raise UnusablePostError("; ".join([*self.problems, _NOTHING]))
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
        raise UnusablePostError(f"found {kind(value)} as {name}, expected text")

    def _name(self, name: str) -> str | None:
        """A text that may also be given as a whole number, as ids often are."""
        value = self.row.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self._text(name)

    def _hashtags(self, caption: str) -> dict[str, str]:
        """Form of each hashtag by key, in order."""
        found: dict[str, str] = {}
        written = [*extract(caption, self.rule), *self._commented()]
        wide = [form for form in written if not form.isascii()]
        listed = self._listed()
        if wide:
            listed = [form for form in listed if not _is_torn(form, wide)]
        for form in [*written, *listed]:
            try:
                found.setdefault(key(form), form.strip().lstrip("#＃"))
            except InputError as error:
                self.problems.append(str(error))
        return found

    def _commented(self) -> list[str]:
        """Hashtags of the author's own first comment."""
        found = extract(self._text("first_comment") or "", self.rule)
        if found:
            self.remarks.append(FROM_COMMENT)
        return found

    def _listed(self) -> list[str]:
        """Entries of the `hashtags` field, a list or a text with spaces or commas."""
        value = self.row.fields.get("hashtags")
        if isinstance(value, str):
            return [form for form in _HASHTAG_BORDERS.split(_unescaped(value)) if form]
        if not isinstance(value, list | None):
            raise UnusablePostError(f"found {kind(value)} as hashtags, expected a list or text")
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
    if text.isascii():
        return text
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
    return hashlib.sha256(_CANONICAL.encode(content).encode("utf-8")).hexdigest()
