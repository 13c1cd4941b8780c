"""A tiny index of known posts: small enough that every score can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.corpus import Corpus, assemble
from hashlens.indexer.generations.generation import Generation, temporary_generation, writer
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.topics.model import load_topics
from hashlens.indexer.topics.prompts import TextReader
from hashlens.indexer.types import Embeddings, Post
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import ScoredPairs

SMALL = BuildConfig(vectors=VectorConfig("word2vec", 8, min_count=1, epochs=1))
Row = tuple[str | None, str, Sequence[str]]

# Author, caption, hashtags; tag ids follow first appearance: dog 0, park 1, beach 2, ...
ROWS: tuple[Row, ...] = (
    ("ann", "walk in the park", ["dog", "park"]),
    ("ann", "walk again", ["dog", "park"]),
    ("bob", "long walk", ["dog", "beach"]),
    ("cat", "sleepy kitten", ["kitten", "home"]),
    ("dan", "my kitten", ["kitten", "home"]),
    ("dan", "walk home", ["home", "mybrand"]),
    ("eve", "sleepy kitten", ["sleepykitten", "kitten"]),
    ("fay", "sleepy today", ["sleepykitten"]),
)
# Pictures of the first four posts.
PICTURES = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], np.float32)


def corpus(rows: Sequence[Row], pictures: np.ndarray | None = None) -> Corpus:
    """Posts of rows, the first of them with pictures' vectors (n, d)."""
    shown = 0 if pictures is None else len(pictures)
    posts = [
        Post(
            f"p{number}",
            Path(f"{number}.png") if number < shown else None,
            caption,
            tuple(tags),
            tuple(tags),
            author,
            content_hash=f"h{number}",
        )
        for number, (author, caption, tags) in enumerate(rows)
    ]
    images = None if pictures is None else Embeddings(np.arange(shown), pictures)
    words = TokenLists.of(tokens(post.caption) for post in posts)
    return Corpus(Posts.of(posts), words, images)


def generation(
    part: Corpus, folder: Path, config: BuildConfig = SMALL, reader: TextReader | None = None
) -> Generation:
    """An index of posts, not sealed."""
    table = load_topics()
    counts, _ = assemble(folder, part, BuildContext(config, table, reader, workers=1))
    return temporary_generation(folder, table.names, config.to_json(), counts)


def published(index: Path) -> Generation:
    """A sealed generation of the posts above, some with pictures."""
    table = load_topics()
    with writer(index) as new:
        part = corpus(ROWS, PICTURES)
        counts, _ = assemble(new.folder, part, BuildContext(SMALL, table, workers=1))
        return new.publish(encoder=None, topics=table.names, config=SMALL.to_json(), counts=counts)


def reader(rows: Sequence[Row], folder: Path, pictures: np.ndarray | None = None) -> IndexReader:
    """An open index of rows."""
    return IndexReader(generation(corpus(rows, pictures), folder))


def said(
    index: IndexReader, found: ScoredPairs, query: int = 0, coined: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Return a channel's columns for one query, by hashtag."""
    names = dict(index.store.rows("select tag_id, key from hashtags"))
    names |= dict(enumerate(coined, start=index.hashtag_count))
    rows = zip(found.queries.tolist(), found.ids.tolist(), found.values.tolist(), strict=True)
    return {names[tag]: values for number, tag, values in rows if number == query}
