"""Similarity of hashtags, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hashlens.retriever.selection.similarity import (
    mean_similarity,
    similarity,
    stems,
    unrelated_cosine,
    word_overlap,
)


def test_shared_words_are_dices_share() -> None:
    told = word_overlap([stems(w) for w in (("cat",), ("cats",), ("cat", "lover"), ("dog",))])
    third = 2 / 3
    expected: list[list[float]] = [
        [1, 1, third, 0],
        [1, 1, third, 0],
        [third, third, 1, 0],
        [0, 0, 0, 1],
    ]
    np.testing.assert_allclose(told, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cats", "cat"),
        ("puppies", "puppy"),
        ("dresses", "dress"),
        ("beaches", "beach"),
        ("houses", "house"),
        ("bus", "bus"),
        ("glass", "glass"),
        ("москва", "москв"),
        ("москве", "москв"),
        ("кот", "кот"),
        ("café", "cafe"),
        ("猫", "猫"),
        ("dogs of instagram", "dog"),
        ("insta gram", "insta gram"),  # nothing else is said
    ],
)
def test_words_are_told_by_their_stems(words: str, expected: str) -> None:
    assert stems(words.split()) == set(expected.split())


def test_likeness_is_the_greater_of_vectors_above_the_unrelated_and_words() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [-1, 0], [0, 0]], np.float32)
    words = [frozenset({w}) for w in "abca"]
    told = similarity(vectors, 0.2, words)
    assert told.dtype == np.float32
    expected: list[list[float]] = [
        [1, 0.5, 0, 1],  # (0.6 - 0.2) / 0.8; opposite; unknown, but of the same word
        [0.5, 1, 0, 0],
        [0, 0, 1, 0],
        [1, 0, 0, 1],
    ]
    np.testing.assert_allclose(told, expected, atol=1e-6)
    assert mean_similarity(told) == pytest.approx((0.5 + 0 + 1 + 0 + 0 + 0) / 6)
    assert mean_similarity(told[:1, :1]) == mean_similarity(told[:0, :0]) == 0


def test_unrelated_is_what_nineteen_of_twenty_pairs_stay_below() -> None:
    assert unrelated_cosine(np.eye(50, dtype=np.float32)) == 0
    assert unrelated_cosine(np.ones((1, 1), np.float32)) == 0
    assert unrelated_cosine(np.ones((5, 1), np.float32)) == pytest.approx(0.99)
    angles = np.linspace(0, np.pi, 200)
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    every = (fan @ fan.T)[~np.eye(200, dtype=bool)]
    assert unrelated_cosine(fan) == pytest.approx(np.quantile(every, 0.95), abs=0.01)
