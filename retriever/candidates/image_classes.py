"""Hashtags for a picture, by the ImageNet classes that its encoder predicts.

`data/classes.tsv` translates the classes into words that people tag with: `espresso` and `coffee
mug` are both coffee. Each class counts by its probability. If the encoder reads text, the channel
`picture words` works without classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.images.imagenet import class_names, keys_of_classes, words_of_classes
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import (
    PAIR_BASE,
    Groups,
    ScoredPairs,
    empty_pairs,
    lookup_values,
)
from hashlens.retriever.query.batch import QueryBatch, ask_once

MAX_SHOWN = 8  # classes that count for one picture
MIN_SHOWN = 0.02  # probability of a class that counts
MIN_PROBABILITY = 1e-6  # smallest probability in a ratio
MIN_PENALTY = 0.1  # smallest factor for a hashtag whose class the picture does not show


@dataclass(frozen=True, slots=True, eq=False)
class ShownClasses:
    """The classes that pictures show.

    `queries` int64 (r,), `kinds` int64 (r,) and `chances` float32 (r,): each picture's query, one
    of k different classes, and its probability. `names` are the words of the k class names; `words`
    add what people call the class, and `keys` are the hashtags that name it.
    """

    queries: Ids
    kinds: Ids
    chances: Floats
    names: tuple[tuple[str, ...], ...]
    words: tuple[tuple[str, ...], ...]
    keys: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, batch: QueryBatch) -> ShownClasses | None:
        """Return the classes of a batch's pictures; None without pictures or without classes."""
        if batch.images is None or batch.classes is None or not len(batch.images.ids):
            return None
        top = np.argpartition(batch.classes, -MAX_SHOWN, axis=1)[:, -MAX_SHOWN:]
        chances = np.take_along_axis(batch.classes, top, axis=1)
        rows, places = (chances >= MIN_SHOWN).nonzero()
        numbers, kinds = np.unique(top[rows, places], return_inverse=True)
        some = numbers.tolist()
        return cls(
            *(batch.images.ids[rows], kinds, chances[rows, places]),
            names=tuple(class_names()[number] for number in some),
            words=tuple(words_of_classes()[number] for number in some),
            keys=tuple(keys_of_classes()[number] for number in some),
        )

    def to_queries(self, kinds: Ids, ids: Ids, values: Floats) -> ScoredPairs:
        """Return the sum of each query's values, weighted by the probability of their class.

        Args:
            kinds: classes of the values, int64 (v,), ascending.
            ids: of what is valued, such as words, int64 (v,).
            values: float32 (v,).
        """
        starts, ends = (np.searchsorted(kinds, self.kinds, side) for side in ("left", "right"))
        sizes = ends - starts
        rows = np.repeat(np.arange(len(sizes)), sizes)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + starts[rows]
        pairs = Groups.of(self.queries[rows] * PAIR_BASE + ids[places])
        return pairs.pairs(pairs.sum(self.chances[rows] * values[places]))


@ask_once
def class_hashtags(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    """Return all hashtags that name a class, shown or not: a missing beach lowers #beach.

    Columns: the probability of the named classes, and its ratio to that of equally likely classes,
    of which a tenth are dogs.
    """
    if batch.images is None or batch.classes is None:
        return empty_pairs(2)
    tags, names = index.class_tags
    chances = batch.classes @ names
    ratios = np.maximum(chances, MIN_PROBABILITY) / names.mean(axis=0)
    values = np.stack([chances, ratios], axis=-1).reshape(-1, 2)
    return ScoredPairs(np.repeat(batch.images.ids, len(tags)), np.tile(tags, len(chances)), values)


def class_penalty(index: IndexReader, batch: QueryBatch, queries: Ids, tags: Ids) -> Floats:
    """Return a factor for each pair of query and hashtag, float32 (p,).

    It is below 1 if the picture shows the hashtag's classes less than chance, and never above 1:
    classes that are shown have columns of their own.
    """
    names = class_hashtags(index, batch)
    if not len(names):
        return np.ones(len(tags), np.float32)
    ratios = lookup_values(names, queries * PAIR_BASE + tags)[:, 1]
    factors: Floats = np.where(np.isnan(ratios), 1, np.clip(ratios, MIN_PENALTY, 1))
    return factors


def class_words(index: IndexReader, shown: ShownClasses) -> ScoredPairs:
    """Return the classes' words that posts contain, by id, with the probability of their class."""
    ids = index.word_ids(set().union(*shown.words))
    pairs = {(kind, ids[w]) for kind, some in enumerate(shown.words) for w in some if w in ids}
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return shown.to_queries(found[:, 0], found[:, 1], np.ones(len(found), np.float32))


def nearest_hashtags(
    index: IndexReader, shown: ShownClasses, most: int, log_posts_weight: float
) -> ScoredPairs:
    """Return hashtags around the vectors of the classes' words, by cosine and log post count."""
    _, idf = index.idf(set().union(*shown.words))
    vectors = index.text_vectors(ALL_TOPICS, shown.words, idf)
    hashtags = index.hashtag_index(ALL_TOPICS)
    if hashtags is None or not len(vectors.ids):
        return empty_pairs(1)
    rows, tags, cosines = hashtags.search(vectors.vectors, most).positive()
    posts = np.maximum(index.counts.hashtags[tags, 0], 1)
    scores = (cosines + log_posts_weight * np.log(posts)).astype(np.float32)
    return shown.to_queries(vectors.ids[rows], tags, scores)
