"""Selects what is shown of an index's candidates; slow lookups are kept for later queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.blocklist import generic_keys
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.tiers import tier_of
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.recommendation import Candidates
from hashlens.retriever.selection.platforms import foreign_to
from hashlens.retriever.selection.selection import Choices, Selection, choose_places
from hashlens.retriever.selection.similarity import (
    mean_similarity,
    similarity,
    stems,
    unrelated_cosine,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """A selection in the terms of one index.

    `is_barred` tests a key, `barred` bool (tags,) is the same by id; both None if nothing is
    barred. `pinned` are the ids of pinned hashtags that the index knows, by key.
    """

    selection: Selection
    is_barred: Callable[[str], bool] | None
    barred: NDArray[np.bool_] | None
    pinned: dict[str, int]


class Selector:
    """Selects hashtags of one index."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._last: _Rules | None = None
        self._words: dict[int, frozenset[str]] = {}

    def select(
        self, batch: QueryBatch, candidates: Candidates, probabilities: Floats, selection: Selection
    ) -> list[Ids]:
        """Return the rows of the candidates to show besides pins, best first, for each query.

        Args:
            batch: the queries.
            candidates: of the batch.
            probabilities: of the candidates, float32 (c,).
            selection: what is wanted.
        """
        rules, index, coined = self._rules(selection), self._index, batch.spelt.coined
        pinned = list(rules.pinned.values())
        pinned_posts = [*index.tag_posts[pinned].tolist()]
        pinned_posts += [0] * (len(selection.pinned) - len(pinned))
        tiers = tuple(tier_of(number, index.tier_floors) for number in pinned_posts)
        chosen = []
        for query, span in zip(batch.queries, candidates.spans(len(batch)), strict=True):
            tag_ids = candidates.tag_ids[span]
            barred = None
            if rules.barred is not None and rules.is_barred is not None:
                barred = self._apply_mask(rules.barred, tag_ids)
                places = np.flatnonzero(tag_ids >= index.hashtag_count)
                keys = [coined[tag - index.hashtag_count] for tag in tag_ids[places]]
                barred[places] = [rules.is_barred(key) for key in keys]
            choices = Choices(
                tag_ids,
                probabilities[span],
                index.posts_of(tag_ids),
                barred=barred,
                generic=self._apply_mask(self._generic, tag_ids) if selection.generic else None,
                pinned=tuple(pinned),
                pinned_tiers=tiers,
            )
            existing = selection.count_existing(query.seeds)
            places = choose_places(
                choices,
                selection,
                index.tier_floors,
                lambda ids: self._similarity(ids, coined),
                existing,
            )
            chosen.append(span.start + places)
        return chosen

    def _apply_mask(self, mask: NDArray[np.bool_], tag_ids: Ids) -> NDArray[np.bool_]:
        """Return a mask's value for each hashtag; False for coined ones."""
        known = tag_ids < self._index.hashtag_count
        found: NDArray[np.bool_] = known & mask[np.where(known, tag_ids, 0)]
        return found

    def pinned_ids(self, selection: Selection) -> dict[str, int]:
        """Return the ids of those pinned hashtags that the index knows, by key."""
        return self._rules(selection).pinned

    def _similarity(self, tag_ids: Ids, coined: Sequence[str] = ()) -> Floats:
        """Return the similarity of n hashtags in [0, 1], float32 (n, n)."""
        ids, vectors = self._vectors
        found = np.zeros((len(tag_ids), vectors.shape[1]), np.float32)
        if len(ids):
            rows = np.minimum(np.searchsorted(ids, tag_ids), len(ids) - 1)
            known = ids[rows] == tag_ids
            found[known] = vectors[rows[known]]
        words = [self._stems(tag, coined) for tag in tag_ids.tolist()]
        return similarity(found, self._unrelated_cosine, words)

    def redundancy(self, keys: Sequence[str]) -> float:
        """Return the mean similarity of the pairs of hashtags; unknown ones are left out."""
        ids = self._index.tag_ids(keys)
        return mean_similarity(self._similarity(np.array(list(ids.values()), dtype=np.int64)))

    def _rules(self, selection: Selection) -> _Rules:
        last = self._last  # another thread may replace it meanwhile
        if last is None or last.selection != selection:
            keys = selection.blocked | set(selection.pinned)
            is_barred: Callable[[str], bool] | None = (lambda key: key in keys) if keys else None
            if selection.platform is not None:
                is_foreign = foreign_to(selection.platform)
                is_barred = lambda key: key in keys or is_foreign(key)  # noqa: E731
            mask = self._mask(is_barred) if is_barred else None
            pinned = self._index.tag_ids(selection.pinned)
            last = self._last = _Rules(selection, is_barred, mask, pinned)
        return last

    @cached_property
    def _generic(self) -> NDArray[np.bool_]:
        return self._mask(generic_keys().__contains__)

    def _mask(self, test: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Return which hashtags pass a test of their keys, by id."""
        mask = np.zeros(self._index.hashtag_count, np.bool_)
        mask[[tag for tag, key in self._keys.items() if test(key)]] = True
        return mask

    @cached_property
    def _keys(self) -> dict[int, str]:
        """Keys of all hashtags by id."""
        return dict(self._index.store.rows("select tag_id, key from hashtags"))

    def _stems(self, tag: int, coined: Sequence[str]) -> frozenset[str]:
        if tag >= self._index.hashtag_count:
            return stems(self._index.words_inside([coined[tag - self._index.hashtag_count]]))
        if tag not in self._words:
            self._words[tag] = stems(self._index.words_inside([self._keys[tag]]))
        return self._words[tag]

    @cached_property
    def _vectors(self) -> tuple[Ids, Floats]:
        """Ids, ascending, of the offered hashtags that have a vector, and those vectors."""
        found = self._index.hashtag_index(ALL_TOPICS)
        if found is None:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
        ids = found.ids[self._index.offered[found.ids]]
        return ids, found.reconstruct(ids)

    @cached_property
    def _unrelated_cosine(self) -> float:
        return unrelated_cosine(self._vectors[1])
