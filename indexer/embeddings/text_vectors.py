"""Vectors of texts: the idf-weighted mean of their words' vectors (Arora et al. 2017, without PCA).

Captions and queries go through the same function, so both are in one space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.types import Embeddings


def idf_weights(posts_with: Mapping[str, int], posts: int) -> dict[str, float]:
    """Return the inverse document frequency log(1 + N / n) of each word, from post counts."""
    return {word: float(np.log1p(posts / count)) for word, count in posts_with.items()}


def unseen_idf(posts: int) -> float:
    """Return the weight of a token that no post contains, as of one in a single post."""
    return float(np.log1p(posts))


def text_vectors(
    space: WordSpace, texts: Sequence[Sequence[str]], idf: Mapping[str, float], unseen_idf: float
) -> Embeddings:
    """Return unit vectors of the texts that contain a word of the space.

    Args:
        space: vectors of words and `#hashtags`.
        texts: tokens of each text.
        idf: weight of each token seen in posts.
        unseen_idf: weight of a token that only the space contains.

    Returns:
        Embeddings whose ids are positions in `texts`.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    tokens = [token for text in texts for token in text]
    positions, rows = space.lookup(tokens)
    owners = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)[positions]
    weights = np.array([idf.get(tokens[p], unseen_idf) for p in positions], dtype=np.float32)
    ids, starts = np.unique(owners, return_index=True)
    if not len(ids):
        return Embeddings(ids, np.zeros((0, space.vectors.shape[1]), dtype=np.float32))
    weighted = space.vectors[rows].astype(np.float32) * weights[:, None]
    sums = np.add.reduceat(weighted, starts, axis=0)
    norms = np.linalg.norm(sums, axis=1)
    real = norms > 1e-6
    return Embeddings(ids[real], np.ascontiguousarray(sums[real] / norms[real, None]))
