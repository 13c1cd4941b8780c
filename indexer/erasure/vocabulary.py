"""What was learned, without the words and hashtags that no post of an index is left of.

Files of a generation name words: the topics' vocabulary, the counts of the last training, and the
vector spaces. A person's rare words would stay there after the posts are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hashlens.indexer.config import VectorConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.generations.filesystem import folders_in
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import TrainingCounts
from hashlens.indexer.topics.image_model import Head
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.types import Embeddings, Ids
from hashlens.indexer.vectors.index import VectorIndex

_HASHTAGS = "hashtags.faiss"


def drop_unsupported(source: Path, folder: Path, store: Store, config: VectorConfig) -> int:
    """Write what was learned into a folder, without words and hashtags that no post has.

    Words of the pretrained vectors stay: they are public, and the same in every index.

    Args:
        source: folder of the generation before, its FAISS files checked.
        folder: of the generation that is being written.
        store: its rows, without unused hashtags and words.
        config: how the spaces were learned.

    Returns:
        How many words and hashtags went.
    """
    words = dict(store.rows("select word, word_id from words"))
    tags = dict(store.rows("select key, tag_id from hashtags"))
    trained = TrainingCounts.open(source / "trained")
    model = TopicModel.open(source / "topics")
    is_public = _public(trained, model, config)
    gone = _save_topics(model, folder, lambda word: word in words or word in tags, is_public)
    _save_trained(trained, folder / "trained", set(words.values()), set(tags.values()))
    tokens = {config.token(key) for key in tags}
    ids = np.array(sorted(tags.values()), np.int64)
    for space in folders_in(source / "words"):
        place = folder / "words" / space.name
        gone |= _save_space(space, place, lambda word: word in words or word in tokens, is_public)
        if place.is_dir():
            _save_hashtags(space / _HASHTAGS, place, ids)
    _save_hashtags(source / "texts" / _HASHTAGS, folder / "texts", ids)
    store.connection.execute("delete from hashtag_parts")  # cut anew by the words that are left
    return len(gone)


IsWord = Callable[[str], bool]


def _public(trained: TrainingCounts, model: TopicModel, config: VectorConfig) -> IsWord:
    """Whether a word is known from pretrained vectors, not from posts alone."""
    if config.pretrained is None:
        pretrained = load_pretrained(None)
        return lambda word: word in pretrained
    # An index is not followed to the file that it names. A word of no post has the largest idf.
    most = model.idf.max(initial=0)
    unused = {word for word, at in model.vocabulary.items() if model.idf[at] == most}
    unused -= trained.word_posts.keys()
    return lambda word: word in unused


def _save_topics(model: TopicModel, folder: Path, is_used: IsWord, is_public: IsWord) -> set[str]:
    words = sorted(model.vocabulary, key=model.vocabulary.__getitem__)
    kept = [word for word in words if is_used(word) or is_public(word)]
    places = np.array([model.vocabulary[word] for word in kept], np.int64)
    text = model.text and Head(np.ascontiguousarray(model.text.weights[:, places]), model.text.bias)
    numbers = {word: place for place, word in enumerate(kept)}
    replace(model, text=text, vocabulary=numbers, idf=model.idf[places]).save(folder / "topics")
    return set(words).difference(kept)


def _save_trained(trained: TrainingCounts, folder: Path, words: set[int], tags: set[int]) -> None:
    words_by_id = tuple(
        word if number in words else "" for number, word in enumerate(trained.words_by_id())
    )
    TrainingCounts(
        _only(trained.words, words), _only(trained.tags, tags), trained.posts, lambda: words_by_id
    ).save(folder)


def _only(
    counts: np.ndarray[tuple[int], np.dtype[np.int32]], ids: set[int]
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The counts of some ids, zero elsewhere."""
    kept = np.isin(np.arange(len(counts)), np.fromiter(ids, np.int64, len(ids)))
    return np.where(kept, counts, 0).astype(np.int32)


def _save_space(source: Path, folder: Path, is_used: IsWord, is_public: IsWord) -> set[str]:
    """Write a space without unused words; returns those. A public word counts as never posted."""
    space = WordSpace.open(source)
    words, counts = list(space.words), space.counts.copy()
    rows, gone = [], set()
    for row, word in enumerate(words):
        if counts[row] and not is_used(word):
            if not is_public(word):
                gone.add(word)
                continue
            counts[row] = 0
        rows.append(row)
    kept = np.array(rows, np.int64)
    if len(kept):
        WordSpace(tuple(words[row] for row in rows), space.vectors[kept], counts[kept]).save(folder)
    return gone


def _save_hashtags(path: Path, folder: Path, ids: Ids) -> None:
    """Write the vectors of hashtags that are left, where there are any."""
    if not path.exists():
        return
    index = VectorIndex.open(path)
    kept = np.intersect1d(index.ids, ids).astype(np.int64)
    if len(kept):
        folder.mkdir(parents=True, exist_ok=True)
        VectorIndex.build(Embeddings(kept, index.reconstruct(kept))).save(folder / _HASHTAGS)
