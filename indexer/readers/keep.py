"""Pictures without a file of their own, or with one whose name is no text, kept as files."""

from __future__ import annotations

from pathlib import Path

from indexer.cache import cache_folder, keep
from indexer.errors import InputError
from indexer.images import FORMATS, MAX_BYTES, format_of, misreading, picture_format

_KIND = "pictures"


def kept_pictures() -> Path:
    """The folder in the user's cache where they are."""
    return cache_folder() / _KIND


def keep_picture(content: bytes) -> Path:
    """The file of a picture's bytes, made where there is none yet.

    Raises:
        InputError: they are no picture by their first bytes, too many, or cannot be written.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"found {len(content):,} bytes, expected {MAX_BYTES:,} at most")
    form = format_of(content)
    if form is None and picture_format(content):
        raise InputError(misreading(content))
    if form is None:
        raise InputError(f"found bytes of another form, expected {', '.join(FORMATS)}")
    return keep(_KIND, content, f".{form.lower().replace(' ', '-')}")
