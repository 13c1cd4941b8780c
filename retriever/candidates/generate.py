"""Generation of candidates: runs all channels and joins their scores with candidate features."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Floats, Ids
from hashlens.indexer.vectors.search import isin_sorted
from hashlens.retriever.candidates.candidate_features import FEATURE_COLUMNS, candidate_features
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import (
    PAIR_BASE,
    Groups,
    ScoredPairs,
    empty_pairs,
    lookup_values,
)
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.recommendation import Candidates

MAX_PER_CHANNEL = 100  # candidates that a channel may name for one query
POPULAR = 30  # most used hashtags, candidates of every query
MAX_GUESSES = 15  # candidates of a query whose companions are looked up
# Channels whose best candidates have companions; their scores are added as shares of the largest.
GUESS_CHANNELS = (
    *("word counts", "word neighbours", "caption neighbours", "image neighbours"),
    *("co-occurrence", "spelled"),
)
COMPANIONS = "companions"


def generate_candidates(
    index: IndexReader, batch: QueryBatch, *, without: Collection[str] = ()
) -> Candidates:
    """Return the candidates of every query, without its seeds and other authors' brands.

    The most used hashtags, and those that the asking author often uses, are always candidates.

    Args:
        index: to search.
        batch: q queries.
        without: names of channels to leave out.
    """
    scores = {n: spec.score(index, batch) for n, spec in CHANNELS.items() if n not in without}
    allowed = _CandidateFilter(index, batch)
    offered = {name: allowed.filter(pairs) for name, pairs in scores.items()}
    if COMPANIONS not in without:
        scores[COMPANIONS] = _find_companions(index, offered)
        offered[COMPANIONS] = allowed.filter(scores[COMPANIONS])
    keys = [pairs.top(MAX_PER_CHANNEL).keys for pairs in offered.values()]

    popular = index.most_used(POPULAR)
    if batch.habits:
        popular = np.union1d(popular, batch.habits.usual)
    queries = np.repeat(np.arange(len(batch)), len(popular))
    ones = np.ones((len(queries), 1), np.float32)
    always = allowed.filter(ScoredPairs(queries, np.tile(popular, len(batch)), ones))
    pairs = np.unique(np.concatenate([*keys, always.keys]))

    columns: list[str] = []
    for name in scores:
        names = CHANNELS[name].columns if name in CHANNELS else ("score",)
        columns += [f"{name}: {column}" for column in names]
    queries, tags = pairs // PAIR_BASE, pairs % PAIR_BASE
    values = [lookup_values(found, pairs) for found in scores.values()]
    values.append(candidate_features(index, batch, queries, tags))
    table = np.concatenate(values, axis=1)
    return Candidates(queries, tags, (*columns, *FEATURE_COLUMNS), table)


class _CandidateFilter:
    """Keeps out seeds, blocked hashtags, and brands that the caption does not spell."""

    def __init__(self, index: IndexReader, batch: QueryBatch) -> None:
        self._offered = index.offered_to(batch.habits)
        self._spelt = batch.spelt.entries.keys
        coined = {key: index.hashtag_count + n for n, key in enumerate(batch.spelt.coined)}
        coined_seeds = [
            query * PAIR_BASE + coined[seed]
            for query, given in enumerate(batch.queries)
            for seed in given.seeds
            if seed in coined  # the words of an unknown seed spell it
        ]
        seeds = [batch.seed_pairs.keys, np.array(coined_seeds, np.int64)]
        self._seeds = np.sort(np.concatenate(seeds))

    def filter(self, pairs: ScoredPairs) -> ScoredPairs:
        """Return the pairs that may be recommended."""
        tags, keys = pairs.ids, pairs.keys
        known = tags < len(self._offered)
        offered: NDArray[np.bool_] = known & self._offered[np.where(known, tags, 0)]
        others = np.flatnonzero(~offered)
        offered[others[isin_sorted(keys[others], self._spelt)]] = True
        return pairs.where(offered & ~isin_sorted(keys, self._seeds))


def _find_companions(index: IndexReader, scores: dict[str, ScoredPairs]) -> ScoredPairs:
    """Return hashtags used with the best candidates so far (query expansion by co-occurrence)."""
    guesses = [empty_pairs(1), *(scores[name] for name in GUESS_CHANNELS if name in scores)]
    shares: Floats = np.concatenate([pairs.relative() for pairs in guesses])
    totals = Groups.of(np.concatenate([pairs.keys for pairs in guesses]))
    best = totals.pairs(totals.sum(shares)).top(MAX_GUESSES)
    counts = index.counts
    places, tags, values = counts.tag_tags.rows(best.ids)
    known: Ids = np.minimum(best.ids, index.hashtag_count - 1)
    authors = counts.hashtags[known, 1].astype(np.float32)[places]
    chance: Floats = np.maximum(values[:, 0] - 0.5, 0) / (authors + 3)
    pairs = Groups.of(best.queries[places] * PAIR_BASE + tags)
    return pairs.pairs(pairs.sum(best.values[places, 0] * chance))
