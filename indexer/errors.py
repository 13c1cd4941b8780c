"""Exceptions that hashlens raises on purpose.

Every message says what was found, what was expected and what to do.
The command line turns each into one line and the exit status of its class; `explain` does so for
the errors of the system and of libraries.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

# The system's errors for a disk, quota or file-size limit that is used up.
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries wrap these errors in types of their own: they are known by their words, NumPy's last.
_DISK_FULL_WORDS = (*map(os.strerror, DISK_FULL_ERRNOS), "Not enough free space", " requested and ")
_OWN_MODULES = ("builtins", "hashlens")  # modules of unforeseen errors
MAX_EXPLANATION = 1000  # characters of an error that is not ours

# Advice on damaged files of an index.
DAMAGED = "run `hashlens verify`, then `hashlens rollback` or build again"


class HashlensError(Exception):
    """Base of all errors that hashlens raises on purpose."""

    exit_code = 1


class InputError(HashlensError):
    """A post, query or file of the user cannot be used."""


class CallError(InputError):
    """A call is wrong for any files: an option is missing, or does not fit another."""

    exit_code = 2


class OutputError(HashlensError):
    """The answer of a command cannot be printed."""


class ImageError(InputError):
    """A picture cannot be read, or is larger than is safe to read."""


class ShapeError(HashlensError):
    """An array has the wrong shape, dtype or values."""


class ConfigError(HashlensError):
    """A setting is unknown or out of range."""

    exit_code = 2


class SetupError(ConfigError):
    """A file of settings cannot be used, or a library is missing."""

    exit_code = 1


class EncoderError(HashlensError):
    """An encoder or its weights are missing, or belong to another model."""


class UnknownEncoderError(EncoderError):
    """No encoder has this name."""

    exit_code = 2


class ClusterError(HashlensError):
    """A cluster cannot be reached, lost too many machines, or has other files than this machine."""


class IndexUnusableError(HashlensError):
    """An index cannot be used."""

    exit_code = 4


class IndexMissingError(IndexUnusableError):
    """There is no index in the given folder."""


class IndexCorruptError(IndexUnusableError):
    """Files of an index are missing, truncated or changed."""


class IndexMismatchError(IndexUnusableError):
    """An index has another format or encoder than expected."""


class VectorsUnreachableError(IndexUnusableError):
    """Vectors of an index are in Milvus, which cannot be reached or is not allowed."""


class IndexLockedError(HashlensError):
    """Another process is writing to the index."""

    exit_code = 5


def unreadable(path: object, reason: object) -> IndexCorruptError:
    """Return the error for a file of an index that cannot be read, with advice.

    Raises:
        HashlensError: this user may not read it: it is no damage.
    """
    if isinstance(reason, BaseException):
        check_permission(path, reason)
    return IndexCorruptError(f"{path}: cannot be read ({reason}); {DAMAGED}")


def is_disk_full(error: BaseException) -> bool:
    """Return whether a library reports a full disk, quota or file-size limit."""
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return True
    return any(words in str(error) for words in _DISK_FULL_WORDS)


def is_foreseen(error: BaseException) -> bool:
    """Return whether an error is an expected one of ours, of the system or of a library."""
    kinds = (HashlensError, OSError, EOFError, UnicodeError, MemoryError, ImportError)
    return isinstance(error, kinds) or is_disk_full(error) or _is_of_library(error)


def _is_of_library(error: BaseException) -> bool:
    """Return whether an error has a class of a library, or repeats the system's words."""
    if type(error).__module__.partition(".")[0] not in _OWN_MODULES:
        return True
    return any(os.strerror(code) in str(error) for code in errno.errorcode)


def explain(error: BaseException) -> str:
    """Return one sentence on any error: what was found, and what to do."""
    if isinstance(error, HashlensError):
        return str(error)
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    name = getattr(error, "filename", None)
    where = f"{os.fsdecode(name)}: " if isinstance(name, (str, bytes)) and name else ""
    reason = (getattr(error, "strerror", None) or first_line)[:MAX_EXPLANATION]
    if is_disk_full(error):
        return f"{where}disk full, or a limit of file sizes reached ({reason}): free some space"
    if isinstance(error, RuntimeError) and "home directory" in reason:
        return "found no home folder of this user, expected one: set HOME in the environment"
    if isinstance(error, PermissionError):
        return f"{where}may not be read or written ({reason}), expected the right to: ask its owner"
    if isinstance(error, (OSError, EOFError)):
        return f"{where}found an error of the system ({reason}): check the file, disk or network"
    if isinstance(error, UnicodeError):
        return f"found bytes or letters that are no valid text ({reason}): check names and texts"
    if isinstance(error, MemoryError):
        return f"found too little memory ({reason}): close other programs, or give less at once"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded ({reason}): install hashlens again"
    if _is_of_library(error):
        library = (
            type(error).__module__.partition(".")[0].lstrip("_").replace("builtins", "a library")
        )
        return f"{where}found an error of {library} ({reason}): check the files, disk and memory"
    return f"found an error nobody foresaw ({type(error).__name__}: {reason})"


def check_permission(path: object, error: BaseException) -> None:
    """Raise an error for a file without read permission, rather than call it damaged.

    Raises:
        HashlensError: this user may not read the file.
    """
    is_there = isinstance(path, Path) and path.exists()
    if isinstance(error, PermissionError) or (is_there and not os.access(str(path), os.R_OK)):
        raise HashlensError(
            f"{path}: may not be read by this user (Permission denied), expected the right to: "
            "let its owner run `chmod -R u+rwX,go+rX` on the index"
        ) from error
