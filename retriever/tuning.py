"""A ranker that learned from others' posts goes on learning from few of one's own.

Its forests get more trees, as boosting does; how many is decided by questions that they did not
learn from, so that where nothing is to be learned it stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.config import RankingConfig
from indexer.schema import Floats, Ids
from retriever.entries import ends_of
from retriever.forests import Forests, order, part_of
from retriever.lessons import Lessons
from retriever.ranker import Ranker, ordered

STEPS = (0, 10, 20, 40, 80, 160)  # trees that each forest may get
JUDGED = 10  # places of an answer


def grown(
    lessons: Lessons, halves: Sequence[NDArray[np.bool_]], base: Ranker, config: RankingConfig
) -> list[Forests]:
    """The forests of a ranker after they went on: without each half, and with all lessons.

    Args:
        lessons: with the columns that the ranker reads.
        halves: rows of each half of them, bool (c,).
        base: the ranker.
        config: of the ranking.
    """
    begun = base.better, base.odds
    parts = [part_of(lessons, ~rows) for rows in halves]
    held, right = [order(part, True, config, begun) for part in parts], lessons.right
    queries, features = lessons.candidates.queries, lessons.candidates.scores

    def gain(more: int) -> float:
        """Of what the halves' forests say to the other half, with so many trees more."""
        return sum(
            _gain(
                queries[rows],
                ordered(*_first(forests, base, more), queries[rows], features[rows]),
                right[rows],
            )
            for rows, forests in zip(halves, held, strict=True)
        )

    more = max(STEPS, key=gain)
    return [_first(forests, base, more) for forests in (*held, order(lessons, True, config, begun))]


def _first(forests: Forests, base: Ranker, more: int) -> Forests:
    """What was there before, and the first trees that were added."""
    better, odds = forests
    return better.first(len(base.better) + more), odds.first(len(base.odds) + more)


def _gain(queries: Ids, scores: Floats, right: NDArray[np.bool_]) -> float:
    """nDCG@10 of each question that has a right candidate, summed (Järvelin & Kekäläinen 2002)."""
    _, lengths = ends_of(queries)
    worth = 1 / np.log2(np.arange(2, JUDGED + 2))
    found, best = np.zeros(len(lengths)), np.zeros(len(lengths))
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    for sums, keys in ((found, -scores), (best, ~right)):
        order_of = np.lexsort((keys, numbers))
        places = np.arange(len(order_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        shown = places < JUDGED
        gains = worth[places[shown]] * right[order_of[shown]]
        sums += np.bincount(numbers[shown], gains, minlength=len(lengths))
    return float((found[best > 0] / best[best > 0]).sum())
