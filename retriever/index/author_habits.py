"""What the person usually tags whose post is asked about.

A ranker that learned from many people's posts knows what anybody would tag. Where an author of an
index asks, named or since all of its posts are theirs, that person's own say more: each chance is
taken for a prior that is worth some posts, and corrected by those (the mean of a Beta posterior;
Gelman et al., "Bayesian Data Analysis", 2013, 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from hashlens.indexer.storage.count_matrices import Counts
from hashlens.indexer.types import Floats, Ids
from hashlens.indexer.vectors.search import isin_sorted

PRIOR = 5.0  # posts that a ranker's chance is worth
MOST = 5.0  # posts that a person's are worth at most: half the say stays with what is asked
USUAL = 100  # hashtags that are candidates of every question


@dataclass(frozen=True, eq=False)
class Habits:
    """The hashtags of one person's posts.

    `tags` int64 (h,): ascending ids; `uses` int64 (h,): how many of the `posts` have each.
    """

    tags: Ids
    uses: Ids
    posts: int

    @classmethod
    def of(cls, counts: Counts, posts: Ids) -> Self | None:
        """Those that n posts tell, by key int64 (n,); None where these have no hashtags."""
        _, tags, _ = counts.post_tags.rows(posts)
        uses = np.bincount(tags, minlength=1)
        if not uses.any():
            return None
        tags = np.flatnonzero(uses)
        return cls(tags, uses[tags], len(posts))

    @cached_property
    def usual(self) -> Ids:
        """The ids of the most used, ascending."""
        return np.sort(self.tags[np.argsort(-self.uses, kind="stable")[:USUAL]])

    def corrected(self, tags: Ids, chances: Floats) -> tuple[Floats, Floats]:
        """Chances of c hashtags as this person's posts have it, and what share of each is theirs.

        Args:
            tags: int64 (c,).
            chances: float32 (c,).

        Returns:
            Two of float32 (c,).
        """
        used = np.zeros(len(tags), np.float32)
        rows = np.flatnonzero(isin_sorted(tags, self.tags))
        used[rows] = self.uses[np.searchsorted(self.tags, tags[rows])] / self.posts
        say = min(self.posts, MOST)
        both = PRIOR * chances + say * used
        shares = say * used / np.maximum(both, 1e-9)
        return (both / (PRIOR + say)).astype(np.float32), shares.astype(np.float32)

    def uses_of(self, tag: int) -> int:
        """How many of the posts have a hashtag, by its id."""
        return int(self.uses[self.tags == tag].sum())
