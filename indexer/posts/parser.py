"""Turns a row of any reader into a post, and reports its faulty parts."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.post_images import find_picture, is_address
from hashlens.indexer.posts.tables.tables import Row, kind
from hashlens.indexer.text.hashtags import extract, key, split_cell, strip
from hashlens.indexer.types import Post

MAX_CAPTION = 100_000  # characters of a caption
MAX_HASHTAGS = 100  # hashtags of a post; Instagram allows 30, and their pairs grow quadratically
MAX_PROBLEMS = 100  # problems of a post that are reported one by one

FROM_COMMENT = (
    "posts with hashtags of the author's own first comment (--no-first-comment leaves these out)"
)
_NOTHING = "found neither caption, hashtags nor picture"
_ENTRY_NAMES = ("name", "text", "title", "hashtag_name", "hashtagName", "tag")
_WHOLE = re.compile(r"(-?\d+)\.0+")  # a whole number that a table stores as a decimal
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_X_TIME = "%a %b %d %H:%M:%S %z %Y"
_EPOCH = re.compile(r"-?\d{9,}(\.\d+)?")  # shorter numbers are dates such as 20160326


class UnusablePostError(Exception):
    """A row gives no post; the message has the reason."""


@dataclass(slots=True)
class Reading:
    """One row that becomes a post; `problems` are parts that the post lacks.

    `remarks` may apply to many rows of a file, and are counted.
    """

    row: Row
    root: Path
    rule: str
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def post(self) -> Post:
        """Return the post of this row.

        Raises:
            UnusablePostError: the row gives no post.
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
        content = _hash_content(caption, list(tags), author, taken_at, topic, picture_hash)
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
        value = self._value(name)
        if value is None or isinstance(value, str):
            return (_clean(value).strip() or None) if value else None
        raise UnusablePostError(f"found {kind(value)} as {name}, expected text")

    def _name(self, name: str) -> str | None:
        """Return a text that may be stored as a number, as ids often are: 1.0 is 1."""
        value = self._value(name)
        if isinstance(value, float) and math.isfinite(value):
            return str(int(value)) if value.is_integer() else str(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        text = self._text(name)
        whole = _WHOLE.fullmatch(text) if text else None
        return whole[1] if whole else text

    def _value(self, name: str) -> Any:  # noqa: ANN401 (any value of a file)
        """Return a field's value; tables store an empty one as NaN."""
        value = self.row.fields.get(name)
        return None if isinstance(value, float) and math.isnan(value) else value

    def _hashtags(self, caption: str) -> dict[str, str]:
        """Return the form of each hashtag by key, in order, up to `MAX_HASHTAGS`."""
        found: dict[str, str] = {}
        written = [*extract(caption, self.rule), *self._read_comment()]
        listed = self._read_list()
        pieces = _find_pieces(written[:MAX_HASHTAGS], listed)
        unread = len(written) + len(listed)
        for place, form in enumerate(chain(written, listed)):
            if len(found) == MAX_HASHTAGS:
                break
            unread -= 1
            if place >= len(written) and _bare(form) in pieces:
                continue
            try:
                found.setdefault(key(form), form.strip().lstrip("#＃"))
            except InputError as error:
                self._report(str(error))
        if unread:
            self._report_excess(chain(written, listed), unread, found)
        return found

    def _report_excess(self, forms: Iterable[str], unread: int, found: Collection[str]) -> None:
        """Report the last `unread` hashtags, unless all of them are among those found."""
        more = 0
        for form in deque(forms, maxlen=unread):
            try:
                more += key(form) not in found
            except InputError:
                more += 1
        if more:
            self.problems.append(
                f"found {len(found) + more:,} hashtags, expected {MAX_HASHTAGS} at most: "
                f"the first {MAX_HASHTAGS} count"
            )

    def _report(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems.append("found more of the same")

    def _read_comment(self) -> list[str]:
        """Return the hashtags of the author's own first comment."""
        found = extract(self._text("first_comment") or "", self.rule)
        if found:
            self.remarks.append(FROM_COMMENT)
        return found

    def _read_list(self) -> list[str]:
        """Return the entries of the `hashtags` field: a list, or a text with any separators."""
        value = self._value("hashtags")
        if isinstance(value, str):
            if value.lstrip().startswith("[") and "\\u" in value:
                with suppress(ValueError, RecursionError):
                    value = _clean(" ".join(map(str, json.loads(value))))
                return split_cell(value)
            return split_cell(_clean(value))
        if not isinstance(value, list | None):
            raise UnusablePostError(f"found {kind(value)} as hashtags, expected a list or text")
        entries = []
        for entry in value or []:
            if isinstance(entry, dict):
                texts = (entry.get(name) for name in _ENTRY_NAMES)
                entry = next((text for text in texts if isinstance(text, str)), entry)
            if isinstance(entry, str):
                entries.append(_clean(entry))
            else:
                self._report(f"found {kind(entry)} among hashtags, expected text")
        return entries

    def _taken_at(self) -> datetime | None:
        value = self._value("taken_at")
        if value is None or value == "":
            return None
        try:
            return _parse_time(value)
        except (ValueError, OverflowError, OSError):
            self.problems.append(
                f"found {str(value)[:40]!r} as taken_at, expected ISO 8601 or seconds since 1970"
            )
            return None

    def _picture(self) -> tuple[Path | None, str | None]:
        """Return path and sha256 of the picture, if there is one that can be used."""
        try:
            value = self._value("image")
            if is_address(value):
                self.remarks.append("pictures on the web, which are not fetched")
                return None, None
            return find_picture(value, self.root) or (None, None)
        except InputError as error:
            self.problems.append(str(error))
            return None, None


def _find_pieces(written: list[str], listed: list[str]) -> set[str]:
    """Return the listed pieces that an ASCII tokeniser cut from hashtags of the caption.

    Many scrapers list `espa` if the caption has `#España`. Such a list is all ASCII, and has a
    piece of each hashtag with another letter in a Latin word. Any other list stays unchanged.
    """
    pieces = set()
    for form in written:
        end = next((place for place, letter in enumerate(form) if not letter.isascii()), 0)
        name = unicodedata.name(form[end], "") if form else ""
        if end and name.startswith(("LATIN", "COMBINING")):
            pieces.add(form[:end].lower())
    is_torn = all(map(str.isascii, listed)) and pieces <= set(map(_bare, listed))
    return pieces if is_torn else set()


def _bare(form: str) -> str:
    return form.strip().lstrip("#＃").lower()


def _clean(text: str) -> str:
    """Return text that can be stored: without NUL and lone surrogates."""
    text = text.replace("\0", " ")
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _parse_time(value: object) -> datetime:
    """Return a time in UTC, from ISO 8601, X's form, a date, a datetime or seconds since 1970.

    Raises:
        ValueError, OverflowError, OSError: the value is no time.
    """
    if isinstance(value, str) and not _EPOCH.fullmatch(text := value.strip()):
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            value = datetime.strptime(text, _X_TIME)
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


def _hash_content(
    caption: str,
    hashtags: list[str],
    author: str | None,
    taken_at: datetime | None,
    topic: str | None,
    picture: str | None,
) -> str:
    """Return the sha256 of a post's content, as canonical JSON."""
    content = {
        "author": author,
        "caption": caption,
        "hashtags": hashtags,
        "picture": picture,
        "taken_at": taken_at.isoformat() if taken_at else None,
        "topic": topic,
    }
    return hashlib.sha256(_CANONICAL.encode(content).encode("utf-8")).hexdigest()
