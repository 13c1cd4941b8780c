"""Logistic regression against scikit-learn's, and where nothing can be learned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax

from hashlens.indexer.topics.logistic import fit_logistic


def words(rows: int, classes: int, seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Rows of a few of many words by Zipf's law, unevenly of classes that each prefer some."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(classes + 1))) * 3
    ranks = rng.zipf(1.3, (rows, 12)) % 2_000
    ranks[:, :2] = 2_000 + labels[:, None] * 10 + rng.integers(0, 12, (rows, 2))
    values = rng.random(ranks.size).astype(np.float32)
    places = np.repeat(np.arange(rows), ranks.shape[1])
    return sparse.csr_matrix((values, (places, ranks.ravel())), (rows, 3_000)), labels


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_it_is_scikit_learns(classes: int, strength: float) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    features, labels = words(1_500, classes)
    judge = linear.LogisticRegression(
        C=strength, class_weight="balanced", max_iter=500, tol=1e-2
    ).fit(features, labels)
    weights, bias, found = fit_logistic(features, labels, 1 / (strength * len(labels)))
    assert found.tolist() == judge.classes_.tolist()
    unseen, _ = words(300, classes, seed=1)
    chances = softmax(unseen @ weights.T + bias, axis=1)
    assert chances == pytest.approx(judge.predict_proba(unseen), abs=1e-3)
    assert not weights[:, features.getnnz(axis=0) == 0].any()
    if classes > 2:
        assert weights == pytest.approx(judge.coef_, abs=2e-3)
        assert bias == pytest.approx(judge.intercept_, abs=2e-3)
    else:
        assert weights[1] - weights[0] == pytest.approx(judge.coef_[0], abs=2e-3)


@pytest.mark.parametrize("is_sparse", [True, False])
def test_at_its_minimum_the_slope_is_that_of_the_loss_written_out(is_sparse: bool) -> None:
    """Mean surprise over classes that weigh the same, plus |w|^2 / (2 C n): no step lowers it."""
    features, labels = words(200, 4)
    given = features if is_sparse else features.toarray()
    weights, bias, classes = fit_logistic(given, labels, 1 / (0.5 * 200), max_gradient=1e-9)
    names = labels[:, None] == classes

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        of_truth = softmax(features @ weights.T + bias, axis=1)[names]
        surprise = np.mean([-np.log(of_truth[row]).mean() for row in names.T])
        return float(surprise + (weights**2).sum() / (2 * 0.5 * 200))

    rng, least = np.random.default_rng(0), loss(weights, bias)
    for _ in range(20):
        step, shift = rng.normal(0, 1e-3, weights.shape), rng.normal(0, 1e-3, bias.shape)
        assert loss(weights + step, bias) > least
        assert loss(weights, bias + shift - shift.mean()) > least


def test_rows_without_a_word_leave_every_class_as_likely() -> None:
    weights, bias, _ = fit_logistic(
        sparse.csr_matrix((6, 4), dtype=np.float32), np.array([0, 0, 0, 0, 1, 2]), 0.5
    )
    assert not weights.any()
    assert bias == pytest.approx(np.zeros(3), abs=1e-9)
