"""Boosted forests learned from lessons by LightGBM: what orders candidates, how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.candidates.channels import OF_POSTS
from hashlens.retriever.index.pairs import ends_of
from hashlens.retriever.ranking.ranker import ordered
from hashlens.retriever.ranking.tree_model import Trees
from hashlens.retriever.training.examples import Lessons

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
_SIZES: dict[bool, dict[str, Any]] = {False: {"num_leaves": 15}, True: {"num_leaves": 31}}
_ROUNDS = {False: 100, True: 150}
# Share of the wrong candidates that the order is learned from, drawn at random.
_WRONG_KEPT = {False: 1.0, True: 0.15}
_CHANCE = _FOREST | {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 200}
_CHANCE |= {"feature_fraction": 1.0}
CHANCE_ROUNDS = 80
# What a forest gets besides, where it goes on learning from few.
_MORE = {"num_leaves": 7, "min_data_in_leaf": 50}

Forests = tuple[Trees, Trees]  # by which candidates are ordered: better, odds


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Forests, and what they learned from.

    `halves` are rows bool (c,) of each half of the lessons, `held` forests that did not learn from
    it, `forests` those that learned from all; `silent` are channels that the lessons are without.
    """

    lessons: Lessons
    halves: tuple[NDArray[np.bool_], ...]
    held: tuple[Forests, ...]
    forests: Forests
    silent: tuple[str, ...] = ()

    def unseen(self) -> Floats:
        """What the forests say that did not learn from a question, float32 (c,)."""
        candidates = self.lessons.candidates
        scores = np.zeros(len(candidates.queries), np.float32)
        for rows, pair in zip(self.halves, self.held, strict=True):
            scores[rows] = ordered(*pair, candidates.queries[rows], candidates.scores[rows])
        return scores


def halves_of(lessons: Lessons, config: RankingConfig) -> tuple[NDArray[np.bool_], ...]:
    """Rows of either half of the questions: by folds where there are several, else at random."""
    folds = np.unique(lessons.folds)
    if len(folds) > 1:
        second = np.searchsorted(folds, lessons.folds) % 2 == 1
    else:
        second = np.random.default_rng(config.seed).integers(0, 2, len(lessons.folds)) == 1
    rows = second[lessons.candidates.queries]
    return ~rows, rows


def order(
    lessons: Lessons,
    many: bool,
    config: RankingConfig,
    base: Forests | None = None,
    more: int = 0,
) -> Forests:
    """What orders candidates, learned from the right ones and some of the wrong ones.

    `many` is of all lessons, not of a half: the share of wrong ones shifts the log-odds, and what
    is stated holds only for forests of one kind. LambdaMART learns from questions that have a
    right candidate; the others tell it nothing. A `base` gets `more` trees instead.
    """
    if base and not more:
        return base
    queries, right = lessons.candidates.queries, lessons.right
    rows = right | (np.random.default_rng(config.seed).random(len(right)) < _WRONG_KEPT[many])
    answered = np.zeros(len(lessons.folds), np.bool_)
    answered[queries[right]] = True
    telling = rows & answered[queries]
    _, groups = ends_of(queries[telling])
    features = lessons.candidates.scores
    size, rounds = (_MORE, more) if base else (_SIZES[many], _ROUNDS[many])
    if not base and not many:
        size = size | {"monotone_constraints": _rising(lessons.candidates.columns)}
    better, odds = base or (None, None)
    return (
        _trained(
            *(features[telling], right[telling], _BETTER | size, rounds, config), groups, better
        ),
        _trained(features[rows], right[rows], _ODDS | size, rounds, config, first=odds),
    )


def _rising(columns: Sequence[str]) -> list[int]:
    """1 of each column in which posts vote, 0 of others: more votes never speak against a hashtag.

    What few lessons seem to say against that is chance; many may know better.
    """
    return [int(column.split(":")[0] in OF_POSTS) for column in columns]


def chance(facts: Floats, right: NDArray[np.bool_], config: RankingConfig) -> Trees:
    """How likely shown candidates are right, from facts of which the first two speak for it."""
    rising = [1, 1] + [0] * (facts.shape[1] - 2)
    return _trained(facts, right, _CHANCE | {"monotone_constraints": rising}, CHANCE_ROUNDS, config)


def _trained(
    features: Floats,
    right: NDArray[np.bool_],
    settings: dict[str, Any],
    rounds: int,
    config: RankingConfig,
    groups: Ids | None = None,
    first: Trees | None = None,
) -> Trees:
    import lightgbm

    data = lightgbm.Dataset(features, right.astype(np.int8), group=groups)
    begun = lightgbm.Booster(model_str=first.text) if first else None
    booster = lightgbm.train(settings | {"seed": config.seed}, data, rounds, init_model=begun)
    return Trees(booster.model_to_string())
