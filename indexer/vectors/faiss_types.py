"""The kinds of FAISS index that are supported: made, recognized and validated.

An `exact` index compares every vector. An `ivf` one compares those in the clusters nearest to the
query (Jégou, Douze, Schmid 2011, "Product quantization for nearest neighbor search", section 4).
An `ivf-sq8` one also keeps each number of a vector in a byte. FAISS is imported on first use.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np

from hashlens.indexer.types import Floats, Ids

Kind = Literal["exact", "ivf", "ivf-sq8"]

KINDS = ("exact", "ivf", "ivf-sq8")
MAX_EXACT = 200_000  # vectors; beyond it an exact answer takes too long
MAX_FLOAT_WIDTH = 256  # numbers of a vector that are kept as float32 in large indexes
TRAINED_PER_CLUSTER = 64  # vectors sampled for k-means: with more, training outlasts all else
KMEANS_ROUNDS = 10  # more of them leave recall as it is
SEED = 1

Library = Any  # FAISS and its objects, whose own types are incomplete


def kind_for(vectors: Floats) -> Kind:
    """Return exact up to 200,000 vectors; beyond it ivf for narrow ones, ivf-sq8 for wide ones."""
    number, width = vectors.shape
    if number <= MAX_EXACT:
        return "exact"
    return "ivf" if width <= MAX_FLOAT_WIDTH else "ivf-sq8"


def empty_index(width: int, kind: Kind) -> Library:
    """Return an index of no vectors; one of clusters is not trained."""
    if kind == "exact":
        # Not IndexIDMap2: it takes duplicate ids silently, and its table of ids slows opening.
        return faiss().IndexIDMap(faiss().IndexFlatIP(width))
    return _clusters(width, kind, 1)


def train_index(vectors: Floats, kind: Kind) -> Library:
    """Return an empty index with clusters of these vectors: 4 √n, of 39 vectors or more each."""
    number, width = vectors.shape
    index = _clusters(width, kind, max(1, min(int(4 * number**0.5), number // 39)))
    index.train(vectors)
    return index


def _clusters(width: int, kind: Kind, number: int) -> Library:
    library, product = faiss(), faiss().METRIC_INNER_PRODUCT
    centroids = library.IndexFlatIP(width)
    if kind == "ivf":
        index = library.IndexIVFFlat(centroids, width, number, product)
    else:
        bytes_each = library.ScalarQuantizer.QT_8bit
        index = library.IndexIVFScalarQuantizer(centroids, width, number, bytes_each, product)
    index.cp.seed, index.cp.niter = SEED, KMEANS_ROUNDS
    index.cp.max_points_per_centroid = TRAINED_PER_CLUSTER
    index.cp.min_points_per_centroid = 1  # fewer only bring a warning on stderr
    return index


def kind_of(index: Library) -> Kind:
    """Return the kind of a supported index."""
    if isinstance(index, faiss().IndexIVFScalarQuantizer):
        return "ivf-sq8"
    return "ivf" if isinstance(index, faiss().IndexIVF) else "exact"


def stored_ids(index: Library) -> Ids:
    """Return ids in the order of storage, int64 (n,)."""
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
    """Return whether an index that was read is of a supported kind, and its parts fit together."""
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
    """Return whether an index has a list for each of its clusters, of vectors of its width."""
    centroids, lists = faiss().downcast_index(index.quantizer), index.invlists
    if type(centroids) is not faiss().IndexFlatIP or centroids.d != index.d:
        return False
    is_flat = kind_of(index) == "ivf"
    if not is_flat:  # a byte a number, with a learned range for each
        codes = index.sq
        ranges = (2 * index.d,) if index.is_trained else (0, 2 * index.d)
        is_sq8 = codes.d == index.d and codes.qtype == faiss().ScalarQuantizer.QT_8bit
        if not is_sq8 or codes.code_size != index.d or codes.trained.size() not in ranges:
            return False
    sizes = {lists.code_size, index.code_size, index.d * (4 if is_flat else 1)}
    numbers = (index.nlist,) if index.is_trained else (0, index.nlist)
    is_whole = lists.nlist == index.nlist and lists.compute_ntotal() == index.ntotal
    return centroids.ntotal in numbers and len(sizes) == 1 and bool(is_whole)


@cache
def faiss() -> Library:
    """Return the library."""
    import faiss

    return faiss
