"""Posts into the first, or a fresh, generation of an index."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.config import ALL_TOPICS, BuildConfig
from indexer.encoders import EncodedImages, ImageEncoder, open_encoder
from indexer.errors import InputError
from indexer.generation import GenerationWriter, writer
from indexer.hashtags import tokens
from indexer.posts import count_rows, read_posts
from indexer.pretrained import load_pretrained
from indexer.progress import Progress, Silent
from indexer.schema import Embeddings, Ids, Post, Rejection
from indexer.store import Store
from indexer.textvectors import idf_weights, text_vectors, unseen_idf
from indexer.topicheads import fit_topics
from indexer.topics import TopicModel, TopicTable, load_topics
from indexer.vectors import VectorIndex
from indexer.wordspace import WordSpace
from indexer.wordvectors import train

STORED_BATCH = 20_000  # posts a transaction: keeps memory flat and Arrow efficient


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made, and what it could not use."""

    generation: int
    counts: dict[str, int]
    topics: dict[str, int]
    encoder: str | None
    rejections: tuple[Rejection, ...]
    seconds: float


def described(report: BuildReport) -> str:
    """One line on what a build made."""
    counts = ", ".join(f"{number:,} {name}" for name, number in report.counts.items())
    pictures = f", pictures encoded by {report.encoder}" if report.encoder else ""
    return f"generation {report.generation} with {counts} in {report.seconds:.0f} s{pictures}"


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Posts with their caption words, and the vectors of those that have a readable picture."""

    posts: list[Post]
    words: list[list[str]]
    images: Embeddings | None  # ids are positions in `posts`

    def terms(self) -> list[list[str]]:
        """Caption words and `#hashtags` of each post: what topics and vectors are learned from."""
        return [
            words + [f"#{tag}" for tag in post.hashtags]
            for post, words in zip(self.posts, self.words, strict=True)
        ]


def build(
    sources: Sequence[Path],
    index: Path,
    *,
    config: BuildConfig | None = None,
    topics_file: Path | None = None,
    weights: Path | None = None,
    progress: Progress | None = None,
    workers: int = 2,
) -> BuildReport:
    """Make a generation of `index` from posts, and publish it.

    Args:
        sources: files or folders of posts.
        index: folder of the index; made where it is missing.
        config: settings; the defaults where None.
        topics_file: topics and their defining hashtags; the ten that ship where None.
        weights: file of the encoder's weights, where they are not in their usual place.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.

    Raises:
        InputError: a source is missing, or no usable post is in them.
        IndexLockedError: another process writes to this index.
    """
    began = time.monotonic()
    config, progress = config or BuildConfig(), progress or Silent()
    table = load_topics(topics_file)
    rejections: list[Rejection] = []
    posts = _read(sources, config, rejections, progress)
    encoder = open_encoder(config.encoder, weights) if any(p.image for p in posts) else None
    corpus = _encode(posts, encoder, rejections, progress, workers)
    with writer(index) as new:
        counts, topics = _write(new, corpus, table, config, progress, workers)
        progress.stage("Publishing")
        published = new.publish(
            encoder=_encoder_json(encoder),
            topics=table.names,
            config=config.to_json(),
            counts=counts,
        )
    return BuildReport(
        generation=published.number,
        counts=counts,
        topics=topics,
        encoder=encoder.name if encoder else None,
        rejections=tuple(rejections),
        seconds=time.monotonic() - began,
    )


def _encoder_json(encoder: ImageEncoder | None) -> dict[str, str | int] | None:
    names = ("name", "weights_sha256", "width", "preprocessing")
    return {name: getattr(encoder, name) for name in names} if encoder else None


def _read(
    sources: Sequence[Path], config: BuildConfig, rejections: list[Rejection], progress: Progress
) -> list[Post]:
    progress.stage("Reading posts", count_rows(sources))
    posts = []
    for post in read_posts(sources, rule=config.hashtag_rule, rejections=rejections):
        posts.append(post)
        progress.advance()
    if not posts:
        why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
        raise InputError(f"found no usable post in {', '.join(map(str, sources))}{why}")
    return posts


def _encode(
    posts: list[Post],
    encoder: ImageEncoder | None,
    rejections: list[Rejection],
    progress: Progress,
    workers: int,
) -> _Corpus:
    """Encode pictures; a post that had only an unreadable one is dropped."""
    images: Embeddings | None = None
    if encoder:
        pictured = [row for row, post in enumerate(posts) if post.image]
        paths = [image for post in posts if (image := post.image)]
        progress.stage("Encoding pictures", len(paths))
        encoded = encoder.encode(paths, workers=workers, on_progress=progress.advance)
        posts, images = _readable(posts, np.array(pictured, dtype=np.int64), encoded, rejections)
    return _Corpus(posts, [tokens(post.caption) for post in posts], images)


def _readable(
    posts: list[Post], pictured: Ids, encoded: EncodedImages, rejections: list[Rejection]
) -> tuple[list[Post], Embeddings]:
    kept = np.ones(len(posts), dtype=bool)
    for row, reason in encoded.failures:
        post = posts[pictured[row]]
        kept[pictured[row]] = bool(post.caption or post.hashtags)
        reason = reason.removeprefix(f"{post.image}: ")
        rejections.append(
            Rejection(str(post.image), None, reason, post_kept=bool(kept[pictured[row]]))
        )
    places = np.cumsum(kept) - 1
    ids = places[pictured[encoded.rows]].astype(np.int64)
    left = [post for post, keep in zip(posts, kept, strict=True) if keep]
    return left, Embeddings(ids, encoded.vectors)


def _write(
    new: GenerationWriter,
    corpus: _Corpus,
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
    model.save(new.folder / "topics")
    with Store.create(new.folder / "posts.duckdb") as store:
        progress.stage("Storing posts", len(corpus.posts))
        keys = _store_posts(store, corpus, topics, progress)
        progress.stage("Counting")
        store.derive()
        tag_ids = store.tag_ids()
        counts = store.counts() | {"pictures": len(corpus.images.ids) if corpus.images else 0}
        idf = idf_weights(store.word_posts(), len(corpus.posts))
    if corpus.images:
        _save_vectors(new, "images", keys[corpus.images.ids], corpus.images.vectors)
    space = _learn_spaces(new, terms, topics, table, tag_ids, config, pretrained, progress, workers)
    tagged = [r for r, post in enumerate(corpus.posts) if post.hashtags and corpus.words[r]]
    unseen = unseen_idf(len(corpus.posts))
    captions = text_vectors(space, [corpus.words[row] for row in tagged], idf, unseen)
    rows = np.array(tagged, dtype=np.int64)[captions.ids]
    _save_vectors(new, "captions", keys[rows], captions.vectors)
    return counts, dict(Counter(topic for topic, _ in topics if topic))


def _save_vectors(new: GenerationWriter, kind: str, ids: Ids, vectors: np.ndarray) -> None:
    if not len(ids):
        return
    (new.folder / kind).mkdir()
    VectorIndex.build(Embeddings(ids, vectors)).save(new.folder / kind / "0001.faiss")


def _learn_topics(
    corpus: _Corpus,
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
    corpus: _Corpus,
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
    new: GenerationWriter,
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
        _save_space(new.folder / "words" / name, space, tag_ids, config)
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
