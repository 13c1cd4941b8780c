"""Posts from files: one stream, whatever the format; what cannot be used is told and left out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer import tables
from indexer.errors import InputError
from indexer.hashtags import extract, key, strip
from indexer.images import MAX_BYTES
from indexer.schema import Post, Rejection

MAX_CAPTION = 100_000  # characters


def read_posts(
    sources: Sequence[Path], *, rule: str = "instagram", rejections: list[Rejection]
) -> Iterator[Post]:
    """Stream the posts of files and folders, in order.

    Fields of a row, all optional: `id`, `image` (relative to the file's folder), `caption`,
    `hashtags` (a list, or a text), `author`, `taken_at` (ISO 8601, or seconds since 1970) and
    `topic`. Hashtags are those in the caption, then those of the field that are new.

    Args:
        sources: files or folders of posts.
        rule: which hashtags a caption holds, see `hashtags.extract`.
        rejections: receives every post, or part of one, that cannot be used.

    Raises:
        InputError: a source is missing or holds no posts, or the rule is unknown.
    """
    seen: set[str] = set()
    for path in [path for source in sources for path in tables.files(source)]:
        root = path.parent.resolve()
        for number, row in tables.rows(path):
            reader = _RowReader(str(path), number, rule, rejections)
            if isinstance(row, str):
                reader.reject(row)
                continue
            post = reader.post(row, root)
            if post is None:
                continue
            if post.post_id in seen:
                reader.reject(
                    f"found id {post.post_id!r} again, expected each once; kept the first"
                )
                continue
            seen.add(post.post_id)
            yield post


def count_rows(sources: Sequence[Path]) -> int:
    """About how many posts the sources hold, for a progress bar.

    Raises:
        InputError: a source is missing or holds no posts.
    """
    return tables.count_rows([path for source in sources for path in tables.files(source)])


class _RowReader:
    """Turns one row into a post, noting what of it cannot be used."""

    def __init__(self, source: str, line: int, rule: str, rejections: list[Rejection]) -> None:
        self._source, self._line, self._rule = source, line, rule
        self._rejections = rejections

    def reject(self, reason: str, *, post_kept: bool = False) -> None:
        self._rejections.append(Rejection(self._source, self._line, reason, post_kept))

    def post(self, row: dict[str, Any], root: Path) -> Post | None:
        """The post of a row; None, and a rejection, where nothing of it is of use."""
        first = len(self._rejections)
        caption = self._text(row, "caption") or ""
        if len(caption) > MAX_CAPTION:
            self.reject(f"found a caption of {len(caption):,} characters, at most {MAX_CAPTION:,}")
            return None
        forms = self._forms(row, caption)
        image, image_hash = self._image(row, root)
        words = strip(caption, self._rule)
        if not (image or words or forms):
            troubles = [r.reason for r in self._rejections[first:]]
            del self._rejections[first:]
            self.reject("; ".join(["found neither picture, caption nor hashtags", *troubles]))
            return None
        taken_at = self._time(row)
        author, topic = self._text(row, "author"), self._text(row, "topic")
        digest = _digest(words, list(forms), author, str(taken_at), topic, image_hash)
        return Post(
            post_id=self._id(row) or f"sha256-{digest[:16]}",
            image=image,
            caption=words,
            hashtags=tuple(forms),
            forms=tuple(forms.values()),
            author=author,
            taken_at=taken_at,
            topic=topic,
            content_hash=digest,
        )

    def _id(self, row: dict[str, Any]) -> str | None:
        found = row.get("id")
        return str(found) if isinstance(found, int) else self._text(row, "id")

    def _text(self, row: dict[str, Any], name: str) -> str | None:
        found = row.get(name)
        if found is None or (isinstance(found, str) and not found.strip()):
            return None
        if not isinstance(found, str):
            self.reject(
                f"found {name} of type {type(found).__name__}, expected text", post_kept=True
            )
            return None
        # A lone surrogate is no character, and no file or database takes it.
        return found.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")

    def _forms(self, row: dict[str, Any], caption: str) -> dict[str, str]:
        """Written forms by key: those in the caption, then those of the field that are new."""
        forms: dict[str, str] = {}
        for form in extract(caption, self._rule):
            forms.setdefault(key(form), form)
        listed = row.get("hashtags") or []
        if isinstance(listed, str):
            listed = listed.replace(",", " ").split()
        if not isinstance(listed, list):
            self.reject(
                "found hashtags that are no list, expected a list or a text", post_kept=True
            )
            listed = []
        for form in listed:
            try:
                forms.setdefault(key(str(form)), str(form).strip().lstrip("#＃"))
            except InputError as error:
                self.reject(f"hashtags: {error}", post_kept=True)
        return forms

    def _image(self, row: dict[str, Any], root: Path) -> tuple[Path | None, str]:
        """The picture, inside the folder of the posts, and the hash of its bytes."""
        name = self._text(row, "image")
        if name is None:
            return None, ""
        try:
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise InputError("it lies outside the folder of its posts")
            if (size := path.stat().st_size) > MAX_BYTES:
                raise InputError(f"it has {size:,} bytes, at most {MAX_BYTES:,}")
            with path.open("rb") as file:
                return path, hashlib.file_digest(file, "sha256").hexdigest()
        except (InputError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.reject(f"picture {name!r} cannot be used: {reason}", post_kept=True)
            return None, ""

    def _time(self, row: dict[str, Any]) -> datetime | None:
        found = row.get("taken_at")
        if found is None:
            return None
        try:
            return _moment(found)
        except (ValueError, OverflowError, OSError, TypeError):
            self.reject(
                f"found taken_at {found!r}, expected ISO 8601 or seconds since 1970", post_kept=True
            )
            return None


def _moment(found: Any) -> datetime:  # noqa: ANN401 (whatever the row holds)
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            found = datetime.fromisoformat(found)
    if isinstance(found, datetime):
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    if isinstance(found, bool) or not math.isfinite(found):
        raise ValueError(found)
    return datetime.fromtimestamp(found, UTC)


def _digest(*parts: Any) -> str:  # noqa: ANN401 (any JSON values)
    canonical = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
