"""What selection asks of an open index: hashtags barred, generic or pinned, and their likeness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.blocklist import generic
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.index.tiers import tier
from hashlens.retriever.selection.platforms import foreign_to
from hashlens.retriever.selection.selection import Choices, Selection, choose
from hashlens.retriever.selection.similarity import likeness, redundancy, stems, unrelated_cosine


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """A selection in the terms of one index.

    `bars` tells of a key whether it is barred, `barred` bool (tags,) of an id; None where none is.
    `pinned` are the ids of pinned hashtags.
    """

    selection: Selection
    bars: Callable[[str], bool] | None
    barred: NDArray[np.bool_] | None
    pinned: dict[str, int]


class Shortlist:
    """Chooses what is shown of an index's candidates; what is slow to know is read once."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._last: _Rules | None = None
        self._words: dict[int, frozenset[str]] = {}

    def choose(
        self,
        tag_ids: Ids,
        probabilities: Floats,
        selection: Selection,
        coined: Sequence[str] = (),
        has: int = 0,
    ) -> Ids:
        """Places of the candidates shown beside the pinned ones, best first; see `selection`.

        Args:
            tag_ids: int64 (c,).
            probabilities: float32 (c,).
            selection: what is wanted.
            coined: keys of hashtags that the index does not hold; their ids follow its own.
            has: number of hashtags that the post already has, where the platform counts them.
        """
        rules, index = self._rules(selection), self._index
        pinned = list(rules.pinned.values())
        unknown = len(selection.pinned) - len(pinned)
        posts = [*index.tag_posts[pinned].tolist(), *[0] * unknown]
        choices = Choices(
            tag_ids,
            probabilities,
            index.posts_of(tag_ids),
            barred=self._barred_of(rules, tag_ids, coined),
            generic=self._taken(self._generic, tag_ids) if selection.generic else None,
            pinned=tuple(pinned),
            pinned_tiers=tuple(tier(number, index.tier_floors) for number in posts),
        )
        return choose(
            choices,
            selection,
            index.tier_floors,
            lambda ids: self.likeness(ids, coined),
            has,
        )

    def _barred_of(
        self, rules: _Rules, tag_ids: Ids, coined: Sequence[str]
    ) -> NDArray[np.bool_] | None:
        if rules.barred is None or rules.bars is None:
            return None
        barred = self._taken(rules.barred, tag_ids)
        fresh = np.flatnonzero(tag_ids >= self._index.tags)
        barred[fresh] = [rules.bars(coined[tag_ids[n] - self._index.tags]) for n in fresh]
        return barred

    def _taken(self, mask: NDArray[np.bool_], tag_ids: Ids) -> NDArray[np.bool_]:
        """Of each hashtag what a mask of the index's says; False for coined ones."""
        known = tag_ids < self._index.tags
        taken: NDArray[np.bool_] = known & mask[np.where(known, tag_ids, 0)]
        return taken

    def pinned(self, selection: Selection) -> dict[str, int]:
        """Ids of those pinned hashtags that the index knows, by key."""
        return self._rules(selection).pinned

    def likeness(self, tag_ids: Ids, coined: Sequence[str] = ()) -> Floats:
        """Likeness of n hashtags in [0, 1], float32 (n, n); `coined` as in `choose`."""
        ids, vectors = self._vectors
        found = np.zeros((len(tag_ids), vectors.shape[1]), np.float32)
        if len(ids):
            rows = np.minimum(np.searchsorted(ids, tag_ids), len(ids) - 1)
            known = ids[rows] == tag_ids
            found[known] = vectors[rows[known]]
        words = [self._stems(tag, coined) for tag in tag_ids.tolist()]
        return likeness(found, self._unrelated, words)

    def redundancy(self, keys: Sequence[str]) -> float:
        """Mean likeness of the pairs of a list of hashtags; those the index lacks are left out."""
        ids = self._index.tag_ids(keys)
        return redundancy(self.likeness(np.array(list(ids.values()), dtype=np.int64)))

    def _rules(self, selection: Selection) -> _Rules:
        last = self._last  # another thread may ask for other ones meanwhile
        if last is None or last.selection != selection:
            pinned = self._index.tag_ids(selection.pinned)
            bars = _bars(selection)
            last = _Rules(selection, bars, self._mask(bars) if bars else None, pinned)
            self._last = last
        return last

    @cached_property
    def _generic(self) -> NDArray[np.bool_]:
        return self._mask(generic().__contains__)

    def _mask(self, told: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Of which hashtags, by id, something is told."""
        mask = np.zeros(self._index.tags, np.bool_)
        mask[[tag for tag, key in self._keys.items() if told(key)]] = True
        return mask

    @cached_property
    def _keys(self) -> dict[int, str]:
        """Keys of all hashtags by id."""
        return dict(self._index.store.rows("select tag_id, key from hashtags"))

    def _stems(self, tag: int, coined: Sequence[str]) -> frozenset[str]:
        if tag >= self._index.tags:
            return stems(self._index.words_inside([coined[tag - self._index.tags]]))
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


def _bars(selection: Selection) -> Callable[[str], bool] | None:
    """Whether a selection bars a hashtag, by its key; None where it bars none."""
    keys = selection.blocked | set(selection.pinned)
    if selection.platform is None:
        return keys.__contains__ if keys else None
    foreign = foreign_to(selection.platform)
    return lambda key: key in keys or foreign(key)
