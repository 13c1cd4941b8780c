"""The next generation of an index without training: models are taken over, rows change.

Unchanged files, segments of vectors included, are shared with the generation before.
"""

from __future__ import annotations

import shutil

import numpy as np

from hashlens.indexer.config import ALL_TOPICS, BASE_RANKER, RANKER, BuildConfig
from hashlens.indexer.corpus.corpus import (
    Corpus,
    TrainedModels,
    predict_topics,
    store_posts,
    write_count_matrices,
    write_vectors,
)
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.erasure.vocabulary import drop_unsupported
from hashlens.indexer.generations.generation import Generation, GenerationWriter
from hashlens.indexer.pipeline.diff import PostDiff
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.new_hashtags import write_new_hashtag_vectors
from hashlens.indexer.storage.statistics import derive, update_counts
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import TrainingCounts
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.vectors.milvus_generations import continue_location, renew_location
from hashlens.indexer.vectors.segments import DELETED, KINDS, load_live, mark_deleted, save_segment

# Folders that are taken over whole.
LINKED = ("topics", "texts", "words", RANKER, BASE_RANKER, "trained")
NAMING = ("topics", "texts", "words", "trained")  # those of them that contain words or hashtags
STORE = "posts.duckdb"


def write_incremental(
    new: GenerationWriter,
    previous: Generation,
    changes: PostDiff,
    corpus: Corpus,
    trained: TrainingCounts,
    progress: Progress,
    *,
    erasing: bool = False,
) -> dict[str, int]:
    """Write the next generation; return its counts.

    Args:
        new: the generation to write.
        previous: the generation before.
        changes: posts that leave and enter.
        corpus: posts that enter.
        trained: counts at the time of training.
        progress: told of the stages.
        erasing: whether no byte may be left of removed posts, and of words that only they used.
    """
    folder, config = new.folder, BuildConfig.from_json(previous.manifest.config)
    _link_unchanged(new, previous, changes, erasing=erasing)
    model = TopicModel.open(previous.folder / "topics")
    shutil.copyfile(previous.folder / STORE, folder / STORE)
    progress.stage("Storing posts", len(corpus.posts))
    with Store.change(folder / STORE) as store:
        if store.migrate():  # its counts followed other rules
            derive(store)
    with Store.change(folder / STORE) as store:
        with update_counts(store, corpus.posts, corpus.words, changes.removed):
            store.remove(changes.removed, changes.copies)
            keys = store_posts(store, corpus, predict_topics(corpus, model, config), progress)
            if len(changes.removed) or erasing:
                store.forget_unused()
        if erasing:
            drop_unsupported(previous.folder, folder, store, config.vectors)
            trained = TrainingCounts.open(folder / "trained")
        words = folder / "words" / ALL_TOPICS
        # There is no space if too few words were posted to learn any.
        space = WordSpace.open(words) if words.is_dir() else WordSpace.empty(1)
        learned = TrainedModels(TopicModel.open(folder / "topics"), space, trained)
        write_vectors(folder, store, corpus, keys, learned)
        write_new_hashtag_vectors(folder, store, trained, space, config.vectors)
        counts = write_count_matrices(folder, store, learned, progress)
        query = "select count(*) from hashtag_counts where tag_id >= ?"
        counts["young"] = store.rows(query, [len(trained.tags)])[0][0]
        query = "select count(*) from posts where post_key >= ?"
        counts["since_training"] = store.rows(query, [trained.first_post])[0][0]
    if erasing:
        progress.stage("Merging segments")
        _rewrite_without_remains(new)
    return counts


def _rewrite_without_remains(new: GenerationWriter) -> None:
    """Write rows and vectors into new files, which have no room left of removed ones."""
    folder = new.folder
    left = (folder / STORE).rename(folder / "left.duckdb")
    Store.compact(left, folder / STORE)
    left.unlink()
    found = {kind: load_live(folder / kind) for kind in KINDS}
    renew_location(new, folder)
    for kind, (vectors, classes) in found.items():
        if (folder / kind).is_dir():  # an error ends the update: the old segments have the vectors
            shutil.rmtree(folder / kind)
        if vectors is not None:
            save_segment(folder / kind, vectors, classes)


def _link_unchanged(
    new: GenerationWriter, previous: Generation, changes: PostDiff, *, erasing: bool
) -> None:
    """Link files that stay as they are, and note which vectors of the segments are deleted."""
    linked = [name for name in LINKED if not (erasing and name in NAMING)]
    for name in previous.manifest.files:
        if name.split("/")[0] in linked:
            new.link(name)
    continue_location(new, previous.folder)
    for kind in KINDS:
        kept, dead = mark_deleted(previous.folder / kind, changes.removed)
        for path in kept:
            new.link(f"{kind}/{path.name}")
            if (table := path.with_suffix(".npy")).exists():
                new.link(f"{kind}/{table.name}")
        if len(dead):
            np.save(new.folder / kind / DELETED, dead)
