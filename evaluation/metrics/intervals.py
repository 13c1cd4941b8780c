"""Bootstrap intervals of means over queries, and paired tests of one method against another.

Percentile intervals (Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) and
the two-sided p-value of a mean difference under resampled differences shifted to mean 0 (chapter
16; for retrieval metrics: Sakai, SIGIR 2006), counted with the observed one included, as Davison
and Hinkley (1997, chapter 4) do, so that it is never 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashlens.indexer.errors import ConfigError, InputError, ShapeError

LEVEL = 0.95

_CHUNK = 4_000_000  # drawn positions held at once: 32 MB
_SLACK = 1e-12  # rounding must not tell equal means apart

Values = NDArray[np.float64]


class Difference(NamedTuple):
    """Mean of a minus b over queries, its 95 % interval, and the two-sided p-value."""

    diff: float
    low: float
    high: float
    p: float


def bootstrap_mean(values: ArrayLike, seed: int, resamples: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean.

    Args:
        values: (n,) numbers, one a query.
        seed: the same one gives the same interval.
        resamples: draws of n values with replacement.

    Raises:
        InputError: there are no values.
        ShapeError: they are not one row of finite numbers.
        ConfigError: `resamples` is below 1.
    """
    low, high = bootstrap_means(_row(values)[:, None], seed, resamples)
    return float(low[0]), float(high[0])


def bootstrap_means(values: Values, seed: int, resamples: int = 2000) -> tuple[Values, Values]:
    """95 % intervals of the means of all columns at once, as `bootstrap_mean` of each.

    Args:
        values: float64 (n, c), finite.
        seed: the same one draws the same rows for every column.
        resamples: draws of n rows with replacement.

    Returns:
        Lower and upper bounds, each float64 (c,).

    Raises:
        InputError: there are no rows.
        ShapeError: the values are no finite matrix.
        ConfigError: `resamples` is below 1.
    """
    return _bounds(_means(_checked(values, 2), seed, resamples))


def paired_difference(a: ArrayLike, b: ArrayLike, seed: int, resamples: int = 2000) -> Difference:
    """How much better `a` is than `b` on the same queries, and whether that may be chance.

    Args:
        a: (n,) numbers, one a query.
        b: (n,) numbers of the same queries in the same order.
        seed: the same one gives the same answer.
        resamples: draws of n queries with replacement; p is at least 1 / (resamples + 1).

    Raises:
        InputError: there are no values.
        ShapeError: they are not two equally long rows of finite numbers.
        ConfigError: `resamples` is below 1.
    """
    first, second = _row(a), _row(b)
    if first.shape != second.shape:
        raise ShapeError(
            f"paired difference: found {len(first):,} and {len(second):,} values, "
            "expected one of each for every query"
        )
    differences = first - second
    means = _means(differences[:, None], seed, resamples)
    (low,), (high,) = _bounds(means)
    mean = float(differences.mean())
    extreme = np.count_nonzero(np.abs(means - mean) >= abs(mean) - _SLACK)
    return Difference(mean, float(low), float(high), float((1 + extreme) / (1 + resamples)))


def _row(values: ArrayLike) -> Values:
    return _checked(np.asarray(values, dtype=np.float64), 1)


def _checked(values: Values, dimensions: int) -> Values:
    if values.ndim != dimensions or not np.isfinite(values).all():
        raise ShapeError(
            f"bootstrap: found values of shape {values.shape}, "
            f"expected finite numbers in {dimensions} dimension(s)"
        )
    if not len(values):
        raise InputError("bootstrap: found no values, expected one or more queries")
    return values


def _means(values: Values, seed: int, resamples: int) -> Values:
    """Means of resampled rows, float64 (resamples, c)."""
    if resamples < 1:
        raise ConfigError(f"bootstrap: found {resamples} resamples, expected 1 or more")
    rng = np.random.default_rng(seed)
    count = len(values)
    chunk = max(1, _CHUNK // count)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, chunk):
        drawn = rng.integers(count, size=(min(chunk, resamples - start), count))
        for column, numbers in enumerate(np.ascontiguousarray(values.T)):
            means[start : start + chunk, column] = numbers[drawn].mean(axis=1)
    return means


def _bounds(means: Values) -> tuple[Values, Values]:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
