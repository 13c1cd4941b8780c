"""Methods that count how often hashtags are used: overall, by topic, or together with the seeds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import (
    Features,
    Ranking,
    Scores,
    ScoringMethod,
    TermIndex,
    rank,
    sum_columns,
)
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

if TYPE_CHECKING:
    from scipy import sparse

EASE_PENALTY = 100.0
MAX_EASE_HASHTAGS = 6_000  # a matrix of this size is inverted: half a minute on two cores


class Popularity:
    """The most used hashtags for every query; a score is the share of posts that use one."""

    name = "popularity"
    inputs: frozenset[str] = frozenset()

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count hashtags; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = TermIndex.count(tags)
        self._shares = sum_columns(self._vocabulary.matrix(tags)) / max(len(posts), 1)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank hashtags by share; see `Method`."""
        needed = k + max((len(query.seeds) for query in queries), default=0)
        top = np.argsort(-self._shares, kind="stable")[: max(needed, 0)]
        shares = np.zeros_like(self._shares)
        shares[top] = self._shares[top]
        return rank(queries, k, self._vocabulary, lambda batch: np.tile(shares, (len(batch), 1)))


class TopicPopularity(ScoringMethod):
    """The most used hashtags of a query's topics: sum of P(topic given query) * P(tag given topic).

    Topics of posts and queries are those of `Features`. P(tag given topic) is the share of the
    topic's posts that use the hashtag; a post counts for each topic by its probability. Without
    features, or for queries without topics, the answer is empty.
    """

    name = "topic-popularity"
    inputs = frozenset({"image", "caption", "seeds"})

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count hashtags by topic; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = TermIndex.count(tags)
        self._queries = features.query_topics if features else None
        self._shares = self._zeros(())
        if features and features.post_topics:
            rows, probs = features.post_topics.lookup([post.post_id for post in posts])
            uses = self._vocabulary.matrix([tags[row] for row in rows.tolist()])
            totals = probs.sum(axis=0, dtype=np.float64)[:, None]
            self._shares = (uses.T @ probs.astype(np.float64)).T / np.maximum(totals, 1e-12)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = self._zeros(queries)
        if self._queries is not None and len(self._shares):
            rows, probs = self._queries.lookup(queries)
            scores[rows] = probs.astype(np.float64) @ self._shares
        return scores


class _SeedMethod(ScoringMethod):
    """A hashtag's score is the sum of its weights to the seeds; subclasses compute the weights."""

    inputs = frozenset({"seeds"})
    _max_hashtags: int | None = None

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Compute weights of hashtags to hashtags; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = TermIndex.count(tags, max_terms=self._max_hashtags)
        self._weights = self._fit_weights(self._vocabulary.matrix(tags))

    def _score(self, queries: Sequence[Query]) -> Scores:
        seeds = self._vocabulary.matrix([query.seeds for query in queries])
        scores: Scores = seeds @ self._weights
        return scores

    @abstractmethod
    def _fit_weights(self, uses: sparse.csr_matrix) -> Scores:
        """Return weights (v, v), from seed to hashtag, of the posts' uses (n, v)."""


class Cooccurrence(_SeedMethod):
    """Sum over the seeds of P(tag given seed), the share of the seed's posts that use the tag."""

    name = "cooccurrence"

    def _fit_weights(self, uses: sparse.csr_matrix) -> Scores:
        return _scale_rows(uses.T @ uses, 1 / sum_columns(uses))


class ItemKnn(_SeedMethod):
    """Sum over the seeds of the cosine between the posts of a hashtag and those of the seed.

    Deshpande & Karypis, "Item-based top-N recommendation algorithms" (2004), with all neighbours.
    """

    name = "item-knn"

    def _fit_weights(self, uses: sparse.csr_matrix) -> Scores:
        unit = _scale_rows(uses.T, 1 / np.sqrt(sum_columns(uses)))
        return unit @ unit.T


class Ease(_SeedMethod):
    """A linear autoencoder in closed form: Steck, "Embarrassingly shallow autoencoders" (2019).

    It uses only the most used hashtags, since its cost grows with the cube of their number.
    """

    name = "ease"
    _max_hashtags = MAX_EASE_HASHTAGS

    def __init__(self, penalty: float = EASE_PENALTY) -> None:
        """Set the weight of the L2 penalty, Steck's lambda."""
        self._penalty = penalty

    def _fit_weights(self, uses: sparse.csr_matrix) -> Scores:
        from scipy import linalg

        gram = (uses.T @ uses).toarray()
        if not len(gram):
            return gram
        gram[np.diag_indices_from(gram)] += self._penalty
        weights: NDArray[np.float64] = linalg.inv(gram, overwrite_a=True, check_finite=False)
        weights /= -np.diag(weights).copy()
        np.fill_diagonal(weights, 0)
        return weights


def _scale_rows(matrix: sparse.csr_matrix, factors: NDArray[np.float64]) -> sparse.csr_matrix:
    from scipy import sparse

    return sparse.csr_matrix(sparse.diags(factors) @ matrix)
