"""The ranker: turns the scores of all channels into one ranking with probabilities.

Two boosted forests order a query's candidates by the sum of their scores. The pairwise one learned
which of two candidates is better (LambdaMART, Burges 2010), the pointwise one whether a candidate
is right (log-odds). A third, monotone in that sum, calibrates it by how confident the whole query
is; isotonic steps (Zadrozny & Elkan 2002) remove the bias that is left. `training.fit` fits them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RANKER, data_path
from hashlens.indexer.errors import unreadable
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.pairs import ScoredPairs, query_runs, rank_rows
from hashlens.retriever.ranking.tree_model import TreeModel
from hashlens.retriever.recommendation import Candidates, column_channels

PAIRWISE_FILE, POINTWISE_FILE, CALIBRATION_FILE = "better.txt", "odds.txt", "chance.txt"
RANKER_FILE = "ranker.json"
SCREENING_TREES = 30  # pointwise trees that screen all candidates
MAX_SCREENED = 150  # candidates of a query that get all pointwise trees
MAX_PAIRWISE = 60  # candidates of a query that both forests order
SCORE_GAP = 100.0  # above any sum of trees: puts screened candidates before the others
MAX_MEAN_OF_BEST = 5  # best candidates whose mean score shows how confident a query is
QUERY_PREFIX = "query: "  # of columns that are the same for all candidates of a query
CONFIDENCE_COLUMNS = ("score", "behind", "best", "mean of best", "candidates")
_MAX_BYTES = 1 << 20  # of `RANKER_FILE`
_MAX_COLUMNS = 1_000  # that a ranker reads: all are compared with all channels
# Trees give equal probabilities to neighbours in the ranking: this much keeps them in order.
_NUDGE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """A fitted ranker.

    `columns` are the candidates' columns that it reads, in order; `steps` float64 (2, s) are the
    stated and the true probabilities of the isotonic steps; `facts` record how many questions it
    learned from; `excluded` are channels that must not run for it.
    """

    columns: tuple[str, ...]
    pairwise: TreeModel
    pointwise: TreeModel
    calibration: TreeModel
    steps: NDArray[np.float64]
    facts: Mapping[str, Any]
    excluded: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load the ranker in a folder.

        Raises:
            IndexCorruptError: a file is missing or invalid.
        """
        path = folder / RANKER_FILE
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f"found more than {_MAX_BYTES >> 20} MB")
            values = json.loads(path.read_text(encoding="utf-8"))
            columns, facts = tuple(values["columns"]), dict(values["facts"])
            excluded = tuple(values.get("silent", ()))
            if len(columns) > _MAX_COLUMNS or len(excluded) > _MAX_COLUMNS:
                raise ValueError(f"more than {_MAX_COLUMNS:,} columns")
            steps = np.array(values["steps"], np.float64)
            if steps.ndim != 2 or len(steps) != 2 or not steps.size or not np.isfinite(steps).all():
                raise ValueError("steps are not two rows of numbers")
            if (np.diff(steps) < 0).any() or not all(
                isinstance(name, str) for name in columns + excluded
            ):
                raise ValueError("steps do not rise, or columns are not names")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise unreadable(path, error) from error
        names = (PAIRWISE_FILE, POINTWISE_FILE, CALIBRATION_FILE)
        pairwise, pointwise, calibration = (TreeModel.open(folder / name) for name in names)
        return cls(columns, pairwise, pointwise, calibration, steps, facts, excluded)

    @classmethod
    def shipped(cls) -> Self:
        """Load the ranker that ships with hashlens, for an index with too few posts for its own."""
        return cls.open(data_path(RANKER))

    def probabilities(self, candidates: Candidates) -> Floats:
        """Return the probability that each hashtag is used, float32 (c,)."""
        features = self.features(candidates)
        scores = cascade_scores(self.pairwise, self.pointwise, candidates.queries, features)
        known = replace(candidates, columns=self.columns, scores=features)
        ahead = scores > -SCORE_GAP / 2  # the others are hardly ever right: theirs is nearly 0
        stated = self.calibration.scores(confidence_features(known, scores)[ahead])
        chance = np.zeros(len(scores))
        chance[ahead] = np.interp(1 / (1 + np.exp(-stated)), *self.steps)
        nudged = chance * (1 - _NUDGE) + _NUDGE / (1 + np.exp(-np.maximum(scores, -50)))
        probabilities: Floats = nudged.astype(np.float32)
        return probabilities

    def shares(self, candidates: Candidates) -> tuple[tuple[str, ...], Floats]:
        """Return n channels, and each one's share of a candidate's score, float32 (c, n).

        Shares are of the positive contributions to the score and sum to 1; they are 0 if there are
        none. A channel without a score has no share, though its absence may raise the sum.
        """
        features = self.features(candidates)
        found = self.pairwise.contributions(features) + self.pointwise.contributions(features)
        owners = column_channels(self.columns)
        # Features of the query are the same for all its candidates, so they are no evidence.
        channels = tuple(dict.fromkeys(n for n in owners if f"{n}: " != QUERY_PREFIX))
        member = np.array([[owner == channel for channel in channels] for owner in owners])
        gains = np.where(np.isfinite(features) @ member, np.maximum(found @ member, 0), 0)
        return channels, gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-9)

    def features(self, candidates: Candidates) -> Floats:
        """Return the columns that the ranker reads, float32 (c, h); NaN for missing ones."""
        if candidates.columns == self.columns:
            return candidates.scores
        places = {column: place for place, column in enumerate(candidates.columns)}
        padded = np.pad(candidates.scores, ((0, 0), (0, 1)), constant_values=np.nan)
        return padded[:, [places.get(column, -1) for column in self.columns]]


def cascade_scores(
    pairwise: TreeModel, pointwise: TreeModel, queries: Ids, features: Floats
) -> Floats:
    """Return scores that order each query's candidates, float32 (c,).

    The first pointwise trees screen all candidates, the other pointwise trees score the best
    `MAX_SCREENED`, and the pairwise forest scores the best `MAX_PAIRWISE` of these.
    """
    scores = pointwise.scores(features, 0, SCREENING_TREES)
    screened = _top_rows(queries, scores, np.arange(len(queries)), MAX_SCREENED)
    scores[screened] += pointwise.scores(features[screened], SCREENING_TREES)
    head = _top_rows(queries, scores, screened, MAX_PAIRWISE)
    found = scores - 2 * SCORE_GAP
    found[screened] += SCORE_GAP
    found[head] = scores[head] + pairwise.scores(features[head])
    return found


def _top_rows(queries: Ids, scores: Floats, rows: Ids, most: int) -> Ids:
    """Return the best `most` of some rows, int64 ascending, of each query by score."""
    return ScoredPairs(queries[rows], rows, scores[rows][:, None]).top(most).ids


def confidence_features(candidates: Candidates, scores: Floats) -> Floats:
    """Return `CONFIDENCE_COLUMNS` and the query's features for calibration, float32 (c, f).

    The first two rise with the score; the others are the same for all candidates of a query.
    """
    places = [n for n, column in enumerate(candidates.columns) if column.startswith(QUERY_PREFIX)]
    starts, lengths = query_runs(candidates.queries)
    if not len(starts):
        return np.zeros((0, len(CONFIDENCE_COLUMNS) + len(places)), np.float32)
    best = np.maximum.reduceat(scores, starts)
    order, ranks = rank_rows(candidates.queries, scores)
    summed = np.add.reduceat(np.where(ranks < MAX_MEAN_OF_BEST, scores[order], 0), starts)
    mean = summed / np.minimum(lengths, MAX_MEAN_OF_BEST)
    of_query = np.repeat(np.column_stack([best, mean, lengths]), lengths, axis=0)
    facts = candidates.scores[:, places]
    return np.column_stack([scores, scores - of_query[:, 0], of_query, facts]).astype(np.float32)
