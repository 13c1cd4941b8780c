"""Posts near a query: by picture, by caption, by words and by seeds, for a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashlens.indexer.types import Floats, Ids, Neighbors
from hashlens.retriever.index.pairs import WIDTH, Entries, Groups, silent
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch, once

NEIGHBOURS = 300  # posts that may vote
POSTINGS = 12_000  # posts read for a caption's words: its rarest words first
SHARED = 2_000  # posts with two seeds or more that are counted


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """Posts near queries: `queries` and `posts` int64 (p,), `similarity` float32 (p,) in (0, 1]."""

    queries: Ids
    posts: Ids
    similarity: Floats


NOBODY = Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@once
def near_images(index: IndexReader, batch: QueryBatch) -> Near:
    """Posts with the nearest pictures (cosine of encoder features)."""
    if batch.images is None or index.images is None:
        return NOBODY
    return _near(batch.images.ids, index.images.search(batch.images.vectors, NEIGHBOURS))


@once
def near_captions(index: IndexReader, batch: QueryBatch) -> Near:
    """Posts with the nearest captions (cosine of idf-weighted mean vectors)."""
    if index.captions is None or not len(batch.texts.ids):
        return NOBODY
    return _near(batch.texts.ids, index.captions.search(batch.texts.vectors, NEIGHBOURS))


@once
def near_words(index: IndexReader, batch: QueryBatch) -> Near:
    """Posts that share the most telling words: cosine of idf weights, as a share of the best's.

    Of each post's length the root of its number of words is known, which a word's weight in it is
    divided by. Common words are left out where the rarer ones are in posts enough.
    """
    counts = index.counts
    words = batch.word_pairs
    lengths = counts.word_posts.lengths(words.tags)
    order = np.lexsort((lengths, words.queries))
    running = np.cumsum(lengths[order])
    first = np.searchsorted(words.queries[order], words.queries[order], side="left")
    before = running - lengths[order]
    read = order[(running - before[first] <= POSTINGS) | (np.arange(len(order)) == first)]
    places, posts, _ = counts.word_posts.rows(words.tags[read])
    if not len(posts):
        return NOBODY
    weight = words.values[read, 0] ** 2
    gain = weight[places] / np.sqrt(np.maximum(counts.posts[posts, 1], 1))
    found = Groups.of(words.queries[read][places] * WIDTH + posts)
    best = found.entries(found.sum(gain)).best(NEIGHBOURS)
    return Near(best.queries, best.tags, best.relative())


@once
def near_seeds(index: IndexReader, batch: QueryBatch) -> tuple[Near, Entries]:
    """Posts that share the seeds (cosine of idf weights), and all that share two or more.

    The second has the posts in place of hashtags, and their number of shared seeds.
    """
    counts, seeds = index.counts, batch.seed_pairs
    places, posts, _ = counts.tag_posts.rows(seeds.tags)
    if not len(posts):
        return NOBODY, silent(1)
    weight = np.log1p(counts.size / np.maximum(counts.hashtags[seeds.tags, 0], 1)) ** 2
    found = Groups.of(seeds.queries[places] * WIDTH + posts)
    norms = np.sqrt(np.bincount(seeds.queries, weight, minlength=len(batch)))
    rows = found.entries(found.sum(weight[places]), found.sizes)
    lengths = norms[rows.queries] * np.maximum(counts.norms[rows.tags], 1e-9)
    cosine = (rows.values[:, 0] / lengths).astype(np.float32)
    rows = Entries(rows.queries, rows.tags, np.stack([cosine, rows.values[:, 1]], axis=1))
    best = rows.best(NEIGHBOURS)
    several = rows.where(rows.values[:, 1] >= 2).best(SHARED)
    near = Near(best.queries, best.tags, np.minimum(best.values[:, 0], 1))
    return near, Entries(several.queries, several.tags, several.values[:, 1:])


def _near(queries: Ids, neighbors: Neighbors) -> Near:
    real = (np.arange(neighbors.ids.shape[1]) < neighbors.counts[:, None]) & (neighbors.scores > 0)
    return Near(queries[real.nonzero()[0]], neighbors.ids[real], neighbors.scores[real])


def vote(index: IndexReader, near: Near, power: float) -> Entries:
    """Hashtags of neighbouring posts; an author's many alike posts count once, by the nearest.

    Columns: the sum of similarities to a power, the same as a share of all authors', the largest
    similarity, and the number of authors.
    """
    counts = index.counts
    places, tags, _ = counts.post_tags.rows(near.posts)
    if not len(tags):
        return silent(4)
    authors = counts.posts[near.posts, 0].astype(np.int64)
    pairs = Groups.of(near.queries[places] * WIDTH + tags)
    numbers = np.repeat(np.arange(len(pairs.keys)), pairs.sizes)
    ballots = Groups.of(numbers * WIDTH + authors[places][pairs.order])
    nearest = ballots.max(near.similarity[places][pairs.order])
    tally = Groups.of(ballots.keys // WIDTH)
    voters = Groups.of(near.queries * WIDTH + authors)
    everyone = np.bincount(voters.keys // WIDTH, voters.max(near.similarity) ** power)
    sums = tally.sum(nearest**power)
    share = sums / np.maximum(everyone[pairs.keys // WIDTH], 1e-9)
    return pairs.entries(sums, share, tally.max(nearest), tally.sizes)
