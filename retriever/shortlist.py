"""What selection asks of an open index: hashtags barred, generic or pinned, and their likeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from indexer.config import ALL_TOPICS
from indexer.schema import Floats, Ids
from retriever.blocklist import generic
from retriever.likeness import likeness, redundancy, stems, unrelated_cosine
from retriever.platforms import foreign_to
from retriever.reading import IndexReader
from retriever.selection import Choices, Selection, choose, tier


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """A selection in the terms of one index: `barred` bool (tags,), ids of pinned hashtags."""

    selection: Selection
    barred: NDArray[np.bool_] | None
    pinned: dict[str, int]


class Shortlist:
    """Chooses what is shown of an index's candidates; what is slow to know is read once."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._last: _Rules | None = None
        self._words: dict[int, frozenset[str]] = {}

    def choose(self, tag_ids: Ids, probabilities: Floats, selection: Selection) -> Ids:
        """Places of the candidates shown beside the pinned ones, best first; see `selection`.

        Args:
            tag_ids: int64 (c,).
            probabilities: float32 (c,).
            selection: what is wanted.
        """
        rules, index = self._rules(selection), self._index
        pinned = list(rules.pinned.values())
        unknown = len(selection.pinned) - len(pinned)
        posts = [*index.tag_posts[pinned].tolist(), *[0] * unknown]
        choices = Choices(
            tag_ids,
            probabilities,
            index.tag_posts[tag_ids],
            barred=None if rules.barred is None else rules.barred[tag_ids],
            generic=self._generic[tag_ids] if selection.generic else None,
            pinned=tuple(pinned),
            pinned_tiers=tuple(tier(number, index.tier_floors) for number in posts),
        )
        return choose(choices, selection, index.tier_floors, self.likeness)

    def pinned(self, selection: Selection) -> dict[str, int]:
        """Ids of those pinned hashtags that the index knows, by key."""
        return self._rules(selection).pinned

    def likeness(self, tag_ids: Ids) -> Floats:
        """Likeness of n hashtags in [0, 1], float32 (n, n)."""
        ids, vectors = self._vectors
        found = np.zeros((len(tag_ids), vectors.shape[1]), np.float32)
        if len(ids):
            rows = np.minimum(np.searchsorted(ids, tag_ids), len(ids) - 1)
            known = ids[rows] == tag_ids
            found[known] = vectors[rows[known]]
        return likeness(found, self._unrelated, [self._stems(tag) for tag in tag_ids.tolist()])

    def redundancy(self, keys: Sequence[str]) -> float:
        """Mean likeness of the pairs of a list of hashtags; those the index lacks are left out."""
        ids = self._index.tag_ids(keys)
        return redundancy(self.likeness(np.array(list(ids.values()), dtype=np.int64)))

    def _rules(self, selection: Selection) -> _Rules:
        if self._last is None or self._last.selection != selection:
            pinned = self._index.tag_ids(selection.pinned)
            self._last = _Rules(selection, self._barred(selection), pinned)
        return self._last

    def _barred(self, selection: Selection) -> NDArray[np.bool_] | None:
        keys = {*selection.blocked, *selection.pinned}
        if not keys and selection.platform is None:
            return None
        if selection.platform is not None:
            offered = map(self._keys.__getitem__, np.flatnonzero(self._index.offered).tolist())
            keys.update(filter(foreign_to(selection.platform), offered))
        return self._mask(keys)

    @cached_property
    def _generic(self) -> NDArray[np.bool_]:
        return self._mask(generic())

    def _mask(self, keys: set[str] | frozenset[str]) -> NDArray[np.bool_]:
        """Which hashtags, by id, are among these keys."""
        mask = np.zeros(len(self._index.tag_posts), np.bool_)
        mask[[tag for tag, key in self._keys.items() if key in keys]] = True
        return mask

    @cached_property
    def _keys(self) -> dict[int, str]:
        """Keys of all hashtags by id."""
        return dict(self._index.store.rows("select tag_id, key from hashtags"))

    def _stems(self, tag: int) -> frozenset[str]:
        if tag not in self._words:
            self._words[tag] = stems(self._index.words_inside([self._keys[tag]]))
        return self._words[tag]

    @cached_property
    def _vectors(self) -> tuple[Ids, Floats]:
        """Ids, ascending, of the offered hashtags that have a vector, and those vectors."""
        found = self._index.hashtags(ALL_TOPICS)
        if found is None:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
        ids = found.ids[self._index.offered[found.ids]]
        return ids, found.reconstruct(ids)

    @cached_property
    def _unrelated(self) -> float:
        return unrelated_cosine(self._vectors[1])
