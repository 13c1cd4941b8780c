"""Cross-validation of text and image heads: folds, held-out logits, temperature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Floats, Ids

MIN_TOPIC_POSTS = 5  # labelled posts that a head needs of a topic
FOLDS = 3
MIN_HELD_OUT = 30  # posts that a temperature needs

Fit = Callable[[NDArray[np.int64]], tuple[Floats, Floats]]
Logits = Callable[[tuple[Floats, Floats], NDArray[np.int64]], Floats]


def assign_folds(groups: Sequence[str | None], seed: int) -> Ids:
    """Return the fold of each post, int64 (n,): posts of one author share a fold."""
    names = [group if group is not None else f"\0{row}" for row, group in enumerate(groups)]
    _, numbers = np.unique(names, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(numbers.max(initial=0)) + 1)
    folds: Ids = (order % FOLDS)[numbers].astype(np.int64)
    return folds


def trainable_topics(topics: Ids) -> list[int]:
    """Return the topics with enough posts, none if it is one alone: a head needs two."""
    counts = Counter(topics.tolist())
    found = [
        topic for topic, count in sorted(counts.items()) if topic >= 0 and count >= MIN_TOPIC_POSTS
    ]
    return found if len(found) > 1 else []


def cross_validate(fit: Fit, logits: Logits, topics: Ids, folds: Ids) -> tuple[Floats, Ids]:
    """Return logits (m, t) of heads that were trained without the rows, and the rows int64 (m,)."""
    parts, rows = [np.zeros((0, 1), np.float32)], [np.zeros(0, np.int64)]
    for fold in np.unique(folds):
        seen = np.flatnonzero(folds != fold)
        unseen = np.flatnonzero((folds == fold) & np.isin(topics, np.unique(topics[seen])))
        if len(np.unique(topics[seen])) > 1 and len(unseen):
            parts.append(logits(fit(seen), unseen))
            rows.append(unseen)
    parts = parts[1:] or parts
    return np.concatenate(parts), np.concatenate(rows)


def expand_topics(
    weights: NDArray[Any], bias: NDArray[Any], classes: NDArray[np.int64], width: int
) -> tuple[Floats, Floats]:
    """Return a head over all topics from one over some of them."""
    all_weights = np.zeros((width, weights.shape[1]), np.float32)
    all_bias = np.full(width, -np.inf, np.float32)
    all_weights[classes], all_bias[classes] = weights, bias
    return all_weights, all_bias


def log_loss(probs: Floats, truths: Ids) -> float:
    """Return the mean log loss of probabilities (m, t) with true topics (m,) of equal weight."""
    balance = 1 / np.bincount(truths)[truths]
    of_truth = np.maximum(probs[np.arange(len(truths)), truths], 1e-9)
    return float(balance @ -np.log(of_truth) / balance.sum())


def fit_temperature(logits: Floats, truths: Ids) -> float | None:
    """Return the divisor of logits with the best probabilities, with topics of equal weight.

    Temperature scaling (Guo et al. 2017); None with too few posts.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    if len(truths) < MIN_HELD_OUT:
        return None
    balance = 1 / np.bincount(truths)[truths]
    of_truth = logits[np.arange(len(truths)), truths]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        surprise = logsumexp(logits * scale, axis=1) - of_truth * scale
        return float(balance @ surprise)

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
