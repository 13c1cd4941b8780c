"""Runs every channel over a batch, and puts together what they said and what is known besides."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Candidates, Floats, Ids
from hashlens.indexer.vectors.search import isin_sorted
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.candidates.features import described
from hashlens.retriever.index.pairs import WIDTH, Entries, Groups, looked_up, silent
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch

MOST = 100  # candidates a channel may name for one query
EVERYWHERE = 30  # most used hashtags, candidates of every query
ROUGH = 15  # candidates of a query whose companions are looked up
# Channels whose first guesses tell what goes along with them; the share of the largest is added.
GUESSING = (
    *("word counts", "word neighbours", "caption neighbours", "image neighbours"),
    *("co-occurrence", "spelled"),
)
COMPANIONS = "companions"


def gather(
    index: IndexReader,
    batch: QueryBatch,
    *,
    without: Collection[str] = (),
) -> Candidates:
    """Candidates of every query, without its seeds and without another author's brands.

    What who asks usually tags is among those of every query.

    Args:
        index: what is asked.
        batch: q queries.
        without: channels that are not asked.
    """
    said = {name: kind.ask(index, batch) for name, kind in CHANNELS.items() if name not in without}
    allowed = _Allowed(index, batch)
    offered = {name: allowed.of(entries) for name, entries in said.items()}
    if COMPANIONS not in without:
        said[COMPANIONS] = _companions(index, offered)
        offered[COMPANIONS] = allowed.of(said[COMPANIONS])
    named = [entries.best(MOST).keys for entries in offered.values()]
    keys = np.unique(np.concatenate([*named, allowed.of(_everywhere(index, batch)).keys]))
    columns, values = [], []
    for name, entries in said.items():
        names = CHANNELS[name].columns if name in CHANNELS else ("score",)
        columns += [f"{name}: {column}" for column in names]
        values.append(looked_up(entries, keys))
    queries, tags = keys // WIDTH, keys % WIDTH
    names, facts = described(index, batch, queries, tags)
    scores = np.concatenate([*values, facts], axis=1)
    return Candidates(queries, tags, (*columns, *names), scores)


class _Allowed:
    """Which pairs may be offered: no seeds, nothing blocked, no brands that are not spelled out."""

    def __init__(self, index: IndexReader, batch: QueryBatch) -> None:
        self._offered = index.offered_to(batch.habits)
        self._spelt = batch.spelt.entries.keys
        coined = {key: index.tags + place for place, key in enumerate(batch.spelt.coined)}
        fresh = [
            query * WIDTH + coined[seed]
            for query, given in enumerate(batch.queries)
            for seed in given.seeds
            if seed in coined  # the words of an unknown seed spell it
        ]
        self._seeds = np.sort(np.concatenate([batch.seed_pairs.keys, np.array(fresh, np.int64)]))

    def of(self, entries: Entries) -> Entries:
        """Those of the entries that may be offered."""
        tags, keys = entries.tags, entries.keys
        known = tags < len(self._offered)
        offered: NDArray[np.bool_] = known & self._offered[np.where(known, tags, 0)]
        others = np.flatnonzero(~offered)
        offered[others[isin_sorted(keys[others], self._spelt)]] = True
        return entries.where(offered & ~isin_sorted(keys, self._seeds))


def _everywhere(index: IndexReader, batch: QueryBatch) -> Entries:
    """The most used hashtags, and those that who asks usually uses, for every query."""
    top = index.most_used(EVERYWHERE)
    if batch.habits:
        top = np.union1d(top, batch.habits.usual)
    queries = np.repeat(np.arange(len(batch)), len(top))
    return Entries(queries, np.tile(top, len(batch)), np.ones((len(queries), 1), np.float32))


def _companions(index: IndexReader, said: dict[str, Entries]) -> Entries:
    """Hashtags that go with the best guesses so far (query expansion by co-occurrence)."""
    guesses = [silent(1), *(said[name] for name in GUESSING if name in said)]
    keys = np.concatenate([entries.keys for entries in guesses])
    shares = np.concatenate([entries.relative() for entries in guesses])
    rough = Groups.of(keys)
    best = rough.entries(rough.sum(shares)).best(ROUGH)
    counts = index.counts
    places, tags, values = counts.tag_tags.rows(best.tags)
    known = np.minimum(best.tags, index.tags - 1)
    authors = counts.hashtags[known, 1].astype(np.float32)[places]
    chance: Floats = np.maximum(values[:, 0] - 0.5, 0) / (authors + 3)
    pairs = Groups.of(best.queries[places] * WIDTH + tags)
    return pairs.entries(pairs.sum(best.values[places, 0] * chance))


def split(candidates: Candidates, queries: int) -> list[slice]:
    """Where each query's candidates lie."""
    ends: Ids = np.searchsorted(candidates.queries, np.arange(queries) + 1)
    return [slice(a, b) for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
