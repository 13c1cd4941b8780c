"""Vectors by id, what a search among them must find, and words near others in a space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.types import Embeddings, Floats, Ids, Neighbors
from hashlens.indexer.vectors.faiss_types import KINDS

WIDTH = 10
kinds = pytest.mark.parametrize("kind", ["exact", "ivf"])
all_kinds = pytest.mark.parametrize("kind", KINDS)


def unit(rows: int, width: int = WIDTH, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def embeddings(rows: int, seed: int = 0) -> Embeddings:
    """Vectors under ids that are neither dense, small nor in order."""
    ids = np.random.default_rng(seed).permutation(rows).astype(np.int64) * 7 + (seed << 40)
    return Embeddings(ids, unit(rows, seed=seed))


def array(*ids: int) -> Ids:
    return np.array(ids, dtype=np.int64)


def brute(known: dict[int, Floats], query: Floats, m: int) -> list[tuple[float, int]]:
    scored = [(float(vector @ query), i) for i, vector in known.items()]
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:m]


def check(found: Neighbors, known: dict[int, Floats], queries: Floats, m: int) -> None:
    """Each row is a true answer: the right scores, each its id's own, equal scores by id."""
    assert found.ids.shape == (len(queries), m)
    for row, query in enumerate(queries):
        ids, scores = found.row(row)
        expected = brute(known, query, m)
        np.testing.assert_allclose(scores, [score for score, _ in expected], atol=1e-5)
        own = [float(known[int(i)] @ query) for i in ids]
        np.testing.assert_allclose(scores, own, atol=1e-5)
        assert len(set(ids.tolist())) == len(ids) == min(m, len(known))
        pairs = list(zip(-scores, ids, strict=True))
        assert pairs == sorted(pairs)
        assert not found.ids[row, len(ids) :].any()
        assert (found.scores[row, len(ids) :] == -np.inf).all()


def as_dict(stored: Embeddings) -> dict[int, Floats]:
    return dict(zip(stored.ids.tolist(), stored.vectors, strict=True))


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
