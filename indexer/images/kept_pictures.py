"""Pictures in the user's cache, and the choice of a post's picture among its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hashlens.indexer.decoding.file_formats import (
    ENDINGS,
    FORMATS,
    explain_unreadable,
    format_of,
    picture_format,
)
from hashlens.indexer.decoding.loading import MAX_BYTES
from hashlens.indexer.errors import InputError
from hashlens.indexer.images.file_cache import cache_folder, keep

HEAD = 256  # bytes that identify the format of a file

_KIND = "pictures"
_VIDEO_MARKS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"))


def kept_pictures() -> Path:
    """Return the folder of pictures in the user's cache."""
    return cache_folder() / _KIND


def keep_picture(content: bytes) -> Path:
    """Return a file of a picture's bytes; write it if needed.

    Raises:
        InputError: they are no picture by their first bytes, too many, or cannot be written.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"found {len(content):,} bytes, expected {MAX_BYTES:,} at most")
    form = format_of(content)
    if form is None and picture_format(content):
        raise InputError(explain_unreadable(content))
    if form is None:
        raise InputError(f"found bytes of another form, expected {', '.join(FORMATS)}")
    return keep(_KIND, content, f".{form.lower().replace(' ', '-')}")


def keep_unread(content: bytes) -> Path:
    """Return a file of a picture's bytes, of an unsupported format, too; its name then says which.

    Raises:
        InputError: as `keep_picture`.
    """
    name = picture_format(content[:HEAD])
    if name is None or format_of(content[:HEAD]) or len(content) > MAX_BYTES:
        return keep_picture(content)
    return keep(_KIND, content, f".{name.lower().removesuffix(' picture').replace(' ', '-')}")


def is_video(head: bytes) -> bool:
    """Return whether a file is a video by its first bytes."""
    is_media = any(head.startswith(mark, place) for place, mark in _VIDEO_MARKS)
    return is_media and picture_format(head) is None


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        # A pipe would be waited for.
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def find_picture_file(paths: Iterable[Path]) -> Path | list[Path]:
    """Return the first picture among the files of a post, by their content.

    Pictures of a form that is read come first. Without any picture, it is a list of the files
    that have a picture's name.
    """
    other: Path | None = None
    claimed: list[Path] = []
    for path in paths:
        head = head_of(path)
        if format_of(head):
            return path
        if picture_format(head):
            other = other or path
        elif path.name.lower().endswith(ENDINGS):
            claimed.append(path)
    return other or claimed
