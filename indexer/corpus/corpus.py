"""Posts ready to be learned from, and everything that is learned from them, in one folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.disk_rows import concat_rows, take_rows
from hashlens.indexer.config import ALL_TOPICS, BuildConfig
from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.text_vectors import text_vectors
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.count_matrices import Segment, write_counts
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import TrainingCounts
from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.text.segmenter import Segmenter, vocabulary_counts
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.topics.model import TopicModel, TopicTable
from hashlens.indexer.topics.prompts import MAX_READ_HASHTAGS, hashtag_texts, topic_texts
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, Floats, Ids, Post
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.segments import live_ids, load_live, save_segment

BATCH_POSTS = 20_000  # stored, or given a topic, at a time: bounds memory

PostTopic = tuple[str | None, str | None]  # a post's topic, and its source


@dataclass(frozen=True, slots=True)
class Corpus:
    """Posts with their caption words, and the vectors of those that have a readable picture.

    Words, hashtags and names are in memory as numbers; the rest of the posts is on disk, as are
    the vectors of many pictures. `classes` float32 (m, 1000) are the probabilities of ImageNet's
    classes of each vector's picture, if the encoder has them. `copies` are reposts of these posts,
    or of posts in the same index.
    """

    posts: Posts
    words: TokenLists
    images: Embeddings | None  # ids are positions in `posts`, ascending
    classes: Floats | None = None
    copies: tuple[Post, ...] = ()

    @classmethod
    def load(cls, folder: Path, store: Store, removed: Ids | None = None) -> Corpus:
        """Return the posts of a generation by rising key, with their vectors, without reposts.

        Args:
            folder: of the generation.
            store: its rows.
            removed: keys int64 (r,) of posts to leave out.
        """
        posts = Posts.of(store.posts())
        keys = store.arrays("select post_key from posts order by post_key")["post_key"]
        images, classes = load_live(folder / "images")
        if images is not None:
            places = np.searchsorted(keys, images.ids).astype(np.int64)
            images = Embeddings(places, images.vectors)
        words = TokenLists.of(tokens(post.caption) for post in posts)
        none = np.zeros(0, np.int64)
        kept = np.flatnonzero(~np.isin(keys, none if removed is None else removed))
        return cls(posts, words, images, classes).part(kept)

    def concat(self, other: Corpus) -> Corpus:
        """Return the posts of both, in order; classes only if all pictures have them."""
        shift = len(self.posts)
        pictured = [
            (part.images.ids + start, part.images.vectors, part.classes)
            for start, part in ((0, self), (shift, other))
            if part.images is not None
        ]
        images = classes = None
        if pictured:
            ids, vectors, of_each = zip(*pictured, strict=True)
            images = Embeddings(np.concatenate(ids), concat_rows(vectors))
            known = [table for table in of_each if table is not None]
            classes = concat_rows(known) if len(known) == len(of_each) else None
        return Corpus(
            Posts.of(chain(self.posts, other.posts)),
            TokenLists.of(chain(self.words, other.words)),
            images,
            classes,
            self.copies + other.copies,
        )

    @property
    def pictured(self) -> NDArray[np.bool_]:
        """Which posts have a readable picture, bool (n,)."""
        found = np.zeros(len(self.posts), np.bool_)
        if self.images is not None:
            found[self.images.ids] = True
        return found

    def terms(self) -> TokenLists:
        """Return the caption words and `#hashtags` of each post: the input of all training."""
        return self.words.concat_each(self.posts.hashtags, "#")

    def part(self, rows: Ids) -> Corpus:
        """Return the posts at ascending positions int64 (p,), without reposts."""
        images = classes = None
        if self.images is not None:
            kept = np.flatnonzero(np.isin(self.images.ids, rows))
            ids = np.searchsorted(rows, self.images.ids[kept]).astype(np.int64)
            images = Embeddings(ids, take_rows(self.images.vectors, kept))
            classes = None if self.classes is None else take_rows(self.classes, kept)
        posts, words = self.posts.at(rows), self.words.at(rows)
        if images is None or not len(images.ids):
            return Corpus(posts, words, None)
        return Corpus(posts, words, images, classes)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModels:
    """Models trained on posts: topics, the space of all topics, and counts at that time."""

    model: TopicModel
    space: WordSpace
    trained: TrainingCounts

    def segmenter(self) -> Segment:
        """Return a function that cuts hashtags; its first call takes a second."""

        @cache
        def load() -> Segmenter:
            ranked = [word for word in self.space.words if not word.startswith("#")]
            return Segmenter(vocabulary_counts(self.trained.word_posts, ranked))

        return lambda key: load().segment(key)


def assemble(
    folder: Path, corpus: Corpus, context: BuildContext
) -> tuple[dict[str, int], dict[str, int]]:
    """Learn everything but ranking and write its files; return counts, and posts per topic."""
    config, table, reader = context.config, context.topics, context.text_reader
    context.progress.stage("Learning topics")
    pretrained = load_pretrained(config.vectors.pretrained)
    terms, known = corpus.terms(), _known_topics(corpus.posts, table)
    model = fit_topics(
        table,
        tokens=terms,
        labels=[topic for topic, _ in known],
        groups=[author and fold_author(author) for author in corpus.posts.authors.tolist()],
        images=corpus.images,
        config=config.topics,
        pretrained=pretrained,
        classes=corpus.classes,
        texts=topic_texts(table, pretrained, reader) if reader else None,
    )
    model.save(folder / "topics")
    topics = _predict_missing_topics(terms, known, model, config)
    of = np.array([topic or "" for topic, _ in topics], object)
    groups = {ALL_TOPICS: terms} | {
        name: terms.at(np.flatnonzero(of == name)) for name in table.names
    }
    context.progress.stage("Learning vectors", sum(map(len, groups.values())))
    spaces = context.engine.train_spaces(
        groups,
        config.vectors,
        pretrained=pretrained,
        workers=context.workers,
        advance=context.progress.advance,
    )
    counts = write_posts_and_vectors(
        folder, corpus, topics, model, spaces[ALL_TOPICS], context.progress, engine=context.engine
    )
    with Store.open(folder / "posts.duckdb") as store:
        save_spaces(folder, spaces, store.tag_ids(), config)
        if reader:
            trained = TrainingCounts.open(folder / "trained")
            segment = TrainedModels(model, spaces[ALL_TOPICS], trained).segmenter()
            # Words of the most used hashtags; brands are not recommended.
            found = store.rows(
                "select key, tag_id from hashtag_counts "
                "where authors > 1 or known_authors = 0 or ? = 1 "
                "order by posts desc, tag_id limit ?",
                [counts["authors"], MAX_READ_HASHTAGS],
            )
            context.progress.stage("Reading hashtags", len(found))
            if found:
                (folder / "texts").mkdir()
                vectors = hashtag_texts(dict(found), segment, reader, context.progress)
                VectorIndex.build(vectors).save(folder / "texts" / "hashtags.faiss")
    return counts, dict(Counter(topic for topic, _ in topics if topic))


def write_posts_and_vectors(
    folder: Path,
    corpus: Corpus,
    topics: list[PostTopic],
    model: TopicModel,
    space: WordSpace,
    progress: Progress,
    trained: TrainingCounts | None = None,
    engine: Engine = LOCAL,
) -> dict[str, int]:
    """Write rows, vectors and counts of posts into an empty folder; return the index's counts.

    Args:
        folder: of a generation.
        corpus: all its posts.
        topics: topic of each post, and its source.
        model: classifies topics.
        space: of all topics.
        progress: told of the stages.
        trained: counts at the time of training; those of these posts if None.
        engine: counts.
    """
    with Store.create(folder / "posts.duckdb") as store:
        progress.stage("Storing posts", len(corpus.posts))
        keys = store_posts(store, corpus, topics, progress)
        progress.stage("Counting")
        engine.derive(store)
        learned = TrainedModels(model, space, trained or TrainingCounts.of(store))
        learned.trained.save(folder / "trained")
        write_vectors(folder, store, corpus, keys, learned)
        return write_count_matrices(folder, store, learned, progress)


def write_count_matrices(
    folder: Path,
    store: Store,
    learned: TrainedModels,
    progress: Progress,
    linear: int | None = None,
) -> dict[str, int]:
    """Write co-occurrences from a store with its derived tables; return the index's counts."""
    progress.stage("Counting co-occurrences")
    write_counts(store, learned.segmenter(), learned.model.table.names, folder / "counts", linear)
    return store.counts() | {"pictures": len(live_ids(folder / "images"))}


def write_vectors(
    folder: Path, store: Store, corpus: Corpus, keys: Ids, learned: TrainedModels
) -> None:
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


def predict_topics(corpus: Corpus, model: TopicModel, config: BuildConfig) -> list[PostTopic]:
    """Return the topic of each post by a trained model, and its source."""
    known = _known_topics(corpus.posts, model.table)
    return _predict_missing_topics(corpus.terms(), known, model, config)


def _predict_missing_topics(
    terms: TokenLists, known: list[PostTopic], model: TopicModel, config: BuildConfig
) -> list[PostTopic]:
    """Complete topics by the text head, if it is confident enough."""
    unknown = np.array([r for r, (topic, _) in enumerate(known) if topic is None], dtype=np.int64)
    topics = list(known)
    for start in range(0, len(unknown), BATCH_POSTS):
        rows = unknown[start : start + BATCH_POSTS]
        probs = model.from_tokens(terms.at(rows)).probs
        for row, topic, prob in zip(rows, probs.argmax(axis=1), probs.max(axis=1), strict=True):
            if prob >= config.topics.min_probability:
                topics[row] = (model.table.names[topic], "text")
    return topics


def _known_topics(posts: Posts, table: TopicTable) -> list[PostTopic]:
    """Return the topic that each post names, or that its hashtags define, and its source."""
    given = ((topic, "given") if topic in table.names else None for topic in posts.topics)
    return [
        found or ((topic, "hashtags") if (topic := table.defining(tags)) else (None, None))
        for found, tags in zip(given, posts.hashtags, strict=True)
    ]


def store_posts(store: Store, corpus: Corpus, topics: list[PostTopic], progress: Progress) -> Ids:
    """Put posts and reposts into a store; return the posts' keys int64 (n,), ascending."""
    keys = [np.zeros(0, np.int64)]
    for start in range(0, len(corpus.posts), BATCH_POSTS):
        batch = slice(start, start + BATCH_POSTS)
        keys.append(store.add_posts(corpus.posts[batch], corpus.words[batch], topics[batch]))
        progress.advance(len(keys[-1]))
    store.add_copies(corpus.copies)
    return np.concatenate(keys)


def save_spaces(
    folder: Path, spaces: Mapping[str, WordSpace], tag_ids: dict[str, int], config: BuildConfig
) -> None:
    """Write spaces by topic, each with the FAISS index of its hashtags by tag id."""
    words = [config.vectors.token(key) for key in tag_ids]
    numbers = np.fromiter(tag_ids.values(), np.int64, len(tag_ids))
    for name, space in spaces.items():
        if not len(space.words):
            continue
        space.save(folder / "words" / name)
        positions, rows = space.lookup(words)
        if len(rows):
            vectors = np.ascontiguousarray(space.vectors[rows], dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            found = Embeddings(numbers[positions], vectors)
            VectorIndex.build(found).save(folder / "words" / name / "hashtags.faiss")
