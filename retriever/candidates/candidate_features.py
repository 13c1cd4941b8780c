"""Features of candidates besides the channels: counts, topics, vectors, and the query."""

from __future__ import annotations

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.types import Embeddings, Floats, Ids
from hashlens.retriever.candidates.image_classes import class_penalty
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch

MIN_TELLING_IDF = 2.5  # of a word that is compared with hashtags by its own vector

HASHTAG = ("posts", "authors", "posts an author", "letters", "ascii")
TOPICS = ("prior", "belonging")
VECTORS = ("caption", "nearest word", "second word", "seeds", "nearest seed")
QUERY = ("words", "seeds", "picture", "lines", "ascii words", "surest topic")
FEATURE_COLUMNS = (
    *(f"popularity: {name}" for name in HASHTAG),
    *(f"topic fit: {name}" for name in TOPICS),
    *(f"meaning: {name}" for name in VECTORS),
    *(f"query: {name}" for name in QUERY),
)


def candidate_features(index: IndexReader, batch: QueryBatch, queries: Ids, tags: Ids) -> Floats:
    """Return `FEATURE_COLUMNS` of candidates, float32 (c, f), NaN where unknown.

    Args:
        index: to read counts and vectors from.
        batch: q queries.
        queries: int64 (c,), ascending.
        tags: int64 (c,); ids above the index's are coined hashtags.
    """
    known = tags < index.hashtag_count
    rows = np.where(known, tags, 0)
    counts = index.counts

    posts, authors = np.where(known[:, None], counts.hashtags[rows, :2], 0).T.astype(np.float32)
    shapes = counts.shapes[rows].astype(np.float32)
    if batch.spelt.coined:
        coined = [(len(key), key.isascii()) for key in batch.spelt.coined]
        shapes[~known] = np.array(coined, np.float32)[tags[~known] - index.hashtag_count]
    with np.errstate(invalid="ignore"):
        mean = posts / authors
    popularity = np.column_stack([np.log1p(posts), np.log1p(authors), mean, shapes])

    # Share of the topics' authors who use it, and share of its authors who are in the topics.
    uses = batch.topics.probs[queries] * counts.topics[rows].astype(np.float32)
    prior = (uses / np.maximum(index.topic_authors, 1)).sum(axis=1)
    prior = prior * class_penalty(index, batch, queries, rows)
    total = counts.topics[rows].astype(np.float32).sum(axis=1)
    belonging = uses.sum(axis=1) / np.maximum(total, 1)
    topics = np.where(known[:, None], np.column_stack([prior, belonging]), np.nan)

    vectors = _cosine_features(index, batch, queries, rows, known)
    parts = [popularity, topics, vectors, _query_features(batch)[queries]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _cosine_features(
    index: IndexReader, batch: QueryBatch, queries: Ids, rows: Ids, known: np.ndarray
) -> Floats:
    """Return cosines with the caption, its words, all seeds and the nearest seed, as `VECTORS`."""
    found = np.full((len(rows), len(VECTORS)), np.nan, np.float32)
    vectors = index.tag_vectors[rows]
    found[:, 0] = _cosines(batch.texts, queries, vectors)
    found[:, 3] = _cosines(batch.seed_texts, queries, vectors)
    space = index.space(ALL_TOPICS)
    ends = np.searchsorted(queries, np.arange(len(batch) + 1))
    for query in range(len(batch)):
        span = slice(ends[query], ends[query + 1])
        words = [
            word
            for word in dict.fromkeys(batch.words[query])
            if batch.idf.get(word, batch.unseen_idf) > MIN_TELLING_IDF
        ]
        if space is not None and words:
            others = space.vectors[space.lookup(words)[1]].astype(np.float32)
            found[span, 1:3] = _two_largest(vectors[span], others)
        seeds = index.tag_vectors[list(batch.seeds[query])]
        found[span, 4:] = _two_largest(vectors[span], seeds)[:, :1]
    found[~(known & vectors.any(axis=1))] = np.nan
    return found


def _cosines(texts: Embeddings, queries: Ids, vectors: Floats) -> Floats:
    """Return each candidate's cosine with its query's text, float32 (c,), NaN without one."""
    if not len(texts.ids):
        return np.full(len(queries), np.nan, np.float32)
    places = np.minimum(np.searchsorted(texts.ids, queries), len(texts.ids) - 1)
    there = texts.ids[places] == queries
    return np.where(there, np.einsum("cd,cd->c", vectors, texts.vectors[places]), np.nan)


def _two_largest(vectors: Floats, others: Floats) -> Floats:
    """Return the two largest cosines of each of c vectors with others, (c, 2), NaN if missing."""
    found = np.full((len(vectors), 2), np.nan, np.float32)
    if len(others) and len(vectors):
        best = -np.sort(-(vectors @ others.T), axis=1)[:, :2]
        found[:, : best.shape[1]] = best
    return found


def _query_features(batch: QueryBatch) -> Floats:
    """Return `QUERY` of each query, float32 (q, f); the ranker weighs channels by them."""
    pictured = np.zeros(len(batch), np.float32)
    if batch.images is not None:
        pictured[batch.images.ids] = 1
    ascii_words = [
        sum(map(str.isascii, words)) / len(words) if words else np.nan for words in batch.words
    ]
    columns = [
        [len(words) for words in batch.words],
        [len(seeds) for seeds in batch.seeds],
        pictured,
        [query.caption.count("\n") for query in batch.queries],
        ascii_words,
        batch.topics.probs.max(axis=1),
    ]
    return np.column_stack(columns).astype(np.float32)
