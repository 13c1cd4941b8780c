"""Many rows of numbers, float32, on disk instead of in memory: in a file that has no name.

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
    """Rows of one width, added in any number."""

    def __init__(self, width: int) -> None:
        """Start with none."""
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
        """All rows, float32 (n, width), after which none can be added."""
        if self._file is None:
            return np.concatenate([np.empty((0, self._width), np.float32), *self._parts])
        with self._file as file:
            file.flush()
            mapped = np.memmap(file, np.float32, "r", shape=(self._number, self._width))
        return np.asarray(mapped)


def read_rows(number: int, width: int, read: Callable[[slice], Floats]) -> Floats:
    """Rows float32 (number, width), read some at a time, on disk where they are many."""
    found = RowWriter(width)
    for start in range(0, number, ROWS_AT_ONCE):
        found.add(read(slice(start, min(start + ROWS_AT_ONCE, number))))
    return found.to_array()


def concat_rows(parts: Sequence[Floats]) -> Floats:
    """The rows of all parts float32 (p, d), one after another, on disk where they are many."""
    found = RowWriter(parts[0].shape[1])
    for part in parts:
        for start in range(0, len(part), ROWS_AT_ONCE):
            found.add(part[start : start + ROWS_AT_ONCE])
    return found.to_array()


def take_rows(rows: Floats, places: Ids) -> Floats:
    """The rows float32 (p, d) at places int64 (p,), on disk where they are many."""
    return read_rows(len(places), rows.shape[1], lambda some: rows[places[some]])
