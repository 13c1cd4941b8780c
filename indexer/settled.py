"""The nearest of queries in one order, whoever searches: by falling score, ties by rising id."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ShapeError
from indexer.schema import Embeddings, Floats, Ids, Neighbors

SPARE = 16  # neighbours fetched beyond those asked for, to see where ties end

# Of queries float32 (q, d) and a number r: ids int64 and scores float32 (q, r) by falling score,
# then id; id -1 and any score where there is none.
Nearest = Callable[[Floats, int], tuple[Ids, Floats]]


def settled(vectors: Floats, m: int, width: int, most: int, nearest: Nearest) -> Neighbors:
    """The m nearest of each query, once no tie reaches beyond what was fetched.

    Args:
        vectors: unit queries, float32 (q, d).
        m: neighbours wanted; see `VectorIndex.search` for places beyond the last.
        width: that d must be.
        most: neighbours that can be had.
        nearest: what searches.

    Raises:
        ShapeError: the width differs, rows are not finite unit vectors, or m is not positive.
    """
    queries = Embeddings(np.arange(len(vectors), dtype=np.int64), vectors).vectors
    check_width(queries, width)
    if m < 1:
        raise ShapeError(f"found {m} neighbours asked for, expected 1 or more")
    ids = np.zeros((len(queries), m), dtype=np.int64)
    scores = np.full(ids.shape, -np.inf, dtype=np.float32)
    counts = np.zeros(len(queries), dtype=np.int64)
    rows, reach = np.arange(len(queries)), min(m + SPARE, most)
    while reach and len(rows):
        found, told = nearest(queries[rows], reach)
        tied = np.zeros(len(rows), dtype=bool)
        if m < reach < most:
            tied = (told[:, m - 1] == told[:, -1]) & (found[:, -1] >= 0)
        done, found, told = rows[~tied], found[~tied, :m], told[~tied, :m]
        real = found >= 0
        counts[done] = real.sum(axis=1)
        ids[done, : real.shape[1]] = np.where(real, found, 0)
        scores[done, : real.shape[1]] = np.where(real, told, -np.inf)
        rows, reach = rows[tied], min(4 * reach, most)
    return Neighbors(ids, scores, counts)


def in_order(ids: Ids, scores: Floats) -> tuple[Ids, Floats]:
    """Neighbours (q, r) by falling score, equal ones by rising id."""
    order = np.lexsort((ids, -scores))
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)


def check_width(vectors: Floats, width: int) -> None:
    """Hold vectors to a width.

    Raises:
        ShapeError: theirs is another.
    """
    if vectors.shape[1] != width:
        raise ShapeError(f"found vectors of width {vectors.shape[1]}, expected {width}")


def among(ids: Ids, known: Ids) -> NDArray[np.bool_]:
    """Which of some ids are among ascending ones: quicker than `isin`, which sorts all of them."""
    if not len(known):
        return np.zeros(len(ids), np.bool_)
    places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == ids
    return found
