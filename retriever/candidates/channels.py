"""The channels: one function per kind of evidence, from a batch of queries to scored candidates.

Each returns entries with the columns that `CHANNELS` names, of which the first orders its
candidates, and is silent for a query that lacks its input. All work on the whole batch at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.types import Floats, Ids, TopicProbs
from hashlens.retriever.candidates.image_classes import (
    LEAST_SHOWN,
    Shown,
    around,
    called,
    fitting,
    words_of,
)
from hashlens.retriever.candidates.neighbours import (
    near_captions,
    near_images,
    near_seeds,
    near_words,
    vote,
)
from hashlens.retriever.index.pairs import WIDTH, Entries, Groups, silent
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch, Texts
from hashlens.retriever.query.spelling import COLUMNS as SPELT_COLUMNS

AROUND = 150  # hashtags taken around a text vector in each space, and around a picture
PRIOR = 0.1  # weight of a hashtag's log post count beside a cosine: rare ones crowd every corner
DISCOUNT = 0.7  # authors taken off each count of a word beside a hashtag (Ney et al. 1994)
LIKELY = 0.15  # topics at least this probable have their space searched
MOST_TOPICS = 3
SHARP = 100.0  # a picture's cosines with texts are multiplied by: the bound of CLIP's training
COMMON = 0.03  # share of the authors from which on a word tells of the language, not of the post
USUAL = 300.0  # posts' worth of what is usual, which smooth what stands beside a seed
INDEPENDENT = 0.7  # how far each further seed is evidence of its own
TELLING = 0.1  # share of the authors up to which one word alone may speak for a hashtag

Channel = Callable[[IndexReader, QueryBatch], Entries]
VOTES = ("sum", "share", "nearest", "authors")


def image_neighbours(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags of the posts whose pictures are nearest."""
    return vote(index, near_images(index, batch), power=4)


def caption_neighbours(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags of the posts whose captions mean nearly the same."""
    return vote(index, near_captions(index, batch), power=8)


def word_neighbours(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags of the posts that share the caption's telling words."""
    return vote(index, near_words(index, batch), power=2)


def seed_neighbours(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags of the posts that share the seeds; and how often they go with two seeds together."""
    near, several = near_seeds(index, batch)
    said = vote(index, near, power=2)
    places, tags, _ = index.counts.post_tags.rows(several.tags)
    among = np.bincount(several.queries, minlength=len(batch))
    both = Groups.of(several.queries[places] * WIDTH + tags)
    share = np.maximum(both.sizes - 0.5, 0) / (among[both.keys // WIDTH] + 1)
    return _beside(said, both.entries(share))


def _beside(left: Entries, right: Entries) -> Entries:
    """Both channels' columns side by side, NaN where one is silent; the first's order stays."""
    keys = np.union1d(left.keys, right.keys)
    values = np.full((len(keys), left.values.shape[1] + right.values.shape[1]), np.nan, np.float32)
    values[np.searchsorted(keys, left.keys), : left.values.shape[1]] = left.values
    values[np.searchsorted(keys, right.keys), left.values.shape[1] :] = right.values
    return Entries(keys // WIDTH, keys % WIDTH, values)


def caption_vectors(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags around the caption's vector, in the space of each likely topic."""
    return _around(index, batch, batch.words)


def seed_vectors(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags around the seeds' vector, in the space of each likely topic."""
    return _around(index, batch, batch.seed_tokens)


def _around(index: IndexReader, batch: QueryBatch, texts: Texts) -> Entries:
    parts: list[tuple[Ids, Ids, Floats]] = []
    if not any(texts):
        return silent(1)
    for topic, shares in _shares(batch.topics).items():
        hashtags = index.hashtags(topic)
        asked = np.flatnonzero(shares > 0)
        if hashtags is None or not len(asked):
            continue
        found = index.text_vectors(topic, [texts[int(q)] for q in asked], batch.text_idf)
        if not len(found.ids):
            continue
        near = hashtags.search(found.vectors, AROUND)
        real = (np.arange(near.ids.shape[1]) < near.counts[:, None]) & (near.scores > 0)
        queries = asked[found.ids][real.nonzero()[0]]
        prior = PRIOR * np.log(np.maximum(index.counts.hashtags[near.ids[real], 0], 1))
        parts.append((queries, near.ids[real], shares[queries] * (near.scores[real] + prior)))
    if not parts:
        return silent(1)
    queries, tags, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    around = Groups.of(queries * WIDTH + tags)
    return around.entries(around.sum(scores))


def _shares(topics: TopicProbs) -> dict[str, Floats]:
    """How much each space speaks, float32 (q,): likely topics by probability, all the rest."""
    top = np.sort(topics.probs, axis=1)[:, -MOST_TOPICS:].min(axis=1, keepdims=True)
    likely = np.where(topics.probs >= np.maximum(top, LIKELY), topics.probs, 0)
    rest = np.maximum(1 - likely.sum(axis=1), 0.25)
    return {ALL_TOPICS: rest} | dict(zip(topics.topics, likely.T, strict=True))


def cooccurrence(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags used with the seeds: P(tag given seed), shrunk for rare seeds.

    Columns: the sum over the seeds by authors, and by posts; the largest; the smallest, 0 where a
    seed never stood with it; the sum of cosines between their posts; the mean log lift; the log of
    the product of smoothed chances (naive Bayes).
    """
    counts, seeds = index.counts, batch.seed_pairs
    places, tags, posts, by_authors = _with_tags(index, seeds)
    often = counts.hashtags[seeds.tags, 0].astype(np.float32)[places]
    by_posts = np.maximum(posts - 0.5, 0) / (often + 2)
    uses = counts.hashtags[tags, 0].astype(np.float32)
    cosine = posts / np.sqrt(np.maximum(often * uses, 1))
    usual = np.maximum(uses, 1) / max(counts.size, 1)
    lift = np.log(np.maximum(by_posts / usual, 1e-3))
    pairs = Groups.of(seeds.queries[places] * WIDTH + tags)
    asked = np.bincount(seeds.queries, minlength=len(batch))[pairs.keys // WIDTH]
    evidence = pairs.sum(np.log1p(posts / (USUAL * usual)))
    return pairs.entries(
        pairs.sum(by_authors),
        pairs.sum(by_posts),
        pairs.max(by_posts),
        np.where(pairs.sizes == asked, pairs.min(by_posts), 0),
        pairs.sum(cosine),
        pairs.sum(lift) / pairs.sizes,
        evidence + (asked - INDEPENDENT * (asked - 1)) * np.log(pairs.max(usual)),
    )


def _with_tags(index: IndexReader, first: Entries) -> tuple[Ids, Ids, Floats, Floats]:
    """Of each pair of hashtags: place of the first, the other's id, their posts, P(other | first).

    That is by authors.
    """
    places, tags, values = index.counts.tag_tags.rows(first.tags)
    authors = index.counts.hashtags[first.tags, 1].astype(np.float32)[places]
    return places, tags, values[:, 1], np.maximum(values[:, 0] - 0.5, 0) / (authors + 2)


def linear(index: IndexReader, batch: QueryBatch) -> Entries:
    """What a linear autoencoder makes of the seeds (EASE, Steck 2019): the sum of its weights."""
    places, tags, weights = index.counts.ease.rows(batch.seed_pairs.tags)
    pairs = Groups.of(batch.seed_pairs.queries[places] * WIDTH + tags)
    return pairs.entries(pairs.sum(weights[:, 0]))


def word_counts(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags used with the caption's words.

    Columns: the sum of idf(word)^2 * P(tag given word), the sum of log lifts, and the largest P
    among the words that are not everybody's.
    """
    counts, words = index.counts, batch.word_pairs
    places, tags, chance, share = _with_words(index, words)
    usual = counts.hashtags[tags, 1] / counts.authors
    lift = np.log(np.maximum(chance / np.maximum(usual, 1e-9), 1))
    pairs = Groups.of(words.queries[places] * WIDTH + tags)
    return pairs.entries(
        pairs.sum(words.values[places, 0] ** 2 * chance),
        pairs.sum(np.where(chance > 0, lift, 0)),
        pairs.max(np.where(share < TELLING, chance, 0)),
    )


def language(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags of the caption's language, told by its commonest words: their mean P(tag | word)."""
    counts, words = index.counts, batch.word_pairs
    common = words.where(counts.words[words.tags, 1] > COMMON * counts.authors)
    places, tags, chance, _ = _with_words(index, common)
    pairs = Groups.of(common.queries[places] * WIDTH + tags)
    told = np.bincount(common.queries, minlength=len(batch))[pairs.keys // WIDTH]
    return pairs.entries(pairs.sum(chance) / np.maximum(told, 1))


def _with_words(index: IndexReader, words: Entries) -> tuple[Ids, Ids, Floats, Floats]:
    """Of each pair of word and hashtag: place of the word, tag id, P(tag | word), word's share."""
    counts = index.counts
    places, tags, values = counts.word_tags.rows(words.tags)
    authors = counts.words[words.tags, 1].astype(np.float32)[places]
    chance = np.maximum(values[:, 0] - DISCOUNT, 0) / (authors + 5)
    return places, tags, chance, authors / counts.authors


def spelled(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags that the caption's words spell, alone or joined; see `Spelt` for the columns."""
    return batch.spelt.entries


def words_inside(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags that hold the caption's words, as #parisjetaime holds `paris`.

    Columns: the sum of the words' idf times their share of the hashtag, and that share.
    """
    words = batch.word_pairs
    places, tags, shares = index.counts.word_inside.rows(words.tags)
    pairs = Groups.of(words.queries[places] * WIDTH + tags)
    share = pairs.sum(shares[:, 0])
    return pairs.entries(pairs.sum(words.values[places, 0] * shares[:, 0]), np.minimum(share, 1))


def topic_top(index: IndexReader, batch: QueryBatch) -> Entries:
    """Each topic's own top hashtags, by share of its authors times the topic's probability.

    And by how well they fit what a picture shows: a cat is no #dog, though both are pets.
    """
    top = index.topic_tops(AROUND)
    shares = index.counts.topics[top] / np.maximum(index.topic_authors, 1)
    queries, tags = np.repeat(np.arange(len(batch)), len(top)), np.tile(top, len(batch))
    scores = (batch.topics.probs @ shares.T).ravel() * fitting(index, batch, queries, tags)
    said = Entries(queries, tags, scores.reshape(-1, 1).astype(np.float32))
    return said.where(scores > 0)


def picture_words(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags whose words are nearest to the picture, where its encoder reads text.

    Columns: the cosine, and its share among those found, by softmax (Radford et al. 2021).
    """
    images, hashtags = batch.images, index.hashtag_texts
    if images is None or hashtags is None or not len(images.ids):
        return silent(2)
    near = hashtags.search(images.vectors, AROUND)
    real = np.arange(near.ids.shape[1]) < near.counts[:, None]
    raised = np.exp(SHARP * (near.scores - near.scores[:, :1]))
    shares = raised / raised.sum(axis=1, keepdims=True)
    queries = images.ids[real.nonzero()[0]]
    pairs = Groups.of(queries * WIDTH + near.ids[real])
    return pairs.entries(pairs.sum(near.scores[real]), pairs.sum(shares[real]))


def picture_classes(index: IndexReader, batch: QueryBatch) -> Entries:
    """Hashtags that the names of what the picture shows speak for: see `classwords`.

    Columns: around the names' vectors; the largest P(tag | word) of the names' words; how likely
    the picture shows what is called so, and the log of that beside chance; the largest
    P(tag | tag) of those that it shows.
    """
    shown = Shown.of(batch)
    if shown is None:
        return silent(5)
    words, named = words_of(index, shown), called(index, batch)
    places, tags, chance, _ = _with_words(index, words)
    chances, ratios = named.values.T
    logs = Entries(named.queries, named.tags, np.column_stack([chances, np.log(ratios)]))
    told = _beside(_loudest(words, places, tags, chance), logs)
    seen = named.where((chances >= LEAST_SHOWN) & (ratios > 1))
    places, tags, _, chance = _with_tags(index, seen)
    told = _beside(told, _loudest(seen, places, tags, chance))
    return _beside(around(index, shown, AROUND, PRIOR), told)


def _loudest(said: Entries, places: Ids, tags: Ids, chance: Floats) -> Entries:
    """Hashtags by what speaks for them the loudest, of what stands at places of some entries."""
    pairs = Groups.of(said.queries[places] * WIDTH + tags)
    return pairs.entries(pairs.max(said.values[places, 0] * chance))


@dataclass(frozen=True, slots=True)
class Kind:
    """A channel: its function, and the names of the columns it gives."""

    ask: Channel
    columns: tuple[str, ...] = ("score",)


# Channels in which posts speak.
OF_POSTS = ("image neighbours", "caption neighbours", "word neighbours", "seed neighbours")
CHANNELS: dict[str, Kind] = {
    "image neighbours": Kind(image_neighbours, VOTES),
    "caption neighbours": Kind(caption_neighbours, VOTES),
    "word neighbours": Kind(word_neighbours, VOTES),
    "seed neighbours": Kind(seed_neighbours, (*VOTES, "with two")),
    "caption vectors": Kind(caption_vectors),
    "seed vectors": Kind(seed_vectors),
    "co-occurrence": Kind(
        cooccurrence,
        ("by authors", "by posts", "largest", "smallest", "cosine", "lift", "likelihood"),
    ),
    "linear": Kind(linear),
    "word counts": Kind(word_counts, ("sum", "lift", "largest")),
    "language": Kind(language),
    "spelled": Kind(spelled, SPELT_COLUMNS),
    "words inside": Kind(words_inside, ("score", "share")),
    "topic": Kind(topic_top),
    "picture words": Kind(picture_words, ("cosine", "share")),
    "picture classes": Kind(
        picture_classes, ("around", "with words", "called so", "beside chance", "beside called")
    ),
}
