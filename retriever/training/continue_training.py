"""A ranker that learned from others' posts goes on learning from few of one's own.

Its forests get more trees, as boosting does. How many, and whether the posts themselves may speak,
which a few dozen do too loudly where the counts of many others know better, is decided by questions
that the trees did not learn from: where nothing is to be learned, the ranker stays as it was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.types import Floats
from hashlens.retriever.candidates.channels import OF_POSTS
from hashlens.retriever.index.pairs import ranked
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.training.examples import Lessons, part_of, without
from hashlens.retriever.training.models import Forests, Learned, halves_of, order

STEPS = (0, 10, 20, 40, 80, 160)  # trees that each forest may get
MARGIN = 1.03  # how much better the posts must know: from a few hundred questions less is chance
JUDGED = 10  # places of an answer


def grown(lessons: Lessons, base: Ranker, config: RankingConfig) -> Learned:
    """The forests of a ranker after they went on.

    Args:
        lessons: with the columns that the ranker reads.
        base: the ranker.
        config: of the ranking.
    """
    begun = base.better, base.odds
    ideal = _gains(lessons, lessons.right.astype(np.float32))
    tried = []
    for silent, bar in ((OF_POSTS, 1.0), ((), MARGIN)):
        heard = without(lessons, *silent) if silent else lessons
        halves = halves_of(heard, config)
        held = [order(part_of(heard, ~rows), True, config, begun, STEPS[-1]) for rows in halves]
        for more in STEPS:
            pairs = tuple(_first(pair, base, more) for pair in held)
            learned = Learned(heard, halves, pairs, begun, silent)
            gains = _gains(heard, learned.unseen())[ideal > 0] / ideal[ideal > 0]
            tried.append((float(gains.sum()) / bar, more, learned))
    _, more, best = max(tried, key=lambda trial: trial[0])  # the first of equals: fewest trees
    return replace(best, forests=order(best.lessons, True, config, begun, more))


def _first(forests: Forests, base: Ranker, more: int) -> Forests:
    """What was there before, and the first trees that were added."""
    better, odds = forests
    return better.first(len(base.better) + more), odds.first(len(base.odds) + more)


def _gains(lessons: Lessons, scores: Floats) -> NDArray[np.float64]:
    """DCG@10 of each question, float64 (n,) (Järvelin & Kekäläinen 2002)."""
    queries = lessons.candidates.queries
    rows, places = ranked(queries, scores)
    shown = places < JUDGED
    worth = lessons.right[rows[shown]] / np.log2(places[shown] + 2)
    return np.bincount(queries[shown], worth, len(lessons.folds)).astype(np.float64)
