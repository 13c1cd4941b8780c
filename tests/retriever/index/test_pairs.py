"""Pairs of query and hashtag in arrays, against plain Python dictionaries."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.retriever.index.pairs import (
    PAIR_BASE,
    Groups,
    ScoredPairs,
    empty_pairs,
    lookup_values,
    query_runs,
)

Values = dict[tuple[int, int], float]

numbers = st.integers(-40, 40).map(lambda n: n / 4)  # exact in float32, also when summed
keyed = st.lists(st.tuples(st.integers(0, 2**40), numbers), max_size=30)
few_keys = st.lists(st.tuples(st.integers(0, 5), numbers), max_size=30)
pairs = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 6)), numbers, max_size=25)


def scored(values: Values) -> ScoredPairs:
    """Pairs of two columns: the value, and the value negated."""
    rows = [(*pair, values[pair]) for pair in sorted(values)]
    ids = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    columns = np.array([[row[2], -row[2]] for row in rows], np.float32).reshape(-1, 2)
    return ScoredPairs(ids[:, 0].copy(), ids[:, 1].copy(), columns)


def as_values(found: ScoredPairs) -> Values:
    ids = zip(found.queries.tolist(), found.ids.tolist(), strict=True)
    return dict(zip(ids, found.values[:, 0].tolist(), strict=True))


@given(st.one_of(keyed, few_keys))
def test_groups_fold_as_plain_dictionaries_do(rows: list[tuple[int, float]]) -> None:
    expected: dict[int, list[float]] = defaultdict(list)
    for key, value in rows:
        expected[key].append(value)
    groups = Groups.of(np.array([key for key, _ in rows], np.int64))
    values = np.array([value for _, value in rows], np.float32)
    assert groups.keys.tolist() == sorted(expected)
    folds: list[tuple[Callable[[np.ndarray], np.ndarray], Callable[[list[float]], float]]] = [
        (groups.sum, sum),
        (groups.max, max),
        (groups.min, min),
    ]
    for fold, plain in folds:
        assert fold(values).tolist() == [plain(expected[key]) for key in sorted(expected)]
    assert groups.sizes.tolist() == [len(expected[key]) for key in sorted(expected)]
    assert sorted(groups.order.tolist()) == list(range(len(rows)))


@given(pairs)
def test_groups_become_scored_pairs(values: Values) -> None:
    keys = np.array([query * PAIR_BASE + tag for query, tag in values] * 2, np.int64)
    groups = Groups.of(keys)
    weights = np.array([*values.values()] * 2, np.float32)
    found = groups.pairs(groups.sum(weights), groups.sizes)
    assert as_values(found) == {pair: 2 * value for pair, value in sorted(values.items())}
    assert found.values[:, 1].tolist() == [2] * len(values)
    assert (found.keys == np.unique(keys)).all()


@given(pairs, st.integers(1, 4), st.integers(0, 1))
def test_the_top_are_the_largest_of_each_query_ties_to_the_older_hashtag(
    values: Values, most: int, column: int
) -> None:
    sign = (-1, 1)[column]  # the second column is the first, negated
    expected: Values = {}
    for query in {query for query, _ in values}:
        mine = [pair for pair in values if pair[0] == query]
        mine.sort(key=lambda pair: (sign * values[pair], pair[1]))
        expected |= {pair: -sign * values[pair] for pair in mine[:most]}
    both = scored(values)
    first = ScoredPairs(both.queries, both.ids, both.values[:, [column, 1 - column]])
    found = first.top(most)
    assert as_values(found) == expected
    assert (np.diff(found.keys) > 0).all()


def test_a_missing_score_comes_last() -> None:
    found = ScoredPairs(
        np.zeros(3, np.int64), np.arange(3), np.array([[np.nan], [-5], [1]], np.float32)
    )
    assert found.top(2).ids.tolist() == [1, 2]


@given(pairs.map(lambda values: {pair: abs(value) for pair, value in values.items()}))
def test_relative_scores_are_shares_of_the_largest(values: Values) -> None:
    largest = {q: max(v for (p, _), v in values.items() if p == q) for q, _ in values}
    expected = [
        value / largest[pair[0]] if largest[pair[0]] else 0
        for pair, value in sorted(values.items())
    ]
    found = scored(values).relative()
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


@given(pairs, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=20))
def test_values_are_looked_up_by_pair(values: Values, wanted: list[tuple[int, int]]) -> None:
    keys = np.array([query * PAIR_BASE + tag for query, tag in wanted], np.int64)
    found = lookup_values(scored(values), keys)
    assert found.shape == (len(wanted), 2)
    for row, pair in zip(found.tolist(), wanted, strict=True):
        if pair in values:
            assert row == [values[pair], -values[pair]]
        else:
            assert all(map(math.isnan, row))


@given(pairs, st.integers(0, 2**20))
def test_only_some_pairs_are_kept(values: Values, mask: int) -> None:
    kept = [pair for place, pair in enumerate(sorted(values)) if mask >> place & 1]
    flags = np.array([pair in kept for pair in sorted(values)], np.bool_)
    assert list(as_values(scored(values).where(flags))) == kept


@given(st.lists(st.integers(0, 5)).map(sorted))
def test_runs_tell_where_each_query_begins(queries: list[int]) -> None:
    starts, lengths = query_runs(np.array(queries, np.int64))
    different = sorted(set(queries))
    assert starts.tolist() == [queries.index(query) for query in different]
    assert lengths.tolist() == [queries.count(query) for query in different]


def test_empty_pairs_keep_their_columns() -> None:
    nothing = empty_pairs(3)
    assert (len(nothing), nothing.values.shape) == (0, (0, 3))
    assert len(nothing.top(5)) == len(nothing.relative()) == 0
    assert np.isnan(lookup_values(nothing, np.array([7]))).all()
    assert lookup_values(nothing, np.array([7])).shape == (1, 3)
