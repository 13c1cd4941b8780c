"""Metrics of ranked hashtags and of their probabilities.

`ir_measures` computes precision, recall, success, nDCG and average precision by trec_eval. A
hashtag is relevant (gain 1) or not. A run is a method's answer to one query: hashtags (keys) with
strictly decreasing scores, best first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashlens.indexer.errors import ConfigError, InputError, ShapeError

Run = Sequence[tuple[str, float]]
Values = NDArray[np.float64]

KS = (1, 5, 10)
MAIN_METRICS = ("P@5", "nDCG@10")  # by which methods are compared
FAMILIES = {  # definitions of the metrics, in the order of the columns
    "P": "share of the k places that hold a right hashtag; always divided by k",
    "R": "share of the right hashtags that are in the first k",
    "F1": "harmonic mean of P and R of the query; 0 if both are",
    "hit": "1 if a right hashtag is in the first k, else 0",
    "nDCG": "gain discounted by log2(rank + 1), over that of the best possible k",
    "MAP": "sum of P at each right hashtag of the first k, over the number of right hashtags",
}

_MEASURES = {"P": "P", "R": "R", "hit": "Success", "nDCG": "nDCG", "MAP": "AP"}


@dataclass(frozen=True, slots=True, eq=False)
class QueryMetrics:
    """Metrics of each query: `values` float64 (q, m), read-only, one column for each metric."""

    metrics: tuple[str, ...]
    values: Values

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values).view()
        if values.dtype != np.float64 or values.ndim != 2 or values.shape[1] != len(self.metrics):
            raise ShapeError(
                f"QueryMetrics.values: found {values.dtype} {values.shape}, "
                f"expected float64 (any, {len(self.metrics)})"
            )
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def column(self, metric: str) -> Values:
        """Return one metric of every query, float64 (q,).

        Raises:
            ConfigError: the metric was not computed.
        """
        if metric not in self.metrics:
            raise ConfigError(
                f"metric: found {metric!r}, expected one of {', '.join(self.metrics)}"
            )
        return self.values[:, self.metrics.index(metric)]

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over the queries."""
        return dict(zip(self.metrics, self.values.mean(axis=0).tolist(), strict=True))


def evaluate(
    runs: Sequence[Run], answers: Sequence[Collection[str]], ks: Sequence[int] = KS
) -> QueryMetrics:
    """Return the metrics of each query's run.

    Args:
        runs: q runs. An empty run counts 0.
        answers: q collections of right hashtags (keys), aligned with the runs, none empty.
        ks: numbers of places; order and repeats do not matter.

    Returns:
        Metrics `P@k`, `R@k`, `F1@k`, `hit@k`, `nDCG@k` and `MAP@k` for every k; see `FAMILIES`.
        Columns are ordered by metric, then by k.

    Raises:
        ConfigError: there is no k, or one is below 1.
        InputError: there are no queries, or one has no answers.
        ShapeError: the numbers of runs and answers differ, a run repeats a hashtag, or its scores
            do not strictly decrease.
    """
    import ir_measures

    _check_runs(runs, answers, ks)
    ks = sorted(set(ks))
    values = {name: np.zeros((len(runs), len(ks))) for name in _MEASURES}
    targets = {
        getattr(ir_measures, measure) @ k: (values[name], column)
        for name, measure in _MEASURES.items()
        for column, k in enumerate(ks)
    }
    # trec_eval keeps scores in single precision, where close ones would tie; ranks never tie.
    ranked = {
        str(query): {tag: -rank for rank, (tag, _) in enumerate(run[: max(ks)])}
        for query, run in enumerate(runs)
        if run
    }
    right = {str(query): dict.fromkeys(tags, 1) for query, tags in enumerate(answers)}
    for metric in ir_measures.iter_calc(list(targets), right, ranked):
        target, column = targets[metric.measure]
        target[int(metric.query_id), column] = metric.value
    total = values["P"] + values["R"]
    values["F1"] = np.divide(
        2 * values["P"] * values["R"], total, out=np.zeros_like(total), where=total > 0
    )
    return QueryMetrics(
        tuple(f"{name}@{k}" for name in FAMILIES for k in ks),
        np.concatenate([values[name] for name in FAMILIES], axis=1),
    )


def _check_runs(runs: Sequence[Run], answers: Sequence[Collection[str]], ks: Sequence[int]) -> None:
    if not ks or min(ks) < 1:
        raise ConfigError(f"k: found {', '.join(map(str, ks)) or 'none'}, expected 1 or more")
    if len(runs) != len(answers):
        raise ShapeError(
            f"evaluate: found {len(runs):,} runs for {len(answers):,} queries, expected one each"
        )
    if not answers or not all(answers):
        raise InputError(
            f"evaluate: found {sum(not each for each in answers):,} of {len(answers):,} queries "
            "without right hashtags, expected queries with one or more; leave the others out"
        )
    for query, run in enumerate(runs):
        tags, scores = [tag for tag, _ in run], np.array([score for _, score in run])
        if len(set(tags)) < len(tags) or not (np.diff(scores) < 0).all():
            raise ShapeError(
                f"evaluate: found a run, of query {query}, that names a hashtag twice or whose "
                "scores do not strictly fall, expected each hashtag once, best first"
            )


def coverage(runs: Iterable[Run], vocabulary: Collection[str], k: int) -> float:
    """Return the share of the training hashtags (keys) that are in the first k of any run.

    Raises:
        InputError: the vocabulary is empty.
    """
    if not vocabulary:
        raise InputError("coverage: found no training hashtags, expected one or more")
    return len(_count_recommended(runs, k).keys() & set(vocabulary)) / len(set(vocabulary))


def novelty(runs: Iterable[Run], uses: Mapping[str, int], posts: int, k: int) -> float:
    """Return the mean -log2 popularity, in bits, of all hashtags in the first k.

    Popularity is the share of training posts that use a hashtag (Zhou et al., PNAS 2010). A hashtag
    without training posts counts as used once. The result is 0 if nothing is recommended.

    Args:
        runs: of all queries.
        uses: number of training posts of each hashtag.
        posts: number of training posts.
        k: number of places.

    Raises:
        InputError: there are no training posts, or fewer than a hashtag has uses.
    """
    if posts < max(1, *uses.values()):
        raise InputError(
            f"novelty: found {posts:,} training posts, expected as many as any hashtag has"
        )
    counts = _count_recommended(runs, k)
    bits = math.fsum(
        times * math.log2(posts / max(uses.get(tag, 0), 1)) for tag, times in counts.items()
    )
    return bits / max(counts.total(), 1)


def generic_hashtags(uses: Mapping[str, int], share: float = 0.01) -> frozenset[str]:
    """Return the most used `share` of the training hashtags, one at least; ties go by key.

    Args:
        uses: number of training posts of each hashtag.
        share: of the hashtags, in (0, 1].

    Raises:
        ConfigError: the share is out of range.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"generic hashtags: found a share of {share}, expected above 0, up to 1")
    order = sorted(uses, key=lambda tag: (-uses[tag], tag))
    return frozenset(order[: max(1, round(share * len(order)))])


def generic_share(runs: Iterable[Run], generic: Collection[str], k: int = 5) -> float:
    """Return the share of generic hashtags among all in the first k; 0 if there are none."""
    counts = _count_recommended(runs, k)
    return sum(counts[tag] for tag in set(generic)) / max(counts.total(), 1)


def _count_recommended(runs: Iterable[Run], k: int) -> Counter[str]:
    """Return how often each hashtag is in the first k."""
    return Counter(tag for run in runs for tag, _ in run[:k])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Bins of about equally many predictions, by rising probability, without empty bins.

    `predicted` and `observed`, float64 (b,), are the mean probability and the share of true
    outcomes. `counts`, int64 (b,), is the number of predictions in each bin. `error` is the
    expected calibration error.
    """

    predicted: Values
    observed: Values
    counts: NDArray[np.int64]
    error: float

    def to_json(self) -> dict[str, Any]:
        """Return the JSON values of the fields."""
        bins = {name: getattr(self, name).tolist() for name in ("predicted", "observed", "counts")}
        return {"error": self.error} | bins


def calibration(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 15) -> Calibration:
    """Compare predicted probabilities with outcomes (Naeini et al., AAAI 2015).

    Bins hold equally many predictions, except that equal probabilities share a bin. Therefore
    neither order nor ties change the error, the mean over all predictions of their bin's
    |predicted - observed|.

    Args:
        probabilities: (n,) in [0, 1].
        outcomes: (n,) booleans, or 0 and 1.
        bins: largest number of bins.

    Raises:
        InputError: there are no predictions.
        ShapeError: the two rows differ in length or hold other values.
        ConfigError: `bins` is below 1.
    """
    predictions = np.asarray(probabilities, dtype=np.float64)
    true = np.asarray(outcomes, dtype=np.float64)
    if bins < 1:
        raise ConfigError(f"calibration: found {bins} bins, expected 1 or more")
    if predictions.ndim != 1 or predictions.shape != true.shape:
        raise ShapeError(
            f"calibration: found probabilities {predictions.shape} and outcomes {true.shape}, "
            "expected two rows of one length"
        )
    if not len(predictions):
        raise InputError("calibration: found no predictions, expected one or more")
    if not ((predictions >= 0) & (predictions <= 1)).all() or not np.isin(true, (0, 1)).all():
        raise ShapeError(
            "calibration: found other values, expected probabilities in [0, 1] and outcomes 0 or 1"
        )
    first = np.searchsorted(np.sort(predictions), predictions, side="left")
    _, numbers = np.unique(first * bins // len(predictions), return_inverse=True)
    counts = np.bincount(numbers)
    predicted = np.bincount(numbers, weights=predictions) / counts
    observed = np.bincount(numbers, weights=true) / counts
    error = float(np.abs(predicted - observed) @ counts / len(predictions))
    return Calibration(predicted, observed, counts, error)
