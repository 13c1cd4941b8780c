"""The least time that each stage of a build could take: the library under it, and no more."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from hashlens.evaluation.methods.feature_learning import post_terms
from hashlens.evaluation.performance.isolated import measure_seconds
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space_training import train_space
from hashlens.indexer.errors import InputError
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder
from hashlens.indexer.types import Embeddings, Post
from hashlens.indexer.vectors.index import VectorIndex

MAX_PICTURES = 256  # enough for a stable figure
MIN_PICTURES = 64  # with fewer, encoding is not measured
WINDOW = 5  # words on each side, as in a build
ROUNDS = 3  # in which encoding is measured
_READY_PICTURES = 64  # kept in memory as tensors
_LOOP_PICTURES = 8  # of a round of the plain loop, which is slow


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
        lambda: train_space(texts, config, pretrained=words, workers=2),
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


def measure_encoder(
    paths: Sequence[Path], name: str = "efficientnet-lite0", *, workers: int = 2
) -> Json:
    """Return images a second by four methods, medians of `ROUNDS` turns, and compare vectors.

    Args:
        paths: readable pictures, a few hundred for stable figures.
        name: an encoder that resizes pictures by their shorter side.
        workers: threads of the pipeline and of ONNX Runtime.

    Returns:
        JSON values: `pipeline` from files to vectors; ONNX Runtime alone on tensors in memory, as
        `ready_session` (one session on all cores) and `ready_threads` (one thread a core);
        `torch_loop`, the plain loop with PyTorch's own threads, and `torch_loop_one_core` with one,
        which is faster if cores are busy; `ratios` of the pipeline to these by round; `apart`, the
        largest difference between vectors of the loop and the pipeline; `peak_mib` of this process
        with PyTorch.

    Raises:
        InputError: a picture cannot be read.
        EncoderError: the encoder cannot be opened.
    """
    from threadpoolctl import threadpool_limits

    encoder, plain = open_encoder(name), open_encoder(name, reference=True)
    encoded = encoder.encode(paths, workers=workers)
    if encoded.failures:
        raise InputError(f"{encoded.failures[0][1]}: expected readable pictures alone")
    ready = np.stack([encoder.pixels(path) for path in paths[:_READY_PICTURES]])
    few = paths[:_LOOP_PICTURES]

    def run_session() -> None:
        for start in range(0, len(ready), 8):
            encoder.network.run(ready[start : start + 8], workers)

    def run_threads() -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(encoder.network.run, np.split(ready, range(2, len(ready), 2))))

    def loop_on_one_core() -> None:
        with threadpool_limits(1, user_api="openmp"):
            _loop_in_torch(plain, few)

    methods: dict[str, tuple[Callable[[], object], int]] = {
        "pipeline": (lambda: encoder.encode(paths, workers=workers), len(paths)),
        "ready_session": (run_session, len(ready)),
        "ready_threads": (run_threads, len(ready)),
        "torch_loop": (lambda: _loop_in_torch(plain, few), len(few)),
        "torch_loop_one_core": (loop_on_one_core, len(few)),
    }
    rounds = [
        {method: count / measure_seconds(work) for method, (work, count) in methods.items()}
        for _ in range(ROUNDS)
    ]
    others = [method for method in methods if method != "pipeline"]
    return {
        "encoder": name,
        "pictures": len(paths),
        **{method: median(each[method] for each in rounds) for method in methods},
        "ratios": {m: [round(each["pipeline"] / each[m], 3) for each in rounds] for m in others},
        "apart": float(np.abs(_loop_in_torch(plain, few) - encoded.vectors[: len(few)]).max()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _loop_in_torch(plain: ImageEncoder, paths: Sequence[Path]) -> np.ndarray:
    """Return unit vectors by a plain PyTorch loop, picture by picture."""
    import torch
    from PIL import Image
    from torchvision import transforms as t

    recipe = plain.recipe
    module = plain.network.module  # type: ignore[attr-defined] # only PyTorch's networks have one
    mode = t.InterpolationMode.BICUBIC if recipe.bicubic else t.InterpolationMode.BILINEAR
    transform = t.Compose(
        [
            t.Resize(recipe.shorter, mode),
            t.CenterCrop(recipe.crop),
            t.ToTensor(),
            t.Normalize(recipe.mean, recipe.std),
        ]
    )
    vectors = []
    with torch.inference_mode():
        for path in paths:
            pixels = transform(Image.open(path).convert("RGB"))
            vectors.append(torch.nn.functional.normalize(module.features(pixels[None])))
    return np.concatenate([vector.numpy() for vector in vectors])
