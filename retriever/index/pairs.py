"""Scored pairs of query and hashtag, for a whole batch at once: summed, ranked, looked up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Floats, Ids

PAIR_BASE = 1 << 32  # above every id, so that one integer encodes a pair


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPairs:
    """The scores of one channel.

    `queries` and `ids` int64 (r,), each pair once, ascending; `ids` are of hashtags, or of words or
    posts on the way to them. `values` float32 (r, f) are the channel's columns, of which the first
    orders its candidates. Higher is better.
    """

    queries: Ids
    ids: Ids
    values: Floats

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def keys(self) -> Ids:
        """One integer for each pair, ascending."""
        return self.queries * PAIR_BASE + self.ids

    def where(self, kept: NDArray[np.bool_]) -> ScoredPairs:
        """Return the pairs of a mask, bool (r,)."""
        return ScoredPairs(self.queries[kept], self.ids[kept], self.values[kept])

    def of_query(self, query: int) -> ScoredPairs:
        """Return the pairs of one query."""
        return self.where(self.queries == query)

    def top(self, most: int) -> ScoredPairs:
        """Return the `most` pairs of each query by the first column: ties in order, NaN last."""
        kept = np.ones(len(self), np.bool_)
        for start, length in zip(*map(np.ndarray.tolist, query_runs(self.queries)), strict=True):
            if length > most:
                scores = self.values[start : start + length, 0]
                scores = np.where(np.isnan(scores), -np.inf, scores)
                edge = np.partition(scores, length - most)[length - most]
                mask = scores > edge
                mask[np.flatnonzero(scores == edge)[: most - np.count_nonzero(mask)]] = True
                kept[start : start + length] = mask
        return self.where(kept)

    def relative(self) -> Floats:
        """Return the first column as shares of each query's largest value, float32 (r,)."""
        scores = self.values[:, 0]
        if not len(scores):
            return scores
        starts, lengths = query_runs(self.queries)
        largest = np.maximum.reduceat(scores, starts)
        shares: Floats = scores / np.maximum(np.repeat(largest, lengths), 1e-12)
        return shares


def empty_pairs(columns: int) -> ScoredPairs:
    """Return no pairs, with a number of columns."""
    none = np.zeros(0, np.int64)
    return ScoredPairs(none, none, np.zeros((0, columns), np.float32))


def outer_join(left: ScoredPairs, right: ScoredPairs) -> ScoredPairs:
    """Return the columns of both side by side, NaN where one lacks a pair."""
    keys = np.union1d(left.keys, right.keys)
    values = np.concatenate([lookup_values(left, keys), lookup_values(right, keys)], axis=1)
    return ScoredPairs(keys // PAIR_BASE, keys % PAIR_BASE, values)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows grouped by a key: `keys` int64 (g,) ascending, and `order`, the rows sorted by key."""

    keys: Ids
    order: Ids
    _starts: Ids

    @classmethod
    def of(cls, keys: Ids) -> Groups:
        """Group r rows by their keys, int64 (r,)."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = query_runs(ordered)[0]
        return cls(ordered[starts], order, starts)

    def sum(self, values: Floats) -> Floats:
        """Return the sum of each group, (g,)."""
        return self._reduce(np.add, values)

    def max(self, values: Floats) -> Floats:
        """Return the largest value of each group, (g,)."""
        return self._reduce(np.maximum, values)

    def min(self, values: Floats) -> Floats:
        """Return the smallest value of each group, (g,)."""
        return self._reduce(np.minimum, values)

    @property
    def sizes(self) -> Ids:
        """Rows of each group, (g,)."""
        return _run_lengths(self._starts, len(self.order))

    def pairs(self, *columns: NDArray[Any]) -> ScoredPairs:
        """Return the groups, whose keys are pairs, with `columns` (g,) each as their scores."""
        values = np.stack(columns, axis=1).astype(np.float32)
        return ScoredPairs(self.keys // PAIR_BASE, self.keys % PAIR_BASE, values)

    def _reduce(self, how: np.ufunc, values: Floats) -> Floats:
        if not len(self.keys):
            return np.zeros(0, np.float32)
        reduced: Floats = how.reduceat(values[self.order], self._starts)
        return reduced


def lookup_values(pairs: ScoredPairs, keys: Ids) -> Floats:
    """Return the values of pairs by key, float32 (k, f), NaN where there is no such pair."""
    found = np.full((len(keys), pairs.values.shape[1]), np.nan, np.float32)
    if len(pairs):
        known = pairs.keys
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        there = known[places] == keys
        found[there] = pairs.values[places[there]]
    return found


def query_runs(queries: Ids) -> tuple[Ids, Ids]:
    """Return the start and the length of each run of equal numbers, both int64 (n,)."""
    begins = np.ones(len(queries), np.bool_)
    # `numpy.diff` takes longer than a short query's other steps.
    np.not_equal(queries[1:], queries[:-1], out=begins[1:])
    starts = begins.nonzero()[0]
    return starts, _run_lengths(starts, len(queries))


def rank_rows(queries: Ids, scores: Floats) -> tuple[Ids, Ids]:
    """Return the rows by query, then falling score, and each one's rank in its query, int64 (r,).

    Args:
        queries: int64 (r,), ascending.
        scores: float32 (r,).
    """
    order = np.lexsort((-scores, queries))
    starts, lengths = query_runs(queries)
    return order, np.arange(len(order)) - np.repeat(starts, lengths)


def _run_lengths(starts: Ids, total: int) -> Ids:
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    ends[-1:] = total
    return ends - starts
