"""Ranking that goes on to learn from the posts of an index that began from another's aggregates.

What such an index learned, it learned without its posts, so taking some of them out of its counts
is enough to ask it about them as about strangers' posts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hashlens.indexer.config import BASE_RANKER, RANKER, BuildConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.corpus.stored import load_corpus
from hashlens.indexer.generations.generation import Generation, open_current, writer
from hashlens.indexer.generations.manifest import Manifest
from hashlens.indexer.pipeline.ranker_training import FitRanker
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.store import Store

RANKED_POSTS = "ranked"  # name of the number of posts that ranking learned from, among the counts

Remove = Callable[[Path, Sequence[str]], object]  # posts, by id, from the index in a folder


def retrain_ranker(
    folder: Path,
    like: Manifest,
    counts: dict[str, int],
    fit_ranker: FitRanker,
    remove: Remove,
    progress: Progress,
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Write the ranker of a generation that is whole but for that, and not sealed.

    Args:
        folder: of the generation.
        like: manifest of the one before.
        counts: of the generation.
        fit_ranker: has the ranker that was lent go on learning; where it writes none, as from few
            posts, that ranker is used as it was lent.
        remove: takes posts out of an index.
        progress: told of the stages.

    Returns:
        The counts, with `RANKED_POSTS` as it is now; and notes.
    """
    with Store.open(folder / "posts.duckdb") as store:
        corpus = load_corpus(folder, store, np.zeros(0, np.int64))

    def without(part: Corpus, place: Path) -> Generation:
        kept = {post.post_id for post in part.posts}
        with writer(place / "index") as new:
            shutil.copytree(folder, new.folder, dirs_exist_ok=True)
            new.publish_like(like, counts)
        gone = [post.post_id for post in corpus.posts if post.post_id not in kept]
        remove(place / "index", gone)
        return open_current(place / "index")

    lent = folder / BASE_RANKER if (folder / BASE_RANKER).is_dir() else folder / RANKER
    config = BuildConfig.from_json(like.config).ranking
    made = folder / "new-ranker"
    notes = fit_ranker(corpus, without, config, made, progress, lent)
    if made.is_dir():
        if lent.name == RANKER:
            lent.rename(folder / BASE_RANKER)
        else:
            shutil.rmtree(folder / RANKER)
        made.rename(folder / RANKER)
        return counts | {RANKED_POSTS: len(corpus.posts)}, notes
    if lent.name == BASE_RANKER:  # its posts are gone, and so must be what was learned from them
        shutil.rmtree(folder / RANKER)
        lent.rename(folder / RANKER)
    return counts | {RANKED_POSTS: 0}, notes
