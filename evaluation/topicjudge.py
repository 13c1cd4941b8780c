"""Judges how well pictures tell their topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import bootstrap_means
from evaluation.metrics import Calibration, calibration
from indexer.config import TopicConfig
from indexer.encoders import open_encoder
from indexer.errors import InputError
from indexer.progress import Progress, Silent
from indexer.schema import Embeddings, Floats, Post
from indexer.topicheads import fit_topics
from indexer.topics import load_topics


def judge_topics(
    train: Sequence[Post], test: Sequence[Post], *, seed: int, progress: Progress | None = None
) -> dict[str, Any]:
    """How well an image topic head, learned from the training pictures, knows the test pictures.

    Only posts with a readable picture and one of the topics that ship are looked at.

    Returns:
        JSON values: `queries`, `accuracy`, its `interval`, `topics` (t names), `confusion`: a row
        for each true topic, a column for each that was said; `calibration` of the probability of
        the topic said, and `encoder`.

    Raises:
        InputError: a part has no such post, or training too few of a topic.
    """
    table, progress = load_topics(), progress or Silent()
    encoder = open_encoder()
    parts = []
    for name, posts in (("training", train), ("test", test)):
        labelled = [post for post in posts if post.image and post.topic in table.names]
        pictures = [post.image for post in labelled if post.image]
        progress.stage(f"Encoding {name} pictures", len(pictures))
        encoded = encoder.encode(pictures, on_progress=progress.advance)
        if not len(encoded.rows):
            raise InputError(
                f"found no readable {name} picture with a topic, expected posts with `image` and "
                f"as `topic` one of {', '.join(table.names)}"
            )
        parts.append(([labelled[row] for row in encoded.rows], encoded.vectors))
    (taught, vectors), (shown, unseen) = parts
    model = fit_topics(
        table,
        tokens=[[] for _ in taught],
        labels=[post.topic for post in taught],
        groups=[post.author for post in taught],
        images=Embeddings(np.arange(len(taught)), vectors),
        config=TopicConfig(seed=seed),
    )
    if not model.sees:
        raise InputError(f"found {len(taught)} pictures with topics, too few to learn topics from")
    true = np.array([table.names.index(str(post.topic)) for post in shown])
    return _topic_row(table.names, true, model.from_images(unseen).probs, seed) | {
        "encoder": encoder.name
    }


def _topic_row(
    names: tuple[str, ...], true: NDArray[np.int64], probs: Floats, seed: int
) -> dict[str, Any]:
    said = probs.argmax(axis=1)
    right = (said == true).astype(np.float64)
    low, high = bootstrap_means(right[:, None], seed)
    confusion = np.bincount(true * len(names) + said, minlength=len(names) ** 2)
    stated = calibration(np.clip(probs.max(axis=1), 0, 1), right)
    return {
        "queries": len(true),
        "accuracy": float(right.mean()),
        "interval": [float(low[0]), float(high[0])],
        "topics": list(names),
        "confusion": confusion.reshape(len(names), -1).tolist(),
        "calibration": calibration_json(stated),
    }


def calibration_json(found: Calibration) -> dict[str, Any]:
    """JSON values of a calibration: `error`, and per bin `predicted`, `observed`, `counts`."""
    bins = (found.predicted.tolist(), found.observed.tolist(), found.counts.tolist())
    return {"error": found.error} | dict(
        zip(("predicted", "observed", "counts"), bins, strict=True)
    )
