"""Posts into an index and the lessons that its ranker would learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hashlens.evaluation.methods.hashlens import write_posts
from hashlens.indexer.config import BuildConfig, RankingConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.ranker_training import Assemble
from hashlens.indexer.progress import Progress
from hashlens.indexer.types import Post
from hashlens.retriever.training.cross_fit import rehearse
from hashlens.retriever.training.examples import Lessons


def learned_from(
    posts: Sequence[Post], folder: Path, config: BuildConfig
) -> tuple[Path, Lessons | None]:
    """Build an index of posts without a ranker of its own.

    Args:
        posts: to learn from.
        folder: where to write, empty.
        config: settings of the build.

    Returns:
        The index's folder, and the lessons; None where nothing could be asked.
    """
    kept: list[Lessons | None] = []

    def keep(
        corpus: Corpus,
        assemble: Assemble,
        config: RankingConfig,
        _: Path,
        progress: Progress,
        __: Path | None = None,
    ) -> tuple[str, ...]:
        kept.append(rehearse(corpus, assemble, config, progress))
        return ()

    source, index = folder / "posts", folder / "index"
    write_posts(posts, source)
    build([source], index, config=config, fit_ranker=keep, workers=1)
    return index, kept[0]
