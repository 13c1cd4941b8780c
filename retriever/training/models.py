"""Training of boosted forests from examples, by LightGBM: the order, and its calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.candidates.channels import POST_CHANNELS
from hashlens.retriever.index.pairs import query_runs
from hashlens.retriever.ranking.ranker import cascade_scores
from hashlens.retriever.ranking.tree_model import TreeModel
from hashlens.retriever.recommendation import column_channels
from hashlens.retriever.training.examples import TrainingExamples

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
_PAIRWISE = _FOREST | {"objective": "lambdarank", "lambdarank_truncation_level": 15}
_POINTWISE = _FOREST | {"objective": "binary"}
MIN_RIGHT_FOR_LARGE = 4_000  # right candidates from which on larger forests learn more than chance
_SIZES: dict[bool, dict[str, Any]] = {False: {"num_leaves": 15}, True: {"num_leaves": 31}}
_ROUNDS = {False: 100, True: 150}
# Share of the wrong candidates, drawn at random, that the order is learned from.
_WRONG_SHARE = {False: 1.0, True: 0.15}
_CALIBRATION = _FOREST | {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 200}
_CALIBRATION |= {"feature_fraction": 1.0}
CALIBRATION_ROUNDS = 80
# Settings of the trees that are added to a forest from few examples.
_CONTINUED = {"num_leaves": 7, "min_data_in_leaf": 50}

Forests = tuple[TreeModel, TreeModel]  # that order candidates: pairwise, pointwise


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitForests:
    """Forests, and the examples that they learned from.

    `halves` are the rows, bool (c,), of each half of the examples; `held_out` are forests that did
    not learn from that half; `forests` learned from all. The examples lack the channels
    `excluded`.
    """

    examples: TrainingExamples
    halves: tuple[NDArray[np.bool_], ...]
    held_out: tuple[Forests, ...]
    forests: Forests
    excluded: tuple[str, ...] = ()

    def held_out_scores(self) -> Floats:
        """Return each candidate's score by forests that did not learn from it, float32 (c,)."""
        candidates = self.examples.candidates
        scores = np.zeros(len(candidates.queries), np.float32)
        for rows, pair in zip(self.halves, self.held_out, strict=True):
            scores[rows] = cascade_scores(*pair, candidates.queries[rows], candidates.scores[rows])
        return scores


def split_halves(
    examples: TrainingExamples, config: RankingConfig
) -> tuple[NDArray[np.bool_], ...]:
    """Return the rows of either half of the questions: by folds, or at random if there is one."""
    folds = np.unique(examples.folds)
    if len(folds) > 1:
        second = np.searchsorted(folds, examples.folds) % 2 == 1
    else:
        second = np.random.default_rng(config.seed).integers(0, 2, len(examples.folds)) == 1
    rows = second[examples.candidates.queries]
    return ~rows, rows


def train_order(
    examples: TrainingExamples,
    large: bool,
    config: RankingConfig,
    base: Forests | None = None,
    more: int = 0,
) -> Forests:
    """Return forests that order candidates, trained on the right and some of the wrong ones.

    LambdaMART learns from questions that have a right candidate; the others do not help it.

    Args:
        examples: to learn from.
        large: whether all examples, not only this half, are enough for large forests. The share of
            wrong candidates shifts the log-odds, so that both halves need the same.
        config: settings of the ranking.
        base: forests that get `more` trees, instead of new ones.
        more: number of trees.
    """
    if base and not more:
        return base
    queries, right = examples.candidates.queries, examples.right
    rows = right | (np.random.default_rng(config.seed).random(len(right)) < _WRONG_SHARE[large])
    answered = np.zeros(len(examples.folds), np.bool_)
    answered[queries[right]] = True
    ranked = rows & answered[queries]
    _, groups = query_runs(queries[ranked])
    features = examples.candidates.scores
    size, rounds = (_CONTINUED, more) if base else (_SIZES[large], _ROUNDS[large])
    if not base and not large:
        # More votes of posts never lower a hashtag: what few examples say against that is chance.
        owners = column_channels(examples.candidates.columns)
        size = size | {"monotone_constraints": [int(owner in POST_CHANNELS) for owner in owners]}
    pairwise, pointwise = base or (None, None)
    return (
        _train(
            *(features[ranked], right[ranked], _PAIRWISE | size, rounds, config), groups, pairwise
        ),
        _train(features[rows], right[rows], _POINTWISE | size, rounds, config, base=pointwise),
    )


def train_calibration(
    features: Floats, right: NDArray[np.bool_], config: RankingConfig
) -> TreeModel:
    """Return a model of the probability that candidates are right, monotone in two features."""
    rising = [1, 1] + [0] * (features.shape[1] - 2)
    settings = _CALIBRATION | {"monotone_constraints": rising}
    return _train(features, right, settings, CALIBRATION_ROUNDS, config)


def _train(
    features: Floats,
    right: NDArray[np.bool_],
    settings: dict[str, Any],
    rounds: int,
    config: RankingConfig,
    groups: Ids | None = None,
    base: TreeModel | None = None,
) -> TreeModel:
    import lightgbm

    data = lightgbm.Dataset(features, right.astype(np.int8), group=groups)
    start = lightgbm.Booster(model_str=base.text) if base else None
    booster = lightgbm.train(settings | {"seed": config.seed}, data, rounds, init_model=start)
    return TreeModel(booster.model_to_string())
