"""Logistic regression of several classes on sparse features, each class weighing the same.

The loss, its scale and where the search for its minimum stops are those of scikit-learn's
`LogisticRegression(class_weight="balanced")`, a package too large for this alone. L-BFGS: Liu and
Nocedal, "On the limited memory BFGS method for large scale optimization" (1989).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

Weights = NDArray[np.float64]

MAX_ITERATIONS = 500  # at most
MAX_GRADIENT = 1e-2  # slope of the loss at which the search may end


def fit_logistic(
    features: sparse.csr_matrix, labels: NDArray[np.int64], strength: float
) -> tuple[Weights, Weights, NDArray[np.int64]]:
    """Weights float64 (k, f) and bias float64 (k,) of each class, and the k classes, ascending.

    Args:
        features: (n, f).
        labels: int64 (n,), the class of each row; two classes or more.
        strength: inverse weight of the L2 penalty, which the bias does not pay.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    size = len(classes)
    # Two classes are the sides of one regression, and each has half of its weights.
    sides = np.eye(size) if size > 2 else np.array([[-0.5, 0.5]])
    # A word that no row has gets no weight, and most words are such.
    seen = np.flatnonzero(features.getnnz(axis=0))
    loss = _Loss(
        features[:, seen].astype(np.float64),
        numbers,
        1 / (size * counts[numbers]),
        sides,
        1 / (strength * len(labels)),
    )
    start = np.zeros((len(seen) + 1) * len(sides))
    options = {
        "maxiter": MAX_ITERATIONS,
        "maxls": 50,
        "gtol": MAX_GRADIENT,
        "ftol": 64 * np.finfo(float).eps,
    }
    with threadpool_limits(limits=1):  # steps are so short that threads would wait for one another
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    learned = found.reshape(-1, len(sides)) @ sides
    weights = np.zeros((size, features.shape[1]))
    weights[:, seen] = learned[:-1].T
    return weights, learned[-1], classes


@dataclass(frozen=True, slots=True, eq=False)
class _Loss:
    """Mean surprise at the classes, and the penalty, of s sides' weights.

    `features` float64 (n, f), `numbers` int64 (n,) of the classes, `shares` float64 (n,) that each
    row has in the mean, `sides` float64 (s, k) that make logits, `penalty` of squared weights.
    """

    features: sparse.csr_matrix
    numbers: NDArray[np.int64]
    shares: Weights
    sides: Weights
    penalty: float

    def __call__(self, flat: Weights) -> tuple[float, Weights]:
        """Loss and its slope ((f + 1) * s,) at weights with the bias as the last row."""
        weights, bias = np.split(flat.reshape(-1, len(self.sides)), [-1])
        logits = (self.features @ weights + bias) @ self.sides
        logits -= logits.max(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        of_truth = logits[rows, self.numbers]
        chances = np.exp(logits)
        totals = chances.sum(axis=1)
        chances /= totals[:, None]
        chances[rows, self.numbers] -= 1
        steps = (self.shares[:, None] * chances) @ self.sides.T
        slope = np.concatenate([self.features.T @ steps, steps.sum(axis=0, keepdims=True)])
        slope[:-1] += self.penalty * weights
        surprise = self.shares @ (np.log(totals) - of_truth)
        return surprise + self.penalty / 2 * np.vdot(weights, weights), slope.ravel()
