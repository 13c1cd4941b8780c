"""The kinds of FAISS index that hold our vectors: made, told apart, and judged whole.

An `exact` index compares every vector; an `ivf` one (Jégou, Douze, Schmid 2011, "Product
quantization for nearest neighbor search", section 4) compares those in the clusters nearest to
the query, and an `ivf-sq8` one keeps a byte for each of a vector's numbers besides. FAISS is
imported on first use.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np

from hashlens.indexer.types import Floats, Ids

Kind = Literal["exact", "ivf", "ivf-sq8"]

KINDS = ("exact", "ivf", "ivf-sq8")
MAX_EXACT = 200_000  # vectors; beyond it an exact answer takes too long
MAX_FLOAT_WIDTH = 256  # numbers of a vector up to which all four bytes of each are kept
TRAINED_PER_CLUSTER = 64  # vectors sampled for k-means: with more, training outlasts all else
KMEANS_ROUNDS = 10  # of k-means; more of them leave recall as it is
SEED = 1
# FAISS compares rows of whole lanes, of so many numbers, quickest: one of 50 takes 7 % longer than
# one of 56, and five times as long where bytes are kept. So zeros follow, which change no product.
LANES = 8
WIDEST_PADDED = 1024  # FAISS reads a padded one only where its width squared may be allocated

Library = Any  # FAISS and its objects, whose own types are incomplete


def kind_for(vectors: Floats) -> Kind:
    """Exact up to 200,000 vectors; beyond it ivf where they are narrow, ivf-sq8 where wide."""
    number, width = vectors.shape
    if number <= MAX_EXACT:
        return "exact"
    return "ivf" if width <= MAX_FLOAT_WIDTH else "ivf-sq8"


def padded_width(width: int) -> int:
    """The width that rows are padded to."""
    return -(-width // LANES) * LANES if width <= WIDEST_PADDED else width


def empty_index(width: int, kind: Kind) -> Library:
    """An index of no vectors; one of clusters is still to be trained."""
    if kind == "exact":
        # Not IndexIDMap2: it takes duplicate ids silently, and its table of ids slows opening.
        return faiss().IndexIDMap(faiss().IndexFlatIP(width))
    return _clusters(width, kind, 1)


def train_index(vectors: Floats, kind: Kind) -> Library:
    """An empty index with clusters of these vectors: 4 √n, of 39 vectors or more each."""
    number, width = vectors.shape
    index = _clusters(width, kind, max(1, min(int(4 * number**0.5), number // 39)))
    index.train(vectors)
    return index


def _clusters(width: int, kind: Kind, number: int) -> Library:
    library, product = faiss(), faiss().METRIC_INNER_PRODUCT
    middles = library.IndexFlatIP(width)
    if kind == "ivf":
        index = library.IndexIVFFlat(middles, width, number, product)
    else:
        bytes_each = library.ScalarQuantizer.QT_8bit
        index = library.IndexIVFScalarQuantizer(middles, width, number, bytes_each, product)
    index.cp.seed, index.cp.niter = SEED, KMEANS_ROUNDS
    index.cp.max_points_per_centroid = TRAINED_PER_CLUSTER
    index.cp.min_points_per_centroid = 1  # fewer only bring a warning on stderr
    return index


def kind_of(index: Library) -> Kind:
    """The kind of an index of ours."""
    if isinstance(index, faiss().IndexIVFScalarQuantizer):
        return "ivf-sq8"
    return "ivf" if isinstance(index, faiss().IndexIVF) else "exact"


def stored_ids(index: Library) -> Ids:
    """Ids in the order of storage, int64 (n,)."""
    if kind_of(index) == "exact":
        return np.asarray(faiss().vector_to_array(index.id_map), dtype=np.int64)
    lists = index.invlists
    parts = [
        faiss().rev_swig_ptr(lists.get_ids(c), lists.list_size(c)).copy()
        for c in range(index.nlist)
        if lists.list_size(c)
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def is_supported(index: Library) -> bool:
    """Whether an index that was read is of one of the kinds, and its parts fit one another."""
    if index.metric_type != faiss().METRIC_INNER_PRODUCT:
        return False
    if type(index) in (faiss().IndexIVFFlat, faiss().IndexIVFScalarQuantizer):
        return bool((index.is_trained or not index.ntotal) and _clusters_fit(index))
    if type(index) is not faiss().IndexIDMap:
        return False
    inner = faiss().downcast_index(index.index)
    sizes = {index.ntotal, inner.ntotal, index.id_map.size()}
    return type(inner) is faiss().IndexFlatIP and len(sizes) == 1 and inner.d == index.d


def _clusters_fit(index: Library) -> bool:
    """Whether an index has a list for each of its clusters, of vectors of its width."""
    middles, lists = faiss().downcast_index(index.quantizer), index.invlists
    if type(middles) is not faiss().IndexFlatIP or middles.d != index.d:
        return False
    flat = kind_of(index) == "ivf"
    if not flat and not _bytes_fit(index):
        return False
    sizes = {lists.code_size, index.code_size, index.d * (4 if flat else 1)}
    numbers = (index.nlist,) if index.is_trained else (0, index.nlist)
    whole = lists.nlist == index.nlist and lists.compute_ntotal() == index.ntotal
    return middles.ntotal in numbers and len(sizes) == 1 and bool(whole)


def _bytes_fit(index: Library) -> bool:
    """Whether vectors are kept as a byte a number, with a range for each that was learned."""
    kept = index.sq
    ranges = (2 * index.d,) if index.is_trained else (0, 2 * index.d)
    same = kept.d == index.d and kept.qtype == faiss().ScalarQuantizer.QT_8bit
    return bool(same and kept.code_size == index.d and kept.trained.size() in ranges)


@cache
def faiss() -> Library:
    """The library."""
    import faiss as library

    return library
