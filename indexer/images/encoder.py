"""Pictures into unit vectors, by pretrained networks.

ONNX Runtime does the work. EfficientNet-Lite0 ships as an export. PyTorch is the reference, and is
imported only on request, or to export another network for the first time on a machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.disk_rows import RowWriter
from hashlens.indexer.arrays.row_math import normalize_rows, softmax
from hashlens.indexer.decoding import decoder_pool
from hashlens.indexer.errors import (
    ConfigError,
    EncoderError,
    ImageError,
    IndexMismatchError,
    ShapeError,
    UnknownEncoderError,
)
from hashlens.indexer.images.onnx_network import fingerprint, load_or_export, open_shipped
from hashlens.indexer.images.open_clip import (
    FORM,
    PREFIX,
    check_open_clip,
    open_clip_recipe,
    text_vectors,
)
from hashlens.indexer.images.specs import (
    JPEG_DRAFT_FACTOR,
    LITE0,
    RECIPES,
    RESNET50,
    Recipe,
    ShippedExport,
)
from hashlens.indexer.images.torch_network import IMAGENET_CLASSES, Network, TorchNetwork
from hashlens.indexer.images.weights import weights_file, weights_hash
from hashlens.indexer.types import Embeddings, Floats, Ids

AUTO = "auto"

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_Picture = NDArray[np.uint8]  # (crop, crop, 3)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImages:
    """Results of encoding a list of pictures.

    `rows` int64 (n,) are places in the list that could be encoded, ascending, and `vectors`
    float32 (n, d) their unit vectors. `failures` are place and reason of each other picture,
    ascending. `classes` float32 (n, 1000) are probabilities of ImageNet's classes, None if not
    requested or if the network has none. Many vectors and classes are on disk: see `disk_rows`.
    """

    rows: Ids
    vectors: Floats
    failures: tuple[tuple[int, str], ...]
    classes: Floats | None = None

    def __post_init__(self) -> None:
        checked = Embeddings(self.rows, self.vectors)
        object.__setattr__(self, "rows", checked.ids)
        object.__setattr__(self, "vectors", checked.vectors)
        if self.classes is not None:
            if self.classes.shape != (len(self.rows), IMAGENET_CLASSES):
                raise ShapeError(
                    f"EncodedImages.classes: found {self.classes.shape}, expected "
                    f"({len(self.rows)}, {IMAGENET_CLASSES})"
                )
            self.classes.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class ImageEncoder:
    """A frozen network that encodes pictures as unit vectors, and texts if it learned both.

    `weights` is the file of its weights, None for the export that ships.
    """

    recipe: Recipe
    network: Network
    weights: Path | None
    weights_sha256: str

    @property
    def name(self) -> str:
        """The name that opens this encoder."""
        return self.recipe.name

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.recipe.width

    @property
    def preprocessing(self) -> str:
        """Preprocessing of a picture, in one line."""
        return self.recipe.preprocessing

    @property
    def has_classes(self) -> bool:
        """Whether it has probabilities of ImageNet's 1,000 classes."""
        return self.network.has_classes

    @property
    def fingerprint(self) -> str:
        """Fingerprint of its network: see `onnx_network.fingerprint`."""
        return fingerprint(self.network, self.recipe.crop)

    @property
    def reads_text(self) -> bool:
        """Whether `encode_texts` works: texts and pictures share one space.

        Builds then encode topics and hashtags (`topics.prompts`), so that no query needs to.
        """
        return self.name.startswith(PREFIX)

    def encode(
        self,
        paths: Sequence[Path],
        *,
        batch_size: int = 2,
        workers: int = 2,
        classes: bool = False,
        on_progress: Callable[[int], None] | None = None,
        seconds: float = decoder_pool.MAX_WAIT,
    ) -> EncodedImages:
        """Encode picture files; a failure is reported and does not stop the others.

        Args:
            paths: n files.
            batch_size: pictures in one run of the network; larger batches exceed a core's cache
                and were slower. No vector depends on it.
            workers: threads, each of which decodes a batch and runs the network on one core; for a
                single batch the network uses all these cores.
            classes: whether to return the probabilities of ImageNet's classes, too.
            on_progress: called with the number of further pictures that are done or failed.
            seconds: time limit for decoding a picture.

        Raises:
            ConfigError: `batch_size` or `workers` is below 1.
        """
        if batch_size < 1 or workers < 1:
            raise ConfigError(
                f"found batches of {batch_size} and {workers} workers, expected at least 1"
            )
        starts = range(0, len(paths), batch_size)
        batches = ((start, paths[start : start + batch_size]) for start in starts)
        cores = workers if len(starts) == 1 else 1
        decoder_pool.start(min(workers, len(starts)))
        encode = partial(self._encode_batch, classes=classes, cores=cores, seconds=seconds)
        rows = [np.zeros(0, np.int64)]
        failures: list[tuple[int, str]] = []
        vectors, probs = RowWriter(self.width), RowWriter(IMAGENET_CLASSES)
        with closing(map_in_threads(encode, batches, workers)) as done:
            for batch in done:
                rows.append(batch.rows)
                failures += batch.failures
                vectors.add(batch.vectors)
                if batch.classes is not None:
                    probs.add(batch.classes)
                if on_progress:
                    on_progress(len(batch.rows) + len(batch.failures))
        shares = probs.to_array() if classes and self.has_classes else None
        return EncodedImages(np.concatenate(rows), vectors.to_array(), tuple(failures), shares)

    def encode_pixels(
        self, pixels: Sequence[_Picture], *, classes: bool = False, cores: int = 1
    ) -> tuple[Floats, Floats | None]:
        """Return unit vectors float32 (b, width) of b pictures from `pixels`.

        Returns:
            The vectors, and float32 (b, 1000) probabilities of ImageNet's classes or None, as in
            `EncodedImages`. All b pictures are in memory at once.
        """
        if not len(pixels):
            none = (
                np.empty((0, IMAGENET_CLASSES), np.float32)
                if classes and self.has_classes
                else None
            )
            return np.empty((0, self.width), np.float32), none
        features, logits = self.network.run(np.stack(pixels), cores)
        return normalize_rows(features), softmax(logits) if classes and logits is not None else None

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors float32 (n, width) of texts, in the space of pictures.

        Raises:
            EncoderError: this encoder does not read text.
        """
        if not self.reads_text or self.weights is None:
            raise EncoderError(f"{self.name}: encodes pictures alone, expected {FORM} for texts")
        return text_vectors(self.recipe, self.weights, self.weights_sha256, texts)

    def pixels(self, path: Path, seconds: float = decoder_pool.MAX_WAIT) -> _Picture:
        """Return the part of a picture that the network gets, uint8 (crop, crop, 3).

        Args:
            path: its file.
            seconds: time limit for decoding it.

        Raises:
            ImageError: the file is not a usable picture.
        """
        recipe = self.recipe
        return decoder_pool.crop_picture(
            path,
            side=JPEG_DRAFT_FACTOR * recipe.shorter,
            shorter=recipe.shorter,
            crop=recipe.crop,
            bicubic=recipe.bicubic,
            squash=recipe.squash,
            seconds=seconds,
        )

    def _encode_batch(
        self, batch: tuple[int, Sequence[Path]], *, classes: bool, cores: int, seconds: float
    ) -> EncodedImages:
        """Encode pictures that start at a place of a longer list."""
        seen: dict[int, _Picture] = {}
        failures: list[tuple[int, str]] = []
        for row, path in enumerate(batch[1], start=batch[0]):
            try:
                seen[row] = self.pixels(path, seconds)
            except ImageError as error:
                failures.append((row, str(error)))
        vectors, probs = self.encode_pixels(list(seen.values()), classes=classes, cores=cores)
        return EncodedImages(np.array(list(seen), np.int64), vectors, tuple(failures), probs)


def map_in_threads(
    work: Callable[[_Item], _Made], items: Iterable[_Item], workers: int
) -> Generator[_Made]:
    """Yield the result of `work` for each item, in order, at most `2 * workers` ahead."""
    waiting: deque[Future[_Made]] = deque()
    pool = ThreadPoolExecutor(workers, "encode")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def open_encoder(
    name: str = AUTO,
    weights: Path | None = None,
    *,
    reference: bool = False,
    recorded: str | None = None,
    verify: bool = False,
) -> ImageEncoder:
    """Open an encoder.

    Args:
        name: `efficientnet-lite0`, `efficientnet-lite2`, `resnet50`, `open-clip:MODEL/PRETRAINED`
            or `auto`: ResNet50 if PyTorch is installed and its cache has those weights, else
            EfficientNet-Lite0.
        weights: a state dict of that network, saved by torch or as .safetensors, in place of the
            usual file; a classifier of other classes than ImageNet's is left out.
        reference: whether PyTorch runs the network, which is slower; no export is made then.
        recorded: its `fingerprint` if known; a kept export is checked against it.
        verify: whether PyTorch checks a kept export of unknown fingerprint.

    Raises:
        EncoderError: the name is unknown, the weights are missing or of another model, or the
            cache cannot be written.
        SetupError: a library that the encoder needs is missing.
    """
    recipe = _recipe(name, weights)
    if recipe.shipped and not weights and not reference:
        return _open_shipped(recipe, recipe.shipped)
    file = weights or weights_file(recipe)
    return _open_recipe(recipe, file, recorded, reference=reference, verify=verify)


def open_recorded(recorded: Mapping[str, Any], weights: Path | None = None) -> ImageEncoder:
    """Open the encoder that an index's manifest records; nothing is fetched for it.

    Raises:
        EncoderError: as `open_encoder`; or the weights are not on this machine.
        IndexMismatchError: the encoder differs from that of the index.
    """
    recipe = _recipe(str(recorded["name"]), weights)
    if recipe.shipped and not weights:
        _check_recorded(recipe, recipe.shipped.weights_sha256, recorded)
        return _open_shipped(recipe, recipe.shipped)
    file = weights or weights_file(recipe, fetch=False)
    _check_recorded(recipe, weights_hash(file), recorded)
    printed = recorded.get("fingerprint")
    return _open_recipe(recipe, file, printed if isinstance(printed, str) else None)


def _check_recorded(recipe: Recipe, digest: str, recorded: Mapping[str, Any]) -> None:
    for part, value in (("weights_sha256", digest), ("preprocessing", recipe.preprocessing)):
        if value != recorded[part]:
            raise IndexMismatchError(
                f"encoder {recipe.name}: found {part} {value}, the index was "
                f"built with {recorded[part]}; name that file with --weights, or build again"
            )


def _open_shipped(recipe: Recipe, shipped: ShippedExport) -> ImageEncoder:
    return ImageEncoder(recipe, open_shipped(shipped), None, shipped.weights_sha256)


def _open_recipe(
    recipe: Recipe,
    file: Path,
    recorded: str | None,
    *,
    reference: bool = False,
    verify: bool = False,
) -> ImageEncoder:
    digest = weights_hash(file)
    if reference:
        return ImageEncoder(recipe, TorchNetwork.open(recipe, file), file, digest)
    if recipe.shipped and digest == recipe.shipped.weights_sha256:
        return _open_shipped(recipe, recipe.shipped)
    network = load_or_export(recipe, file, digest, recorded, verify=verify)
    return ImageEncoder(recipe, network, file, digest)


def _recipe(name: str, weights: Path | None) -> Recipe:
    if name in RECIPES:
        return RECIPES[name]
    if name.startswith(PREFIX):
        return open_clip_recipe(name, weights)
    check_name(name)
    if weights:
        raise EncoderError(
            f"found weights {weights} for encoder auto, expected the name of their encoder: "
            f"give one of {', '.join([*RECIPES, FORM])} with --encoder"
        )
    return RESNET50 if RESNET50.has_libraries and RESNET50.file().is_file() else LITE0


def check_installed(name: str, weights: Path | None = None) -> None:
    """Check that the libraries that an encoder may need are installed, before work that needs it.

    Raises:
        EncoderError: the weights cannot be read.
        SetupError: a library is missing.
    """
    recipe = RECIPES.get(name)
    if name.startswith(PREFIX):
        check_open_clip(name)
    elif recipe:
        shipped = recipe.shipped
        if not shipped or (weights and weights_hash(weights) != shipped.weights_sha256):
            recipe.check_libraries()


def check_name(name: str) -> None:
    """Check an encoder's name; only OpenCLIP itself knows its models.

    Raises:
        EncoderError: there is no such encoder.
    """
    if name not in (AUTO, *RECIPES) and not name.startswith(PREFIX):
        close = get_close_matches(name.lower(), [AUTO, *RECIPES, PREFIX], 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        known = ", ".join([AUTO, *RECIPES, FORM])
        raise UnknownEncoderError(f"found encoder {name!r}, expected one of {known}{hint}")
