"""Means and neighbours of words in a space, by brute force."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.types import Floats, Ids


def mean(space: WordSpace, words: Sequence[str], weights: Sequence[float] | None = None) -> Floats:
    """The direction of the words' weighted mean, float32 (d,); zeros if none is known."""
    positions, rows = space.lookup(words)
    shares = np.ones(len(words)) if weights is None else np.asarray(weights, np.float64)
    total = shares[positions] @ space.vectors[rows].astype(np.float64)
    found: Floats = (total / max(float(np.linalg.norm(total)), 1e-9)).astype(np.float32)
    return found


def neighbors(
    space: WordSpace, vector: Floats, k: int, among: Ids | None = None
) -> tuple[Ids, Floats]:
    """Rows and cosines of the k nearest, descending; none of zeros."""
    pool = np.arange(len(space)) if among is None else among
    scores = space.vectors[pool].astype(np.float32) @ vector
    best = np.argsort(-scores, kind="stable")[: k if vector.any() else 0]
    return pool[best], scores[best]
