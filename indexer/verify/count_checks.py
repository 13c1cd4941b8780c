"""Checks of count matrices: they are computed again from the posts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hashlens.indexer.arrays.sparse import Matrix, open_npy
from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.generations.filesystem import paths_in
from hashlens.indexer.storage.count_matrices import EASE_KEPT, Counts, write_counts
from hashlens.indexer.storage.store import Store
from hashlens.indexer.verify.row_checks import find_range_problems

# Solved in floating point: weights of another machine differ slightly, and so does their choice.
_SOLVED = "ease"
_SHARE, _LEAST = 1e-2, 1e-4


def find_count_problems(generation: Path, topics: Sequence[str]) -> Iterator[str]:
    """Yield problems of the counts in a folder.

    Args:
        generation: its folder.
        topics: names, in the order of the topic model.
    """
    folder = generation / "counts"

    def segment(key: str) -> Sequence[str]:
        raise IndexCorruptError(f"found no words of #{key} in the store, expected them")

    with (
        Store.open(generation / "posts.duckdb") as store,
        TemporaryDirectory(prefix="hashlens-") as place,
    ):
        if beyond := [f"{store.path}: {problem}" for problem in find_range_problems(store)]:
            yield from beyond
            return
        linear = int(np.diff(Counts.open(folder).ease.starts).max(initial=0)) or EASE_KEPT
        anew = Path(place) / "counts"
        write_counts(store, segment, topics, anew, min(linear, EASE_KEPT))
        names = sorted({path.name for path in (*paths_in(folder), *paths_in(anew))})
        for name in names:
            if not name.startswith(f"{_SOLVED}."):
                yield from _file_problems(folder / name, anew / name)
        yield from _ease_problems(folder / _SOLVED, anew / _SOLVED)


def _file_problems(path: Path, wanted: Path) -> Iterator[str]:
    if not path.exists() or not wanted.exists():
        yield f"{path}: found or missing, expected the other"
        return
    found, right = open_npy(path), open_npy(wanted)
    if found.shape != right.shape or found.dtype != right.dtype:
        yield (
            f"{path}: found {found.dtype} {found.shape}, its posts give {right.dtype} {right.shape}"
        )
    elif not np.allclose(found, right, rtol=1e-5, atol=0):
        wrong = np.count_nonzero(~np.isclose(found, right, rtol=1e-5, atol=0))
        yield f"{path}: found {wrong} values that its posts do not give"


def _ease_problems(path: Path, wanted: Path) -> Iterator[str]:
    """Compare the sorted weights of each row: nearly equal ones may change places."""
    found, right = Matrix.open(path), Matrix.open(wanted)
    if not np.array_equal(found.starts, right.starts):
        yield f"{path}: found other rows than its posts give"
        return
    if len(found.columns) and not 0 <= found.columns.min() <= found.columns.max() < len(found):
        yield f"{path}: found hashtags that are not there"
    rows = np.repeat(np.arange(len(found)), np.diff(found.starts))
    kept, wanted_kept = (
        matrix.values[np.lexsort((matrix.values[:, 0], rows)), 0] for matrix in (found, right)
    )
    if not np.allclose(kept, wanted_kept, rtol=_SHARE, atol=_LEAST):
        yield f"{path}: found weights that its posts do not give"
