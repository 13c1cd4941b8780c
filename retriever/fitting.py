"""Fits the ranker to lessons: the order by LambdaMART, the probabilities out of fold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.config import RankingConfig
from indexer.corpus import Corpus
from indexer.progress import Progress
from indexer.schema import Candidates, Floats, Ids
from retriever.describe import NAMES as FACT_NAMES
from retriever.entries import ends_of
from retriever.lessons import Lessons
from retriever.ranker import BETTER, CHANCE, FACTS, ODDS, Ranker, ordered, sureness
from retriever.rehearsal import Assemble, rehearse
from retriever.trees import Trees

SHOWN = 10  # candidates of a question whose probability is calibrated: those that people see
STEPS = 50  # isotonic steps kept at most

_FOREST = {
    "learning_rate": 0.05,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
_BETTER = _FOREST | {"objective": "lambdarank", "lambdarank_truncation_level": 15}
_ODDS = _FOREST | {"objective": "binary"}
MANY = 4_000  # right candidates from which on larger forests learn more than chance
_SIZES = {False: {"num_leaves": 7}, True: {"num_leaves": 31}}
_ROUNDS = {False: 80, True: 150}
# Share of the wrong candidates that the order is learned from, drawn at random.
_WRONG_KEPT = {False: 1.0, True: 0.15}
_CHANCE = _FOREST | {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 200}
_CHANCE |= {"feature_fraction": 1.0}
CHANCE_ROUNDS = 80


def fit_ranker(
    corpus: Corpus, assemble: Assemble, config: RankingConfig, folder: Path, progress: Progress
) -> tuple[str, ...]:
    """Rehearse on the posts of a build and write the ranker, where they are enough.

    Returns:
        A note where they are not, and the ranker that ships is used.
    """
    tagged = sum(bool(post.hashtags) for post in corpus.posts)
    if tagged < config.fewest:
        return (
            f"{tagged:,} posts with hashtags are too few to learn ranking from: the ranker that "
            f"ships is used; from {config.fewest:,} on an index has its own",
        )
    lessons = rehearse(corpus, assemble, config, progress)
    if lessons is None or not lessons.right.any():
        return ("no post's hashtags could be told from the others: the ranker that ships is used",)
    progress.stage("Learning to rank")
    save(fit(lessons, config), folder)
    return ()


def fit(lessons: Lessons, config: RankingConfig) -> Ranker:
    """A ranker that learned from all lessons; what it states was learned out of fold."""
    halves, many = _halves(lessons, config), bool(lessons.right.sum() >= MANY)
    candidates, queries = lessons.candidates, lessons.candidates.queries
    scores = np.zeros(len(queries), np.float32)
    for half in (0, 1):
        rows = halves[queries] == half
        forests = _order(_part(lessons, ~rows), many, config)
        scores[rows] = ordered(*forests, queries[rows], candidates.scores[rows])
    shown = _shown(queries, scores)
    facts = sureness(candidates, scores)[shown]
    right = lessons.right[shown]
    inside = halves[queries[shown]]
    stated = np.zeros(len(right), np.float64)
    for half in (0, 1):
        rows = inside == half
        stated[rows] = _logistic(_chance(facts[~rows], right[~rows], config).scores(facts[rows]))
    return Ranker(
        candidates.columns,
        *_order(lessons, many, config),
        _chance(facts, right, config),
        _isotonic(stated, right),
        {"questions": len(lessons.folds), "right": float(lessons.right.sum())},
    )


def save(ranker: Ranker, folder: Path) -> None:
    """Write a ranker's files into a new folder."""
    folder.mkdir()
    forests = {BETTER: ranker.better, ODDS: ranker.odds, CHANCE: ranker.chance}
    for name, forest in forests.items():
        (folder / name).write_text(forest.text, encoding="utf-8")
    values = {"columns": ranker.columns, "steps": ranker.steps.tolist()}
    values["facts"] = dict(ranker.facts)
    (folder / FACTS).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def reordered(ranker: Ranker, lessons: Lessons, config: RankingConfig) -> Ranker:
    """The ranker with its order learned anew from other lessons; it states no sound probability."""
    better, odds = _order(lessons, bool(lessons.right.sum() >= MANY), config)
    return replace(ranker, better=better, odds=odds)


def without(lessons: Lessons, channel: str) -> Lessons:
    """The lessons as they are without a channel: its columns silent, its own candidates gone."""
    candidates = lessons.candidates
    mine = np.array([column.split(":")[0] == channel for column in candidates.columns])
    others = ~mine & ~np.isin(candidates.columns, FACT_NAMES)
    scores = candidates.scores.copy()
    scores[:, mine] = np.nan
    rows = np.count_nonzero(np.isfinite(scores[:, others]), axis=1) > 0
    left = _part(lessons, rows)
    return replace(left, candidates=replace(left.candidates, scores=scores[rows]))


def _halves(lessons: Lessons, config: RankingConfig) -> Ids:
    """0 or 1 for each question: by folds where there are several, else at random."""
    folds = np.unique(lessons.folds)
    if len(folds) > 1:
        halves: Ids = np.searchsorted(folds, lessons.folds) % 2
        return halves
    return np.random.default_rng(config.seed).integers(0, 2, len(lessons.folds))


def _part(lessons: Lessons, rows: NDArray[np.bool_]) -> Lessons:
    """Some rows of the lessons; their questions keep their numbers."""
    found = lessons.candidates
    part = Candidates(found.queries[rows], found.tag_ids[rows], found.columns, found.scores[rows])
    return replace(lessons, candidates=part, right=lessons.right[rows])


def _order(lessons: Lessons, many: bool, config: RankingConfig) -> tuple[Trees, Trees]:
    """What orders candidates, learned from the right ones and some of the wrong ones.

    `many` is of all lessons, not of a half: the share of wrong ones shifts the log-odds, and what
    is stated holds only for forests of one kind. LambdaMART learns from questions that have a
    right candidate; the others tell it nothing.
    """
    queries, right = lessons.candidates.queries, lessons.right
    rows = right | (np.random.default_rng(config.seed).random(len(right)) < _WRONG_KEPT[many])
    answered = np.zeros(len(lessons.folds), np.bool_)
    answered[queries[right]] = True
    telling = rows & answered[queries]
    _, groups = ends_of(queries[telling])
    features, size = lessons.candidates.scores, _SIZES[many]
    return (
        _trained(
            *(features[telling], right[telling], _BETTER | size, _ROUNDS[many], config), groups
        ),
        _trained(features[rows], right[rows], _ODDS | size, _ROUNDS[many], config),
    )


def _chance(facts: Floats, right: NDArray[np.bool_], config: RankingConfig) -> Trees:
    rising = [1, 1] + [0] * (facts.shape[1] - 2)
    return _trained(facts, right, _CHANCE | {"monotone_constraints": rising}, CHANCE_ROUNDS, config)


def _trained(
    features: Floats,
    right: NDArray[np.bool_],
    settings: dict[str, Any],
    rounds: int,
    config: RankingConfig,
    groups: Ids | None = None,
) -> Trees:
    import lightgbm

    data = lightgbm.Dataset(features, right.astype(np.int8), group=groups)
    booster = lightgbm.train(settings | {"seed": config.seed}, data, rounds)
    return Trees(booster.model_to_string())


def _shown(queries: Ids, scores: Floats) -> Ids:
    """Rows of the best candidates of each question."""
    order = np.lexsort((-scores, queries))
    starts, lengths = ends_of(queries)
    places = np.arange(len(order)) - np.repeat(starts, lengths)
    return np.sort(order[places < SHOWN])


def _logistic(scores: Floats) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = 1 / (1 + np.exp(-scores.astype(np.float64)))
    return chances


def _isotonic(stated: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Steps from stated to true probability, (2, s), both rising."""
    from sklearn.isotonic import IsotonicRegression

    found = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(stated, right)
    kept = np.unique(np.linspace(0, len(found.X_thresholds_) - 1, STEPS).round().astype(int))
    return np.stack([found.X_thresholds_[kept], found.y_thresholds_[kept]])
