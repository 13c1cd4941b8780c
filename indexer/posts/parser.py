"""One row of whatever reader made a post, its bad parts told."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import deque
from collections.abc import Collection, Iterable
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

MAX_CAPTION = 100_000  # characters
MAX_HASHTAGS = 100  # of a post that count; Instagram allows 30, and pairs grow by the square
MAX_PROBLEMS = 100  # of a post that are reported one by one

FROM_COMMENT = (
    "posts with hashtags of the author's own first comment (--no-first-comment leaves these out)"
)
_NOTHING = "found neither caption, hashtags nor picture"
_ENTRY_NAMES = ("name", "text", "title", "hashtag_name", "hashtagName", "tag")
_WHOLE = re.compile(r"(-?\d+)\.0+")  # a whole number that a table made a decimal one
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_OF_X = "%a %b %d %H:%M:%S %z %Y"
_EPOCH = re.compile(r"-?\d{9,}(\.\d+)?")  # shorter numbers are dates such as 20160326


class UnusablePostError(Exception):
    """This row makes no post; the message says why."""


@dataclass(slots=True)
class Reading:
    """One row on its way to a post; `problems` are parts that the post goes without.

    `remarks` are what many rows of a file may share, to be counted.
    """

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
        value = self._value(name)
        if value is None or isinstance(value, str):
            return (_clean(value).strip() or None) if value else None
        raise UnusablePostError(f"found {kind(value)} as {name}, expected text")

    def _name(self, name: str) -> str | None:
        """A text that may also be given as a number, as ids often are: 1.0 is 1."""
        value = self._value(name)
        if isinstance(value, float) and math.isfinite(value):
            return str(int(value)) if value.is_integer() else str(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        text = self._text(name)
        whole = _WHOLE.fullmatch(text) if text else None
        return whole[1] if whole else text

    def _value(self, name: str) -> Any:  # noqa: ANN401 (whatever the file holds)
        """A field's value; tables write an empty one as NaN."""
        value = self.row.fields.get(name)
        return None if isinstance(value, float) and math.isnan(value) else value

    def _hashtags(self, caption: str) -> dict[str, str]:
        """Form of each hashtag by key, in order: of more than `MAX_HASHTAGS` the first."""
        found: dict[str, str] = {}
        written = [*extract(caption, self.rule), *self._commented()]
        listed = self._listed()
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
                self._tell(str(error))
        if unread:
            self._tell_of(chain(written, listed), unread, found)
        return found

    def _tell_of(self, forms: Iterable[str], unread: int, found: Collection[str]) -> None:
        """Report the last `unread` hashtags, unless all of them are among those found."""
        last = deque(forms, maxlen=unread)
        more = sum(_folded(form) not in found for form in last)
        if more:
            self.problems.append(
                f"found {len(found) + more:,} hashtags, expected {MAX_HASHTAGS} at most: "
                f"the first {MAX_HASHTAGS} count"
            )

    def _tell(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems.append("found more of the same")

    def _commented(self) -> list[str]:
        """Hashtags of the author's own first comment."""
        found = extract(self._text("first_comment") or "", self.rule)
        if found:
            self.remarks.append(FROM_COMMENT)
        return found

    def _listed(self) -> list[str]:
        """Entries of the `hashtags` field: a list, or a text with anything between them."""
        value = self._value("hashtags")
        if isinstance(value, str):
            return split_cell(_listed_text(value))
        if not isinstance(value, list | None):
            raise UnusablePostError(f"found {kind(value)} as hashtags, expected a list or text")
        entries = [_entry(entry) for entry in value or []]
        for entry in entries:
            if not isinstance(entry, str):
                self._tell(f"found {kind(entry)} among hashtags, expected text")
        return [_clean(entry) for entry in entries if isinstance(entry, str)]

    def _taken_at(self) -> datetime | None:
        value = self._value("taken_at")
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
            value = self._value("image")
            if is_address(value):
                self.remarks.append("pictures on the web, which are not fetched")
                return None, None
            return find_picture(value, self.root) or (None, None)
        except InputError as error:
            self.problems.append(str(error))
            return None, None


def _entry(entry: object) -> object:
    """The hashtag of a list's entry, which may be an object that names it."""
    if not isinstance(entry, dict):
        return entry
    return next((v for name in _ENTRY_NAMES if isinstance(v := entry.get(name), str)), entry)


def _folded(form: str) -> str:
    try:
        return key(form)
    except InputError:
        return ""


def _find_pieces(written: list[str], listed: list[str]) -> set[str]:
    """Return the listed pieces that a tokeniser of ASCII left of hashtags in the caption.

    Many scrapers' lists hold `espa` where the caption has `#España`. Such a list has no letter
    outside of ASCII, and a piece of each hashtag that is cut within a Latin word. Any other list
    was made as a list, and stays as it is.
    """
    pieces = {piece for form in written if (piece := _cut(form))}
    is_torn = all(map(str.isascii, listed)) and pieces <= set(map(_bare, listed))
    return pieces if is_torn else set()


def _cut(form: str) -> str:
    """Return the ASCII letters before the first other letter of a Latin word, or nothing."""
    end = next((place for place, letter in enumerate(form) if not letter.isascii()), 0)
    letter = form[end : end + 1]
    is_latin = bool(letter) and unicodedata.name(letter, "").startswith(("LATIN", "COMBINING"))
    return form[:end].lower() if is_latin else ""


def _bare(form: str) -> str:
    return form.strip().lstrip("#＃").lower()


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


def _listed_text(text: str) -> str:
    """The text of a hashtags cell; a JSON list in it may have its letters escaped."""
    if text.lstrip().startswith("[") and "\\u" in text:
        try:
            text = " ".join(map(str, json.loads(text)))
        except (ValueError, RecursionError):
            return text
    return _clean(text)


def _moment(value: object) -> datetime:
    """A moment in UTC, from ISO 8601, a date or datetime, or seconds since 1970."""
    if isinstance(value, str) and not _EPOCH.fullmatch(value.strip()):
        value = _written_moment(value.strip())
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


def _written_moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.strptime(text, _OF_X).astimezone(UTC)


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
