"""Search for near-duplicate texts or hashtag lists by the Jaccard index of their words.

The Jaccard index is the resemblance of Broder, "On the resemblance and containment of documents",
1997. The search is exact. It compares two sets only if they share one of the rarest words of each
(Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", 2007).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from hashlens.evaluation.methods.base import TermIndex
from hashlens.indexer.types import Ids

MIN_JACCARD = 0.7
MIN_DISTINCT_WORDS = 5  # independent authors often write the same shorter texts

_EPSILON = 1e-9  # tolerance for rounding
_BLOCK_ROWS = 1_000  # sets whose candidates are in memory at once
_BLOCK_PAIRS = 100_000  # pairs compared at once


def find_near_duplicates(texts: Sequence[Collection[str]], min_jaccard: float = MIN_JACCARD) -> Ids:
    """Return pairs of texts that share most of their words.

    Args:
        texts: words of each of n texts; order and repeats do not matter.
        min_jaccard: least Jaccard index of a pair, in (0, 1].

    Returns:
        int64 (p, 2): distinct pairs of positions, the smaller first. Of several texts with the same
        set of words, each is paired with the first only.
    """
    first: dict[frozenset[str], int] = {}
    equal = []
    for position, text in enumerate(texts):
        words = frozenset(text)
        if len(words) >= MIN_DISTINCT_WORDS and first.setdefault(words, position) != position:
            equal.append((first[words], position))
    positions = np.array(list(first.values()), np.int64)
    pairs = [np.array(equal, np.int64).reshape(-1, 2)]
    pairs += [positions[part] for part in _compare_sets(list(first), min_jaccard)]
    return np.concatenate(pairs)


def _compare_sets(sets: Sequence[frozenset[str]], min_jaccard: float) -> list[Ids]:
    """Return pairs of similar sets, int64 (p, 2) each, in blocks; the sets are distinct."""
    from scipy.sparse import csr_matrix

    matrix = TermIndex.count(sets, min_posts=1).matrix(sets)
    sizes = np.diff(matrix.indptr).astype(np.int64)
    min_shared = np.ceil(min_jaccard * sizes - _EPSILON).astype(np.int64)
    # A set that shares none of its rarest words has too few other words to share `min_shared`.
    rows, words = np.repeat(np.arange(len(sizes)), sizes), matrix.indices
    order = np.lexsort((words, np.bincount(words)[words], rows))
    rank = np.arange(len(order)) - matrix.indptr[rows]
    prefix = order[rank < (sizes - min_shared + 1)[rows]]
    rarest = csr_matrix((np.ones(len(prefix)), (rows[prefix], words[prefix])), matrix.shape)
    columns = rarest.T.tocsr()
    similar = []
    for start in range(0, len(sets), _BLOCK_ROWS):
        near = (rarest[start : start + _BLOCK_ROWS] @ columns).tocoo()
        left, right = near.row.astype(np.int64) + start, near.col.astype(np.int64)
        required = np.maximum(min_shared[left], min_shared[right])
        possible = (left < right) & (np.minimum(sizes[left], sizes[right]) >= required)
        pairs = np.column_stack([left[possible], right[possible]])
        for block in np.split(pairs, range(_BLOCK_PAIRS, len(pairs), _BLOCK_PAIRS)):
            shared = matrix[block[:, 0]].multiply(matrix[block[:, 1]]).sum(axis=1).A1
            union = sizes[block].sum(axis=1) - shared
            similar.append(block[shared >= min_jaccard * union - _EPSILON])
    return similar
