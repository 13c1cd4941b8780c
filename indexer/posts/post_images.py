"""The picture of a post: which file it is, that it lies where it may, and its hash."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hashlens.indexer.decoding.loading import MAX_BYTES, format_of, misreading, picture_format
from hashlens.indexer.errors import InputError
from hashlens.indexer.file_io import hash_file
from hashlens.indexer.images.kept_pictures import keep_picture
from hashlens.indexer.posts.formats.files import show_path
from hashlens.indexer.posts.tables.tables import kind

_ADDRESS = re.compile(r"\s*(?:https?:)?//[^\s/]", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SPELLED: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_HEAD = 64  # bytes that tell a picture from a video or a web page


def is_address(value: object) -> bool:
    """Whether a table names a picture by its address on the web."""
    return isinstance(value, str) and bool(_ADDRESS.match(value))


def find_picture(value: object, root: Path) -> tuple[Path, str] | None:
    """Path and sha256 of a post's picture; None where it has none.

    Args:
        value: a name or a path, or a list of them, of which the first that is a picture is
            taken (see `readers.files.SourceRow`).
        root: resolved folder it must lie in, links followed.

    Raises:
        InputError: there is one, but it cannot be used.
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
    try:
        path = _inside(root, value)
        if checked:
            _check_form(path)
        path = _storable(path)
        return path, hash_file(path)
    except (InputError, OSError, ValueError, RuntimeError) as error:
        reason = error if isinstance(error, InputError) else f"cannot be read: {error}"
        raise InputError(f"picture {_named(value, root)!r}: {reason}") from error


def _named(value: object, root: Path) -> str:
    """What a picture is called in a message."""
    if not isinstance(value, Path):
        return str(value)[:200]
    return show_path(value.relative_to(root) if value.is_relative_to(root) else value.name)


def _inside(root: Path, value: object) -> Path:
    """The picture's file, which must lie in the folder of its posts.

    Raises:
        InputError: it does not, or is no file, or too large.
    """
    if not isinstance(value, str | Path):
        raise InputError(f"found {kind(value)}, expected a path")
    path = _named_file(root, value) if isinstance(value, str) else value.resolve()
    if not path.is_relative_to(root):
        raise InputError("found a link out of the folder of its posts, expected a file inside it")
    if not path.is_file():
        raise InputError("found no such file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(f"found {size:,} bytes, expected {MAX_BYTES:,} at most")
    return path


def _named_file(root: Path, name: str) -> Path:
    """The file that a table names; as it is written, where there is none."""
    found = None
    for spelling in _spellings(name):
        if _leads_out(spelling):
            raise InputError("expected a path relative to the folder of its posts and inside it")
        path = (root / spelling).resolve()
        if path.is_file():
            return path
        found = found or path
    return found or root


def _spellings(name: str) -> Iterator[str]:
    """A name as it is written, and as other systems write it.

    Windows parts folders by backslashes; macOS spells accents apart, most others do not.
    """
    bare = name.strip()
    for text in dict.fromkeys((name, bare, bare.replace("\\", "/"))):
        yield from dict.fromkeys((text, *(unicodedata.normalize(f, text) for f in _SPELLED)))


def _leads_out(name: str) -> bool:
    """Whether a name is an address, or would be outside whatever folder it is put behind."""
    outside = Path(name).is_absolute() or ".." in Path(name).parts
    return "\0" in name or bool(_SCHEME.match(name)) or outside


def _check_form(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if picture_format(head) is None:
        raise InputError("found a file of another form, expected a picture")
    if format_of(head) is None:
        raise InputError(misreading(head, path.suffix))


def _storable(path: Path) -> Path:
    """The same picture under a name that is text: names on Linux may be any bytes."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return keep_picture(path.read_bytes())
    return path
