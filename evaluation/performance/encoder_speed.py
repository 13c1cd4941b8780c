"""How fast pictures become vectors here, beside ONNX Runtime alone and a plain PyTorch loop."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hashlens.indexer.errors import InputError
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder

ROUNDS = 3
_READY = 64  # pictures held as ready tensors
_LOOPED = 8  # pictures in a round of the loop, which is slow


def encoder_speed(
    paths: Sequence[Path], name: str = "efficientnet-lite0", *, workers: int = 2
) -> dict[str, Any]:
    """Images a second by three ways in turn, `ROUNDS` times, as medians; vectors are compared.

    Args:
        paths: readable pictures, a few hundred for a steady figure.
        name: an encoder whose pictures are resized by their shorter side.
        workers: threads of the pipeline and of ONNX Runtime.

    Returns:
        JSON values: `pipeline` from files to vectors; of ONNX Runtime alone on tensors in memory
        `ready_session`, one session on all cores, and `ready_threads`, a thread for each core;
        `torch_loop` the plain loop, picture by picture, with PyTorch's own threads, and
        `torch_loop_one_core` without, which is faster where cores are busy; `ratios` of the
        pipeline to these, by round; `apart`, most that vectors of the loop and the pipeline
        differ; and `peak_mib` of this process, PyTorch included.

    Raises:
        InputError: a picture cannot be read.
        EncoderError: the encoder cannot be opened.
    """
    encoder, plain = open_encoder(name), open_encoder(name, reference=True)
    encoded = encoder.encode(paths, workers=workers)
    if encoded.failures:
        raise InputError(f"{encoded.failures[0][1]}: expected readable pictures alone")
    ready = np.stack([encoder.pixels(path) for path in paths[:_READY]])
    few = paths[:_LOOPED]
    ways: dict[str, Callable[[], float]] = {
        "pipeline": lambda: _rate(lambda: encoder.encode(paths, workers=workers), len(paths)),
        "ready_session": lambda: _rate(lambda: _in_session(encoder, ready, workers), len(ready)),
        "ready_threads": lambda: _rate(lambda: _in_threads(encoder, ready, workers), len(ready)),
        "torch_loop": lambda: _rate(lambda: _loop(plain, few), len(few)),
        "torch_loop_one_core": lambda: _rate(lambda: _loop_on_one_core(plain, few), len(few)),
    }
    rounds = [{way: rate() for way, rate in ways.items()} for _ in range(ROUNDS)]
    others = [way for way in ways if way != "pipeline"]
    return {
        "encoder": name,
        "pictures": len(paths),
        **{way: median(each[way] for each in rounds) for way in ways},
        "ratios": {w: [round(each["pipeline"] / each[w], 3) for each in rounds] for w in others},
        "apart": float(np.abs(_loop(plain, few) - encoded.vectors[: len(few)]).max()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def one_picture_ms(path: Path, name: str = "efficientnet-lite0", times: int = 9) -> float:
    """Median milliseconds from a file to its vector, once the encoder is warm.

    Raises:
        EncoderError: the encoder cannot be opened.
    """
    encoder = open_encoder(name)
    encoder.encode([path])
    return 1000 * median(1 / _rate(lambda: encoder.encode([path]), 1) for _ in range(times))


def _rate(work: Callable[[], object], pictures: int) -> float:
    began = time.perf_counter()
    work()
    return pictures / (time.perf_counter() - began)


def _in_session(encoder: ImageEncoder, ready: np.ndarray, workers: int) -> None:
    for start in range(0, len(ready), 8):
        encoder.network.run(ready[start : start + 8], workers)


def _in_threads(encoder: ImageEncoder, ready: np.ndarray, workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(encoder.network.run, np.split(ready, range(2, len(ready), 2))))


def _loop_on_one_core(plain: ImageEncoder, paths: Sequence[Path]) -> np.ndarray:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):
        return _loop(plain, paths)


def _loop(plain: ImageEncoder, paths: Sequence[Path]) -> np.ndarray:
    """Unit vectors by the code that anyone would write first."""
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
