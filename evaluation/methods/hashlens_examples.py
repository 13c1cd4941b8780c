"""Posts into an index and the lessons that its ranker would learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hashlens.evaluation.methods.hashlens import write_posts
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.types import Post
from hashlens.retriever.training.cross_fit import collect_examples
from hashlens.retriever.training.examples import TrainingExamples


def learned_from(
    posts: Sequence[Post], folder: Path, config: BuildConfig
) -> tuple[Path, TrainingExamples | None]:
    """Build an index of posts without a ranker of its own.

    Args:
        posts: to learn from.
        folder: where to write, empty.
        config: settings of the build.

    Returns:
        The index's folder, and the lessons; None where nothing could be asked.
    """
    kept: list[TrainingExamples | None] = []

    def keep(task: RankerTask, _: Path) -> tuple[str, ...]:
        kept.append(collect_examples(task))
        return ()

    source, index = folder / "posts", folder / "index"
    write_posts(posts, source)
    build([source], index, config=config, fit_ranker=keep, workers=1)
    return index, kept[0]
