"""Softmax and normalization of rows."""

from __future__ import annotations

import numpy as np

from hashlens.indexer.types import Floats


def softmax(logits: Floats) -> Floats:
    """Return rows of logits float32 (n, c) as probabilities."""
    raised: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: Floats = raised / raised.sum(axis=1, keepdims=True)
    return probs


def normalize_rows(rows: Floats) -> Floats:
    """Return rows of float32 (n, d) divided by their lengths."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = rows / np.maximum(lengths, 1e-12).astype(np.float32)
    return scaled
