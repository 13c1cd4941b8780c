"""Nearest-neighbour methods: the posts most similar to a query vote with their hashtags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hashlens.evaluation.methods.base import (
    Features,
    Scores,
    ScoringMethod,
    TermIndex,
    keep_nearest,
    sum_columns,
)
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

if TYPE_CHECKING:
    from scipy import sparse


class NearestPosts(ScoringMethod):
    """A method whose nearest training posts vote with their hashtags."""

    neighbours: int  # the default number of posts that vote

    def __init__(self, neighbours: int | None = None) -> None:
        """Set the number of posts that vote; those that tie with the last one vote, too."""
        self._neighbours = neighbours or self.neighbours


class PostVote(NearestPosts):
    """Posts that share seeds vote for their other hashtags, weighted by similarity to the query.

    Similarity is the cosine of hashtag lists, weighted by inverse document frequency,
    ln(1 + n / posts that use the hashtag). Only the nearest posts vote. Compare session-based
    nearest neighbours in Ludewig & Jannach, "Evaluation of session-based recommendation
    algorithms" (2018).
    """

    name = "post-vote"
    inputs = frozenset({"seeds"})
    neighbours = 200

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Store the posts' hashtags; see `Method`."""
        from scipy import sparse

        tags = [post.hashtags for post in posts]
        self._vocabulary = TermIndex.count(tags)
        uses = self._vocabulary.matrix(tags)
        self._idf = sparse.diags(np.log1p(len(posts) / sum_columns(uses)))
        # A post with one known hashtag has nothing to add to the seed that it shares.
        self._uses = uses[np.diff(uses.indptr) > 1]
        self._unit = _unit_rows(self._uses @ self._idf)
        self._width = self._uses.shape[0]

    def _score(self, queries: Sequence[Query]) -> Scores:
        seeds = self._vocabulary.matrix([query.seeds for query in queries])
        similarities = _unit_rows(seeds @ self._idf) @ self._unit.T
        scores: Scores = keep_nearest(similarities.toarray(), self._neighbours) @ self._uses
        return scores


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the rows scaled to length 1; rows of zeros stay zero."""
    from scipy import sparse

    squares = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()
    lengths = np.sqrt(np.where(squares > 0, squares, 1))
    return sparse.csr_matrix(sparse.diags(1 / lengths) @ matrix)


class ImageKnn(NearestPosts):
    """Posts with the most similar pictures vote for their hashtags, weighted by cosine.

    Picture vectors come from `Features`; without them the answer is empty. Negative cosines do not
    count.
    """

    name = "image-knn"
    inputs = frozenset({"image"})
    neighbours = 50

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Store the posts' hashtags and picture vectors; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = TermIndex.count(tags)
        self._pictures = features.pictures if features else None
        if self._pictures:
            uses = self._vocabulary.matrix(tags)
            rows, vectors = self._pictures.lookup([post.image for post in posts])
            voters = np.diff(uses.indptr)[rows] > 0
            self._uses, self._vectors = uses[rows[voters]], vectors[voters]
            self._width = self._uses.shape[0]

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = self._zeros(queries)
        if self._pictures:
            rows, vectors = self._pictures.lookup([query.image for query in queries])
            similarities = keep_nearest(vectors @ self._vectors.T, self._neighbours)
            scores[rows] = (similarities @ self._uses).toarray()
        return scores
