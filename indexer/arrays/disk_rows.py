"""Rows of float32 numbers, in an unnamed temporary file if they are many.

It goes with the last array that shows it. Where the folder of temporary files is kept in memory,
`TMPDIR` names another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from hashlens.indexer.types import Floats, Ids

MAX_HELD_BYTES = 64 << 20  # bytes that are kept in memory, since few rows are not worth a file
ROWS_AT_ONCE = 4_096  # rows copied at a time


class RowWriter:
    """Collects rows of one width."""

    def __init__(self, width: int) -> None:
        """Start without rows."""
        self._width = width
        self._parts: list[Floats] = []
        self._file: IO[bytes] | None = None
        self._number = 0

    def add(self, rows: Floats) -> None:
        """Add rows float32 (n, width).

        Raises:
            OSError: the folder of temporary files is full.
        """
        self._number += len(rows)
        if self._file is None:
            self._parts.append(rows)
            if 4 * self._number * self._width <= MAX_HELD_BYTES:
                return
            self._file = TemporaryFile(prefix="hashlens-")  # noqa: SIM115 (closed by `to_array`)
            rows = np.concatenate(self._parts)
            self._parts.clear()
        self._file.write(np.ascontiguousarray(rows).data)

    def to_array(self) -> Floats:
        """Return all rows, float32 (n, width); none can be added after that."""
        if self._file is None:
            return np.concatenate([np.empty((0, self._width), np.float32), *self._parts])
        with self._file as file:
            file.flush()
            mapped = np.memmap(file, np.float32, "r", shape=(self._number, self._width))
        return np.asarray(mapped)


def read_rows(number: int, width: int, read: Callable[[slice], Floats]) -> Floats:
    """Read rows float32 (number, width) in blocks; many stay on disk."""
    found = RowWriter(width)
    for start in range(0, number, ROWS_AT_ONCE):
        found.add(read(slice(start, min(start + ROWS_AT_ONCE, number))))
    return found.to_array()


def concat_rows(parts: Sequence[Floats]) -> Floats:
    """Concatenate the rows of parts float32 (p, d); many stay on disk."""
    found = RowWriter(parts[0].shape[1])
    for part in parts:
        for start in range(0, len(part), ROWS_AT_ONCE):
            found.add(part[start : start + ROWS_AT_ONCE])
    return found.to_array()


def take_rows(rows: Floats, places: Ids) -> Floats:
    """Return the rows float32 (p, d) at places int64 (p,); many stay on disk."""
    return read_rows(len(places), rows.shape[1], lambda some: rows[places[some]])
