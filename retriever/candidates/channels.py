"""The channels: one function per kind of evidence, from a batch of queries to scored hashtags.

Each returns pairs with the columns that `CHANNELS` names; the first column orders its candidates. A
channel returns nothing for a query that lacks its input. All work on the whole batch at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.candidates.image_classes import (
    MIN_SHOWN,
    ShownClasses,
    class_hashtags,
    class_penalty,
    class_words,
    nearest_hashtags,
)
from hashlens.retriever.candidates.near_posts import (
    search_captions,
    search_images,
    search_seeds,
    search_words,
    vote_hashtags,
)
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import PAIR_BASE, Groups, ScoredPairs, empty_pairs, outer_join
from hashlens.retriever.query.batch import QueryBatch, Texts
from hashlens.retriever.query.spelling import COLUMNS as SPELT_COLUMNS

MAX_NEAREST = 150  # hashtags taken around a text vector in each space, and around a picture
LOG_POSTS_WEIGHT = 0.1  # of a log post count added to a cosine: rare hashtags crowd every corner
AUTHOR_DISCOUNT = 0.7  # authors taken off each count of a word with a hashtag (Ney et al. 1994)
# In an index of so many authors, a word and a hashtag need so many in common: pairs of few authors
# are mostly campaigns and accidents there.
LARGE_INDEX, MIN_SUPPORTERS = 50_000, 8
MIN_TOPIC_PROBABILITY = 0.15  # from which on a topic's own space is searched
MAX_TOPICS = 3
SOFTMAX_SCALE = 100.0  # of a picture's cosines with texts: the bound in CLIP's training
MIN_COMMON_SHARE = 0.03  # share of authors from which on a word shows the language, not the subject
SMOOTHING_POSTS = (
    300.0  # weight of a hashtag's base rate in its co-occurrence with a seed, in posts
)
SEED_INDEPENDENCE = 0.7  # how far each further seed counts as independent evidence
MAX_TELLING_SHARE = 0.1  # share of authors up to which a single word may suggest a hashtag

Channel = Callable[[IndexReader, QueryBatch], ScoredPairs]
VOTE_COLUMNS = ("sum", "share", "nearest", "authors")


def image_neighbours(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags of the posts with the nearest pictures."""
    return vote_hashtags(index, search_images(index, batch), power=4)


def caption_neighbours(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags of the posts whose captions are closest in meaning."""
    return vote_hashtags(index, search_captions(index, batch), power=8)


def word_neighbours(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags of the posts that share the caption's rarest words."""
    return vote_hashtags(index, search_words(index, batch), power=2)


def seed_neighbours(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags of the posts that share the seeds, and how often they join two of them."""
    near, several = search_seeds(index, batch)
    places, tags, _ = index.counts.post_tags.rows(several.ids)
    posts = np.bincount(several.queries, minlength=len(batch))
    both = Groups.of(several.queries[places] * PAIR_BASE + tags)
    share = np.maximum(both.sizes - 0.5, 0) / (posts[both.keys // PAIR_BASE] + 1)
    return outer_join(vote_hashtags(index, near, power=2), both.pairs(share))


def caption_vectors(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags around the caption's vector, in the space of each likely topic."""
    return _search_spaces(index, batch, batch.words)


def seed_vectors(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags around the seeds' vector, in the space of each likely topic."""
    return _search_spaces(index, batch, batch.seed_tokens)


def _search_spaces(index: IndexReader, batch: QueryBatch, texts: Texts) -> ScoredPairs:
    parts: list[tuple[Ids, Ids, Floats]] = []
    if not any(texts):
        return empty_pairs(1)
    # Each likely topic's space weighs its probability, and the common space the rest.
    probs = batch.topics.probs
    lowest = np.sort(probs, axis=1)[:, -MAX_TOPICS:].min(axis=1, keepdims=True)
    likely = np.where(probs >= np.maximum(lowest, MIN_TOPIC_PROBABILITY), probs, 0)
    weights = {ALL_TOPICS: np.maximum(1 - likely.sum(axis=1), 0.25)}
    weights |= dict(zip(batch.topics.topics, likely.T, strict=True))
    for topic, weight in weights.items():
        hashtags = index.hashtag_index(topic)
        queries = np.flatnonzero(weight > 0)
        if hashtags is None or not len(queries):
            continue
        found = index.text_vectors(topic, [texts[int(q)] for q in queries], batch.text_idf)
        if not len(found.ids):
            continue
        rows, tags, cosines = hashtags.search(found.vectors, MAX_NEAREST).positive()
        queries = queries[found.ids][rows]
        posts = np.maximum(index.counts.hashtags[tags, 0], 1)
        scores = cosines + LOG_POSTS_WEIGHT * np.log(posts)
        parts.append((queries, tags, weight[queries] * scores))
    if not parts:
        return empty_pairs(1)
    queries, tags, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    pairs = Groups.of(queries * PAIR_BASE + tags)
    return pairs.pairs(pairs.sum(scores))


def cooccurrence(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags used with the seeds: P(tag given seed), shrunk for rare seeds.

    Columns: the sum over the seeds by authors, and by posts; the largest; the smallest, 0 if one
    seed never occurs with it; the sum of cosines between their posts; the mean log lift; the log of
    the product of smoothed probabilities (naive Bayes).
    """
    counts, seeds = index.counts, batch.seed_pairs
    places, tags, posts, by_authors = _cooccurring_tags(index, seeds)
    seed_posts = counts.hashtags[seeds.ids, 0].astype(np.float32)[places]
    by_posts = np.maximum(posts - 0.5, 0) / (seed_posts + 2)
    tag_posts = counts.hashtags[tags, 0].astype(np.float32)
    cosine = posts / np.sqrt(np.maximum(seed_posts * tag_posts, 1))
    base_rate = np.maximum(tag_posts, 1) / max(counts.size, 1)
    lift = np.log(np.maximum(by_posts / base_rate, 1e-3))
    pairs = Groups.of(seeds.queries[places] * PAIR_BASE + tags)
    seed_count = np.bincount(seeds.queries, minlength=len(batch))[pairs.keys // PAIR_BASE]
    likelihood = pairs.sum(np.log1p(posts / (SMOOTHING_POSTS * base_rate)))
    independent = seed_count - SEED_INDEPENDENCE * (seed_count - 1)
    return pairs.pairs(
        pairs.sum(by_authors),
        pairs.sum(by_posts),
        pairs.max(by_posts),
        np.where(pairs.sizes == seed_count, pairs.min(by_posts), 0),
        pairs.sum(cosine),
        pairs.sum(lift) / pairs.sizes,
        likelihood + independent * np.log(pairs.max(base_rate)),
    )


def _cooccurring_tags(index: IndexReader, pairs: ScoredPairs) -> tuple[Ids, Ids, Floats, Floats]:
    """Return hashtags that occur with those of pairs.

    Returns:
        Place of the pair, id of the other hashtag, common posts, P(other given first) by authors.
    """
    places, tags, values = index.counts.tag_tags.rows(pairs.ids)
    authors = index.counts.hashtags[pairs.ids, 1].astype(np.float32)[places]
    return places, tags, values[:, 1], np.maximum(values[:, 0] - 0.5, 0) / (authors + 2)


def linear(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return the seeds' sum of weights in a linear autoencoder (EASE, Steck 2019)."""
    places, tags, weights = index.counts.ease.rows(batch.seed_pairs.ids)
    pairs = Groups.of(batch.seed_pairs.queries[places] * PAIR_BASE + tags)
    return pairs.pairs(pairs.sum(weights[:, 0]))


def word_counts(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags used with the caption's words.

    Columns: the sum of idf(word)^2 * P(tag given word), the sum of log lifts, and the largest P
    among the rarer words.
    """
    counts, words = index.counts, batch.word_pairs
    places, tags, chance, share = _tags_with_words(index, words)
    base_rate = counts.hashtags[tags, 1] / counts.authors
    lift = np.log(np.maximum(chance / np.maximum(base_rate, 1e-9), 1))
    pairs = Groups.of(words.queries[places] * PAIR_BASE + tags)
    return pairs.pairs(
        pairs.sum(words.values[places, 0] ** 2 * chance),
        pairs.sum(np.where(chance > 0, lift, 0)),
        pairs.max(np.where(share < MAX_TELLING_SHARE, chance, 0)),
    )


def language(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags of the caption's language: the mean P(tag | word) of its commonest words."""
    counts, words = index.counts, batch.word_pairs
    common = words.where(counts.words[words.ids, 1] > MIN_COMMON_SHARE * counts.authors)
    places, tags, chance, _ = _tags_with_words(index, common)
    pairs = Groups.of(common.queries[places] * PAIR_BASE + tags)
    word_count = np.bincount(common.queries, minlength=len(batch))[pairs.keys // PAIR_BASE]
    return pairs.pairs(pairs.sum(chance) / np.maximum(word_count, 1))


def _tags_with_words(index: IndexReader, words: ScoredPairs) -> tuple[Ids, Ids, Floats, Floats]:
    """Return hashtags that occur with words.

    Returns:
        Place of the word, id of the hashtag, P(hashtag given word), the word's share of authors.
    """
    counts = index.counts
    places, tags, values = counts.word_tags.rows(words.ids)
    least = MIN_SUPPORTERS if counts.authors >= LARGE_INDEX else 1
    supported = values[:, 0] >= least
    places, tags, values = places[supported], tags[supported], values[supported]
    authors = counts.words[words.ids, 1].astype(np.float32)[places]
    chance = np.maximum(values[:, 0] - AUTHOR_DISCOUNT, 0) / (authors + 5)
    return places, tags, chance, authors / counts.authors


def spelled_hashtags(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags that the caption's words spell, alone or joined; see `Spelt` for columns."""
    return batch.spelt.entries


def words_inside(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags that contain the caption's words, as #parisjetaime contains `paris`.

    Columns: the sum of the words' idf times their share of the hashtag, and that share.
    """
    words = batch.word_pairs
    places, tags, shares = index.counts.word_inside.rows(words.ids)
    pairs = Groups.of(words.queries[places] * PAIR_BASE + tags)
    share = pairs.sum(shares[:, 0])
    return pairs.pairs(pairs.sum(words.values[places, 0] * shares[:, 0]), np.minimum(share, 1))


def topic_top(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return each topic's top hashtags, by their share of its authors times its probability.

    A hashtag that does not fit the picture counts less: a cat is no #dog, though both are pets.
    """
    top = index.topic_tops(MAX_NEAREST)
    shares = index.counts.topics[top] / np.maximum(index.topic_authors, 1)
    queries, tags = np.repeat(np.arange(len(batch)), len(top)), np.tile(top, len(batch))
    scores = (batch.topics.probs @ shares.T).ravel() * class_penalty(index, batch, queries, tags)
    return ScoredPairs(queries, tags, scores.reshape(-1, 1).astype(np.float32)).where(scores > 0)


def picture_words(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags whose words are nearest to the picture, if its encoder reads text.

    Columns: the cosine, and its share among those found, by softmax (Radford et al. 2021).
    """
    images, hashtags = batch.images, index.hashtag_texts
    if images is None or hashtags is None or not len(images.ids):
        return empty_pairs(2)
    near = hashtags.search(images.vectors, MAX_NEAREST)
    real = np.arange(near.ids.shape[1]) < near.counts[:, None]
    raised = np.exp(SOFTMAX_SCALE * (near.scores - near.scores[:, :1]))
    shares = raised / raised.sum(axis=1, keepdims=True)
    pairs = Groups.of(images.ids[real.nonzero()[0]] * PAIR_BASE + near.ids[real])
    return pairs.pairs(pairs.sum(near.scores[real]), pairs.sum(shares[real]))


def picture_classes(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return hashtags suggested by the ImageNet classes that the picture shows.

    Columns: the score around the vectors of the class names; the largest P(tag | word) of the
    names' words; the probability of the classes that the hashtag names, and the log of its ratio to
    chance; the largest P(tag | tag) of the hashtags that name a shown class.
    """
    shown = ShownClasses.of(batch)
    if shown is None:
        return empty_pairs(5)
    words, names = class_words(index, shown), class_hashtags(index, batch)
    places, tags, chance, _ = _tags_with_words(index, words)
    by_words = _strongest(words, places, tags, chance)
    probability, ratio = names.values.T
    logs = ScoredPairs(names.queries, names.ids, np.column_stack([probability, np.log(ratio)]))
    seen = names.where((probability >= MIN_SHOWN) & (ratio > 1))
    places, tags, _, chance = _cooccurring_tags(index, seen)
    by_tags = _strongest(seen, places, tags, chance)
    around = nearest_hashtags(index, shown, MAX_NEAREST, LOG_POSTS_WEIGHT)
    return outer_join(around, outer_join(outer_join(by_words, logs), by_tags))


def _strongest(given: ScoredPairs, places: Ids, tags: Ids, chance: Floats) -> ScoredPairs:
    """Return hashtags by their largest product of a given pair's score and a chance."""
    pairs = Groups.of(given.queries[places] * PAIR_BASE + tags)
    return pairs.pairs(pairs.max(given.values[places, 0] * chance))


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel: its function, and the names of its columns."""

    score: Channel
    columns: tuple[str, ...] = ("score",)


# Channels in which posts vote.
POST_CHANNELS = ("image neighbours", "caption neighbours", "word neighbours", "seed neighbours")
CHANNELS: dict[str, ChannelSpec] = {
    "image neighbours": ChannelSpec(image_neighbours, VOTE_COLUMNS),
    "caption neighbours": ChannelSpec(caption_neighbours, VOTE_COLUMNS),
    "word neighbours": ChannelSpec(word_neighbours, VOTE_COLUMNS),
    "seed neighbours": ChannelSpec(seed_neighbours, (*VOTE_COLUMNS, "with two")),
    "caption vectors": ChannelSpec(caption_vectors),
    "seed vectors": ChannelSpec(seed_vectors),
    "co-occurrence": ChannelSpec(
        cooccurrence,
        ("by authors", "by posts", "largest", "smallest", "cosine", "lift", "likelihood"),
    ),
    "linear": ChannelSpec(linear),
    "word counts": ChannelSpec(word_counts, ("sum", "lift", "largest")),
    "language": ChannelSpec(language),
    "spelled": ChannelSpec(spelled_hashtags, SPELT_COLUMNS),
    "words inside": ChannelSpec(words_inside, ("score", "share")),
    "topic": ChannelSpec(topic_top),
    "picture words": ChannelSpec(picture_words, ("cosine", "share")),
    "picture classes": ChannelSpec(
        picture_classes, ("around", "with words", "called so", "beside chance", "beside called")
    ),
}
