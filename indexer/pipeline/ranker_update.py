"""Training of the ranker on the posts of an index that began from another's aggregates.

Such an index was trained without its posts. Removing some of them from its counts is therefore
enough to ask it about them as about unknown posts.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from hashlens.indexer.config import LENT, RANKER
from hashlens.indexer.generations.generation import writer
from hashlens.indexer.generations.manifest import Manifest
from hashlens.indexer.pipeline.ranker_training import FitRanker, RankerTask

RANKED = "ranked"  # name of the number of posts that the ranker learned from, among the counts


def publish_copy(folder: Path, like: Manifest, counts: dict[str, int], index: Path) -> Path:
    """Copy a generation that is not sealed into a new index, publish it there, and return that."""
    with writer(index) as new:
        shutil.copytree(folder, new.folder, dirs_exist_ok=True)
        new.publish_like(like, counts)
    return index


def retrain_ranker(
    folder: Path, task: RankerTask, counts: dict[str, int], fit_ranker: FitRanker
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Write the ranker of a generation that is otherwise complete, and not sealed.

    Args:
        folder: of the generation.
        task: the posts to learn from; its base is set here.
        counts: of the generation.
        fit_ranker: has the original ranker continue learning; if it writes none, as from few posts,
            the original ranker is used.

    Returns:
        The counts with the present `RANKED`, and notes.
    """
    lent = folder / LENT if (folder / LENT).is_dir() else folder / RANKER
    made = folder / "new-ranker"
    notes = fit_ranker(replace(task, base=lent), made)
    if made.is_dir():
        if lent.name == RANKER:
            lent.rename(folder / LENT)
        else:
            shutil.rmtree(folder / RANKER)
        made.rename(folder / RANKER)
        return counts | {RANKED: len(task.corpus.posts)}, notes
    if lent.name == LENT:  # its posts are gone, and so must be the ranker that learned from them
        shutil.rmtree(folder / RANKER)
        lent.rename(folder / RANKER)
    return counts | {RANKED: 0}, notes
