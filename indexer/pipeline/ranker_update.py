"""A ranker that goes on learning from posts that joined another index's counts.

Such an index was trained without its own posts. Taking some of them out of its counts is enough to
ask it about them as about strangers' posts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hashlens.indexer.config import BASE_RANKER, RANKER, BuildConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import Generation, open_current, writer
from hashlens.indexer.generations.manifest import Manifest
from hashlens.indexer.pipeline.ranker_training import FitRanker
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.store import Store

RANKED_POSTS = "ranked"  # name, among the counts, of the number of posts that ranking learned from

Remove = Callable[[Path, Sequence[str]], object]  # posts, by id, from the index in a folder


def retrain_ranker(
    folder: Path,
    like: Manifest,
    counts: dict[str, int],
    fit_ranker: FitRanker,
    remove: Remove,
    progress: Progress,
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Write the ranker of a generation that is complete but for it, and not sealed.

    Args:
        folder: of the generation.
        like: manifest of the generation before.
        counts: of the generation.
        fit_ranker: continues the training of the base ranker. If it writes nothing, as with few
            posts, the base ranker is used.
        remove: removes posts from an index.
        progress: told of the stages.

    Returns:
        The counts, with the new `RANKED_POSTS`; and notes.
    """
    with Store.open(folder / "posts.duckdb") as store:
        corpus = Corpus.load(folder, store)

    def assemble_part(part: Corpus, place: Path) -> Generation:
        kept = {post.post_id for post in part.posts}
        with writer(place / "index") as new:
            shutil.copytree(folder, new.folder, dirs_exist_ok=True)
            new.publish_like(like, counts)
        gone = [post.post_id for post in corpus.posts if post.post_id not in kept]
        remove(place / "index", gone)
        return open_current(place / "index")

    base = folder / BASE_RANKER if (folder / BASE_RANKER).is_dir() else folder / RANKER
    config = BuildConfig.from_json(like.config).ranking
    made = folder / "new-ranker"
    notes = fit_ranker(corpus, assemble_part, config, made, progress, base)
    if made.is_dir():
        if base.name == RANKER:
            base.rename(folder / BASE_RANKER)
        else:
            shutil.rmtree(folder / RANKER)
        made.rename(folder / RANKER)
        return counts | {RANKED_POSTS: len(corpus.posts)}, notes
    if base.name == BASE_RANKER:  # its posts are gone, and so must be what was learned from them
        shutil.rmtree(folder / RANKER)
        base.rename(folder / RANKER)
    return counts | {RANKED_POSTS: 0}, notes
