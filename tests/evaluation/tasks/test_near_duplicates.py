"""Near-duplicates are the pairs that a comparison of every two texts finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.evaluation.tasks import near_duplicates
from hashlens.evaluation.tasks.near_duplicates import (
    MIN_DISTINCT_WORDS,
    MIN_JACCARD,
    find_near_duplicates,
)

texts = st.lists(st.lists(st.sampled_from("abcdefghijkl"), max_size=14), max_size=30)


def components(pairs: set[tuple[int, int]], count: int) -> list[int]:
    """Return the smallest text that each is connected with."""
    least = list(range(count))
    for _ in range(count):
        for one, other in pairs:
            least[one] = least[other] = min(least[one], least[other])
    return least


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from([0.5, 0.7, 0.8, 1.0]))
def test_pairs_connect_the_same_texts_as_comparing_every_two(
    found: list[list[str]], same: float
) -> None:
    pairs = find_near_duplicates(found, same)
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] < pairs[:, 1]).all()
    found_pairs = {(int(one), int(other)) for one, other in pairs}
    assert len(found_pairs) == len(pairs)
    sets = [frozenset(text) for text in found]
    every = {
        (one, other)
        for one, other in combinations(range(len(sets)), 2)
        if min(len(sets[one]), len(sets[other])) >= MIN_DISTINCT_WORDS
        and len(sets[one] & sets[other]) >= round(same * len(sets[one] | sets[other]), 9)
    }
    assert found_pairs <= every
    assert components(found_pairs, len(sets)) == components(every, len(sets))


def test_pairs_are_found_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [[f"w{n}" for n in range(first, first + 20)] for first in range(0, 40, 2)]
    whole = find_near_duplicates(words)
    monkeypatch.setattr(near_duplicates, "_BLOCK_ROWS", 3)
    monkeypatch.setattr(near_duplicates, "_BLOCK_PAIRS", 2)
    assert sorted(map(tuple, find_near_duplicates(words))) == sorted(map(tuple, whole))
    # Each text shares 18 of 22 words with the next one, and 16 of 24 with the one after: too few.
    assert MIN_JACCARD == 0.7
    assert sorted(map(tuple, whole.tolist())) == [(n, n + 1) for n in range(19)]


def test_short_texts_have_no_near_duplicates() -> None:
    assert find_near_duplicates([]).shape == (0, 2)
    assert find_near_duplicates([[], ["a"], ["a"]]).shape == (0, 2)
    assert find_near_duplicates(["abcde", "abcde", "edcba"]).tolist() == [[0, 1], [0, 2]]
