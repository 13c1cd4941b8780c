"""The interface by which the pipeline trains a ranker: the indexer has no ranking of its own.

Commands pass `retriever.training.fit.fit_ranker` as `fit_ranker` to `build`, `update` and `forget`.
These describe the training by a `RankerTask`, whose `build_part` makes the indexes of the
cross-fitting, and call it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import Generation
from hashlens.indexer.progress import Progress

# Builds an index of some of the posts in an empty folder.
BuildPart = Callable[[Corpus, Path], Generation]


@dataclass(frozen=True, slots=True, eq=False)
class RankerTask:
    """A ranker to train: the posts, a way to index a part of them, settings and progress.

    `base` is the folder of a ranker that continues learning, if the posts joined another's counts.
    """

    corpus: Corpus
    build_part: BuildPart
    config: RankingConfig
    progress: Progress
    base: Path | None = None


# Writes a ranker into a new folder, or nothing if there are too few posts; returns notes.
FitRanker = Callable[[RankerTask, Path], tuple[str, ...]]
