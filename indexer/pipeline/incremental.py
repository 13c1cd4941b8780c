"""The next generation of an index, without learning: what was learned is taken over, rows change.

Files that stay as they are, segments of vectors among them, are shared with the generation before.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hashlens.indexer.config import ALL_TOPICS, LENT, RANKER, BuildConfig
from hashlens.indexer.corpus.corpus import (
    Corpus,
    Learned,
    store_posts,
    topics_of,
    write_counted,
    write_vectors,
)
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.erasure.vocabulary import drop_unsupported
from hashlens.indexer.generations.generation import Generation, GenerationWriter
from hashlens.indexer.pipeline.diff import Changes
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.new_hashtags import write_young
from hashlens.indexer.storage.statistics import derive, rederived
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import Trained
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.types import Ids
from hashlens.indexer.vectors.milvus_location import Place
from hashlens.indexer.vectors.segments import DEAD, KINDS, bury, living, save_segment

# Folders that are taken over whole.
LINKED = ("topics", "texts", "words", RANKER, LENT, "trained")
NAMING = ("topics", "texts", "words", "trained")  # those of them that name words or hashtags
STORE = "posts.duckdb"


def extended(
    new: GenerationWriter,
    previous: Generation,
    changes: Changes,
    corpus: Corpus,
    trained: Trained,
    progress: Progress,
    *,
    erasing: bool = False,
) -> dict[str, int]:
    """Write the next generation; returns counts.

    Args:
        new: what is written.
        previous: the generation before.
        changes: posts that come and go.
        corpus: those that come.
        trained: counts that what is learned rests on.
        progress: told of the stages.
        erasing: whether no byte of removed posts, and of words that only they held, may be left.
    """
    folder, config = new.folder, BuildConfig.from_json(previous.manifest.config)
    linked = [name for name in LINKED if not (erasing and name in NAMING)]
    _take_over(new, previous, changes.removed, linked)
    model = TopicModel.open(previous.folder / "topics")
    shutil.copyfile(previous.folder / STORE, folder / STORE)
    progress.stage("Storing posts", len(corpus.posts))
    with Store.change(folder / STORE) as store:
        if store.migrate():  # it counted otherwise
            derive(store)
    with Store.change(folder / STORE) as store:
        with rederived(store, corpus.posts, corpus.words, changes.removed):
            store.remove(changes.removed, changes.copies)
            topics = topics_of(corpus, model, config)
            keys = store_posts(store, corpus, topics, progress)
            if len(changes.removed) or erasing:
                store.forget_unused()
        if erasing:
            drop_unsupported(previous.folder, folder, store, config.vectors)
            trained = Trained.open(folder / "trained")
        space = _space(folder / "words" / ALL_TOPICS)
        learned = Learned(TopicModel.open(folder / "topics"), space, trained)
        write_vectors(folder, store, corpus, keys, learned)
        write_young(folder, store, trained, space, config.vectors)
        counts = write_counted(folder, store, learned, progress)
        counts |= _since(store, trained)
    if erasing:
        progress.stage("Merging segments")
        _without_remains(new)
    return counts


def _without_remains(new: GenerationWriter) -> None:
    """Write rows and vectors into files of their own: no room that removed ones took is left."""
    folder = new.folder
    left = (folder / STORE).rename(folder / "left.duckdb")
    Store.compact(left, folder / STORE)
    left.unlink()
    found = {kind: living(folder / kind) for kind in KINDS}
    if place := Place.of(folder):
        place.renewed(new.index, new.number).save(folder)
    for kind, (vectors, classes) in found.items():
        if (folder / kind).is_dir():  # an error ends the update: the old segments have the vectors
            shutil.rmtree(folder / kind)
        if vectors is not None:
            save_segment(folder / kind, vectors, classes)


def _space(folder: Path) -> WordSpace:
    """The space in a folder; one of no words where too few were posted to learn any."""
    if folder.is_dir():
        return WordSpace.open(folder)
    return WordSpace((), np.empty((0, 1), np.float32), np.empty(0, np.int64))


def _take_over(
    new: GenerationWriter, previous: Generation, removed: Ids, linked: Sequence[str]
) -> None:
    """Link what stays as it is, and say which vectors of the segments are dead now."""
    for name in previous.manifest.files:
        if name.split("/")[0] in linked:
            new.link(name)
    if place := Place.of(previous.folder):
        place.continued(new.index, new.number).save(new.folder)
    for kind in KINDS:
        kept, dead = bury(previous.folder / kind, removed)
        for path in kept:
            new.link(f"{kind}/{path.name}")
            if (table := path.with_suffix(".npy")).exists():
                new.link(f"{kind}/{table.name}")
        if len(dead):
            np.save(new.folder / kind / DEAD, dead)


def _since(store: Store, trained: Trained) -> dict[str, int]:
    """Hashtags and posts that came since the index last learned."""
    ((young,),) = store.rows(
        "select count(*) from hashtag_counts where tag_id >= ?", [len(trained.tags)]
    )
    query = "select count(*) from posts where post_key >= ?"
    ((posts,),) = store.rows(query, [trained.first_post])
    return {"young": young, "since_training": posts}
