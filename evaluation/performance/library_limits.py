"""The least that each stage of a build could take: the library under it, doing that and no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.evaluation.performance.encoder_speed import encoder_speed
from hashlens.evaluation.performance.isolated import seconds_of
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space_training import train_space
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Embeddings, Floats, Post
from hashlens.indexer.vectors.index import VectorIndex

PICTURES = 256  # encoded for a steady figure
WINDOW = 5  # words each side, as ours have
FEWEST = 64  # pictures without which encoding is not measured

Figures = dict[str, Any]


def limits(posts: Path, pictures: Sequence[Path]) -> Figures:
    """Seconds of our stages and of their limits, side by side.

    Args:
        posts: folder with a `posts.jsonl` and nothing else.
        pictures: real ones, for encoding.
    """
    file = posts / "posts.jsonl"
    read: list[Post] = []
    found: Figures = {
        "read": _pair(lambda: read.extend(usable([posts], "instagram", [])), lambda: _parsed(file))
    }
    texts = [tokens(post.caption) + [f"#{tag}" for tag in post.hashtags] for post in read]
    config = BuildConfig().vectors
    words = load_pretrained(config.pretrained)
    found["train"] = _pair(
        lambda: train_space(texts, config, pretrained=words, workers=2),
        lambda: _gensim(texts, words.dimensions),
    )
    vectors = np.random.default_rng(1).normal(size=(len(read), words.dimensions)).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found["add"] = _pair(lambda: _added(vectors), lambda: _faiss(vectors))
    if len(pictures) >= FEWEST:
        found["encode"] = encoder_speed(pictures[:PICTURES])
    return found


def _pair(ours: Callable[[], object], limit: Callable[[], object]) -> Figures:
    return {"seconds": seconds_of(ours), "limit": seconds_of(limit)}


def _parsed(file: Path) -> int:
    """JSON alone."""
    with file.open(encoding="utf-8") as lines:
        return sum(len(json.loads(line)) for line in lines)


def _gensim(texts: Sequence[Sequence[str]], width: int) -> object:
    """Word2Vec by gensim on the same texts, as many rounds, from nothing."""
    from gensim.models import Word2Vec

    config = BuildConfig().vectors
    return Word2Vec(
        texts,
        vector_size=width,
        window=WINDOW,
        min_count=config.min_count,
        sg=int(config.skip_gram),
        negative=config.negative,
        epochs=config.epochs,
        workers=2,
        shrink_windows=False,
    )


def _added(vectors: Floats) -> object:
    return VectorIndex.build(Embeddings(np.arange(len(vectors), dtype=np.int64), vectors))


def _faiss(vectors: Floats) -> object:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index
