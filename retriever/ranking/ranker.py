"""Candidates of all channels into one ranking with probabilities: the learned part, applied.

Two forests order a query's candidates, the sum of their scores counts: one learned which of two
candidates is better (LambdaMART, Burges 2010), one whether a candidate is right (log-odds). A
third, which may only rise with that sum, turns it into a probability given how sure the query as a
whole is; isotonic steps (Zadrozny & Elkan 2002) take out what bias is left. `fitting` fits them.
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
from hashlens.indexer.types import Candidates, Floats, Ids
from hashlens.retriever.index.pairs import Entries, ends_of, ranked
from hashlens.retriever.ranking.tree_model import Trees

BETTER, ODDS, CHANCE, FACTS = "better.txt", "odds.txt", "chance.txt", "ranker.json"
FIRST = 30  # trees that pick the candidates which the others are asked about
LIKELY = 150  # candidates of a query that the whole log-odds are asked about
HEAD = 60  # candidates of a query that are put in order by both forests
BEHIND = 100.0  # more than any sum of trees
BEST = 5  # best candidates whose mean tells how sure a query is
_LARGEST = 1 << 20  # bytes of `FACTS`
_MOST_COLUMNS = 1_000  # that a ranker reads: all are compared with all channels
# Trees give equal probabilities to neighbours in the ranking: this much keeps them in order.
_NUDGE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """A fitted ranker.

    `columns` are the candidates' columns that it reads, in order; `steps` float64 (2, s): stated
    and true probabilities of the isotonic steps; `facts` say from how many questions it learned;
    `silent` are channels that are not to be asked for it.
    """

    columns: tuple[str, ...]
    better: Trees
    odds: Trees
    chance: Trees
    steps: NDArray[np.float64]
    facts: Mapping[str, Any]
    silent: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The ranker in a folder.

        Raises:
            IndexCorruptError: a file is missing or not sound.
        """
        try:
            if (folder / FACTS).stat().st_size > _LARGEST:
                raise ValueError(f"found more than {_LARGEST >> 20} MB")
            values = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            columns, facts = tuple(values["columns"]), dict(values["facts"])
            silent = tuple(values.get("silent", ()))
            if len(columns) > _MOST_COLUMNS or len(silent) > _MOST_COLUMNS:
                raise ValueError(f"more than {_MOST_COLUMNS:,} columns")
            steps = np.array(values["steps"], np.float64)
            if steps.ndim != 2 or len(steps) != 2 or not steps.size or not np.isfinite(steps).all():
                raise ValueError("steps are not two rows of numbers")
            if (np.diff(steps) < 0).any() or not all(
                isinstance(name, str) for name in columns + silent
            ):
                raise ValueError("steps do not rise, or columns are not names")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise unreadable(folder / FACTS, error) from error
        better, odds, chance = (Trees.open(folder / name) for name in (BETTER, ODDS, CHANCE))
        return cls(columns, better, odds, chance, steps, facts, silent)

    @classmethod
    def shipped(cls) -> Self:
        """The ranker that ships with hashlens, for an index of too few posts to fit its own."""
        return cls.open(data_path(RANKER))

    def probabilities(self, candidates: Candidates) -> Floats:
        """How likely each hashtag is to be used, float32 (c,)."""
        features = self.features(candidates)
        scores = ordered(self.better, self.odds, candidates.queries, features)
        known = replace(candidates, columns=self.columns, scores=features)
        ahead = scores > -BEHIND / 2  # of those behind, hardly any is right: theirs is nearly 0
        stated = self.chance.scores(sureness(known, scores)[ahead])
        chance = np.zeros(len(scores))
        chance[ahead] = np.interp(1 / (1 + np.exp(-stated)), *self.steps)
        nudged = chance * (1 - _NUDGE) + _NUDGE / (1 + np.exp(-np.maximum(scores, -50)))
        probabilities: Floats = nudged.astype(np.float32)
        return probabilities

    def shares(self, candidates: Candidates) -> tuple[tuple[str, ...], Floats]:
        """Channels, and the share of each in what speaks for a candidate, float32 (c, n).

        Shares are of the positive contributions to the score, and sum to 1; 0 where there is none,
        and for a channel that is silent: that nothing is said may lift a score, but is no reason.
        """
        features = self.features(candidates)
        found = self.better.contributions(features) + self.odds.contributions(features)
        owners = [column.split(":")[0] for column in self.columns]
        # What is told of the query is the same for all its candidates, and speaks for none.
        channels = tuple(dict.fromkeys(n for n in owners if f"{n}: " != FACT))
        member = np.array([[owner == channel for channel in channels] for owner in owners])
        gains = np.where(np.isfinite(features) @ member, np.maximum(found @ member, 0), 0)
        return channels, gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-9)

    def features(self, candidates: Candidates) -> Floats:
        """The columns that it reads, float32 (c, h); NaN where the candidates lack one."""
        if candidates.columns == self.columns:
            return candidates.scores
        places = {column: place for place, column in enumerate(candidates.columns)}
        padded = np.pad(candidates.scores, ((0, 0), (0, 1)), constant_values=np.nan)
        return padded[:, [places.get(column, -1) for column in self.columns]]


def ordered(better: Trees, odds: Trees, queries: Ids, features: Floats) -> Floats:
    """Scores that order each query's candidates, float32 (c,).

    A cascade: the log-odds' first trees, which tell most, pick the candidates that the others are
    asked about, and these pick the `HEAD` to which the question of the better one is put. Those
    not picked stand behind.
    """
    scores = odds.scores(features, 0, FIRST)
    likely = _best(queries, scores, np.arange(len(queries)), LIKELY)
    scores[likely] += odds.scores(features[likely], FIRST)
    head = _best(queries, scores, likely, HEAD)
    found = scores - 2 * BEHIND
    found[likely] += BEHIND
    found[head] = scores[head] + better.scores(features[head])
    return found


def _best(queries: Ids, scores: Floats, rows: Ids, most: int) -> Ids:
    """Of some rows, int64 ascending, the `most` of each query by score."""
    return Entries(queries[rows], rows, scores[rows][:, None]).best(most).tags


SURENESS = ("score", "behind", "best", "mean of best", "candidates")
FACT = "query: "


def sureness(candidates: Candidates, scores: Floats) -> Floats:
    """What tells how likely a score is to be right, float32 (c, f): it and its query's others.

    The first two rise with the score; the others are the same for all of a query.
    """
    starts, lengths = ends_of(candidates.queries)
    if not len(starts):
        return np.zeros((0, len(SURENESS) + len(_facts(candidates))), np.float32)
    best = np.maximum.reduceat(scores, starts)
    order, places = ranked(candidates.queries, scores)
    shown = np.where(places < BEST, scores[order], 0)
    top = np.add.reduceat(shown, starts) / np.minimum(lengths, BEST)
    of_query = np.repeat(np.column_stack([best, top, lengths]), lengths, axis=0)
    told = candidates.scores[:, _facts(candidates)]
    return np.column_stack([scores, scores - of_query[:, 0], of_query, told]).astype(np.float32)


def _facts(candidates: Candidates) -> list[int]:
    return [n for n, column in enumerate(candidates.columns) if column.startswith(FACT)]
