"""The figures of a method or an index, from its rankings and the right answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from hashlens.evaluation.methods.base import Ranking, check_k
from hashlens.evaluation.methods.hashlens import run_queries
from hashlens.evaluation.metrics.intervals import bootstrap_means
from hashlens.evaluation.metrics.ranking import (
    KS,
    QueryMetrics,
    calibration,
    coverage,
    evaluate,
    generic_hashtags,
    generic_share,
    novelty,
)
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.inputs import Inputs, QuerySet, make_queries
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.errors import InputError
from hashlens.indexer.types import Post
from hashlens.retriever.recommender import Recommender

FORMAT = 1
TOPIC_METRICS = ("P@1", "P@5", "nDCG@10", "hit@5")
MAX_TOPICS = 20  # with figures of their own, the most frequent ones


def list_cutoffs(k: int) -> tuple[int, ...]:
    """Return the numbers of places that are judged: the usual ones and `k`.

    Raises:
        ConfigError: k is below 1.
    """
    check_k(k)
    return tuple(sorted({*KS, k}))


@dataclass(frozen=True, slots=True)
class TrainCounts:
    """Counts of the training posts: `uses` by hashtag, and `posts` in all."""

    uses: Mapping[str, int]
    posts: int

    @classmethod
    def count(cls, posts: Sequence[Post]) -> Self:
        """Count the hashtags of training posts."""
        return cls(Counter(tag for post in posts for tag in post.hashtags), len(posts))


def score_rankings(
    rankings: Sequence[Ranking],
    queries: QuerySet,
    counts: TrainCounts,
    *,
    topics: Sequence[str | None],
    probabilities: bool,
    seed: int,
    k: int,
) -> tuple[QueryMetrics, Json]:
    """Return the metrics of each query, and the JSON values of a row of a report.

    Args:
        rankings: answers of a method to each of q queries.
        queries: the q queries and their right answers.
        counts: of the training posts.
        topics: of each query's post, or None.
        probabilities: whether scores are probabilities, and calibration is judged.
        seed: of the bootstrap.
        k: judged beside 1, 5 and 10.

    Raises:
        ShapeError: a ranking repeats a hashtag, or its scores do not strictly decrease.
    """
    ks = list_cutoffs(k)
    metrics, deepest = evaluate(rankings, queries.answers, ks), max(ks)
    hits = np.zeros(deepest)
    for ranking, right in zip(rankings, queries.answers, strict=True):
        for place, (tag, _) in enumerate(ranking[:deepest]):
            hits[place] += tag in right
    curve = np.cumsum(hits) / np.arange(1, deepest + 1) / len(rankings)
    counted = Counter(topic for topic in topics if topic)
    frequent = sorted(counted, key=lambda topic: (-counted[topic], topic))[:MAX_TOPICS]
    names = np.array([topic or "" for topic in topics])
    row = {
        "metrics": metrics.means(),
        "intervals": compute_intervals(metrics, seed),
        "curve": curve.tolist(),
        "answered": sum(map(bool, rankings)) / len(rankings),
        "coverage": coverage(rankings, counts.uses, deepest),
        "novelty": novelty(rankings, counts.uses, counts.posts, deepest),
        "generic@5": generic_share(rankings, generic_hashtags(counts.uses), 5),
        "calibration": judge_calibration(rankings, queries) if probabilities else None,
        "topics": {
            topic: {"queries": counted[topic]}
            | {name: float(metrics.column(name)[names == topic].mean()) for name in TOPIC_METRICS}
            for topic in sorted(frequent)
        },
    }
    return metrics, row


def compute_intervals(metrics: QueryMetrics, seed: int) -> dict[str, list[float]]:
    """Return the 95 % bootstrap interval of each metric's mean, [low, high]."""
    low, high, _ = bootstrap_means(metrics.values, seed)
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    return {name: list(pair) for name, pair in zip(metrics.metrics, pairs, strict=True)}


def judge_calibration(rankings: Sequence[Ranking], queries: QuerySet) -> Json | None:
    """Return the calibration of the scores as probabilities; None if all answers are empty."""
    pairs = [
        (score, tag in right)
        for ranking, right in zip(rankings, queries.answers, strict=True)
        for tag, score in ranking
    ]
    if not pairs:
        return None
    predicted, true = np.array(pairs, dtype=np.float64).T
    return calibration(np.clip(predicted, 0, 1), true).to_json()


def evaluate_index(
    index: Path,
    sources: Sequence[Path],
    inputs: str,
    *,
    seen_allowed: bool = False,
    seed: int = 1,
    k: int = 10,
) -> Json:
    """Judge an index's recommender on posts that the index does not hold.

    Args:
        index: folder of the index.
        sources: files or folders of posts, read by the hashtag rule of the index.
        inputs: fields of each post that are given, such as `caption,seeds:2`; see `Inputs`.
        seen_allowed: whether posts of the index may be used, too.
        seed: of seed hashtags and of the bootstrap.
        k: judged beside 1, 5 and 10.

    Returns:
        JSON values: `format`, `queries`, `inputs`, `metrics` and `intervals` by name,
        `left_out` posts by reason, `answered` share, `failed` queries, `calibration_error` and
        `ms_per_query`.

    Raises:
        ConfigError: the inputs or k have another form.
        InputError: there are no posts, posts are in the index, or none has the inputs.
        IndexMissingError, IndexMismatchError, IndexCorruptError: the index cannot be used.
    """
    parsed, ks = Inputs.parse(inputs), list_cutoffs(k)
    recommender = Recommender.open(index)
    rule = str(recommender.index.manifest.config.get("hashtag_rule", "instagram"))
    posts = read_all_posts(sources, rule)
    seen = () if seen_allowed else recommender.index.known_posts(posts)
    if seen:
        raise InputError(
            f"found {len(seen):,} of {len(posts):,} posts in the index, expected posts that it has "
            "not seen; build the index without them, or give --allow-seen (the figures are then "
            "too high)"
        )
    queries = make_queries(posts, parsed, seed=seed)
    began = time.perf_counter()
    rankings, failed = run_queries(recommender, queries.queries, max(ks))
    seconds = time.perf_counter() - began
    metrics = evaluate(rankings, queries.answers, ks)
    calibrated = judge_calibration(rankings, queries)
    return {
        "format": FORMAT,
        "queries": len(rankings),
        "inputs": str(parsed),
        "metrics": metrics.means(),
        "intervals": compute_intervals(metrics, seed),
        "left_out": dict(queries.left_out),
        "answered": sum(map(bool, rankings)) / len(rankings),
        "failed": failed,
        "calibration_error": calibrated["error"] if calibrated else None,
        "ms_per_query": 1000 * seconds / len(rankings),
    }
