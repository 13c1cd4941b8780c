"""The interface by which the indexer has a ranker trained; it has no ranking of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import Generation
from hashlens.indexer.progress import Progress

# Makes an index of some posts in a folder; it is not sealed.
Assemble = Callable[[Corpus, Path], Generation]


class FitRanker(Protocol):
    """Trains a ranker from posts and writes it; `retriever.training` has one."""

    def __call__(
        self,
        corpus: Corpus,
        assemble: Assemble,
        config: RankingConfig,
        folder: Path,
        progress: Progress,
        base: Path | None = None,
        /,
    ) -> tuple[str, ...]:
        """Write a ranker into a new folder, or nothing; return notes.

        Args:
            corpus: the posts.
            assemble: makes an index of some of them.
            config: of the ranking.
            folder: to write into.
            progress: told of the stages.
            base: folder of a ranker that goes on learning, if the posts joined others' counts.
        """
