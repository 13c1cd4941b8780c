"""Bootstrap intervals of means over queries, and paired tests of two methods.

Intervals are percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 13). The p-value is two-sided, of a mean difference under resampled differences shifted to
mean 0 (chapter 16; for retrieval metrics: Sakai, SIGIR 2006). The observed difference is counted,
too (Davison and Hinkley, 1997, chapter 4), so that the p-value is never 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashlens.indexer.errors import ConfigError, InputError, ShapeError

LEVEL = 0.95

_BATCH_VALUES = 4_000_000  # resampled values in memory at once: 32 MB
_EPSILON = 1e-12  # tolerance for rounding when means are compared

Values = NDArray[np.float64]


class Difference(NamedTuple):
    """Mean of a minus b over queries, its 95 % interval, and the two-sided p-value."""

    diff: float
    low: float
    high: float
    p: float


def bootstrap_means(
    values: Values, seed: int, resamples: int = 2000
) -> tuple[Values, Values, Values]:
    """Return 95 % intervals of the means of all columns.

    Args:
        values: float64 (n, c), finite.
        seed: of the draws; all columns are resampled by the same rows.
        resamples: number of draws of n rows with replacement.

    Returns:
        Lower bounds (c,), upper bounds (c,), and the means of the resamples (c, resamples), all
        float64.

    Raises:
        InputError: there are no rows.
        ShapeError: the values are not a finite matrix.
        ConfigError: `resamples` is below 1.
    """
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ShapeError(
            f"bootstrap: found values of shape {values.shape}, expected finite numbers in rows "
            "and columns"
        )
    if not len(values):
        raise InputError("bootstrap: found no values, expected one or more queries")
    if resamples < 1:
        raise ConfigError(f"bootstrap: found {resamples} resamples, expected 1 or more")
    if len(values) == 1:  # SciPy takes two values or more; a single one has no spread
        return values[0], values[0], np.repeat(values.T, resamples, axis=1)
    from scipy.stats import bootstrap

    def mean(resampled: Values, axis: int) -> Values:
        # Rounding follows the memory layout; a copy gives each column the same mean as alone.
        means: Values = np.ascontiguousarray(resampled).mean(axis=axis)
        return means

    result = bootstrap(
        (values,),
        mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // values.size),
        axis=0,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return *result.confidence_interval, result.bootstrap_distribution


def paired_difference(a: ArrayLike, b: ArrayLike, seed: int, resamples: int = 2000) -> Difference:
    """Return how much better `a` is than `b` on the same queries, with interval and p-value.

    Args:
        a: (n,) numbers, one a query.
        b: (n,) numbers of the same queries in the same order.
        seed: of the draws.
        resamples: draws of n queries with replacement; p is at least 1 / (resamples + 1).

    Raises:
        InputError: there are no values.
        ShapeError: the values are not two rows of finite numbers of the same length.
        ConfigError: `resamples` is below 1.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if first.ndim != 1 or first.shape != second.shape:
        raise ShapeError(
            f"paired difference: found values of shape {first.shape} and {second.shape}, "
            "expected one of each for every query"
        )
    differences = first - second
    (low,), (high,), (means,) = bootstrap_means(differences[:, None], seed, resamples)
    mean = float(differences.mean())
    extreme = np.count_nonzero(np.abs(means - mean) >= abs(mean) - _EPSILON)
    return Difference(mean, float(low), float(high), float((1 + extreme) / (1 + resamples)))
