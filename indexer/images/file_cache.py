"""Files that are expensive to make, in the user's cache folder, checked by content.

A file's name ends in the hash of its content: a damaged or truncated file is made again. A hash in
a name does not say who wrote it. So only this user may write to the folders, and files of other
users except root are not read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashlens.indexer.errors import EncoderError, InputError
from hashlens.indexer.file_io import hash_file

FOLDER = "HASHLENS_CACHE"  # environment variable that names another folder
_DIGITS = 32  # of the hash, in names
_MAKING = ".making-"  # begins the names of folders in which files are made


def cache_folder() -> Path:
    """Return the user's cache folder for hashlens, or the one that `HASHLENS_CACHE` names."""
    from platformdirs import user_cache_path

    named = os.environ.get(FOLDER)
    return Path(named).expanduser() if named else user_cache_path("hashlens", appauthor=False)


def cached(
    kind: str,
    name: str,
    key: str,
    make: Callable[[Path], None],
    is_sound: Callable[[Path], bool] = lambda _: True,
) -> Path:
    """Return the file that `make` wrote for this key; make it if needed.

    Args:
        kind: folder in the cache, and the file's ending.
        name: readable part of the file's name.
        key: everything that the content depends on.
        make: writes the file at a path; it is put in place as a whole or not at all.
        is_sound: judges an undamaged file; one that is not sound is made again.

    Raises:
        EncoderError: it cannot be written there, or others may write there.
    """
    folder = cache_folder() / kind
    readable = "".join(c if c.isalnum() or c in "-." else "_" for c in name)
    stem = f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]}"

    def find_sound() -> Path | None:
        for file in sorted(folder.glob(f"{stem}-*.{kind}")):
            if _is_whole(file) and is_sound(file):
                return file
        return None

    try:
        if _is_own(folder) and (file := find_sound()):
            return file
        with _making(folder) as place:
            if file := find_sound():  # another process made it meanwhile
                return file
            for file in folder.glob(f"{stem}-*.{kind}"):
                file.unlink(missing_ok=True)
            made = place / f"made.{kind}"
            make(made)
            final = folder / f"{stem}-{_digest(made)}.{kind}"
            os.replace(made, final)
            return final
    except OSError as error:
        raise EncoderError(_unwritable(folder, error, name)) from error


def keep(kind: str, content: bytes, ending: str) -> Path:
    """Return a file with this content, named by its hash; write it if needed.

    Raises:
        InputError: it cannot be written there, or others may write there.
    """
    folder = cache_folder() / kind
    digest = hashlib.sha256(content).hexdigest()
    file = folder / f"{digest}{ending}"
    try:
        if _is_own(folder) and file.is_file() and file.read_bytes() == content:
            return file.resolve()
        with _making(folder) as place:
            made = place / file.name
            made.write_bytes(content)
            os.replace(made, file)
    except OSError as error:
        raise InputError(_unwritable(folder, error, kind)) from error
    return file.resolve()


def _unwritable(folder: Path, error: OSError, what: str) -> str:
    return (
        f"{folder}: cannot be written ({error.strerror}), expected a folder of your own to keep "
        f"{what} in: name another in the environment as {FOLDER}"
    )


def _is_own(folder: Path) -> bool:
    """Return whether a folder exists; make it safe from other users.

    Raises:
        PermissionError: another user may write to it.
    """
    try:
        found = folder.stat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if found.st_uid == os.geteuid() and found.st_mode & 0o022:
        folder.chmod(0o700)  # made by an earlier version
    elif not _is_safe(found):
        raise PermissionError(0, "other users may write to it")
    return True


def _is_safe(found: os.stat_result) -> bool:
    """Return whether only this user and root may write to a file or folder."""
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & 0o022


@contextmanager
def _making(folder: Path) -> Iterator[Path]:
    """Open a temporary folder inside `folder`, for one process at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    _is_own(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network drives have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in folder.glob(f"{_MAKING}*"):  # by processes that were killed
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_MAKING, dir=folder) as place:
            yield Path(place)
    finally:
        os.close(descriptor)


def whole_files(kind: str, name: str) -> list[Path]:
    """Return undamaged files of a kind by the start of their names; none if others may write."""
    folder = cache_folder() / kind
    try:
        files = sorted(folder.glob(f"{name}*.{kind}")) if _is_own(folder) else []
    except OSError:
        return []
    return [file for file in files if _is_whole(file)]


def _is_whole(file: Path) -> bool:
    try:
        return _is_safe(file.stat()) and _digest(file) == file.stem.rpartition("-")[2]
    except OSError:
        return False


def _digest(file: Path) -> str:
    return hash_file(file)[:_DIGITS]
