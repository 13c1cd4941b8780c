"""Posts made ready, and everything that is learned from them written into one folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.config import ALL_TOPICS, BuildConfig
from indexer.counts import write_counts
from indexer.pretrained import load_pretrained
from indexer.progress import Progress
from indexer.schema import Embeddings, Floats, Ids, Post
from indexer.segment import Segmenter, vocabulary_counts
from indexer.store import Store
from indexer.textvectors import idf_weights, text_vectors, unseen_idf
from indexer.topicheads import fit_topics
from indexer.topics import TopicModel, TopicTable
from indexer.vectors import VectorIndex
from indexer.wordspace import WordSpace
from indexer.wordvectors import train

STORED_BATCH = 20_000  # posts a transaction: keeps memory flat and Arrow efficient


@dataclass(frozen=True, slots=True)
class Corpus:
    """Posts with their caption words, and the vectors of those that have a readable picture.

    `classes` float32 (m, 1000): of each vector's picture, the probabilities of ImageNet's classes,
    where the encoder has them.
    """

    posts: list[Post]
    words: list[list[str]]
    images: Embeddings | None  # ids are positions in `posts`, ascending
    classes: Floats | None = None

    def terms(self) -> list[list[str]]:
        """Caption words and `#hashtags` of each post: what topics and vectors are learned from."""
        return [
            words + [f"#{tag}" for tag in post.hashtags]
            for post, words in zip(self.posts, self.words, strict=True)
        ]

    def part(self, rows: Ids) -> Corpus:
        """Only some posts, by ascending position int64 (p,)."""
        images = classes = None
        if self.images is not None:
            kept = np.isin(self.images.ids, rows)
            ids = np.searchsorted(rows, self.images.ids[kept]).astype(np.int64)
            images = Embeddings(ids, self.images.vectors[kept])
            classes = None if self.classes is None else self.classes[kept]
        posts, words = [self.posts[row] for row in rows], [self.words[row] for row in rows]
        if images is None or not len(images.ids):
            return Corpus(posts, words, None)
        return Corpus(posts, words, images, classes)


def assemble(
    folder: Path,
    corpus: Corpus,
    table: TopicTable,
    config: BuildConfig,
    progress: Progress,
    workers: int,
) -> tuple[dict[str, int], dict[str, int]]:
    """Learn everything and write its files; returns counts, and posts per topic."""
    terms = corpus.terms()
    progress.stage("Learning topics")
    pretrained = load_pretrained(config.vectors.pretrained)
    model, topics = _learn_topics(corpus, terms, table, config, pretrained)
    model.save(folder / "topics")
    with Store.create(folder / "posts.duckdb") as store:
        progress.stage("Storing posts", len(corpus.posts))
        keys = _store_posts(store, corpus, topics, progress)
        progress.stage("Counting")
        store.derive()
        tag_ids, word_posts = store.tag_ids(), store.word_posts()
        counts = store.counts() | {"pictures": len(corpus.images.ids) if corpus.images else 0}
        spaces = (terms, topics, table, tag_ids, config, pretrained)
        space = _learn_spaces(folder, *spaces, progress, workers)
        progress.stage("Counting what stands beside what")
        ranked = [word for word in space.words if not word.startswith("#")]
        segmenter = Segmenter(vocabulary_counts(word_posts, ranked))
        write_counts(store, segmenter.segment, table.names, folder / "counts")
    if corpus.images:
        _save_vectors(folder, "images", keys[corpus.images.ids], corpus.images.vectors)
    tagged = [r for r, post in enumerate(corpus.posts) if post.hashtags and corpus.words[r]]
    idf, unseen = idf_weights(word_posts, len(corpus.posts)), unseen_idf(len(corpus.posts))
    captions = text_vectors(space, [corpus.words[row] for row in tagged], idf, unseen)
    rows = np.array(tagged, dtype=np.int64)[captions.ids]
    _save_vectors(folder, "captions", keys[rows], captions.vectors)
    return counts, dict(Counter(topic for topic, _ in topics if topic))


def _save_vectors(folder: Path, kind: str, ids: Ids, vectors: np.ndarray) -> None:
    if not len(ids):
        return
    (folder / kind).mkdir()
    VectorIndex.build(Embeddings(ids, vectors)).save(folder / kind / "0001.faiss")


def _learn_topics(
    corpus: Corpus,
    terms: list[list[str]],
    table: TopicTable,
    config: BuildConfig,
    pretrained: WordSpace,
) -> tuple[TopicModel, list[tuple[str | None, str | None]]]:
    """The topic model, and of each post its (topic, where that comes from)."""
    known = [_known_topic(post, table) for post in corpus.posts]
    labels = [topic for topic, _ in known]
    model = fit_topics(
        table,
        tokens=terms,
        labels=labels,
        groups=[post.author for post in corpus.posts],
        images=corpus.images,
        config=config.topics,
        pretrained=pretrained,
        classes=corpus.classes,
    )
    unknown = np.array([r for r, topic in enumerate(labels) if topic is None], dtype=np.int64)
    if not len(unknown):
        return model, known
    probs = model.from_tokens([terms[row] for row in unknown]).probs
    best = probs.argmax(axis=1)
    for row, topic, prob in zip(unknown, best, probs.max(axis=1), strict=True):
        if prob >= config.topics.min_probability:
            known[row] = (table.names[topic], "text")
    return model, known


def _known_topic(post: Post, table: TopicTable) -> tuple[str | None, str | None]:
    if post.topic in table.names:
        return post.topic, "given"
    topic = table.defining(post.hashtags)
    return topic, "hashtags" if topic else None


def _store_posts(
    store: Store,
    corpus: Corpus,
    topics: list[tuple[str | None, str | None]],
    progress: Progress,
) -> Ids:
    keys = []
    for start in range(0, len(corpus.posts), STORED_BATCH):
        batch = slice(start, start + STORED_BATCH)
        keys.append(store.add_posts(corpus.posts[batch], corpus.words[batch], topics[batch]))
        progress.advance(len(keys[-1]))
    return np.concatenate(keys)


def _learn_spaces(
    folder: Path,
    terms: list[list[str]],
    topics: list[tuple[str | None, str | None]],
    table: TopicTable,
    tag_ids: dict[str, int],
    config: BuildConfig,
    pretrained: WordSpace,
    progress: Progress,
    workers: int,
) -> WordSpace:
    """Train and save the space of each topic and of all posts; returns the last."""
    groups = {ALL_TOPICS: terms} | {
        name: [t for t, (topic, _) in zip(terms, topics, strict=True) if topic == name]
        for name in table.names
    }
    progress.stage("Learning vectors", sum(map(len, groups.values())))
    spaces = {}
    for name, sentences in groups.items():
        space = train(sentences, config.vectors, pretrained=pretrained, workers=workers)
        if name != ALL_TOPICS:  # words that no post holds are kept once, in the space of all
            space = space.trained()
        _save_space(folder / "words" / name, space, tag_ids, config)
        progress.advance(len(sentences))
        spaces[name] = space
    return spaces[ALL_TOPICS]


def _save_space(
    folder: Path, space: WordSpace, tag_ids: dict[str, int], config: BuildConfig
) -> None:
    """A space, and the FAISS index of its hashtags by tag id."""
    if not len(space.words):
        return
    space.save(folder)
    positions, rows = space.found([config.vectors.token(key) for key in tag_ids])
    ids = np.fromiter(tag_ids.values(), np.int64, len(tag_ids))[positions]
    if len(ids):
        vectors = np.ascontiguousarray(space.vectors[rows], dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        VectorIndex.build(Embeddings(ids, vectors)).save(folder / "hashtags.faiss")
