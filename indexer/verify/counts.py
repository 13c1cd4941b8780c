"""Whether the counts that answers rest on are those that the posts give: they are made anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hashlens.indexer.arrays.sparse import Matrix, opened
from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.generations.filesystem import paths_in
from hashlens.indexer.storage.count_matrices import EASE_KEPT, Counts, write_counts
from hashlens.indexer.storage.store import Store

# Solved in floating point: another machine's weights differ a little, and so which are kept.
_SOLVED = "ease"
_SHARE, _LEAST = 1e-2, 1e-4


def count_troubles(folder: Path, store: Store, topics: Sequence[str]) -> Iterator[str]:
    """What is wrong with the counts in a folder.

    Args:
        folder: `counts` of a generation.
        store: its rows.
        topics: names, in the order of the topic model.
    """
    found = Counts.open(folder).ease
    linear = int(np.diff(found.starts).max(initial=0)) or EASE_KEPT
    with TemporaryDirectory(prefix="hashlens-") as place:
        anew = Path(place) / "counts"
        write_counts(store, _uncut, topics, anew, min(linear, EASE_KEPT))
        names = sorted({path.name for path in (*paths_in(folder), *paths_in(anew))})
        for name in names:
            if not name.startswith(f"{_SOLVED}."):
                yield from _file_troubles(folder / name, anew / name)
        yield from _solved_troubles(folder / _SOLVED, anew / _SOLVED)


def _uncut(key: str) -> Sequence[str]:
    raise IndexCorruptError(f"found no words of #{key} in the store, expected them")


def _file_troubles(path: Path, wanted: Path) -> Iterator[str]:
    if not path.exists() or not wanted.exists():
        yield f"{path}: found or missing, expected the other"
        return
    found, right = opened(path), opened(wanted)
    if found.shape != right.shape or found.dtype != right.dtype:
        yield (
            f"{path}: found {found.dtype} {found.shape}, its posts give {right.dtype} {right.shape}"
        )
    elif not np.allclose(found, right, rtol=1e-5, atol=0):
        wrong = np.count_nonzero(~np.isclose(found, right, rtol=1e-5, atol=0))
        yield f"{path}: found {wrong} values that its posts do not give"


def _solved_troubles(path: Path, wanted: Path) -> Iterator[str]:
    """The weights kept of each row, whichever of nearly equal ones they are."""
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
