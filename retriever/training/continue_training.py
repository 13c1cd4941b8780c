"""Continued training of a ranker that learned from other people's posts on a few own posts.

Its forests get more trees, as boosting does. Held-out questions decide how many, and whether the
posts themselves may vote: a few dozen posts vote too loudly if the counts of many others know
better. Without any gain the ranker stays as it was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.types import Floats
from hashlens.retriever.candidates.channels import POST_CHANNELS
from hashlens.retriever.index.pairs import rank_rows
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.training.examples import TrainingExamples, drop_channels, select_rows
from hashlens.retriever.training.models import CrossFitForests, split_halves, train_order

TREE_STEPS = (0, 10, 20, 40, 80, 160)  # trees that each forest may get
MIN_GAIN = 1.03  # of votes by posts: with a few hundred questions, less is chance
MAX_JUDGED = 10  # places of an answer that count


def continue_boosting(
    examples: TrainingExamples, base: Ranker, config: RankingConfig
) -> CrossFitForests:
    """Return a ranker's forests with the trees that raise held-out quality most.

    Args:
        examples: with the columns that the ranker reads.
        base: the ranker.
        config: settings of the ranking.
    """
    start = base.pairwise, base.pointwise
    ideal = _gains(examples, examples.right.astype(np.float32))
    trials = []
    for excluded, bar in ((POST_CHANNELS, 1.0), ((), MIN_GAIN)):
        kept = drop_channels(examples, *excluded) if excluded else examples
        halves = split_halves(kept, config)
        held_out = [
            train_order(select_rows(kept, ~rows), True, config, start, TREE_STEPS[-1])
            for rows in halves
        ]
        for more in TREE_STEPS:
            pairs = tuple(
                (pairwise.first(len(start[0]) + more), pointwise.first(len(start[1]) + more))
                for pairwise, pointwise in held_out
            )
            found = CrossFitForests(kept, halves, pairs, start, excluded)
            gains = _gains(kept, found.held_out_scores())[ideal > 0] / ideal[ideal > 0]
            trials.append((float(gains.sum()) / bar, more, found))
    _, more, best = max(trials, key=lambda trial: trial[0])  # the first of equals: fewest trees
    return replace(best, forests=train_order(best.examples, True, config, start, more))


def _gains(examples: TrainingExamples, scores: Floats) -> NDArray[np.float64]:
    """Return DCG@10 of each question, float64 (n,) (Järvelin & Kekäläinen 2002)."""
    queries = examples.candidates.queries
    rows, ranks = rank_rows(queries, scores)
    shown = ranks < MAX_JUDGED
    gains = examples.right[rows[shown]] / np.log2(ranks[shown] + 2)
    return np.bincount(queries[shown], gains, len(examples.folds)).astype(np.float64)
