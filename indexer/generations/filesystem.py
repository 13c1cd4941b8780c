"""Writing that lasts: flushed to disk, one writer at a time, held by readers, a full disk told."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from hashlens.indexer.errors import HashlensError, IndexLockedError, InputError, is_disk_full
from hashlens.indexer.file_io import replace_file


class FileEntry(TypedDict):
    """Size and hash of one file."""

    bytes: int
    sha256: str


MAX_NAME, MAX_PATH = 255, 3_800  # bytes that Linux allows, less those of the files of an index


def check_place(path: Path) -> None:
    """Check that an index can be at a path.

    DuckDB reads options after a question mark, and the system bounds names.

    Raises:
        InputError: it cannot.
    """
    place = os.fsencode(path.resolve())
    if len(place) > MAX_PATH or max(map(len, place.split(b"/"))) > MAX_NAME:
        raise InputError(
            f"{str(path)[:40]}...: found a path of {len(place):,} bytes, expected {MAX_PATH:,} at "
            f"most and {MAX_NAME} in a name: keep the index elsewhere"
        )
    if "?" in str(path.resolve()):
        raise InputError(
            f"{path}: found a question mark in the path, expected none, for DuckDB cannot open "
            "files there: rename that folder, or keep the index elsewhere"
        )


def names_in(folder: Path) -> list[str]:
    """Names in a folder, none where it is missing.

    Unlike `Path.glob`, which passes over a folder that cannot be listed.

    Raises:
        OSError: the folder cannot be listed.
    """
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def paths_in(folder: Path, prefix: str = "") -> list[Path]:
    """Return what lies in a folder, by names that begin with `prefix`; none where it is missing.

    Raises:
        OSError: the folder cannot be listed, or is none.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(folder / name for name in names if name.startswith(prefix))


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, in order of name; none where it is missing.

    Raises:
        OSError: the folder cannot be listed, or is none.
    """
    return [path for path in paths_in(folder) if path.is_dir()]


def write_durably(path: Path, content: bytes) -> None:
    """Put a small file in place, whole or not at all, to outlast a crash."""
    with replace_file(path) as file:
        file.write(content)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_and_hash(path: Path) -> FileEntry:
    """Size and hash of a file whose content is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return read_entry(path)


def read_entry(path: Path) -> FileEntry:
    """Size and hash of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


@contextmanager
def writable(index: Path) -> Iterator[None]:
    """Turn a folder that cannot be written to into a clear error."""
    try:
        yield
    except OSError as error:
        raise HashlensError(
            f"{index}: cannot write there ({error.strerror}), expected a folder of your own"
        ) from error


@contextmanager
def locked(index: Path) -> Iterator[None]:
    """Hold the writer's lock; the kernel lets it go when the process dies."""
    with writable(index):
        # A link is refused: the file is emptied below, and must not be somebody's.
        file = open(index / "writer.lock", "a+", opener=open_nofollow)  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise IndexLockedError(
                f"{index}: process {file.read().strip() or '(unknown)'} is writing to it; "
                "wait until it ends"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def open_nofollow(path: str, flags: int) -> int:
    """Opens a file, never a link to one, and never waits for a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


class Lease:
    """A shared lock on a file: kept from being deleted while this object, or its process, lives.

    Raises:
        OSError: the file is missing, or just being deleted.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileNotFoundError(errno.ENOENT, "is being deleted", str(path)) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # some network drives have none
                raise

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


@contextmanager
def disk_full_explained(index: Path, state: Callable[[], str]) -> Iterator[None]:
    """Turn a full disk, in whichever library, into a clear error.

    Args:
        index: folder that is written to.
        state: says what was left of the index.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise HashlensError(
            f"disk full while writing to {index}: free some space, or name an index on another "
            f"disk (--index); {state()}"
        ) from error
