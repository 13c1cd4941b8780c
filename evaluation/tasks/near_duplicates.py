"""Which texts, or lists of hashtags, say nearly the same: most of their words are shared.

Two sets are nearly the same where their Jaccard index, shared words by all words, is large enough
(the resemblance of Broder, "On the resemblance and containment of documents", 1997, over words).
All such pairs are found, exactly, and few others compared: both must hold one of the rarest words
of each (the prefix of Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", 2007).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hashlens.evaluation.methods.base import Vocabulary
from hashlens.indexer.types import Ids

if TYPE_CHECKING:
    from scipy import sparse

SAME = 0.7
FEWEST = 5  # different words: fewer are written anew by people who never saw each other's post

_NOTHING = 1e-9  # what rounding may take
_ROWS = 1_000  # sets whose candidates are held at a time
_PAIRS = 100_000  # pairs that are compared at a time


def nearly_same(texts: Sequence[Collection[str]], same: float = SAME) -> Ids:
    """Pairs of texts that say nearly the same.

    Args:
        texts: words of each of n, in any order; how often one stands there makes no difference.
        same: Jaccard index in (0, 1] from which on two are nearly the same.

    Returns:
        int64 (p, 2): places of pairs, each once, the earlier first. Texts of the very same words
        are paired with the first of them alone.
    """
    first: dict[frozenset[str], int] = {}
    equal = []
    for place, text in enumerate(texts):
        words = frozenset(text)
        if len(words) >= FEWEST and first.setdefault(words, place) != place:
            equal.append((first[words], place))
    places = np.array(list(first.values()), np.int64)
    pairs = [np.array(equal, np.int64).reshape(-1, 2)]
    pairs += [places[found] for found in _alike(list(first), same)]
    return np.concatenate(pairs)


def _alike(sets: Sequence[frozenset[str]], same: float) -> list[Ids]:
    """Pairs of different sets that are nearly the same, int64 (p, 2), in parts."""
    whole = Vocabulary.of(sets, min_posts=1).matrix(sets)
    sizes = np.diff(whole.indptr).astype(np.int64)
    least = np.ceil(same * sizes - _NOTHING).astype(np.int64)  # words that it must share
    # Without any of these, fewer words are left than must be shared.
    rarest = _rarest(whole, sizes - least + 1)
    columns = rarest.T.tocsr()
    found = []
    for start in range(0, len(sets), _ROWS):
        near = (rarest[start : start + _ROWS] @ columns).tocoo()
        left, right = near.row.astype(np.int64) + start, near.col.astype(np.int64)
        short, long = np.minimum(sizes[left], sizes[right]), np.maximum(least[left], least[right])
        kept = (left < right) & (short >= long)
        pairs = np.column_stack([left[kept], right[kept]])
        for some in np.split(pairs, range(_PAIRS, len(pairs), _PAIRS)):
            shared = whole[some[:, 0]].multiply(whole[some[:, 1]]).sum(axis=1).A1
            either = sizes[some].sum(axis=1) - shared
            found.append(some[shared >= same * either - _NOTHING])
    return found


def _rarest(whole: sparse.csr_matrix, most: Ids) -> sparse.csr_matrix:
    """Of each row those words alone that the fewest rows hold: so many, int64 (n,)."""
    from scipy.sparse import csr_matrix

    sizes, words = np.diff(whole.indptr), whole.indices
    rows = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((words, np.bincount(words)[words], rows))
    places = np.arange(len(order)) - whole.indptr[rows]
    kept = order[places < most[rows]]
    return csr_matrix((np.ones(len(kept)), (rows[kept], words[kept])), whole.shape)
