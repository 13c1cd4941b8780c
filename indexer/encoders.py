"""Pictures into unit vectors, by networks pretrained on ImageNet.

`resnet50`: He et al., Deep residual learning for image recognition, 2016.
`efficientnet-lite0`: Tan and Le, EfficientNet, 2019, in its variant for small devices.
torch is imported inside functions, so that naming encoders never waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ConfigError, EncoderError, ImageError
from indexer.images import cropped, open_image
from indexer.networks import DRAFT, LITE0, RECIPES, RESNET50, Recipe, filled, sha256, usual_file
from indexer.schema import Embeddings, Floats, Ids

if TYPE_CHECKING:
    from torch import Tensor, nn

AUTO = "auto"

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_Pixels = NDArray[np.uint8]  # (crop, crop, 3)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImages:
    """What became of a list of pictures.

    `rows` int64 (n,): places in the list that could be encoded, rising; `vectors` float32 (n, d):
    their unit vectors; `failures`: place and reason of each of the others, rising.
    """

    rows: Ids
    vectors: Floats
    failures: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        checked = Embeddings(self.rows, self.vectors)
        object.__setattr__(self, "rows", checked.ids)
        object.__setattr__(self, "vectors", checked.vectors)


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """An encoder that can be named: vectors' width, and whether its weights are `at_hand`.

    `where` is the file of its weights, there or to come.
    """

    name: str
    width: int
    at_hand: bool
    where: str


@dataclass(frozen=True, slots=True, eq=False)
class ImageEncoder:
    """A frozen network that turns pictures into unit vectors; `module` ends at its features.

    `module` takes float32 (b, 3, crop, crop) from `prepared` and gives float32 (b, width).
    """

    recipe: Recipe
    module: nn.Module
    weights_sha256: str

    @property
    def name(self) -> str:
        """The name that opens this encoder."""
        return self.recipe.name

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        return self.recipe.width

    @property
    def preprocessing(self) -> str:
        """What is done to a picture before the network sees it, in one line."""
        return self.recipe.preprocessing

    def encode(
        self,
        paths: Sequence[Path],
        *,
        batch_size: int = 2,
        workers: int = 2,
        on_progress: Callable[[int], None] | None = None,
    ) -> EncodedImages:
        """Encode picture files; one that fails is reported and the others go on.

        Args:
            paths: n files.
            batch_size: pictures the network takes at once; more of them leave a core's cache,
                and were slower. No vector depends on it.
            workers: threads, each of which decodes a batch and runs the network on one core.
            on_progress: told, batch by batch, how many more pictures are done or have failed.

        Raises:
            ConfigError: `batch_size` or `workers` is below 1.
        """
        if batch_size < 1 or workers < 1:
            raise ConfigError(
                f"found batches of {batch_size} and {workers} workers, expected at least 1"
            )
        starts = range(0, len(paths), batch_size)
        batches = (paths[start : start + batch_size] for start in starts)
        rows, vectors = [np.empty(0, np.int64)], [np.empty((0, self.width), np.float32)]
        failures: list[tuple[int, str]] = []
        with closing(_mapped(self._encode_batch, batches, workers)) as done:
            for start, batch in zip(starts, done, strict=True):
                rows.append(start + batch.rows)
                vectors.append(batch.vectors)
                failures += [(start + row, reason) for row, reason in batch.failures]
                if on_progress:
                    on_progress(len(batch.rows) + len(batch.failures))
        return EncodedImages(np.concatenate(rows), np.concatenate(vectors), tuple(failures))

    def pixels(self, path: Path) -> _Pixels:
        """The part of a picture that the network sees, uint8 (crop, crop, 3).

        Raises:
            ImageError: the file is no picture that can be used.
        """
        recipe = self.recipe
        picture = open_image(path, side=DRAFT * recipe.shorter)
        seen = cropped(picture, shorter=recipe.shorter, crop=recipe.crop, bicubic=recipe.bicubic)
        return np.asarray(seen)

    def prepared(self, pixels: Sequence[_Pixels]) -> Tensor:
        """What `pixels` gave for b pictures as the network's float32 (b, 3, crop, crop)."""
        import torch

        # Seen through `permute`, colours stay innermost in memory, which torch computes faster.
        stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.recipe.mean, self.recipe.std))
        return (stacked - mean) / std

    def _encode_batch(self, paths: Sequence[Path]) -> EncodedImages:
        import torch

        seen: dict[int, _Pixels] = {}
        failures: list[tuple[int, str]] = []
        for row, path in enumerate(paths):
            try:
                seen[row] = self.pixels(path)
            except ImageError as error:
                failures.append((row, str(error)))
        vectors = np.empty((0, self.width), np.float32)
        if seen:
            with torch.inference_mode():
                features = self.module(self.prepared(list(seen.values())))
                vectors = torch.nn.functional.normalize(features).numpy()
        return EncodedImages(np.array(list(seen), np.int64), vectors, tuple(failures))


def _mapped(
    work: Callable[[_Item], _Made], items: Iterable[_Item], workers: int
) -> Generator[_Made]:
    """What `work` makes of each item, in order, never more than `2 * workers` ahead."""
    waiting: deque[Future[_Made]] = deque()
    pool = ThreadPoolExecutor(workers, "encode", initializer=_keep_to_one_core)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _keep_to_one_core() -> None:
    """Let torch use one core in the calling thread, and what it was set to in all others.

    Workers side by side need no barriers; threads inside one operation meet at each of them, and
    were ten times slower on busy cores.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # torch sets a new thread's count on first use, so before ours
    threadpool_limits(1, user_api="openmp")


def open_encoder(name: str = AUTO, weights: Path | None = None) -> ImageEncoder:
    """An encoder, ready to encode.

    Args:
        name: `efficientnet-lite0`, `resnet50`, or `auto`: ResNet50 where torch's cache has its
            weights, else EfficientNet-Lite0.
        weights: a state dict of that network, saved by torch or as .safetensors, in place of the
            usual file; its classifier is not looked at.

    Raises:
        EncoderError: the name is unknown, or the weights cannot be had or are of another model.
    """
    recipe = _recipe(name, weights)
    file = weights or usual_file(recipe)
    digest = sha256(file)
    prefix = file.stem.rpartition("-")[2]
    if weights is None and not digest.startswith(prefix):
        raise EncoderError(
            f"{file}: damaged, found sha256 {digest}, expected {prefix}...; delete it to have it "
            "fetched again, or name another with --weights FILE"
        )
    return ImageEncoder(recipe, filled(recipe, file), digest)


def encoder_infos() -> tuple[EncoderInfo, ...]:
    """The encoders that can be named; looks for their weights without loading torch."""
    found = ((recipe, recipe.file()) for recipe in RECIPES.values())
    return tuple(EncoderInfo(r.name, r.width, file.is_file(), str(file)) for r, file in found)


def _recipe(name: str, weights: Path | None) -> Recipe:
    if name in RECIPES:
        return RECIPES[name]
    known = ", ".join([AUTO, *RECIPES])
    if name != AUTO:
        close = get_close_matches(name.lower(), [AUTO, *RECIPES], 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise EncoderError(f"found encoder {name!r}, expected one of {known}{hint}")
    if weights:
        raise EncoderError(
            f"found weights {weights} for encoder auto, expected the name of their encoder: "
            f"give one of {', '.join(RECIPES)} with --encoder"
        )
    return RESNET50 if RESNET50.file().is_file() else LITE0
