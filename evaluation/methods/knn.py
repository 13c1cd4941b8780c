"""Methods that find the posts most like a query and let them vote with their hashtags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hashlens.evaluation.methods.base import Features, Ranking, Scores, Vocabulary, answers, nearest
from hashlens.indexer.types import Post, Query

if TYPE_CHECKING:
    from scipy import sparse

SEED_NEIGHBOURS = 200
IMAGE_NEIGHBOURS = 50


class PostVote:
    """Posts that share seeds vote for their other hashtags, each by its likeness to the query.

    Likeness is the cosine of hashtag lists, each hashtag weighing its inverse document frequency
    ln(1 + n / posts that use it); the nearest posts alone vote. Session-based nearest neighbours in
    Ludewig & Jannach, "Evaluation of session-based recommendation algorithms" (2018), are alike.
    """

    name = "post-vote"
    inputs = frozenset({"seeds"})

    def __init__(self, neighbours: int = SEED_NEIGHBOURS) -> None:
        """Take how many posts vote; those that tie with the last vote too."""
        self._neighbours = neighbours

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Keep the posts' hashtags; see `Method`."""
        from scipy import sparse

        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        uses = self._vocabulary.matrix([post.hashtags for post in posts])
        counts = np.asarray(uses.sum(axis=0)).ravel()
        self._idf = sparse.diags(np.log1p(len(posts) / counts))
        # A post with one known hashtag has nothing to add to the seed that it shares.
        self._uses = uses[np.diff(uses.indptr) > 1]
        self._unit = _unit_rows(self._uses @ self._idf)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score, width=self._uses.shape[0])

    def _score(self, queries: Sequence[Query]) -> Scores:
        seeds = self._vocabulary.matrix([query.seeds for query in queries])
        likeness = _unit_rows(seeds @ self._idf) @ self._unit.T
        found: Scores = nearest(likeness.toarray(), self._neighbours) @ self._uses
        return found


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of length 1; rows of zeros stay so."""
    from scipy import sparse

    squares = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()
    lengths = np.sqrt(np.where(squares > 0, squares, 1))
    return sparse.csr_matrix(sparse.diags(1 / lengths) @ matrix)


class ImageKnn:
    """Posts with the most similar pictures vote for their hashtags, each by its cosine.

    Picture vectors are those of `Features`; it is silent without them. A cosine below 0 is no vote.
    """

    name = "image-knn"
    inputs = frozenset({"image"})

    def __init__(self, neighbours: int = IMAGE_NEIGHBOURS) -> None:
        """Take how many posts vote; those that tie with the last vote too."""
        self._neighbours = neighbours

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Keep the posts' hashtags and picture vectors; see `Method`."""
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        uses = self._vocabulary.matrix([post.hashtags for post in posts])
        self._pictures = features.pictures if features else None
        if self._pictures:
            places, vectors = self._pictures.of([post.image for post in posts])
            voters = np.diff(uses.indptr)[places] > 0
            self._uses, self._vectors = uses[places[voters]], vectors[voters]

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        width = self._uses.shape[0] if self._pictures else 0
        return answers(queries, k, self._vocabulary, self._score, width=width)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        if self._pictures:
            places, vectors = self._pictures.of([query.image for query in queries])
            likeness = nearest(vectors @ self._vectors.T, self._neighbours)
            scores[places] = (likeness @ self._uses).toarray()
        return scores
