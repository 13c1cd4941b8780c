"""Logistic regression of several classes, in which each class has the same weight.

Loss and scale are those of scikit-learn's `LogisticRegression(class_weight="balanced")`, a package
too large for this alone. L-BFGS: Liu and Nocedal, "On the limited memory BFGS method for large
scale optimization" (1989).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Floats

if TYPE_CHECKING:
    from scipy import sparse

Weights = NDArray[np.float64]

MAX_ITERATIONS = 500
MAX_GRADIENT = 1e-2  # of the loss, where the search for its minimum ends


def fit_logistic(
    features: sparse.csr_matrix | Floats,
    labels: NDArray[np.int64],
    penalty: float,
    max_iterations: int = MAX_ITERATIONS,
    max_gradient: float = MAX_GRADIENT,
) -> tuple[Weights, Weights, NDArray[np.int64]]:
    """Return weights float64 (k, f) and bias float64 (k,) of each class, and the k classes.

    Args:
        features: (n, f), sparse or dense float32.
        labels: int64 (n,), the class of each row; two classes or more.
        penalty: weight of half the squared weights, without the bias, in the mean loss.
        max_iterations: of the optimizer.
        max_gradient: where the optimizer stops.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    size, width = len(classes), features.shape[1]
    # Two classes are the sides of one regression, and each has half of its weights.
    sides = np.eye(size) if size > 2 else np.array([[-0.5, 0.5]])
    is_sparse = not isinstance(features, np.ndarray)
    # A word without rows gets no weight, and most words have none.
    used = np.arange(width)
    if not isinstance(features, np.ndarray):
        used = np.flatnonzero(features.getnnz(axis=0))
    loss = _Loss(
        features[:, used].astype(np.float64) if is_sparse else features,
        numbers,
        1 / (size * counts[numbers]),
        sides,
        penalty,
    )
    start = np.zeros((len(used) + 1) * len(sides))
    eps = 64 * np.finfo(float).eps
    options = {"maxiter": max_iterations, "maxls": 50, "gtol": max_gradient, "ftol": eps}
    # Steps on sparse features are so short that threads would wait for one another.
    with threadpool_limits(limits=1) if is_sparse else nullcontext():
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    learned = found.reshape(-1, len(sides)) @ sides
    weights = np.zeros((size, width))
    weights[:, used] = learned[:-1].T
    return weights, learned[-1], classes


@dataclass(frozen=True, slots=True, eq=False)
class _Loss:
    """Mean cross-entropy of the classes, and the penalty, of s sides' weights.

    `features` (n, f), `numbers` int64 (n,) of the classes, `shares` float64 (n,) of each row in the
    mean, `sides` float64 (s, k) that make logits, `penalty` of half the squared weights.
    """

    features: sparse.csr_matrix | Floats
    numbers: NDArray[np.int64]
    shares: Weights
    sides: Weights
    penalty: float

    def __call__(self, flat: Weights) -> tuple[float, Weights]:
        """Return the loss, and its gradient ((f + 1) * s,), at weights with the bias last."""
        weights, bias = np.split(flat.reshape(-1, len(self.sides)), [-1])
        dtype = self.features.dtype
        logits = (self.features @ weights.astype(dtype) + bias) @ self.sides
        logits -= logits.max(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        of_truth = logits[rows, self.numbers]
        probs = np.exp(logits)
        totals = probs.sum(axis=1)
        probs /= totals[:, None]
        probs[rows, self.numbers] -= 1
        steps = (self.shares[:, None] * probs) @ self.sides.T
        slopes = self.features.T @ steps.astype(dtype)
        gradient = np.concatenate([slopes, steps.sum(axis=0, keepdims=True)])
        gradient[:-1] += self.penalty * weights
        loss = self.shares @ (np.log(totals) - of_truth)
        return loss + self.penalty / 2 * np.vdot(weights, weights), gradient.ravel()
