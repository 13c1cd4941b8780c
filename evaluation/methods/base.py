"""The form of a method, the features that all methods share, and the ranking of scores.

Letters in shapes: q queries, n posts, v hashtags of the vocabulary, d width, t topics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import ConfigError, ShapeError
from hashlens.indexer.types import Floats, Ids, Post
from hashlens.retriever.recommendation import Query

if TYPE_CHECKING:
    from scipy import sparse

Ranking = list[tuple[str, float]]
Scores = Union["sparse.csr_matrix", NDArray[np.float64]]
K = TypeVar("K", bound=Hashable)

MIN_POSTS = 2  # a hashtag of a single post is often that author's brand: never recommended
_MAX_CELLS = 8_000_000  # of the largest dense block of scores: 64 MB


class Method(Protocol):
    """A way to recommend hashtags, learned from posts.

    `inputs` names the parts of a query that the method reads, of `image`, `caption`, `seeds`. The
    answer to a query without them, or with unknown ones only, is an empty list. A method without
    inputs gives every query the same answer. Results depend only on the posts and their order.
    """

    name: str
    inputs: frozenset[str]

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn from training posts; a second call starts anew.

        Args:
            posts: of the training part alone.
            features: computed beforehand for these posts and the test queries.
        """
        ...

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Return at most k hashtags (keys) for each query, without its seeds.

        Scores strictly decrease.

        Raises:
            ConfigError: k is below 1.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class VectorTable(Generic[K]):
    """Vectors by key: `values` float32 (n, d), read-only, rows aligned with `keys`."""

    keys: tuple[K, ...]
    values: Floats

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values).view()
        if values.dtype != np.float32 or values.ndim != 2 or len(values) != len(self.keys):
            raise ShapeError(
                f"VectorTable.values: found {values.dtype} {values.shape}, "
                f"expected float32 ({len(self.keys)}, any)"
            )
        if len(set(self.keys)) < len(self.keys):
            raise ShapeError("VectorTable.keys: found one twice, expected each once")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def lookup(self, keys: Sequence[K | None]) -> tuple[Ids, Floats]:
        """Return positions int64 (m,) of the known keys, and their vectors (m, d)."""
        rows = {key: row for row, key in enumerate(self.keys)}
        found = [(at, rows[key]) for at, key in enumerate(keys) if key is not None and key in rows]
        positions, numbers = np.array(found, np.int64).reshape(-1, 2).T
        return positions, self.values[numbers]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Values that a benchmark computes once for all methods; any of them may be absent.

    They are learned from training posts alone.

    Attributes:
        pictures: unit vectors by path of picture, of training posts and queries.
        topics: names of the t topics.
        post_topics: topic probabilities (m, t) of training posts by `post_id`.
        query_topics: topic probabilities (m, t) by query.
    """

    pictures: VectorTable[Path] | None = None
    topics: tuple[str, ...] = ()
    post_topics: VectorTable[str] | None = None
    query_topics: VectorTable[Query] | None = None

    def __post_init__(self) -> None:
        for name in ("post_topics", "query_topics"):
            table: VectorTable[Any] | None = getattr(self, name)
            if table is not None and table.values.shape[1] != len(self.topics):
                raise ShapeError(
                    f"Features.{name}: found {table.values.shape[1]} columns, "
                    f"expected one for each of {len(self.topics)} topics"
                )


@dataclass(frozen=True, slots=True)
class TermIndex:
    """Terms (hashtags or words) in alphabetical order, numbered; ties go to the lower number."""

    terms: tuple[str, ...]
    numbers: dict[str, int]

    @classmethod
    def count(
        cls,
        lists: Iterable[Iterable[str]],
        *,
        min_posts: int = MIN_POSTS,
        max_terms: int | None = None,
    ) -> Self:
        """Return the terms that are in `min_posts` lists or more, the most used if limited."""
        posts = Counter(term for terms in lists for term in set(terms))
        used = sorted((-count, term) for term, count in posts.items() if count >= min_posts)
        terms = tuple(sorted(term for _, term in used[:max_terms]))
        return cls(terms, {term: number for number, term in enumerate(terms)})

    def matrix(self, lists: Sequence[Iterable[str]]) -> sparse.csr_matrix:
        """Return float64 (n, v), 1 where a list holds a term; repeats count once."""
        from scipy import sparse

        numbers = self.numbers
        rows = [sorted({numbers[t] for t in terms if t in numbers}) for terms in lists]
        columns = np.array([number for row in rows for number in row], dtype=np.int64)
        ends = np.cumsum([0, *map(len, rows)])
        shape = (len(rows), len(self.terms))
        return sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=shape)


def sum_columns(matrix: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the sums of the columns of (n, v), float64 (v,)."""
    return np.asarray(matrix.sum(axis=0), np.float64).ravel()


def check_k(k: int) -> None:
    """Check a number of hashtags.

    Raises:
        ConfigError: k is below 1.
    """
    if k < 1:
        raise ConfigError(f"k: found {k}, expected 1 or more hashtags")


def rank(
    queries: Sequence[Query],
    k: int,
    vocabulary: TermIndex,
    score: Callable[[Sequence[Query]], Scores],
    *,
    width: int = 0,
) -> list[Ranking]:
    """Return the k best hashtags of each query, scored in batches that bound memory.

    Scores are compared in single precision, so that rounding errors do not break ties; ties go by
    key. Hashtags with a score of 0 or less are not recommended.

    Args:
        queries: q queries; their seeds are left out of their answers.
        k: number of hashtags.
        vocabulary: hashtags of the columns of scores.
        score: returns scores (b, v), sparse or dense, of a batch of b queries.
        width: columns of the largest dense block that `score` makes, if that is not v.

    Raises:
        ConfigError: k is below 1.
    """
    from scipy import sparse

    check_k(k)
    size = max(1, _MAX_CELLS // max(width, len(vocabulary.terms), 1))
    rankings: list[Ranking] = []
    for start in range(0, len(queries), size):
        batch = queries[start : start + size]
        rows = sparse.csr_matrix(score(batch))
        for query, begin, end in zip(batch, rows.indptr, rows.indptr[1:], strict=False):
            columns, values = rows.indices[begin:end], rows.data[begin:end].astype(np.float32)
            seeds = [vocabulary.numbers[seed] for seed in query.seeds if seed in vocabulary.numbers]
            allowed = (values > 0) & ~np.isin(columns, seeds)
            columns, values = columns[allowed], values[allowed]
            if len(values) > k:
                contenders = values >= np.partition(values, -k)[-k]
                columns, values = columns[contenders], values[contenders]
            order = np.lexsort((columns, -values))[:k]
            tags = [vocabulary.terms[column] for column in columns[order].tolist()]
            rankings.append(strictly_decreasing(tags, values[order]))
    return rankings


class ScoringMethod(ABC):
    """A method that scores the hashtags of its vocabulary, set by `fit`."""

    _vocabulary: TermIndex
    _width = 0  # columns of the largest dense block in `_score`; see `rank`

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank hashtags by score; see `Method`."""
        return rank(queries, k, self._vocabulary, self._score, width=self._width)

    @abstractmethod
    def _score(self, queries: Sequence[Query]) -> Scores:
        """Return scores (b, v) of b queries."""

    def _zeros(self, queries: Sequence[Query]) -> NDArray[np.float64]:
        return np.zeros((len(queries), len(self._vocabulary.terms)))


def strictly_decreasing(tags: Iterable[str], scores: Iterable[float]) -> Ranking:
    """Return hashtags in their order, with scores that strictly decrease in single precision.

    A score that is not below the one before it becomes the next number below that one.
    """
    ranking: Ranking = []
    last = np.float32(np.inf)
    for tag, score in zip(tags, scores, strict=True):
        last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
        ranking.append((tag, float(last)))
    return ranking


def keep_nearest(similarities: NDArray[np.floating[Any]], neighbours: int) -> sparse.csr_matrix:
    """Return each row's greatest similarities above 0, as a sparse matrix.

    All that tie with the last one are kept, so that the order of posts does not matter.

    Args:
        similarities: (b, n) of b queries to n posts.
        neighbours: number to keep.
    """
    from scipy import sparse

    rounded = similarities.astype(np.float32, copy=False)
    least = np.zeros((len(rounded), 1), np.float32)
    if rounded.shape[1] > neighbours:
        least = np.partition(rounded, -neighbours, axis=1)[:, -neighbours, None]
    return sparse.csr_matrix(np.where((rounded >= least) & (rounded > 0), rounded, 0))
