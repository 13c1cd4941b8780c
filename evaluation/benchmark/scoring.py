"""Judges what a method or an index said: the figures of a report's rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from hashlens.evaluation.benchmark.topic_accuracy import calibration_json
from hashlens.evaluation.methods.base import Ranking
from hashlens.evaluation.methods.hashlens import asked
from hashlens.evaluation.metrics.intervals import bootstrap_means
from hashlens.evaluation.metrics.ranking import (
    KS,
    PerQuery,
    calibration,
    coverage,
    evaluate,
    generic_hashtags,
    generic_share,
    novelty,
)
from hashlens.evaluation.tasks.inputs import Inputs, Questions, make_queries
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.types import Post, Rejection
from hashlens.retriever.recommender import Recommender

FORMAT = 1
TOPIC_METRICS = ("P@1", "P@5", "nDCG@10", "hit@5")
MOST_TOPICS = 20  # shown one by one, the most frequent


def places(k: int) -> tuple[int, ...]:
    """The ks that are judged: the usual ones and `k`.

    Raises:
        ConfigError: k is below 1.
    """
    if k < 1:
        raise ConfigError(f"k: found {k}, expected 1 or more hashtags")
    return tuple(sorted({*KS, k}))


@dataclass(frozen=True, slots=True)
class Known:
    """What training posts say of hashtags: `uses` posts of each, of `posts` in all."""

    uses: Mapping[str, int]
    posts: int

    @classmethod
    def of(cls, posts: Sequence[Post]) -> Self:
        """Counts over training posts."""
        return cls(Counter(tag for post in posts for tag in post.hashtags), len(posts))


def judge(
    rankings: Sequence[Ranking],
    questions: Questions,
    known: Known,
    *,
    topics: Sequence[str | None],
    probabilities: bool,
    seed: int,
    k: int,
) -> tuple[PerQuery, dict[str, Any]]:
    """Metrics of each query, and the JSON values of a row of a report.

    Args:
        rankings: what a method said to each of q queries.
        questions: the q queries and their right answers.
        known: counts over the training posts.
        topics: of each query's post, or None.
        probabilities: whether scores are meant as such, and so can be judged.
        seed: of the bootstrap.
        k: judged beside 1, 5 and 10.
    """
    ks = places(k)
    found = evaluate(rankings, questions.answers, ks)
    row = {
        "metrics": found.means(),
        "intervals": intervals(found, seed),
        "curve": _curve(rankings, questions.answers, max(ks)),
        "answered": sum(map(bool, rankings)) / len(rankings),
        "coverage": coverage(rankings, known.uses, max(ks)),
        "novelty": novelty(rankings, known.uses, known.posts, max(ks)),
        "generic@5": generic_share(rankings, generic_hashtags(known.uses), 5),
        "calibration": _stated(rankings, questions.answers) if probabilities else None,
        "topics": _by_topic(found, topics),
    }
    return found, row


def intervals(found: PerQuery, seed: int) -> dict[str, list[float]]:
    """95 % bootstrap interval of each metric's mean, [low, high]."""
    low, high = bootstrap_means(found.values, seed)
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    return {name: list(pair) for name, pair in zip(found.metrics, pairs, strict=True)}


def _curve(
    rankings: Sequence[Ranking], answers: Sequence[Collection[str]], deepest: int
) -> list[float]:
    """P@k for every k up to the deepest."""
    hits = np.zeros(deepest)
    for ranking, right in zip(rankings, answers, strict=True):
        for place, (tag, _) in enumerate(ranking[:deepest]):
            hits[place] += tag in right
    curve: list[float] = (np.cumsum(hits) / np.arange(1, deepest + 1) / len(rankings)).tolist()
    return curve


def _stated(
    rankings: Sequence[Ranking], answers: Sequence[Collection[str]]
) -> dict[str, Any] | None:
    """How far scores are from what came true; None where nothing was said."""
    pairs = [
        (score, tag in right)
        for ranking, right in zip(rankings, answers, strict=True)
        for tag, score in ranking
    ]
    if not pairs:
        return None
    stated, true = np.array(pairs, dtype=np.float64).T
    return calibration_json(calibration(np.clip(stated, 0, 1), true))


def _by_topic(found: PerQuery, topics: Sequence[str | None]) -> dict[str, dict[str, float]]:
    """Mean metrics of the most frequent topics."""
    counts = Counter(topic for topic in topics if topic)
    frequent = sorted(counts, key=lambda topic: (-counts[topic], topic))[:MOST_TOPICS]
    names = np.array([topic or "" for topic in topics])
    return {
        topic: {"queries": counts[topic]}
        | {name: float(found.column(name)[names == topic].mean()) for name in TOPIC_METRICS}
        for topic in sorted(frequent)
    }


def evaluate_index(
    index: Path,
    sources: Sequence[Path],
    inputs: str,
    *,
    seen_allowed: bool = False,
    seed: int = 1,
    k: int = 10,
    weights: Path | None = None,
    rejections: list[Rejection] | None = None,
) -> dict[str, Any]:
    """Ask an index's own recommender about posts that it has not seen.

    Args:
        index: folder of the index.
        sources: files or folders of posts, read by the hashtag rule of the index.
        inputs: what of each post is given, such as `caption,seeds:2`; see `tasks.Inputs`.
        seen_allowed: whether posts that are in the index may be asked about.
        seed: decides which hashtags are given as seeds, and what the bootstrap draws.
        k: judged beside 1, 5 and 10.
        weights: the encoder's weights file, where it is not in its usual place.
        rejections: gets the posts that could not be used.

    Returns:
        JSON values: `format`, `queries`, `inputs`, `metrics` and `intervals` by name,
        `left_out` posts by reason, `answered` share, `failed` queries, `calibration_error` and
        `ms_per_query`.

    Raises:
        ConfigError: the inputs or k are not of their form.
        InputError: there are no posts, posts are in the index, or none has the inputs.
        IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be answered from.
    """
    wanted, ks = Inputs.parse(inputs), places(k)
    recommender = Recommender.open(index, weights)
    rule = str(recommender.index.manifest.config.get("hashtag_rule", "instagram"))
    posts = usable(sources, rule, [] if rejections is None else rejections)
    if not seen_allowed:
        _refuse_seen(recommender, posts)
    questions = make_queries(posts, wanted, seed=seed)
    began = time.perf_counter()
    rankings, failed = asked(recommender, questions.queries, max(ks))
    seconds = time.perf_counter() - began
    found = evaluate(rankings, questions.answers, ks)
    stated = _stated(rankings, questions.answers)
    return {
        "format": FORMAT,
        "queries": len(rankings),
        "inputs": str(wanted),
        "metrics": found.means(),
        "intervals": intervals(found, seed),
        "left_out": dict(questions.left_out),
        "answered": sum(map(bool, rankings)) / len(rankings),
        "failed": failed,
        "calibration_error": stated["error"] if stated else None,
        "ms_per_query": 1000 * seconds / len(rankings),
    }


def _refuse_seen(recommender: Recommender, posts: Sequence[Post]) -> None:
    seen = recommender.index.known_posts(posts)
    if seen:
        raise InputError(
            f"found {len(seen):,} of {len(posts):,} posts in the index, expected posts that it has "
            "not seen; build the index without them, or give --allow-seen (the figures are then "
            "too high)"
        )
