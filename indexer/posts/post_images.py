"""Finds the picture of a post, checks its place and form, and hashes it."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Literal

from hashlens.indexer.decoding.file_formats import explain_unreadable, format_of, picture_format
from hashlens.indexer.decoding.loading import MAX_BYTES
from hashlens.indexer.errors import InputError
from hashlens.indexer.file_io import hash_file
from hashlens.indexer.images.kept_pictures import keep_picture
from hashlens.indexer.posts.formats.files import show_path
from hashlens.indexer.posts.tables.tables import kind

_ADDRESS = re.compile(r"\s*(?:https?:)?//[^\s/]", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NORMAL_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_HEAD = 64  # bytes by which a picture is recognised


def is_address(value: object) -> bool:
    """Whether a table's picture is an address on the web."""
    return isinstance(value, str) and bool(_ADDRESS.match(value))


def find_picture(value: object, root: Path) -> tuple[Path, str] | None:
    """Return path and sha256 of a post's picture, or None if it has none.

    Args:
        value: a name or path, or a list of these, of which the first that is a picture counts
            (see `formats.files.SourceRow`).
        root: resolved folder that must contain the picture, links followed.

    Raises:
        InputError: there is a picture, but it cannot be used.
    """
    if not isinstance(value, list):
        return None if value is None or value == "" else _picture(value, root)
    problem: InputError | None = None
    for candidate in value:
        try:
            return _picture(candidate, root, checked=True)
        except InputError as error:
            problem = problem or error
    if problem:
        raise problem
    return None


def _picture(value: object, root: Path, *, checked: bool = False) -> tuple[Path, str]:
    """Return path and sha256 of one candidate; if `checked`, it must be a picture by content."""
    try:
        path = _find_file(root, value)
        if checked:
            with path.open("rb") as file:
                head = file.read(_HEAD)
            if picture_format(head) is None:
                raise InputError("found a file of another form, expected a picture")
            if format_of(head) is None:
                raise InputError(explain_unreadable(head, path.suffix))
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:  # the index stores text, but names on Linux may be any bytes
            path = keep_picture(path.read_bytes())
        return path, hash_file(path)
    except (InputError, OSError, ValueError, RuntimeError) as error:
        name = str(value)[:200]
        if isinstance(value, Path):
            name = show_path(value.relative_to(root) if value.is_relative_to(root) else value.name)
        reason = error if isinstance(error, InputError) else f"cannot be read: {error}"
        raise InputError(f"picture {name!r}: {reason}") from error


def _find_file(root: Path, value: object) -> Path:
    """Return the picture's file, which must be in the folder of its posts.

    Raises:
        InputError: the file is missing, elsewhere, or too large.
    """
    if not isinstance(value, str | Path):
        raise InputError(f"found {kind(value)}, expected a path")
    path = _resolve_name(root, value) if isinstance(value, str) else value.resolve()
    if not path.is_relative_to(root):
        raise InputError("found a link out of the folder of its posts, expected a file inside it")
    if not path.is_file():
        raise InputError("found no such file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(f"found {size:,} bytes, expected {MAX_BYTES:,} at most")
    return path


def _resolve_name(root: Path, name: str) -> Path:
    """Return the file that a table names; if there is none, the path as the table spells it.

    Other spellings count, too: Windows separates folders by backslashes, and macOS decomposes
    accents.

    Raises:
        InputError: the name is an address or leads out of the folder.
    """
    first = None
    bare = name.strip()
    for text in dict.fromkeys((name, bare, bare.replace("\\", "/"))):
        normal = (unicodedata.normalize(form, text) for form in _NORMAL_FORMS)
        for spelling in dict.fromkeys((text, *normal)):
            is_outside = Path(spelling).is_absolute() or ".." in Path(spelling).parts
            if is_outside or "\0" in spelling or _SCHEME.match(spelling):
                raise InputError(
                    "expected a path relative to the folder of its posts and inside it"
                )
            path = (root / spelling).resolve()
            if path.is_file():
                return path
            first = first or path
    return first or root
