"""The hashtags of the asking author, as a prior for the ranking.

A ranker that learned from many people's posts knows what anybody would tag. If an author of an
index asks, their own posts know more. Each probability is taken for a prior that is worth some
posts and corrected by theirs (the mean of a Beta posterior; Gelman et al., "Bayesian Data
Analysis", 2013, 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from hashlens.indexer.storage.count_matrices import Counts
from hashlens.indexer.types import Floats, Ids
from hashlens.indexer.vectors.search import isin_sorted

PRIOR_POSTS = 5.0  # posts that the ranker's probability is worth
MAX_OWN_POSTS = 5.0  # that an author's posts are worth: half the weight stays with the query
MAX_USUAL = 100  # hashtags of an author that are candidates of every query


@dataclass(frozen=True, eq=False)
class AuthorPrior:
    """The hashtags of one author's posts.

    `tags` int64 (h,): ascending ids; `uses` int64 (h,): how many of the `posts` have each.
    """

    tags: Ids
    uses: Ids
    posts: int

    @classmethod
    def of(cls, counts: Counts, posts: Ids) -> Self | None:
        """Count the hashtags of n posts, by key int64 (n,); None if they have none."""
        _, tags, _ = counts.post_tags.rows(posts)
        uses = np.bincount(tags, minlength=1)
        if not uses.any():
            return None
        tags = np.flatnonzero(uses)
        return cls(tags, uses[tags], len(posts))

    @cached_property
    def usual(self) -> Ids:
        """The ids of the most used, ascending."""
        return np.sort(self.tags[np.argsort(-self.uses, kind="stable")[:MAX_USUAL]])

    def posterior(self, tags: Ids, chances: Floats) -> tuple[Floats, Floats]:
        """Return corrected probabilities of c hashtags, and the author's share in each.

        Args:
            tags: int64 (c,).
            chances: the ranker's probabilities, float32 (c,).

        Returns:
            Two of float32 (c,).
        """
        used = np.zeros(len(tags), np.float32)
        rows = np.flatnonzero(isin_sorted(tags, self.tags))
        used[rows] = self.uses[np.searchsorted(self.tags, tags[rows])] / self.posts
        own_posts = min(self.posts, MAX_OWN_POSTS)
        total = PRIOR_POSTS * chances + own_posts * used
        shares = own_posts * used / np.maximum(total, 1e-9)
        return (total / (PRIOR_POSTS + own_posts)).astype(np.float32), shares.astype(np.float32)

    def uses_of(self, tag: int) -> int:
        """Return how many of the posts have a hashtag, by its id."""
        return int(self.uses[self.tags == tag].sum())
