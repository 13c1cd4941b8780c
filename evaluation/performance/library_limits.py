"""The least time that each stage of a build could take: the library under it, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hashlens.evaluation.methods.feature_learning import post_terms
from hashlens.evaluation.performance.encoder_speed import measure_encoder
from hashlens.evaluation.performance.isolated import measure_seconds
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.training import train
from hashlens.indexer.types import Embeddings, Post
from hashlens.indexer.vectors.index import VectorIndex

MAX_PICTURES = 256  # enough for a stable figure
MIN_PICTURES = 64  # with fewer, encoding is not measured
WINDOW = 5  # words on each side, as in a build


def measure_limits(posts: Path, pictures: Sequence[Path]) -> Json:
    """Return the seconds of hashlens and of the library alone, for each stage.

    Args:
        posts: folder with a `posts.jsonl` and nothing else.
        pictures: real ones, for encoding.
    """
    import faiss
    from gensim.models import Word2Vec

    read: list[Post] = []

    def parse_json() -> None:
        with (posts / "posts.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                json.loads(line)

    limits = {"read": _compare(lambda: read.extend(read_all_posts([posts])), parse_json)}
    texts, config = post_terms(read), BuildConfig().vectors
    words = load_pretrained(config.pretrained)
    limits["train"] = _compare(
        lambda: train(texts, config, pretrained=words, workers=2),
        lambda: Word2Vec(
            texts,
            vector_size=words.dimensions,
            window=WINDOW,
            min_count=config.min_count,
            sg=int(config.skip_gram),
            negative=config.negative,
            epochs=config.epochs,
            workers=2,
            shrink_windows=False,
        ),
    )
    vectors = np.random.default_rng(1).normal(size=(len(read), words.dimensions)).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = Embeddings(np.arange(len(vectors), dtype=np.int64), vectors)
    limits["add"] = _compare(
        lambda: VectorIndex.build(stored),
        lambda: faiss.IndexFlatIP(vectors.shape[1]).add(vectors),
    )
    if len(pictures) >= MIN_PICTURES:
        limits["encode"] = measure_encoder(pictures[:MAX_PICTURES])
    return limits


def _compare(ours: Callable[[], object], limit: Callable[[], object]) -> Json:
    return {"seconds": measure_seconds(ours), "limit": measure_seconds(limit)}
