"""Candidates of all channels into one score: weighted reciprocal rank fusion (Cormack 2009)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.schema import Candidates, Floats

# Set on one author split of real posts, and to be replaced by learned weights.
WEIGHTS = {
    "image neighbours": 3.0,
    "caption neighbours": 1.0,
    "caption vectors": 0.3,
    "seed vectors": 0.5,
    "co-occurrence": 6.0,
    "word counts": 2.0,
    "spelled": 2.0,
    "topic": 0.1,
}
# A picture alone says its topic better than its hashtags: posts that look alike tell little.
TOPIC_OF_PICTURE_ALONE = 4.0
TEXTUAL = {"caption neighbours", "caption vectors", "seed vectors", "co-occurrence", "word counts"}
# The paper's 60 lets many weak rankings outvote the one that knows; few places suit five hashtags.
DAMPING = 5


def fuse(candidates: Candidates) -> tuple[Floats, Floats]:
    """Fuse the channels' rankings of one query.

    Returns:
        Scores float32 (c,) in [0, 1], where 1 is first place in every channel that spoke; they
        order candidates but are not calibrated. And shares float32 (c, h) of each channel in a
        candidate's score; rows sum to 1.
    """
    if not len(candidates.tag_ids):
        return np.zeros(0, np.float32), np.zeros(candidates.scores.shape, np.float32)
    spoke = ~np.isnan(candidates.scores)
    falling = -np.where(spoke, candidates.scores, -np.inf)
    # Equal scores share a place, so that no order among them is invented.
    places = np.stack([np.searchsorted(np.sort(column), column) for column in falling.T], axis=1)
    weights = _weights(candidates.channels, spoke)
    gains = np.where(spoke, weights / (DAMPING + 1 + places), 0)
    best = weights[spoke.any(axis=0)].sum() / (DAMPING + 1)
    totals = gains.sum(axis=1)
    shares = gains / totals[:, None]
    return (totals / best).astype(np.float32), shares.astype(np.float32)


def _weights(channels: tuple[str, ...], spoke: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weight of each channel, float64 (h,), given for which candidates (c, h) they spoke."""
    weights = {name: WEIGHTS.get(name, 1.0) for name in channels}
    speaking = {name for name, said in zip(channels, spoke.T, strict=True) if said.any()}
    if "image neighbours" in speaking and not speaking & TEXTUAL:
        weights["topic"] = TOPIC_OF_PICTURE_ALONE
    return np.array(list(weights.values()))
