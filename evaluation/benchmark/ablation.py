"""What each channel brings and costs: hashlens again without it, its ranker learned anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hashlens.evaluation.methods.hashlens import asked
from hashlens.evaluation.methods.hashlens_examples import learned_from
from hashlens.evaluation.metrics.intervals import paired_difference
from hashlens.evaluation.metrics.ranking import evaluate
from hashlens.evaluation.tasks.inputs import Questions
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.types import Post
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.candidates.generate import COMPANIONS, generate_candidates
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.examples import drop_channels
from hashlens.retriever.training.fit import fit_to_examples, refit_order

METRICS = ("P@5", "nDCG@10")
MEASURED_BY = 300  # queries that a channel is timed with


def ablation(
    posts: Sequence[Post],
    questions: dict[str, Questions],
    *,
    seed: int,
    config: BuildConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build an index of posts, and ask it all questions with each channel left out in turn.

    Args:
        posts: to learn from.
        questions: by inputs.
        seed: of the bootstrap.
        config: settings of the build; the defaults where None.
        progress: told of every channel.

    Returns:
        JSON values by inputs: `metrics` of all channels together, and of each channel `ms` that it
        costs a query, and by metric the `gain` that it brings: what is lost without it, with the
        95 % interval of the paired difference.
    """
    config, progress = config or BuildConfig(), progress or NullProgress()
    with TemporaryDirectory(prefix="hashlens-ablation-") as folder:
        index, lessons = learned_from(posts, Path(folder), config)
        if lessons is None or not lessons.right.any():
            return {}
        opened = Recommender.open(index)
        recommender = Recommender(opened.index, ranker=fit_to_examples(lessons, config.ranking))
        whole = _perform(recommender, questions)
        found: dict[str, Any] = {
            inputs: {"metrics": {m: float(v.mean()) for m, v in figures.items()}, "channels": {}}
            for inputs, figures in whole.items()
        }
        progress.stage("Leaving channels out", len(CHANNELS) + 1)
        for channel in (*CHANNELS, COMPANIONS):
            ranker = refit_order(
                recommender.ranker, drop_channels(lessons, channel), config.ranking
            )
            lacking = Recommender(opened.index, ranker=ranker, without=(channel,))
            less = _perform(lacking, questions)
            for inputs, asked_of in questions.items():
                gains = {
                    metric: paired_difference(
                        whole[inputs][metric], less[inputs][metric], seed
                    )._asdict()
                    for metric in METRICS
                }
                ms = _cost(recommender, channel, asked_of.queries[:MEASURED_BY])
                found[inputs]["channels"][channel] = {"ms": ms, "gain": gains}
            progress.advance()
    return found


def _cost(recommender: Recommender, channel: str, queries: Sequence[Query]) -> float:
    """Milliseconds a query that gathering takes longer with a channel, the best of three."""
    batch = recommender.prepare(queries)
    spent: dict[bool, float] = {}
    for left_out in (True, False) * 3:
        began = time.perf_counter()
        generate_candidates(recommender.index, batch, without=(channel,) if left_out else ())
        taken = time.perf_counter() - began
        spent[left_out] = min(taken, spent.get(left_out, taken))
    return 1000 * (spent[False] - spent[True]) / len(queries)


def _perform(
    recommender: Recommender, questions: dict[str, Questions]
) -> dict[str, dict[str, np.ndarray]]:
    """Metrics of each query, by inputs."""
    found = {}
    for inputs, asked_of in questions.items():
        rankings, _ = asked(recommender, asked_of.queries, 10)
        judged = evaluate(rankings, asked_of.answers, (5, 10))
        found[inputs] = {metric: judged.column(metric) for metric in METRICS}
    return found
