"""Posts near a query, by picture, caption, words and seeds, and the hashtags they vote for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashlens.indexer.types import Floats, Ids, Neighbors
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import PAIR_BASE, Groups, ScoredPairs, empty_pairs
from hashlens.retriever.query.batch import QueryBatch, ask_once

MAX_NEIGHBOURS = 300  # posts that may vote
MAX_POSTINGS = 12_000  # posts read for a caption's words, the rarest words first
MAX_SHARED = 2_000  # posts with two seeds or more that are counted


@dataclass(frozen=True, slots=True, eq=False)
class NearPosts:
    """Posts near queries: `queries` and `posts` int64 (p,), `similarity` float32 (p,) in (0, 1]."""

    queries: Ids
    posts: Ids
    similarity: Floats


NO_POSTS = NearPosts(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@ask_once
def search_images(index: IndexReader, batch: QueryBatch) -> NearPosts:
    """Return posts with the nearest pictures (cosine of encoder features)."""
    if batch.images is None or index.images is None:
        return NO_POSTS
    return _near_posts(batch.images.ids, index.images.search(batch.images.vectors, MAX_NEIGHBOURS))


@ask_once
def search_captions(index: IndexReader, batch: QueryBatch) -> NearPosts:
    """Return posts with the nearest captions (cosine of idf-weighted mean vectors)."""
    if index.captions is None or not len(batch.texts.ids):
        return NO_POSTS
    return _near_posts(batch.texts.ids, index.captions.search(batch.texts.vectors, MAX_NEIGHBOURS))


def _near_posts(queries: Ids, neighbors: Neighbors) -> NearPosts:
    rows, posts, cosines = neighbors.positive()
    return NearPosts(queries[rows], posts, cosines)


@ask_once
def search_words(index: IndexReader, batch: QueryBatch) -> NearPosts:
    """Return posts that share the rarest words: cosine of idf weights, as a share of the best.

    A post's length is approximated by the root of its word count. Common words are left out if the
    rarer ones occur in enough posts.
    """
    counts = index.counts
    words = batch.word_pairs
    lengths = counts.word_posts.lengths(words.ids)
    order = np.lexsort((lengths, words.queries))
    running = np.cumsum(lengths[order])
    first = np.searchsorted(words.queries[order], words.queries[order], side="left")
    before = running - lengths[order]
    read = order[(running - before[first] <= MAX_POSTINGS) | (np.arange(len(order)) == first)]
    places, posts, _ = counts.word_posts.rows(words.ids[read])
    if not len(posts):
        return NO_POSTS
    weight = words.values[read, 0] ** 2
    gain = weight[places] / np.sqrt(np.maximum(counts.posts[posts, 1], 1))
    found = Groups.of(words.queries[read][places] * PAIR_BASE + posts)
    best = found.pairs(found.sum(gain)).top(MAX_NEIGHBOURS)
    return NearPosts(best.queries, best.ids, best.relative())


@ask_once
def search_seeds(index: IndexReader, batch: QueryBatch) -> tuple[NearPosts, ScoredPairs]:
    """Return posts that share the seeds (cosine of idf weights), and all that share two or more.

    The second has posts in place of hashtags, and their number of shared seeds.
    """
    counts, seeds = index.counts, batch.seed_pairs
    places, posts, _ = counts.tag_posts.rows(seeds.ids)
    if not len(posts):
        return NO_POSTS, empty_pairs(1)
    weight = np.log1p(counts.size / np.maximum(counts.hashtags[seeds.ids, 0], 1)) ** 2
    found = Groups.of(seeds.queries[places] * PAIR_BASE + posts)
    norms = np.sqrt(np.bincount(seeds.queries, weight, minlength=len(batch)))
    rows = found.pairs(found.sum(weight[places]), found.sizes)
    lengths = norms[rows.queries] * np.maximum(counts.norms[rows.ids], 1e-9)
    cosine = (rows.values[:, 0] / lengths).astype(np.float32)
    shared = rows.values[:, 1]
    rows = ScoredPairs(rows.queries, rows.ids, np.stack([cosine, shared], axis=1))
    best, several = rows.top(MAX_NEIGHBOURS), rows.where(shared >= 2).top(MAX_SHARED)
    near = NearPosts(best.queries, best.ids, np.minimum(best.values[:, 0], 1))
    return near, ScoredPairs(several.queries, several.ids, several.values[:, 1:])


def vote_hashtags(index: IndexReader, near: NearPosts, power: float) -> ScoredPairs:
    """Return hashtags of near posts; an author's posts count once, by the nearest.

    Columns: the sum of similarities to a power, its share of all authors' sum, the largest
    similarity, and the number of authors.
    """
    counts = index.counts
    places, tags, _ = counts.post_tags.rows(near.posts)
    if not len(tags):
        return empty_pairs(4)
    authors = counts.posts[near.posts, 0].astype(np.int64)
    pairs = Groups.of(near.queries[places] * PAIR_BASE + tags)
    numbers = np.repeat(np.arange(len(pairs.keys)), pairs.sizes)
    ballots = Groups.of(numbers * PAIR_BASE + authors[places][pairs.order])
    nearest = ballots.max(near.similarity[places][pairs.order])
    tally = Groups.of(ballots.keys // PAIR_BASE)
    voters = Groups.of(near.queries * PAIR_BASE + authors)
    everyone = np.bincount(voters.keys // PAIR_BASE, voters.max(near.similarity) ** power)
    sums = tally.sum(nearest**power)
    share = sums / np.maximum(everyone[pairs.keys // PAIR_BASE], 1e-9)
    return pairs.pairs(sums, share, tally.max(nearest), tally.sizes)
