"""Fits the ranker to lessons: the order by LambdaMART, the probabilities out of fold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.pipeline.ranker_training import Assemble
from hashlens.indexer.progress import Progress
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.pairs import ranked
from hashlens.retriever.ranking.ranker import BETTER, CHANCE, FACTS, ODDS, Ranker, sureness
from hashlens.retriever.training.continue_training import grown
from hashlens.retriever.training.cross_fit import rehearse
from hashlens.retriever.training.examples import Lessons, part_of
from hashlens.retriever.training.models import MANY, Learned, chance, halves_of, order

SHOWN = 10  # candidates of a question whose probability is calibrated: those that people see
STEPS = 50  # isotonic steps kept at most
FEWEST_MORE = 100  # posts with hashtags from which on an older ranker learns from them


def fit_ranker(
    corpus: Corpus,
    assemble: Assemble,
    config: RankingConfig,
    folder: Path,
    progress: Progress,
    base: Path | None = None,
) -> tuple[str, ...]:
    """Rehearse on posts and write the ranker, where they are enough: a `FitRanker`.

    Returns:
        A note where the posts are too few, and where an older ranker learned from them.
    """
    tagged, fewest = int(np.count_nonzero(corpus.posts.hashtags.lengths)), config.fewest
    other = "the ranker that ships is used"
    if base:
        fewest, other = min(fewest, FEWEST_MORE), "the ranker that it began with is used"
    if tagged < fewest:
        are = "is" if tagged == 1 else "are"
        found = f"{count_noun(tagged, 'posts')} with hashtags {are} too few to learn ranking from"
        return (f"{found}: {other}; from {fewest:,} on an index has its own",)
    lessons = rehearse(corpus, assemble, config, progress)
    if lessons is None or not lessons.right.any():
        return (f"no post's hashtags could be told from the others: {other}",)
    progress.stage("Learning to rank")
    save(fit(lessons, config, Ranker.open(base) if base else None), folder)
    return (f"ranking went on to learn from {count_noun(tagged, 'posts')}",) if base else ()


def fit(lessons: Lessons, config: RankingConfig, base: Ranker | None = None) -> Ranker:
    """A ranker that learned from all lessons; what it states was learned out of fold.

    Args:
        lessons: to learn from.
        config: of the ranking.
        base: a ranker that goes on learning, instead of a new one.
    """
    if base:
        known = lessons.candidates
        known = replace(known, columns=base.columns, scores=base.features(known))
        return _calibrated(grown(replace(lessons, candidates=known), base, config), config)
    halves, many = halves_of(lessons, config), bool(lessons.right.sum() >= MANY)
    held = tuple(order(part_of(lessons, ~rows), many, config) for rows in halves)
    return _calibrated(Learned(lessons, halves, held, order(lessons, many, config)), config)


def _calibrated(learned: Learned, config: RankingConfig) -> Ranker:
    """A ranker of forests, with the probabilities that it states."""
    lessons, halves, scores = learned.lessons, learned.halves, learned.unseen()
    candidates, queries = lessons.candidates, lessons.candidates.queries
    shown = _shown(queries, scores)
    facts = sureness(candidates, scores)[shown]
    right = lessons.right[shown]
    stated = np.zeros(len(right), np.float64)
    for half in halves:
        rows = half[shown]
        stated[rows] = _logistic(chance(facts[~rows], right[~rows], config).scores(facts[rows]))
    return Ranker(
        candidates.columns,
        *learned.forests,
        chance(facts, right, config),
        isotonic(stated, right),
        {"questions": len(lessons.folds), "right": float(lessons.right.sum())},
        learned.silent,
    )


def save(ranker: Ranker, folder: Path) -> None:
    """Write a ranker's files into a new folder."""
    folder.mkdir()
    forests = {BETTER: ranker.better, ODDS: ranker.odds, CHANCE: ranker.chance}
    for name, forest in forests.items():
        (folder / name).write_text(forest.text, encoding="utf-8")
    values = {"columns": ranker.columns, "steps": ranker.steps.tolist()}
    values |= {"facts": dict(ranker.facts), "silent": ranker.silent}
    (folder / FACTS).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def reordered(ranker: Ranker, lessons: Lessons, config: RankingConfig) -> Ranker:
    """The ranker with its order learned anew from other lessons; it states no sound probability."""
    better, odds = order(lessons, bool(lessons.right.sum() >= MANY), config)
    return replace(ranker, better=better, odds=odds)


def _shown(queries: Ids, scores: Floats) -> Ids:
    """Rows of the best candidates of each question."""
    rows, places = ranked(queries, scores)
    return np.sort(rows[places < SHOWN])


def _logistic(scores: Floats) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = 1 / (1 + np.exp(-scores.astype(np.float64)))
    return chances


def isotonic(stated: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Steps from stated to true probability, (2, s), both rising; equal statements are one."""
    from scipy.optimize import isotonic_regression

    values, of, times = np.unique(stated, return_inverse=True, return_counts=True)
    found = isotonic_regression(np.bincount(of, right) / times, weights=times).x
    steps = np.stack([values, np.clip(found, 0, 1)])
    # Between the ends of a level part nothing is told.
    rising = np.diff(steps[1]) > 0
    steps = steps[:, np.append(True, rising) | np.append(rising, True)]
    kept = np.unique(np.linspace(0, steps.shape[1] - 1, STEPS).round().astype(int))
    return steps[:, kept]
