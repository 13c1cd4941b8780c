"""Nearest-neighbour search with a stable order: by falling score, ties by rising id."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import ShapeError
from hashlens.indexer.types import Floats, Ids, Neighbors, check_unit

EXTRA_NEIGHBOURS = 12
_NONE: Ids = np.zeros(0, dtype=np.int64)

# From queries float32 (q, d) and a number r: ids int64 and scores float32 (q, r) by falling score.
# After the last neighbour come id -1 and the lowest score.
Nearest = Callable[[Floats, int], tuple[Ids, Floats]]


def search_stable(vectors: Floats, m: int, width: int, most: int, nearest: Nearest) -> Neighbors:
    """Return the m nearest of each query; fetch more until no tie reaches beyond them.

    Args:
        vectors: unit queries, float32 (q, d).
        m: number of neighbours; see `VectorIndex.search` for places beyond the last.
        width: expected d.
        most: number of vectors that are compared.
        nearest: the search.

    Raises:
        ShapeError: the width differs, rows are not finite unit vectors, or m is not positive.
    """
    queries = np.ascontiguousarray(vectors)
    if queries.dtype != np.float32 or queries.ndim != 2:
        raise ShapeError(f"found queries {queries.dtype} {queries.shape}, expected float32 (q, d)")
    if queries.shape[1] != width:
        raise ShapeError(f"found vectors of width {queries.shape[1]}, expected {width}")
    check_unit(queries)
    if m < 1:
        raise ShapeError(f"found {m} neighbours asked for, expected 1 or more")
    reach = min(m + EXTRA_NEIGHBOURS, most)
    if not (reach and len(queries)):
        none = np.zeros((len(queries), 0), dtype=np.int64)
        return _padded(none, none.astype(np.float32), m)
    ids, scores = _in_order(*nearest(queries, reach))
    rows = _tied(ids, scores, m, most)
    while len(rows):
        reach = min(4 * reach, most)
        more_ids, more_scores = _in_order(*nearest(queries[rows], reach))
        ids[rows, :m], scores[rows, :m] = more_ids[:, :m], more_scores[:, :m]
        rows = rows[_tied(more_ids, more_scores, m, most)]
    return _padded(ids[:, :m], scores[:, :m], m)


def _in_order(ids: Ids, scores: Floats) -> tuple[Ids, Floats]:
    """Sort the ids of equal scores, of neighbours (q, r) by falling score."""
    return ids[np.arange(len(ids))[:, None], np.lexsort((ids, -scores))], scores


def _tied(ids: Ids, scores: Floats, m: int, most: int) -> Ids:
    """Return rows whose m-th neighbour is as near as the last one fetched, if there are more."""
    if not m < ids.shape[1] < most:
        return _NONE
    if len(ids) == 1 and scores.item(m - 1) > scores.item(-1):
        return _NONE  # the fast path of a single query
    rows: Ids = (scores[:, m - 1] == scores[:, -1]).nonzero()[0]
    return rows[ids[rows, -1] >= 0] if len(rows) else rows


def _padded(ids: Ids, scores: Floats, m: int) -> Neighbors:
    """Return neighbours (q, r), of which the last may be -1, as (q, m), with r at most m."""
    if ids.shape[1] == m and min(ids[:, -1].tolist()) >= 0:
        return Neighbors(ids, scores, np.array([m] * len(ids)))
    real = ids >= 0
    beyond = ((0, 0), (0, m - ids.shape[1]))
    ids = np.pad(np.where(real, ids, 0), beyond)
    scores = np.pad(np.where(real, scores, -np.inf), beyond, constant_values=-np.inf)
    return Neighbors(ids, scores, real.sum(axis=1))


def isin_sorted(ids: Ids, known: Ids) -> NDArray[np.bool_]:
    """Return which ids are among ascending ones; faster than `isin`, which sorts all of them."""
    if not len(known):
        return np.zeros(len(ids), np.bool_)
    places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == ids
    return found
