"""Metrics of ranked hashtags, and of the probabilities that come with them.

Precision, recall, success, nDCG and average precision are those of `ir_measures`, which computes
them by trec_eval; a hashtag is relevant (gain 1) or not. A run is what a method says to one query:
hashtags (keys) with scores that strictly fall, best first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashlens.indexer.errors import ConfigError, InputError, ShapeError

Run = Sequence[tuple[str, float]]
Values = NDArray[np.float64]

KS = (1, 5, 10)
FAMILIES = {  # what each metric means, in the order of the columns
    "P": "share of the k places that hold a right hashtag; always divided by k",
    "R": "share of the right hashtags that stand in the first k",
    "F1": "harmonic mean of P and R of the query; 0 where both are",
    "hit": "1 where a right hashtag stands in the first k, else 0",
    "nDCG": "gain discounted by log2(rank + 1), over that of the best possible k",
    "MAP": "sum of P at each right hashtag of the first k, over the number of right hashtags",
}

_MEASURES = {"P": "P", "R": "R", "hit": "Success", "nDCG": "nDCG", "MAP": "AP"}


@dataclass(frozen=True, slots=True, eq=False)
class PerQuery:
    """Metrics of each query: `values` float64 (q, m), read-only; a column for each of `metrics`."""

    metrics: tuple[str, ...]
    values: Values

    def __post_init__(self) -> None:
        found = np.ascontiguousarray(self.values).view()
        if found.dtype != np.float64 or found.ndim != 2 or found.shape[1] != len(self.metrics):
            raise ShapeError(
                f"PerQuery.values: found {found.dtype} {found.shape}, "
                f"expected float64 (any, {len(self.metrics)})"
            )
        found.flags.writeable = False
        object.__setattr__(self, "values", found)

    def column(self, metric: str) -> Values:
        """One metric of every query, float64 (q,).

        Raises:
            ConfigError: it was not computed.
        """
        if metric not in self.metrics:
            raise ConfigError(
                f"metric: found {metric!r}, expected one of {', '.join(self.metrics)}"
            )
        return self.values[:, self.metrics.index(metric)]

    def means(self) -> dict[str, float]:
        """Mean of each metric over the queries."""
        return dict(zip(self.metrics, self.values.mean(axis=0).tolist(), strict=True))


def evaluate(
    runs: Sequence[Run], answers: Sequence[Collection[str]], ks: Sequence[int] = KS
) -> PerQuery:
    """Judge each query's run by its answers.

    Args:
        runs: q runs, in step with `answers`. An empty one, an unanswered query, counts 0.
        answers: q collections of right hashtags (keys), none empty.
        ks: how many places are looked at; order and repeats do not matter.

    Returns:
        Metrics `P@k`, `R@k`, `F1@k`, `hit@k`, `nDCG@k` and `MAP@k` for every k, see `FAMILIES`:
        one metric after the other, k rising.

    Raises:
        ConfigError: there is no k, or one below 1.
        InputError: there are no queries, or one without answers.
        ShapeError: there are not as many runs as answers, a run names a hashtag twice, or its
            scores do not strictly fall.
    """
    _check(runs, answers, ks)
    ks = sorted(set(ks))
    found = _judged(runs, answers, ks)
    both = found["P"] + found["R"]
    found["F1"] = np.divide(
        2 * found["P"] * found["R"], both, out=np.zeros_like(both), where=both > 0
    )
    return PerQuery(
        tuple(f"{name}@{k}" for name in FAMILIES for k in ks),
        np.concatenate([found[name] for name in FAMILIES], axis=1),
    )


def _check(runs: Sequence[Run], answers: Sequence[Collection[str]], ks: Sequence[int]) -> None:
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


def _judged(
    runs: Sequence[Run], answers: Sequence[Collection[str]], ks: Sequence[int]
) -> dict[str, Values]:
    """Per metric of `_MEASURES` the values at each k, float64 (q, k)."""
    import ir_measures

    found = {name: np.zeros((len(runs), len(ks))) for name in _MEASURES}
    places = {
        getattr(ir_measures, measure) @ k: (found[name], column)
        for name, measure in _MEASURES.items()
        for column, k in enumerate(ks)
    }
    # trec_eval keeps scores in single precision, where close ones would tie: ranks never do.
    ranked = {
        str(query): {tag: -rank for rank, (tag, _) in enumerate(run[: max(ks)])}
        for query, run in enumerate(runs)
        if run
    }
    right = {str(query): dict.fromkeys(tags, 1) for query, tags in enumerate(answers)}
    for metric in ir_measures.iter_calc(list(places), right, ranked):
        values, column = places[metric.measure]
        values[int(metric.query_id), column] = metric.value
    return found


def coverage(runs: Iterable[Run], vocabulary: Collection[str], k: int) -> float:
    """Share of the training vocabulary (hashtag keys) that is ever among the first k.

    Raises:
        InputError: the vocabulary is empty.
    """
    if not vocabulary:
        raise InputError("coverage: found no training hashtags, expected one or more")
    return len(_recommended(runs, k).keys() & set(vocabulary)) / len(set(vocabulary))


def novelty(runs: Iterable[Run], uses: Mapping[str, int], posts: int, k: int) -> float:
    """Mean -log2 popularity, in bits, of all hashtags recommended in the first k.

    Popularity is the share of training posts that use a hashtag (Zhou et al., PNAS 2010); one that
    none uses counts as used once. 0 where nothing is recommended.

    Args:
        runs: of all queries.
        uses: training posts of each hashtag.
        posts: training posts in all.
        k: places that are looked at.

    Raises:
        InputError: there are no training posts, or fewer than a hashtag has uses.
    """
    if posts < max(1, *uses.values()):
        raise InputError(
            f"novelty: found {posts:,} training posts, expected as many as any hashtag has"
        )
    found = _recommended(runs, k)
    bits = math.fsum(
        times * math.log2(posts / max(uses.get(tag, 0), 1)) for tag, times in found.items()
    )
    return bits / max(found.total(), 1)


def generic_hashtags(uses: Mapping[str, int], share: float = 0.01) -> frozenset[str]:
    """The most used `share` of the training hashtags, one at least; ties go by key.

    Args:
        uses: training posts of each hashtag.
        share: of the hashtags, in (0, 1].

    Raises:
        ConfigError: the share is out of range.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"generic hashtags: found a share of {share}, expected above 0, up to 1")
    order = sorted(uses, key=lambda tag: (-uses[tag], tag))
    return frozenset(order[: max(1, round(share * len(order)))])


def generic_share(runs: Iterable[Run], generic: Collection[str], k: int = 5) -> float:
    """Share of all hashtags recommended in the first k that are generic; 0 where none is."""
    found = _recommended(runs, k)
    return sum(found[tag] for tag in set(generic)) / max(found.total(), 1)


def _recommended(runs: Iterable[Run], k: int) -> Counter[str]:
    """How often each hashtag stands in the first k."""
    return Counter(tag for run in runs for tag, _ in run[:k])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Bins of about equally many predictions, by rising probability; empty bins are left out.

    `predicted` and `observed` float64 (b,): mean probability, and share that came true.
    `counts` int64 (b,): predictions in each bin. `error`: expected calibration error.
    """

    predicted: Values
    observed: Values
    counts: NDArray[np.int64]
    error: float


def calibration(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 15) -> Calibration:
    """How far stated probabilities are from what came true (Naeini et al., AAAI 2015).

    Bins hold equally many predictions, as far as equal probabilities, which stay together, let
    them: then neither order nor ties change the error. It is the mean over the predictions of
    their bin's |predicted - observed|.

    Args:
        probabilities: (n,) in [0, 1].
        outcomes: (n,) booleans, or 0 and 1: whether each came true.
        bins: at most so many.

    Raises:
        InputError: there are no predictions.
        ShapeError: the two do not fit, or hold other values.
        ConfigError: `bins` is below 1.
    """
    stated = np.asarray(probabilities, dtype=np.float64)
    true = np.asarray(outcomes, dtype=np.float64)
    _check_predictions(stated, true, bins)
    ascending = np.sort(stated)
    first = np.searchsorted(ascending, stated, side="left")
    _, places = np.unique(first * bins // len(stated), return_inverse=True)
    counts = np.bincount(places)
    predicted = np.bincount(places, weights=stated) / counts
    observed = np.bincount(places, weights=true) / counts
    error = float(np.abs(predicted - observed) @ counts / len(stated))
    return Calibration(predicted, observed, counts, error)


def _check_predictions(stated: Values, true: Values, bins: int) -> None:
    if bins < 1:
        raise ConfigError(f"calibration: found {bins} bins, expected 1 or more")
    if stated.ndim != 1 or stated.shape != true.shape:
        raise ShapeError(
            f"calibration: found probabilities {stated.shape} and outcomes {true.shape}, "
            "expected two rows of one length"
        )
    if not len(stated):
        raise InputError("calibration: found no predictions, expected one or more")
    if not ((stated >= 0) & (stated <= 1)).all() or not np.isin(true, (0, 1)).all():
        raise ShapeError(
            "calibration: found other values, expected probabilities in [0, 1] and outcomes 0 or 1"
        )
