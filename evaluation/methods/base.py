"""What every method has in common: its form, the features it may use, and ranking of scores.

Letters in shapes: q queries, n posts, v hashtags of the vocabulary, d width, t topics.
"""

from __future__ import annotations

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

MIN_POSTS = 2  # a hashtag of a single post is that author's brand, and offered to nobody
_CELLS = 8_000_000  # of the largest dense block of scores: 64 MB


class Method(Protocol):
    """A way to recommend hashtags, learned from posts.

    `inputs` names those of `image`, `caption`, `seeds` that the method reads: it is silent (gives
    an empty list) for a query that has none of them, or none that it knows. A method that reads
    none gives every query the same. Same posts, same order: same answers.
    """

    name: str
    inputs: frozenset[str]

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn from training posts; may be called again, and then starts anew.

        Args:
            posts: of the training part alone.
            features: what was computed beforehand of these posts and of the queries to come.
        """
        ...

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Hashtags (keys) for each query with scores that strictly fall, k at most, no seeds.

        Raises:
            ConfigError: k is below 1.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Generic[K]):
    """Vectors by key: `values` float32 (n, d), read-only, its rows in step with `keys`."""

    keys: tuple[K, ...]
    values: Floats

    def __post_init__(self) -> None:
        found = np.ascontiguousarray(self.values).view()
        if found.dtype != np.float32 or found.ndim != 2 or len(found) != len(self.keys):
            raise ShapeError(
                f"Rows.values: found {found.dtype} {found.shape}, "
                f"expected float32 ({len(self.keys)}, any)"
            )
        if len(set(self.keys)) < len(self.keys):
            raise ShapeError("Rows.keys: found one twice, expected each once")
        found.flags.writeable = False
        object.__setattr__(self, "values", found)

    def of(self, wanted: Sequence[K | None]) -> tuple[Ids, Floats]:
        """Those of the wanted that are here: places int64 (m,) among them, vectors (m, d)."""
        rows = {key: row for row, key in enumerate(self.keys)}
        places = [at for at, key in enumerate(wanted) if key is not None and key in rows]
        chosen = [rows[key] for at in places if (key := wanted[at]) is not None]
        return np.array(places, np.int64), self.values[np.array(chosen, np.int64)]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a benchmark computes once, so that no method does it anew; any part may be absent.

    What was learned to make these must have been learned from training posts alone.

    Attributes:
        pictures: unit vectors of pictures by their path, of training posts and queries.
        topics: names of the t topics.
        post_topics: topic probabilities (m, t) of training posts by `post_id`.
        query_topics: topic probabilities (m, t) by query, from what that query gives.
    """

    pictures: Rows[Path] | None = None
    topics: tuple[str, ...] = ()
    post_topics: Rows[str] | None = None
    query_topics: Rows[Query] | None = None

    def __post_init__(self) -> None:
        for name in ("post_topics", "query_topics"):
            rows: Rows[Any] | None = getattr(self, name)
            if rows is not None and rows.values.shape[1] != len(self.topics):
                raise ShapeError(
                    f"Features.{name}: found {rows.values.shape[1]} columns, "
                    f"expected one for each of {len(self.topics)} topics"
                )


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Terms (hashtags or words) in alphabetical order, so that a lower number wins a tie."""

    terms: tuple[str, ...]
    numbers: dict[str, int]

    @classmethod
    def of(
        cls,
        lists: Iterable[Iterable[str]],
        *,
        min_posts: int = MIN_POSTS,
        most: int | None = None,
    ) -> Self:
        """Terms that stand in `min_posts` lists or more; of these the `most` used, if given."""
        posts = Counter(term for terms in lists for term in set(terms))
        used = sorted((-count, term) for term, count in posts.items() if count >= min_posts)
        terms = tuple(sorted(term for _, term in used[:most]))
        return cls(terms, {term: number for number, term in enumerate(terms)})

    def matrix(self, lists: Sequence[Iterable[str]]) -> sparse.csr_matrix:
        """float64 (n, v): 1 where a list holds a term, repeats and unknown terms passed over."""
        from scipy import sparse

        numbers = self.numbers
        rows = [sorted({numbers[t] for t in terms if t in numbers}) for terms in lists]
        columns = np.array([number for row in rows for number in row], dtype=np.int64)
        ends = np.cumsum([0, *map(len, rows)])
        shape = (len(rows), len(self.terms))
        return sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=shape)


def answers(
    queries: Sequence[Query],
    k: int,
    vocabulary: Vocabulary,
    score: Callable[[Sequence[Query]], Scores],
    *,
    width: int = 0,
) -> list[Ranking]:
    """The k best hashtags of each query, scored in batches that bound memory.

    Scores are compared in single precision, so that rounding in sums parts no ties, and ties go
    by key. A score of 0 or less is no reason to offer a hashtag.

    Args:
        queries: q queries; their seeds are left out of their answers.
        k: hashtags wanted.
        vocabulary: what the columns of scores stand for.
        score: gives scores (b, v), sparse or dense, of a batch of b queries.
        width: columns of the largest dense block that `score` makes, if that is not v.

    Raises:
        ConfigError: k is below 1.
    """
    if k < 1:
        raise ConfigError(f"k: found {k}, expected 1 or more hashtags")
    size = max(1, _CELLS // max(width, len(vocabulary.terms), 1))
    found: list[Ranking] = []
    for start in range(0, len(queries), size):
        batch = queries[start : start + size]
        found += _ranked(score(batch), batch, k, vocabulary)
    return found


def _ranked(
    scores: Scores, queries: Sequence[Query], k: int, vocabulary: Vocabulary
) -> list[Ranking]:
    from scipy import sparse

    rows = sparse.csr_matrix(scores)
    found = []
    for query, start, end in zip(queries, rows.indptr, rows.indptr[1:], strict=False):
        columns, values = rows.indices[start:end], rows.data[start:end].astype(np.float32)
        seeds = [vocabulary.numbers[seed] for seed in query.seeds if seed in vocabulary.numbers]
        offered = (values > 0) & ~np.isin(columns, seeds)
        best, falling = _best(columns[offered], values[offered], k)
        tags = [vocabulary.terms[column] for column in best.tolist()]
        found.append(list(zip(tags, falling.tolist(), strict=True)))
    return found


def _best(columns: Ids, values: Floats, k: int) -> tuple[Ids, Floats]:
    """The k columns of greatest value, ties by column, and values that strictly fall."""
    if len(values) > k:
        ahead = values >= np.partition(values, -k)[-k]
        columns, values = columns[ahead], values[ahead]
    order = np.lexsort((columns, -values))[:k]
    columns, values = columns[order], values[order]
    for place in range(1, len(values)):
        below = np.nextafter(values[place - 1], np.float32(-np.inf))
        values[place] = min(values[place], below)
    return columns, values


def nearest(similarities: NDArray[np.floating[Any]], neighbours: int) -> sparse.csr_matrix:
    """Keep each row's greatest similarities, those above 0.

    All that tie with the last one kept are kept too: the order of posts decides nothing.

    Args:
        similarities: (b, n) of b queries to n posts.
        neighbours: how many to keep.
    """
    from scipy import sparse

    rounded = similarities.astype(np.float32, copy=False)
    least = np.zeros((len(rounded), 1), np.float32)
    if rounded.shape[1] > neighbours:
        least = np.partition(rounded, -neighbours, axis=1)[:, -neighbours, None]
    return sparse.csr_matrix(np.where((rounded >= least) & (rounded > 0), rounded, 0))
