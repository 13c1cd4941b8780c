"""Posts made ready, and everything that is learned from them written into one folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.disk_rows import taken
from hashlens.indexer.config import ALL_TOPICS, BuildConfig
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.text import text_vectors
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.count_matrices import Segment, write_counts
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import Trained
from hashlens.indexer.text.authors import folded
from hashlens.indexer.text.segmenter import Segmenter, vocabulary_counts
from hashlens.indexer.text.token_lists import Texts
from hashlens.indexer.topics.model import TopicModel, TopicTable
from hashlens.indexer.topics.prompts import READ, TextReader, hashtag_texts, topic_texts
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, Floats, Ids, Post
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.segments import living_ids, save_segment

BATCH = 20_000  # posts that are stored, or whose topics are told, at a time: keeps memory flat

TopicOf = tuple[str | None, str | None]  # a post's topic, and where it comes from


@dataclass(frozen=True, slots=True)
class Corpus:
    """Posts with their caption words, and the vectors of those that have a readable picture.

    In memory are words, hashtags and names as numbers; what else the posts are is on disk, and so
    are the vectors of many pictures.

    `classes` float32 (m, 1000): of each vector's picture, the probabilities of ImageNet's classes,
    where the encoder has them. `copies` are reposts of the posts, or of posts in the same index.
    """

    posts: Posts
    words: Texts
    images: Embeddings | None  # ids are positions in `posts`, ascending
    classes: Floats | None = None
    copies: tuple[Post, ...] = ()

    @property
    def pictured(self) -> NDArray[np.bool_]:
        """Which posts have a readable picture, bool (n,)."""
        found = np.zeros(len(self.posts), np.bool_)
        if self.images is not None:
            found[self.images.ids] = True
        return found

    def terms(self) -> Texts:
        """Caption words and `#hashtags` of each post: what topics and vectors are learned from."""
        return self.words.beside(self.posts.hashtags, "#")

    def part(self, rows: Ids) -> Corpus:
        """Only some posts, by ascending position int64 (p,), without reposts."""
        images = classes = None
        if self.images is not None:
            kept = np.flatnonzero(np.isin(self.images.ids, rows))
            ids = np.searchsorted(rows, self.images.ids[kept]).astype(np.int64)
            images = Embeddings(ids, taken(self.images.vectors, kept))
            classes = None if self.classes is None else taken(self.classes, kept)
        posts, words = self.posts.at(rows), self.words.at(rows)
        if images is None or not len(images.ids):
            return Corpus(posts, words, None)
        return Corpus(posts, words, images, classes)


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What was learned from posts: topics, the space of all topics, and counts of that time."""

    model: TopicModel
    space: WordSpace
    trained: Trained


def assemble(
    folder: Path,
    corpus: Corpus,
    table: TopicTable,
    config: BuildConfig,
    progress: Progress,
    workers: int,
    reader: TextReader | None = None,
    engine: Engine = LOCAL,
) -> tuple[dict[str, int], dict[str, int]]:
    """Learn everything and write its files; returns counts, and posts per topic.

    `reader` is what encodes texts, where the pictures' encoder reads text; `engine` trains vectors
    and counts.
    """
    progress.stage("Learning topics")
    pretrained = load_pretrained(config.vectors.pretrained)
    texts = topic_texts(table, pretrained, reader) if reader else None
    terms = corpus.terms()
    model, topics = _learn_topics(corpus, terms, table, config, pretrained, texts)
    model.save(folder / "topics")
    spaces = _learn_spaces(terms, topics, table, config, pretrained, progress, workers, engine)
    space = spaces[ALL_TOPICS]
    counts = write_first(folder, corpus, topics, model, space, progress, engine=engine)
    with Store.open(folder / "posts.duckdb") as store:
        save_spaces(folder, spaces, store.tag_ids(), config)
        if reader:
            learned = Learned(model, space, Trained.open(folder / "trained"))
            _save_texts(folder, store, counts["authors"], _segment(learned), reader, progress)
    return counts, dict(Counter(topic for topic, _ in topics if topic))


def write_first(
    folder: Path,
    corpus: Corpus,
    topics: list[TopicOf],
    model: TopicModel,
    space: WordSpace,
    progress: Progress,
    trained: Trained | None = None,
    engine: Engine = LOCAL,
) -> dict[str, int]:
    """Write what is not learned from the posts into a folder without any; returns counts.

    Args:
        folder: of a generation.
        corpus: all its posts.
        topics: of each post (topic, where it comes from).
        model: tells topics.
        space: of all topics.
        progress: told of the stages.
        trained: counts that what is learned rests on; those of these posts where None.
        engine: counts.
    """
    with Store.create(folder / "posts.duckdb") as store:
        progress.stage("Storing posts", len(corpus.posts))
        keys = store_posts(store, corpus, topics, progress)
        progress.stage("Counting")
        engine.derive(store)
        learned = Learned(model, space, trained or Trained.of(store))
        learned.trained.save(folder / "trained")
        write_vectors(folder, store, corpus, keys, learned)
        return write_counted(folder, store, learned, progress)


def write_counted(
    folder: Path, store: Store, learned: Learned, progress: Progress, linear: int | None = None
) -> dict[str, int]:
    """Write what stands beside what, by a store with its derived tables; returns what it counts."""
    progress.stage("Counting what stands beside what")
    names = learned.model.table.names
    write_counts(store, _segment(learned), names, folder / "counts", linear)
    return store.counts() | {"pictures": len(living_ids(folder / "images"))}


def _segment(learned: Learned) -> Segment:
    """Cuts hashtags by what was learned; made ready, which takes a second, at the first cut."""

    @cache
    def ready() -> Segmenter:
        ranked = [word for word in learned.space.words if not word.startswith("#")]
        return Segmenter(vocabulary_counts(learned.trained.word_posts, ranked))

    return lambda key: ready().segment(key)


def write_vectors(folder: Path, store: Store, corpus: Corpus, keys: Ids, learned: Learned) -> None:
    """Write the vectors of posts' pictures and captions, as the next segments of a folder.

    Args:
        folder: of a generation.
        store: with the posts.
        corpus: the posts.
        keys: of each post, int64 (n,) ascending.
        learned: with the counts that weigh words.
    """
    if corpus.images:
        images = Embeddings(keys[corpus.images.ids], corpus.images.vectors)
        save_segment(folder / "images", images, corpus.classes)
    tagged = np.flatnonzero((corpus.posts.hashtags.lengths > 0) & (corpus.words.lengths > 0))
    words = corpus.words.at(tagged)
    idf = learned.trained.idf(store.word_ids(words.words), {})
    captions = text_vectors(learned.space, words, idf, learned.trained.unseen_idf)
    rows = tagged[captions.ids]
    save_segment(folder / "captions", Embeddings(keys[rows], captions.vectors), None)


def _save_texts(
    folder: Path,
    store: Store,
    authors: int,
    segment: Segment,
    reader: TextReader,
    progress: Progress,
) -> None:
    """The words of the most used hashtags as vectors, by tag id; brands are not offered."""
    found = store.rows(
        "select key, tag_id from hashtag_counts where authors > 1 or known_authors = 0 or ? = 1 "
        "order by posts desc, tag_id limit ?",
        [authors, READ],
    )
    progress.stage("Reading hashtags", len(found))
    if found:
        (folder / "texts").mkdir()
        vectors = hashtag_texts(dict(found), segment, reader, progress)
        VectorIndex.build(vectors).save(folder / "texts" / "hashtags.faiss")


def _learn_topics(
    corpus: Corpus,
    terms: Texts,
    table: TopicTable,
    config: BuildConfig,
    pretrained: WordSpace,
    texts: Floats | None,
) -> tuple[TopicModel, list[TopicOf]]:
    """The topic model, and of each post its (topic, where that comes from)."""
    known = _known_topics(corpus.posts, table)
    labels = [topic for topic, _ in known]
    model = fit_topics(
        table,
        tokens=terms,
        labels=labels,
        groups=[author and folded(author) for author in corpus.posts.authors.tolist()],
        images=corpus.images,
        config=config.topics,
        pretrained=pretrained,
        classes=corpus.classes,
        texts=texts,
    )
    return model, _guessed(terms, known, model, config)


def topics_of(corpus: Corpus, model: TopicModel, config: BuildConfig) -> list[TopicOf]:
    """Of each post its topic by a model that is there already, and where it comes from."""
    known = _known_topics(corpus.posts, model.table)
    return _guessed(corpus.terms(), known, model, config)


def _guessed(
    terms: Texts, known: list[TopicOf], model: TopicModel, config: BuildConfig
) -> list[TopicOf]:
    """The topics, with that of the text head where none is known and it is sure enough."""
    unknown = np.array([r for r, (topic, _) in enumerate(known) if topic is None], dtype=np.int64)
    topics = list(known)
    for start in range(0, len(unknown), BATCH):
        rows = unknown[start : start + BATCH]
        probs = model.from_tokens(terms.at(rows)).probs
        for row, topic, prob in zip(rows, probs.argmax(axis=1), probs.max(axis=1), strict=True):
            if prob >= config.topics.min_probability:
                topics[row] = (model.table.names[topic], "text")
    return topics


def _known_topics(posts: Posts, table: TopicTable) -> list[TopicOf]:
    """The topic of each post by what it says, and where in it that stands."""
    given = ((topic, "given") if topic in table.names else None for topic in posts.topics)
    return [
        told or ((topic, "hashtags") if (topic := table.defining(tags)) else (None, None))
        for told, tags in zip(given, posts.hashtags, strict=True)
    ]


def store_posts(store: Store, corpus: Corpus, topics: list[TopicOf], progress: Progress) -> Ids:
    """Put posts and reposts into a store; returns the posts' keys int64 (n,), ascending."""
    keys = [np.zeros(0, np.int64)]
    for start in range(0, len(corpus.posts), BATCH):
        batch = slice(start, start + BATCH)
        keys.append(store.add_posts(corpus.posts[batch], corpus.words[batch], topics[batch]))
        progress.advance(len(keys[-1]))
    store.add_copies(corpus.copies)
    return np.concatenate(keys)


def _learn_spaces(
    terms: Texts,
    topics: list[TopicOf],
    table: TopicTable,
    config: BuildConfig,
    pretrained: WordSpace,
    progress: Progress,
    workers: int,
    engine: Engine,
) -> dict[str, WordSpace]:
    """Train the space of each topic and of all posts."""
    of = np.array([topic or "" for topic, _ in topics], object)
    groups = {ALL_TOPICS: terms} | {
        name: terms.at(np.flatnonzero(of == name)) for name in table.names
    }
    progress.stage("Learning vectors", sum(map(len, groups.values())))
    return engine.spaces(
        groups,
        config.vectors,
        pretrained=pretrained,
        workers=workers,
        advance=progress.advance,
    )


def save_spaces(
    folder: Path, spaces: dict[str, WordSpace], tag_ids: dict[str, int], config: BuildConfig
) -> None:
    """Write spaces by topic, each with the FAISS index of its hashtags by tag id."""
    for name, space in spaces.items():
        if len(space.words):
            place = folder / "words" / name
            space.save(place)
            _save_hashtags(place, space, tag_ids, config)


def _save_hashtags(
    folder: Path, space: WordSpace, tag_ids: dict[str, int], config: BuildConfig
) -> None:
    """The FAISS index of a space's hashtags by tag id."""
    positions, rows = space.found([config.vectors.token(key) for key in tag_ids])
    ids = np.fromiter(tag_ids.values(), np.int64, len(tag_ids))[positions]
    if len(ids):
        vectors = np.ascontiguousarray(space.vectors[rows], dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        VectorIndex.build(Embeddings(ids, vectors)).save(folder / "hashtags.faiss")
