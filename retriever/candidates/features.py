"""What is known of each candidate besides the channels: counts, topics, vectors, and the query."""

from __future__ import annotations

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.types import Embeddings, Floats, Ids
from hashlens.retriever.candidates.image_classes import fitting
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch

TELLING = 2.5  # idf from which on a single word is compared with a hashtag

HASHTAG = ("posts", "authors", "posts an author", "letters", "ascii")
TOPICS = ("prior", "belonging")
VECTORS = ("caption", "nearest word", "second word", "seeds", "nearest seed")
QUERY = ("words", "seeds", "picture", "lines", "ascii words", "surest topic")
NAMES = (
    *(f"popularity: {name}" for name in HASHTAG),
    *(f"topic fit: {name}" for name in TOPICS),
    *(f"meaning: {name}" for name in VECTORS),
    *(f"query: {name}" for name in QUERY),
)


def described(
    index: IndexReader, batch: QueryBatch, queries: Ids, tags: Ids
) -> tuple[tuple[str, ...], Floats]:
    """Names of the facts, and the facts float32 (c, f), NaN where nothing is known.

    Args:
        index: what is asked.
        batch: q queries.
        queries: int64 (c,), ascending.
        tags: int64 (c,); those past the index's are coined.
    """
    known = tags < index.tags
    rows = np.where(known, tags, 0)
    parts = [
        _of_hashtags(index, batch, rows, tags, known),
        _of_topics(index, batch, queries, rows, known),
        _of_vectors(index, batch, queries, rows, known),
        _of_queries(batch)[queries],
    ]
    return NAMES, np.concatenate(parts, axis=1).astype(np.float32)


def _of_hashtags(
    index: IndexReader, batch: QueryBatch, rows: Ids, tags: Ids, known: np.ndarray
) -> Floats:
    counts = index.counts
    posts, authors = np.where(known[:, None], counts.hashtags[rows, :2], 0).T.astype(np.float32)
    coined = [(len(key), key.isascii()) for key in batch.spelt.coined]
    shapes = counts.shapes[rows].astype(np.float32)
    if coined:
        shapes[~known] = np.array(coined, np.float32)[tags[~known] - index.tags]
    with np.errstate(invalid="ignore"):
        mean = posts / authors
    return np.column_stack([np.log1p(posts), np.log1p(authors), mean, shapes])


def _of_topics(
    index: IndexReader, batch: QueryBatch, queries: Ids, rows: Ids, known: np.ndarray
) -> Floats:
    """Share of the topics' authors who use it, as it fits; of its authors who are in the topics."""
    authors = index.counts.topics[rows].astype(np.float32)
    totals = np.maximum(index.topic_authors, 1)
    probs = batch.topics.probs[queries]
    prior = (probs * authors / totals).sum(axis=1) * fitting(index, batch, queries, rows)
    belonging = (probs * authors).sum(axis=1) / np.maximum(authors.sum(axis=1), 1)
    return np.where(known[:, None], np.column_stack([prior, belonging]), np.nan)


def _of_vectors(
    index: IndexReader, batch: QueryBatch, queries: Ids, rows: Ids, known: np.ndarray
) -> Floats:
    """Cosines in the space of all topics: with the whole caption, its words, all seeds, a seed."""
    found = np.full((len(rows), len(VECTORS)), np.nan, np.float32)
    vectors = index.tag_vectors[rows]
    known = known & vectors.any(axis=1)
    found[:, 0] = _cosines(batch.texts, queries, vectors)
    found[:, 3] = _cosines(batch.seed_texts, queries, vectors)
    ends = np.searchsorted(queries, np.arange(len(batch) + 1))
    for query in range(len(batch)):
        span = slice(ends[query], ends[query + 1])
        found[span, 1:3] = _two_nearest(vectors[span], _word_vectors(index, batch, query))
        seeds = index.tag_vectors[list(batch.seeds[query])]
        found[span, 4:] = _two_nearest(vectors[span], seeds)[:, :1]
    found[~known] = np.nan
    return found


def _cosines(texts: Embeddings, queries: Ids, vectors: Floats) -> Floats:
    if not len(texts.ids):
        return np.full(len(queries), np.nan, np.float32)
    places = np.minimum(np.searchsorted(texts.ids, queries), len(texts.ids) - 1)
    there = texts.ids[places] == queries
    return np.where(there, np.einsum("cd,cd->c", vectors, texts.vectors[places]), np.nan)


def _word_vectors(index: IndexReader, batch: QueryBatch, query: int) -> Floats:
    """Unit vectors of a caption's telling words."""
    words = [
        word
        for word in dict.fromkeys(batch.words[query])
        if batch.idf.get(word, batch.unseen_idf) > TELLING
    ]
    space = index.space(ALL_TOPICS)
    if space is None or not words:
        return np.zeros((0, index.tag_vectors.shape[1]), np.float32)
    return space.vectors[space.lookup(words)[1]].astype(np.float32)


def _two_nearest(vectors: Floats, others: Floats) -> Floats:
    """The two largest cosines of each of c vectors with others, (c, 2), NaN where there is none."""
    found = np.full((len(vectors), 2), np.nan, np.float32)
    if len(others) and len(vectors):
        best = -np.sort(-(vectors @ others.T), axis=1)[:, :2]
        found[:, : best.shape[1]] = best
    return found


def _of_queries(batch: QueryBatch) -> Floats:
    """Facts of each query, float32 (q, f): they say how far to believe each channel."""
    pictured = np.zeros(len(batch), np.float32)
    if batch.images is not None:
        pictured[batch.images.ids] = 1
    ascii_words = [
        sum(map(str.isascii, words)) / len(words) if words else np.nan for words in batch.words
    ]
    return np.column_stack(
        [
            [len(words) for words in batch.words],
            [len(seeds) for seeds in batch.seeds],
            pictured,
            [query.caption.count("\n") for query in batch.queries],
            ascii_words,
            batch.topics.probs.max(axis=1),
        ]
    ).astype(np.float32)
