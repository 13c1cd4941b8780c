"""Files that were costly to make, kept in the user's cache folder and known by their content.

A file's name ends in the hash of what it holds: one that was damaged, or cut short, is made anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from indexer.errors import EncoderError, InputError

FOLDER = "HASHLENS_CACHE"  # environment variable that names another folder
_DIGITS = 32  # of the hash, in names


def cache_folder() -> Path:
    """The user's cache folder for hashlens, or the one that `HASHLENS_CACHE` names."""
    from platformdirs import user_cache_path

    named = os.environ.get(FOLDER)
    return Path(named).expanduser() if named else user_cache_path("hashlens", appauthor=False)


def cached(kind: str, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A whole file that `make` once wrote for this key.

    Args:
        kind: folder in the cache, which is also the file's ending.
        name: what people read in the file's name.
        key: everything that what `make` writes depends on.
        make: writes the file at a path; what it leaves is put in place at once or not at all.

    Raises:
        EncoderError: it cannot be written there.
    """
    folder = cache_folder() / kind
    readable = "".join(c if c.isalnum() or c in "-." else "_" for c in name)
    stem = f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]}"
    for file in sorted(folder.glob(f"{stem}-*.{kind}")):
        if _whole(file):
            return file
        file.unlink(missing_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _made(folder, stem, kind, make)
    except OSError as error:
        raise EncoderError(
            f"{folder}: cannot be written ({error.strerror}), expected a folder to keep "
            f"{name} in: name another in the environment as {FOLDER}"
        ) from error


def keep(kind: str, content: bytes, ending: str) -> Path:
    """A file that has this content, under its whole hash; written where there is none yet.

    Raises:
        InputError: it cannot be written there.
    """
    folder = cache_folder() / kind
    digest = hashlib.sha256(content).hexdigest()
    file = folder / f"{digest}{ending}"
    try:
        if file.is_file() and file.read_bytes() == content:
            return file.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as place:
            made = Path(place) / file.name
            made.write_bytes(content)
            os.replace(made, file)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}), expected a folder to keep "
            f"{kind} in: name another in the environment as {FOLDER}"
        ) from error
    return file.resolve()


def whole_files(kind: str, name: str) -> list[Path]:
    """The undamaged files of a kind whose name begins so."""
    return [f for f in sorted((cache_folder() / kind).glob(f"{name}*.{kind}")) if _whole(f)]


def _made(folder: Path, stem: str, kind: str, make: Callable[[Path], None]) -> Path:
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as place:
        file = Path(place) / f"made.{kind}"
        make(file)
        final = folder / f"{stem}-{_digest(file)}.{kind}"
        os.replace(file, final)
    return final


def _whole(file: Path) -> bool:
    try:
        return _digest(file) == file.stem.rpartition("-")[2]
    except OSError:
        return False


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGITS]
