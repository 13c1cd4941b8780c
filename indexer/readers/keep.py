"""Pictures: which file of a post is its picture, and files made of what has none of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from indexer.cache import cache_folder, keep
from indexer.errors import InputError
from indexer.images import ENDINGS, FORMATS, MAX_BYTES, format_of, is_picture

HEAD = 64  # bytes that tell what a file is

_KIND = "pictures"


def kept_pictures() -> Path:
    """The folder in the user's cache where they are."""
    return cache_folder() / _KIND


def keep_picture(content: bytes) -> Path:
    """The file of a picture's bytes, made where there is none yet.

    A picture of a form that is not read (HEIC) is kept, too: its user is told of it by its path.

    Raises:
        InputError: they are no picture by their first bytes, too many, or cannot be written.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"found {len(content):,} bytes, expected {MAX_BYTES:,} at most")
    if not is_picture(content[:HEAD]):
        raise InputError(f"found bytes of another form, expected {', '.join(FORMATS)}")
    form = format_of(content[:HEAD]) or "picture"
    return keep(_KIND, content, f".{form.lower()}")


def head_of(path: Path) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        # A pipe would be waited for.
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def find_picture_file(paths: Iterable[Path]) -> Path | list[Path]:
    """The first picture among the files of a post, by what they hold.

    Pictures of a form that is read come first. Without any picture, it is a list of the files
    that have a picture's name.
    """
    other: Path | None = None
    claimed: list[Path] = []
    for path in paths:
        head = head_of(path)
        if format_of(head):
            return path
        if is_picture(head):
            other = other or path
        elif path.name.lower().endswith(ENDINGS):
            claimed.append(path)
    return other or claimed
