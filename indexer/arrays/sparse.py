"""Sparse matrices on disk, read a few rows at a time.

A matrix is in compressed sparse row form, an array a file, mapped into memory: a query touches the
rows it asks for and nothing else, whatever the size of the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import DAMAGED, IndexCorruptError, ShapeError, unreadable
from hashlens.indexer.types import Floats, Ids

_UNREADABLE = (OSError, ValueError, EOFError, OverflowError, MemoryError, RecursionError)
MAGIC = b"\x93NUMPY"  # a `.npy` file begins so
_PARTS = ("starts", "columns", "values")


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """n sparse rows.

    `starts` int64 (n + 1,): row i has the entries from starts[i] to starts[i + 1]. `columns` int32
    (e,): their columns. `values` float32 (e, v): v numbers of each entry; v may be 0. `width` is
    what the columns that are read must be below.

    Raises:
        ShapeError: the three do not fit.
    """

    starts: Ids
    columns: NDArray[np.int32]
    values: Floats
    width: int = 1 << 31

    def __post_init__(self) -> None:
        wanted = {"starts": (np.int64, 1), "columns": (np.int32, 1), "values": (np.float32, 2)}
        for name, (dtype, axes) in wanted.items():
            found = getattr(self, name)
            if found.dtype != dtype or found.ndim != axes:
                raise ShapeError(
                    f"Matrix.{name}: found {found.dtype} {found.shape}, "
                    f"expected {np.dtype(dtype)} of {axes} axes"
                )
        entries = len(self.columns)
        sound = len(self.starts) and self.starts[0] == 0 and self.starts[-1] == entries
        # Compared, not subtracted: a difference of forged starts may overflow.
        if not sound or (self.starts[1:] < self.starts[:-1]).any():
            raise ShapeError(f"Matrix: found row starts that do not part {entries} entries")
        if len(self.values) != entries:
            raise ShapeError(f"Matrix: found values {self.values.shape}, expected ({entries}, any)")

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, rows: Ids, columns: Ids, values: Floats, size: int) -> Self:
        """Return a matrix of `size` rows from its entries; those of a row keep their order.

        Args:
            rows: whole numbers (e,), each below `size`.
            columns: whole numbers (e,).
            values: numbers (e, v).
            size: number of rows.
        """
        order = np.argsort(rows, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=size))])
        return cls(
            starts.astype(np.int64),
            columns[order].astype(np.int32),
            np.ascontiguousarray(values[order], dtype=np.float32),
        )

    def rows(self, ids: Ids) -> tuple[Ids, Ids, Floats]:
        """Return the entries of some rows; unknown ids have none.

        Args:
            ids: int64 (r,), repeats allowed.

        Returns:
            Of each entry its place in `ids` int64 (f,), its column int64 (f,), and its values
            float32 (f, v).

        Raises:
            IndexCorruptError: a column is not below `width`.
        """
        real = (ids >= 0) & (ids < len(self))
        row = np.where(real, ids, 0)
        begins = self.starts[row] if len(self) else np.zeros(len(ids), np.int64)
        lengths = np.where(real, self.starts[row + 1] - begins if len(self) else 0, 0)
        places = np.repeat(np.arange(len(ids)), lengths)
        shifts = begins - np.cumsum(lengths) + lengths
        entries = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
        columns = self.columns[entries].astype(np.int64)
        # A file of the right hash may still be forged; a check here costs little.
        if len(columns) and not 0 <= columns.min() <= columns.max() < self.width:
            raise IndexCorruptError(f"counts: found a column outside 0 to {self.width}; {DAMAGED}")
        return places, columns, np.asarray(self.values[entries])

    def lengths(self, ids: Ids) -> Ids:
        """Return the number of entries of each row, int64 (r,); 0 for unknown ids."""
        real = (ids >= 0) & (ids < len(self))
        row = np.where(real, ids, 0)
        return np.where(real, self.starts[row + 1] - self.starts[row], 0) if len(self) else 0 * ids

    def save(self, path: Path) -> None:
        """Write one `.npy` file for each part; `path` is the start of their names."""
        for part in _PARTS:
            np.save(path.with_name(f"{path.name}.{part}.npy"), getattr(self, part))

    @classmethod
    def open(cls, path: Path, width: int = 1 << 31) -> Self:
        """Open the matrix saved at `path`, with columns below `width`, mapped into memory.

        Raises:
            IndexCorruptError: a file is missing or not of a matrix.
        """
        starts, columns, values = (
            open_npy(path.with_name(f"{path.name}.{part}.npy")) for part in _PARTS
        )
        try:
            return cls(np.asarray(starts), columns, values, width)
        except ShapeError as error:
            raise unreadable(path, error) from error


def open_npy(path: Path) -> NDArray[Any]:
    """Open an array in a `.npy` file, mapped into memory.

    Raises:
        IndexCorruptError: the file is missing or not of an array.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:  # NumPy would take it for a ZIP archive, or a pickle
                raise ValueError("found no array")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_UNREADABLE, TokenError) as error:
        raise unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        raise unreadable(path, "it is no single array")
    return array.view(np.ndarray)  # a memmap's own slices are slow
