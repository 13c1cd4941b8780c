"""Result files that are written whole or not at all, and the type of their JSON values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.filesystem import write_durably

Json = dict[str, Any]


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file so that a crash leaves it whole or absent.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror}; name another folder"
        ) from error


def to_file_name(text: str) -> str:
    """Return a name that any file system takes: letters, digits, `+`, `-` and `_`."""
    return re.sub(r"[^\w+-]+", "-", text.replace(",", "+").replace(":", "")) or "-"
