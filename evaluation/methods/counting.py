"""Methods that count which hashtags are used, by themselves, by topic, or with the seeds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Ranking, Scores, Vocabulary, answers
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

if TYPE_CHECKING:
    from scipy import sparse

EASE_PENALTY = 100.0
EASE_HASHTAGS = 6_000  # its square is inverted: half a minute on two cores


class Popularity:
    """The most used hashtags, whatever is asked; a score is the share of posts that use one."""

    name = "popularity"
    inputs: frozenset[str] = frozenset()

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = Vocabulary.of(tags)
        self._shares = _column_sums(self._vocabulary.matrix(tags)) / max(len(posts), 1)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        needed = k + max((len(query.seeds) for query in queries), default=0)
        top = np.argsort(-self._shares, kind="stable")[: max(needed, 0)]
        shares = np.zeros_like(self._shares)
        shares[top] = self._shares[top]
        return answers(queries, k, self._vocabulary, lambda batch: np.tile(shares, (len(batch), 1)))


class TopicPopularity:
    """The most used hashtags of a query's topics: sum of P(topic given query) * P(tag given topic).

    Topics of posts and queries are those of `Features`. P(tag given topic) is the share of the
    topic's posts that use the hashtag, a post counting for each topic by its probability. It is
    silent without features, and for queries that have no topics in them.
    """

    name = "topic-popularity"
    inputs = frozenset({"image", "caption", "seeds"})

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count by topic; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = Vocabulary.of(tags)
        self._queries = features.query_topics if features else None
        self._shares = np.zeros((0, len(self._vocabulary.terms)))
        if features and features.post_topics:
            places, probs = features.post_topics.of([post.post_id for post in posts])
            uses = self._vocabulary.matrix([tags[place] for place in places.tolist()])
            totals = probs.sum(axis=0, dtype=np.float64)[:, None]
            self._shares = (uses.T @ probs.astype(np.float64)).T / np.maximum(totals, 1e-12)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        if self._queries is not None and len(self._shares):
            places, probs = self._queries.of(queries)
            scores[places] = probs.astype(np.float64) @ self._shares
        return scores


class _BySeeds(ABC):
    """A hashtag's score is the sum of its weights to the seeds; subclasses say which weights."""

    inputs = frozenset({"seeds"})
    _most: int | None = None  # hashtags in the vocabulary

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn weights of hashtags to hashtags; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = Vocabulary.of(tags, most=self._most)
        self._weights = self._learned(self._vocabulary.matrix(tags))

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        found: Scores = self._vocabulary.matrix([query.seeds for query in queries]) @ self._weights
        return found

    @abstractmethod
    def _learned(self, uses: sparse.csr_matrix) -> Scores:
        """Weights (v, v), from seed to hashtag, of posts' uses (n, v)."""


class Cooccurrence(_BySeeds):
    """Sum over the seeds of P(tag given seed): the share of the seed's posts that use the tag."""

    name = "cooccurrence"

    def _learned(self, uses: sparse.csr_matrix) -> Scores:
        return _scaled_rows(uses.T @ uses, 1 / _column_sums(uses))


class ItemKnn(_BySeeds):
    """Sum over the seeds of the cosine between the posts of a hashtag and those of the seed.

    Deshpande & Karypis, "Item-based top-N recommendation algorithms" (2004), all neighbours kept.
    """

    name = "item-knn"

    def _learned(self, uses: sparse.csr_matrix) -> Scores:
        unit = _scaled_rows(uses.T, 1 / np.sqrt(_column_sums(uses)))
        return unit @ unit.T


class Ease(_BySeeds):
    """A linear autoencoder in closed form: Steck, "Embarrassingly shallow autoencoders" (2019).

    It knows the most used hashtags alone, since its cost grows with the cube of their number.
    """

    name = "ease"
    _most = EASE_HASHTAGS

    def __init__(self, penalty: float = EASE_PENALTY) -> None:
        """Take the weight of the L2 penalty; Steck's lambda."""
        self._penalty = penalty

    def _learned(self, uses: sparse.csr_matrix) -> Scores:
        from scipy import linalg

        gram = (uses.T @ uses).toarray()
        if not len(gram):
            return gram
        gram[np.diag_indices_from(gram)] += self._penalty
        weights: NDArray[np.float64] = linalg.inv(gram, overwrite_a=True, check_finite=False)
        weights /= -np.diag(weights).copy()
        np.fill_diagonal(weights, 0)
        return weights


def _column_sums(uses: sparse.csr_matrix) -> NDArray[np.float64]:
    """Posts that use each hashtag, float64 (v,)."""
    return np.asarray(uses.sum(axis=0), np.float64).ravel()


def _scaled_rows(matrix: sparse.csr_matrix, factors: NDArray[np.float64]) -> sparse.csr_matrix:
    from scipy import sparse

    return sparse.csr_matrix(sparse.diags(factors) @ matrix)
