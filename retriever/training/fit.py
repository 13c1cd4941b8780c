"""Fits the ranker: the order by LambdaMART, the probabilities by held-out scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.text.escaping import count_noun
from hashlens.retriever.index.pairs import rank_rows
from hashlens.retriever.ranking.ranker import (
    CALIBRATION_FILE,
    PAIRWISE_FILE,
    POINTWISE_FILE,
    RANKER_FILE,
    Ranker,
    confidence_features,
)
from hashlens.retriever.training.continue_training import continue_boosting
from hashlens.retriever.training.cross_fit import collect_examples
from hashlens.retriever.training.examples import TrainingExamples, select_rows
from hashlens.retriever.training.models import (
    MIN_RIGHT_FOR_LARGE,
    CrossFitForests,
    split_halves,
    train_calibration,
    train_order,
)

MAX_CALIBRATED = 10  # candidates of a question whose probability is calibrated: those people see
MAX_STEPS = 50  # isotonic steps
MIN_POSTS_TO_CONTINUE = 100  # posts with hashtags from which on an older ranker learns from them


def fit_ranker(task: RankerTask, folder: Path) -> tuple[str, ...]:
    """Train a ranker by cross-fitting and write it, if there are enough posts: a `FitRanker`.

    Returns:
        A note if there are too few posts, or if an older ranker learned from them.
    """
    tagged = int(np.count_nonzero(task.corpus.posts.hashtags.lengths))
    fewest, other = task.config.fewest, "the ranker that ships is used"
    if task.base:
        fewest = min(fewest, MIN_POSTS_TO_CONTINUE)
        other = "the ranker that it began with is used"
    if tagged < fewest:
        are = "is" if tagged == 1 else "are"
        found = f"{count_noun(tagged, 'posts')} with hashtags {are} too few to learn ranking from"
        return (f"{found}: {other}; from {fewest:,} on an index has its own",)
    examples = collect_examples(task)
    if examples is None or not examples.right.any():
        return (f"no post's hashtags could be told from the others: {other}",)
    task.progress.stage("Learning to rank")
    base = Ranker.open(task.base) if task.base else None
    save_ranker(fit_to_examples(examples, task.config, base), folder)
    return (f"ranking went on to learn from {count_noun(tagged, 'posts')}",) if base else ()


def fit_to_examples(
    examples: TrainingExamples, config: RankingConfig, base: Ranker | None = None
) -> Ranker:
    """Return a ranker that learned from all examples; its probabilities are fitted held-out.

    Args:
        examples: to learn from.
        config: settings of the ranking.
        base: a ranker that continues learning, instead of a new one.
    """
    if base:
        known = examples.candidates
        known = replace(known, columns=base.columns, scores=base.features(known))
        examples = replace(examples, candidates=known)
        return _calibrate(continue_boosting(examples, base, config), config)
    halves, large = split_halves(examples, config), _is_large(examples)
    held_out = tuple(train_order(select_rows(examples, ~rows), large, config) for rows in halves)
    forests = train_order(examples, large, config)
    return _calibrate(CrossFitForests(examples, halves, held_out, forests), config)


def refit_order(ranker: Ranker, examples: TrainingExamples, config: RankingConfig) -> Ranker:
    """Return the ranker with its order learned from other examples, its calibration unchanged."""
    pairwise, pointwise = train_order(examples, _is_large(examples), config)
    return replace(ranker, pairwise=pairwise, pointwise=pointwise)


def _is_large(examples: TrainingExamples) -> bool:
    return bool(examples.right.sum() >= MIN_RIGHT_FOR_LARGE)


def _calibrate(trained: CrossFitForests, config: RankingConfig) -> Ranker:
    """Return a ranker of forests, with probabilities fitted to their held-out scores."""
    examples, scores = trained.examples, trained.held_out_scores()
    candidates = examples.candidates
    rows, ranks = rank_rows(candidates.queries, scores)
    shown = np.sort(rows[ranks < MAX_CALIBRATED])
    features = confidence_features(candidates, scores)[shown]
    right = examples.right[shown]
    stated = np.zeros(len(right), np.float64)
    for half in trained.halves:
        held_out = half[shown]
        model = train_calibration(features[~held_out], right[~held_out], config)
        scores = model.scores(features[held_out])
        stated[held_out] = 1 / (1 + np.exp(-scores.astype(np.float64)))
    return Ranker(
        candidates.columns,
        *trained.forests,
        train_calibration(features, right, config),
        fit_isotonic(stated, right),
        {"questions": len(examples.folds), "right": float(examples.right.sum())},
        trained.excluded,
    )


def save_ranker(ranker: Ranker, folder: Path) -> None:
    """Write a ranker's files into a new folder."""
    folder.mkdir()
    forests = {
        PAIRWISE_FILE: ranker.pairwise,
        POINTWISE_FILE: ranker.pointwise,
        CALIBRATION_FILE: ranker.calibration,
    }
    for name, forest in forests.items():
        (folder / name).write_text(forest.text, encoding="utf-8")
    values = {"columns": ranker.columns, "steps": ranker.steps.tolist()}
    values |= {"facts": dict(ranker.facts), "silent": ranker.excluded}
    (folder / RANKER_FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def fit_isotonic(stated: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return steps from stated to true probability, (2, s), both rising."""
    from scipy.optimize import isotonic_regression

    values, of, times = np.unique(stated, return_inverse=True, return_counts=True)
    found = isotonic_regression(np.bincount(of, right) / times, weights=times).x
    steps = np.stack([values, np.clip(found, 0, 1)])
    # The points between the ends of a level part add nothing.
    rising = np.diff(steps[1]) > 0
    steps = steps[:, np.append(True, rising) | np.append(rising, True)]
    kept = np.unique(np.linspace(0, steps.shape[1] - 1, MAX_STEPS).round().astype(int))
    return steps[:, kept]
