"""Hashes of files, and files that are replaced as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def hash_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, which replaces `path` once the block succeeds.

    The content is on disk then. If the block fails, the temporary file is removed.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # it may be a link to somebody's file
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
