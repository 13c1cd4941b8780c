"""The gain and the cost of each channel: hashlens without it, with its ranker trained again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hashlens.evaluation.methods.hashlens import build_with_examples, run_queries
from hashlens.evaluation.metrics.intervals import paired_difference
from hashlens.evaluation.metrics.ranking import MAIN_METRICS, evaluate
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.inputs import QuerySet
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.types import Post
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.candidates.generate import COMPANIONS, generate_candidates
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.examples import drop_channels
from hashlens.retriever.training.fit import fit_to_examples, refit_order

MAX_TIMED_QUERIES = 300


def run_ablation(
    posts: Sequence[Post],
    queries: dict[str, QuerySet],
    *,
    seed: int,
    config: BuildConfig | None = None,
    progress: Progress | None = None,
) -> Json:
    """Build an index, and judge its answers with each channel left out in turn.

    Args:
        posts: to build the index from.
        queries: by inputs.
        seed: of the bootstrap.
        config: of the build; None for the defaults.
        progress: receives each channel.

    Returns:
        JSON values by inputs: `metrics` of all channels together and, of each of the `channels`,
        its cost in `ms` a query and by metric its `gain`: the loss without it, with the 95 %
        interval of the paired difference.
    """
    config, progress = config or BuildConfig(), progress or NullProgress()
    with TemporaryDirectory(prefix="hashlens-ablation-") as folder:
        index, examples = build_with_examples(posts, Path(folder), config)
        if examples is None or not examples.right.any():
            return {}
        reader = Recommender.open(index).index
        recommender = Recommender(reader, ranker=fit_to_examples(examples, config.ranking))
        full = _measure_metrics(recommender, queries)
        results: Json = {
            inputs: {"metrics": {m: float(v.mean()) for m, v in values.items()}, "channels": {}}
            for inputs, values in full.items()
        }
        progress.stage("Leaving channels out", len(CHANNELS) + 1)
        for channel in (*CHANNELS, COMPANIONS):
            ranker = refit_order(
                recommender.ranker, drop_channels(examples, channel), config.ranking
            )
            reduced = Recommender(reader, ranker=ranker, without=(channel,))
            metrics = _measure_metrics(reduced, queries)
            for inputs, part in queries.items():
                gains = {
                    metric: paired_difference(
                        full[inputs][metric], metrics[inputs][metric], seed
                    )._asdict()
                    for metric in MAIN_METRICS
                }
                ms = _measure_cost(recommender, channel, part.queries[:MAX_TIMED_QUERIES])
                results[inputs]["channels"][channel] = {"ms": ms, "gain": gains}
            progress.advance()
    return results


def _measure_cost(recommender: Recommender, channel: str, queries: Sequence[Query]) -> float:
    """Return the milliseconds a query that a channel adds to gathering, the best of three runs."""
    batch = recommender.prepare(queries)
    best: dict[bool, float] = {}
    for left_out in (True, False) * 3:
        began = time.perf_counter()
        generate_candidates(recommender.index, batch, without=(channel,) if left_out else ())
        seconds = time.perf_counter() - began
        best[left_out] = min(seconds, best.get(left_out, seconds))
    return 1000 * (best[False] - best[True]) / len(queries)


def _measure_metrics(
    recommender: Recommender, queries: dict[str, QuerySet]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the metrics of each query, by inputs."""
    results = {}
    for inputs, part in queries.items():
        rankings, _ = run_queries(recommender, part.queries, 10)
        metrics = evaluate(rankings, part.answers, (5, 10))
        results[inputs] = {metric: metrics.column(metric) for metric in MAIN_METRICS}
    return results
