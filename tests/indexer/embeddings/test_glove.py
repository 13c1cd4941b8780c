"""GloVe: counting against loops, one step against NumPy, falling loss, planted clusters."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hashlens.indexer.embeddings.glove as glove
from hashlens.indexer.embeddings.glove import (
    Cooccurrences,
    GloveModel,
    count_cooccurrences,
    fit_glove,
)


def as_dict(pairs: Cooccurrences) -> dict[tuple[int, int], float]:
    keys = zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)
    return dict(zip(keys, pairs.weights.tolist(), strict=True))


def looped(sentences: list[list[int]], window: int) -> dict[tuple[int, int], float]:
    counts: Counter[tuple[int, int]] = Counter()
    for sentence in sentences:
        for i, left in enumerate(sentence):
            for j in range(i + 1, len(sentence)):
                if window == 0 or j - i <= window:
                    weight = 1 / (j - i) if window else 1
                    counts[left, sentence[j]] += weight  # type: ignore[assignment]
                    counts[sentence[j], left] += weight  # type: ignore[assignment]
    return dict(counts)


def test_counts_by_hand():
    # 0 1 2 1: with window 2, (0, 1) at distance 1, (0, 2) at 2, (1, 2) at 1 twice, (1, 1) at 2.
    pairs = as_dict(count_cooccurrences([np.array([0, 1, 2, 1])], 3, 2))
    assert pairs == {
        **{(0, 1): 1, (1, 0): 1, (0, 2): 0.5, (2, 0): 0.5},
        **{(1, 2): 2, (2, 1): 2, (1, 1): 1},
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), max_size=7), max_size=6),
    st.integers(0, 8),
    st.integers(1, 12),
)
def test_counts_equal_loops(sentences, window, held):
    arrays = [np.array(sentence, np.int64) for sentence in sentences]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glove, "_MAX_HELD_PAIRS", held)
        pairs = as_dict(count_cooccurrences(arrays, 6, window))
    expected = looped(sentences, window)
    assert pairs.keys() == expected.keys()
    for key, weight in expected.items():
        assert pairs[key] == pytest.approx(weight, rel=1e-6)


def random_pairs(size: int, count: int, seed: int = 0) -> Cooccurrences:
    random = np.random.default_rng(seed)
    keys = random.choice(size * size, count, replace=False)
    weights = random.gamma(1, 60, count).astype(np.float32) + 0.5
    return Cooccurrences(keys // size, keys % size, weights)


def objective(word: np.ndarray, context: np.ndarray, pairs: Cooccurrences) -> float:
    """The paper's J, one pair after the other."""
    total = 0.0
    for i, j, x in zip(pairs.rows, pairs.columns, pairs.weights.tolist(), strict=True):
        predicted = float(word[i, :-1] @ context[j, :-1]) + word[i, -1] + context[j, -1]
        total += min(1, (x / 100) ** 0.75) * (predicted - math.log(x)) ** 2
    return total


def stepped(word: np.ndarray, context: np.ndarray, pairs: Cooccurrences):
    """One AdaGrad step at rate 0.05 from squares of 1, written out in loops."""
    gradients = (np.zeros_like(word), np.zeros_like(context))
    squares = (np.ones_like(word), np.ones_like(context))
    for i, j, x in zip(pairs.rows, pairs.columns, pairs.weights.tolist(), strict=True):
        error = word[i, :-1] @ context[j, :-1] + word[i, -1] + context[j, -1] - math.log(x)
        slope = min(1, (x / 100) ** 0.75) * error
        for side, row, other in ((0, i, context[j]), (1, j, word[i])):
            gradient = slope * np.append(other[:-1], 1)
            gradients[side][row] += gradient
            squares[side][row] += gradient**2
    return (
        word - 0.05 * gradients[0] / np.sqrt(squares[0]),
        context - 0.05 * gradients[1] / np.sqrt(squares[1]),
    )


def test_one_step_equals_the_written_out_reference():
    pairs = random_pairs(6, 20)
    model = GloveModel(6, 4, seed=3)
    word, context = (side.astype(np.float64) for side in model.parameters())
    loss = model.fit_epoch(pairs)  # 20 pairs are one batch, so one step
    assert loss * 20 == pytest.approx(objective(word, context, pairs), rel=1e-5)
    for found, expected in zip(model.parameters(), stepped(word, context, pairs), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_step_follows_the_gradient_of_the_objective():
    pairs = random_pairs(5, 12)
    model = GloveModel(5, 3, seed=1)
    before = [side.astype(np.float64) for side in model.parameters()]
    sides = torch.tensor(np.stack(before), requires_grad=True)
    rows, columns = torch.from_numpy(pairs.rows), torch.from_numpy(pairs.columns)
    x = torch.from_numpy(pairs.weights).double()
    products = (sides[0, rows, :-1] * sides[1, columns, :-1]).sum(1)
    error = products + sides[0, rows, -1] + sides[1, columns, -1] - x.log()
    loss = ((x / 100).pow(0.75).clamp(max=1) * error**2).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert sides.grad is not None
    model.fit_epoch(pairs)
    for side in (0, 1):
        moved = model.parameters()[side] - before[side]
        gradient = sides.grad[side].numpy()
        strong = np.abs(gradient) > 1e-4
        assert (np.sign(moved[strong]) == -np.sign(gradient[strong])).all()


def test_loss_falls_towards_an_exact_fit(monkeypatch):
    monkeypatch.setattr(glove, "_BATCH_PAIRS", 16)
    pairs = random_pairs(12, 70)
    model = GloveModel(12, 12, seed=0)
    start = objective(*model.parameters(), pairs)
    losses = [model.fit_epoch(pairs) for _ in range(200)]
    assert losses[0] > losses[20] > losses[199]
    assert objective(*model.parameters(), pairs) < 0.01 * start


def test_planted_clusters_are_neighbours():
    random = np.random.default_rng(0)
    posts = [random.choice(8, 5) + 8 * (n % 3) for n in range(900)]
    pairs = count_cooccurrences(posts, 24, 0)
    vectors = fit_glove(pairs, 24, 10, 40, seed=1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(24)
    nearest = np.argsort(-cosines, axis=1)[:, :7]
    assert (nearest // 8 == np.arange(24)[:, None] // 8).all()


def test_same_seed_same_vectors_and_progress():
    pairs = random_pairs(30, 300)
    shares: list[float] = []
    first = fit_glove(pairs, 30, 8, 4, seed=5, on_progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1]
    np.testing.assert_array_equal(first, fit_glove(pairs, 30, 8, 4, seed=5))
    assert np.abs(first - fit_glove(pairs, 30, 8, 4, seed=6)).max() > 0.01
