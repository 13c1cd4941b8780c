"""Candidates of all channels into one score: reciprocal rank fusion (Cormack et al. 2009)."""

from __future__ import annotations

import numpy as np

from indexer.schema import Candidates, Floats

# Exact evidence speaks louder than likeness, and likeness than what the whole topic likes.
WEIGHTS = {"spelled": 2.0, "co-occurrence": 2.0, "word counts": 1.5, "topic": 0.5}
DAMPING = 60  # the paper's k: how slowly a place further down loses weight


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
    gains = np.where(spoke, 1 / (DAMPING + 1 + places), 0)
    best = spoke.any(axis=0).sum() / (DAMPING + 1)
    totals = gains.sum(axis=1)
    shares = gains / totals[:, None]
    return (totals / best).astype(np.float32), shares.astype(np.float32)
