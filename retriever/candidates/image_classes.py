"""What a picture shows, told by its encoder's ImageNet classes, in words that people tag with.

A photo of a cup is `espresso` and `coffee mug` to the network, and both are coffee to people, as
`data/classes.tsv` says: names and plain words speak for hashtags as a caption's do, each as loudly
as its classes are likely. Where the encoder reads text, the channel `picture words` does the like
without classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.images.imagenet import class_names, keys_of_classes, words_of_classes
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.pairs import WIDTH, Entries, Groups, looked_up, silent
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch, once

MOST_SHOWN = 8  # classes of a picture that speak
LEAST_SHOWN = 0.02  # their probability
LEAST = 1e-6  # any probability
LEAST_FIT = 0.1  # what stays of a topic's hashtag that a picture does not show


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The classes that pictures show.

    `queries` int64 (r,), `kinds` int64 (r,) and `chances` float32 (r,): which picture shows which
    of k different classes, and how likely. `names` are the words of the k classes' names, `words`
    these and what people call such, `keys` the hashtags such is called.
    """

    queries: Ids
    kinds: Ids
    chances: Floats
    names: tuple[tuple[str, ...], ...]
    words: tuple[tuple[str, ...], ...]
    keys: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, batch: QueryBatch) -> Shown | None:
        """Those of a batch's pictures; None where it has none, or the encoder knows no classes."""
        if batch.images is None or batch.classes is None or not len(batch.images.ids):
            return None
        top = np.argpartition(batch.classes, -MOST_SHOWN, axis=1)[:, -MOST_SHOWN:]
        chances = np.take_along_axis(batch.classes, top, axis=1)
        rows, places = (chances >= LEAST_SHOWN).nonzero()
        numbers, kinds = np.unique(top[rows, places], return_inverse=True)
        some = numbers.tolist()
        return cls(
            *(batch.images.ids[rows], kinds, chances[rows, places]),
            names=tuple(class_names()[number] for number in some),
            words=tuple(words_of_classes()[number] for number in some),
            keys=tuple(keys_of_classes()[number] for number in some),
        )

    def said(self, kinds: Ids, ids: Ids, values: Floats) -> Entries:
        """What r values of kinds and ids, such as words', are to the queries, each class's share.

        Args:
            kinds: int64 (v,), ascending.
            ids: int64 (v,).
            values: float32 (v,).
        """
        starts, ends = (np.searchsorted(kinds, self.kinds, side) for side in ("left", "right"))
        sizes = ends - starts
        rows = np.repeat(np.arange(len(sizes)), sizes)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + starts[rows]
        pairs = Groups.of(self.queries[rows] * WIDTH + ids[places])
        return pairs.entries(pairs.sum(self.chances[rows] * values[places]))


@once
def called(index: IndexReader, batch: QueryBatch) -> Entries:
    """All hashtags that a class is called, by how likely each picture shows such.

    Of those that it does not show, too: that it shows no beach speaks against #beach. Columns: how
    likely that is, and how much likelier than if all classes were equally likely: a tenth of them
    are dogs.
    """
    if batch.images is None or batch.classes is None:
        return silent(2)
    tags, names = index.class_tags
    chances = batch.classes @ names
    ratios = np.maximum(chances, LEAST) / names.mean(axis=0)
    values = np.stack([chances, ratios], axis=-1).reshape(-1, 2)
    return Entries(np.repeat(batch.images.ids, len(tags)), np.tile(tags, len(chances)), values)


def fitting(index: IndexReader, batch: QueryBatch, queries: Ids, tags: Ids) -> Floats:
    """How much of its topics' claim stays to each pair of query and hashtag, float32 (p,).

    Less than 1 where a picture shows what is called so less than by chance. Never more: that it
    shows such has columns of its own.
    """
    said = called(index, batch)
    if not len(said):
        return np.ones(len(tags), np.float32)
    ratios = looked_up(said, queries * WIDTH + tags)[:, 1]
    fits: Floats = np.where(np.isnan(ratios), 1, np.clip(ratios, LEAST_FIT, 1))
    return fits


def words_of(index: IndexReader, shown: Shown) -> Entries:
    """The classes' words that posts hold, by id, as loud as the class is likely."""
    ids = index.word_ids(set().union(*shown.words))
    pairs = {(kind, ids[w]) for kind, some in enumerate(shown.words) for w in some if w in ids}
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return shown.said(found[:, 0], found[:, 1], np.ones(len(found), np.float32))


def around(index: IndexReader, shown: Shown, most: int, prior: float) -> Entries:
    """Hashtags around the words' vectors: cosines, and `prior` for each doubling of posts by e."""
    _, idf = index.idf(set().union(*shown.words))
    vectors = index.text_vectors(ALL_TOPICS, shown.words, idf)
    hashtags = index.hashtags(ALL_TOPICS)
    if hashtags is None or not len(vectors.ids):
        return shown.said(*(np.zeros(0, np.int64),) * 2, np.zeros(0, np.float32))
    near = hashtags.search(vectors.vectors, most)
    real = (np.arange(near.ids.shape[1]) < near.counts[:, None]) & (near.scores > 0)
    tags = near.ids[real]
    often = np.log(np.maximum(index.counts.hashtags[tags, 0], 1))
    scores = (near.scores[real] + prior * often).astype(np.float32)
    return shown.said(vectors.ids[real.nonzero()[0]], tags, scores)
