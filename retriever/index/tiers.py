"""Tiers of hashtags, by their number of posts in this index: broad, medium or niche."""

from __future__ import annotations

import numpy as np

from hashlens.indexer.types import Ids

# Shares of the offered hashtags, by number of posts: the top 1 % are broad, the next 9 % medium.
TIERS = ((0.99, "broad"), (0.90, "medium"), (0.0, "niche"))


def tier_floors(posts: Ids) -> dict[str, float]:
    """Return the fewest posts of each tier, from the posts of all offered hashtags."""
    if not len(posts):
        return {name: 0.0 for _, name in TIERS}
    return {name: float(np.quantile(posts, share)) for share, name in TIERS}


def tier_of(posts: int, floors: dict[str, float]) -> str:
    """Return the tier of a hashtag in this index (not on any platform)."""
    return next((name for name, floor in floors.items() if posts >= floor), "niche")
