"""Scored pairs of query and hashtag, for a whole batch at once: summed, ranked, looked up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Floats, Ids

WIDTH = 1 << 32  # no id is as large: a pair fits one integer


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """What one channel says.

    `queries` and `tags` int64 (r,), each pair once, ascending; `values` float32 (r, f): the
    channel's columns, of which the first orders its candidates. Higher is better.
    """

    queries: Ids
    tags: Ids
    values: Floats

    def __len__(self) -> int:
        return len(self.tags)

    @property
    def keys(self) -> Ids:
        """One integer for each pair, ascending."""
        return self.queries * WIDTH + self.tags

    def where(self, kept: NDArray[np.bool_]) -> Entries:
        """Only these pairs."""
        return Entries(self.queries[kept], self.tags[kept], self.values[kept])

    def best(self, most: int, column: int = 0) -> Entries:
        """The `most` of each query by a column."""
        starts, lengths = ends_of(self.queries)
        kept = np.ones(len(self), np.bool_)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            if length > most:
                span = slice(start, start + length)
                kept[span] = _largest(self.values[span, column], most)
        return self.where(kept)

    def relative(self, column: int = 0) -> Floats:
        """A column as shares of the query's largest, float32 (r,)."""
        scores = self.values[:, column]
        if not len(scores):
            return scores
        starts, lengths = ends_of(self.queries)
        largest = np.maximum.reduceat(scores, starts)
        shares: Floats = scores / np.maximum(np.repeat(largest, lengths), 1e-12)
        return shares


def _largest(scores: Floats, most: int) -> NDArray[np.bool_]:
    """Which of n scores are the `most` largest, bool (n,); of equal ones the first, NaN last."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    edge = np.partition(scores, len(scores) - most)[len(scores) - most]
    kept: NDArray[np.bool_] = scores > edge
    kept[np.flatnonzero(scores == edge)[: most - np.count_nonzero(kept)]] = True
    return kept


def silent(columns: int) -> Entries:
    """Nothing said."""
    return Entries(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, columns), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows put together by a key: `keys` int64 (g,) ascending, and how to fold the rows of each."""

    keys: Ids
    order: Ids
    _starts: Ids

    @classmethod
    def of(cls, keys: Ids) -> Groups:
        """Groups of r rows by their keys, int64 (r,)."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = _begins(ordered)
        return cls(ordered[starts], order, starts)

    def sum(self, values: Floats) -> Floats:
        """Sum over each group, (g,)."""
        return self._fold(np.add, values)

    def max(self, values: Floats) -> Floats:
        """Largest of each group, (g,)."""
        return self._fold(np.maximum, values)

    def min(self, values: Floats) -> Floats:
        """Smallest of each group, (g,)."""
        return self._fold(np.minimum, values)

    @property
    def sizes(self) -> Ids:
        """Rows of each group, (g,)."""
        return _lengths(self._starts, len(self.order))

    def entries(self, *columns: NDArray[Any]) -> Entries:
        """Entries of groups whose keys are pairs; `columns` (g,) each."""
        values = np.stack(columns, axis=1).astype(np.float32)
        return Entries(self.keys // WIDTH, self.keys % WIDTH, values)

    def _fold(self, how: np.ufunc, values: Floats) -> Floats:
        if not len(self.keys):
            return np.zeros(0, np.float32)
        folded: Floats = how.reduceat(values[self.order], self._starts)
        return folded


def looked_up(entries: Entries, keys: Ids) -> Floats:
    """Values of pairs, float32 (k, f), NaN where the entries have none; `keys` as in `Entries`."""
    found = np.full((len(keys), entries.values.shape[1]), np.nan, np.float32)
    if len(entries):
        known = entries.keys
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        there = known[places] == keys
        found[there] = entries.values[places[there]]
    return found


def ends_of(queries: Ids) -> tuple[Ids, Ids]:
    """Where each different query's rows begin, and how many they are, both int64 (n,)."""
    starts = _begins(queries)
    return starts, _lengths(starts, len(queries))


def ranked(queries: Ids, scores: Floats) -> tuple[Ids, Ids]:
    """Rows by query, then falling score, and the place of each in its query, both int64 (r,).

    Args:
        queries: int64 (r,), ascending.
        scores: float32 (r,).
    """
    order = np.lexsort((-scores, queries))
    starts, lengths = ends_of(queries)
    return order, np.arange(len(order)) - np.repeat(starts, lengths)


def _begins(ordered: Ids) -> Ids:
    """Where each run of equal numbers begins; `numpy.diff` takes longer than a short query's."""
    begins = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return begins.nonzero()[0]


def _lengths(starts: Ids, total: int) -> Ids:
    """How long the runs are that begin at `starts`."""
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    ends[-1:] = total
    return ends - starts
