"""The known encoders, whether their weights are on this machine, and their speed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hashlens.indexer.decoding.pixels import save_jpeg
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.images.open_clip import known_recipes
from hashlens.indexer.images.specs import RECIPES, Recipe

COLUMNS = ("name", "width", "weights here", "where", "images/s")
_PICTURES = 16  # different ones that are encoded again and again


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """A known encoder: the width of its vectors, and whether its weights are `at_hand`.

    `where` is the file of its weights or of its export that ships, their source, or the extra that
    it needs. `images_per_second` is the speed from files to vectors, None if not measured.
    """

    name: str
    width: int
    at_hand: bool
    where: str
    images_per_second: float | None = None


def encoder_infos(*, measure: bool = False) -> tuple[EncoderInfo, ...]:
    """Return the known encoders, without loading PyTorch.

    Args:
        measure: whether to measure the speed of those at hand, seconds each.

    Raises:
        EncoderError: weights at hand cannot be used.
    """
    infos = []
    for recipe in (*RECIPES.values(), *known_recipes()):
        at_hand, where = _find_network(recipe)
        infos.append(EncoderInfo(recipe.name, recipe.width, at_hand, where))
    if measure:
        infos = [
            replace(info, images_per_second=images_per_second(info.name)) if info.at_hand else info
            for info in infos
        ]
    return tuple(infos)


def _find_network(recipe: Recipe) -> tuple[bool, str]:
    """Return whether an encoder can be used here, and where it is or what it needs."""
    if recipe.shipped:
        return True, str(recipe.shipped.file)
    if not recipe.has_libraries:
        return False, f"needs hashlens[{recipe.extra}]"
    file = recipe.file()
    return (True, str(file)) if file.is_file() else (False, recipe.source)


def images_per_second(name: str, *, workers: int = 2, seconds: float = 2.0) -> float:
    """Return the number of pictures of 640 x 480 pixels per second, from JPEG files to vectors.

    Raises:
        EncoderError: the encoder cannot be opened.
    """
    encoder = open_encoder(name)
    with tempfile.TemporaryDirectory() as folder:
        paths = _noise_pictures(Path(folder))
        encoder.encode(paths, workers=workers)
        began, done = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            done += len(encoder.encode(paths, workers=workers).rows)
    return done / spent


def _noise_pictures(folder: Path) -> list[Path]:
    """Write pictures with patches and grain, which compress like photos; return their files."""
    draws, paths = np.random.default_rng(0), []
    for number in range(_PICTURES):
        patches = draws.integers(0, 256, (15, 20, 3)).repeat(32, axis=0).repeat(32, axis=1)
        grain = draws.normal(0, 6, (480, 640, 1))
        paths.append(folder / f"{number}.jpg")
        save_jpeg((patches + grain).clip(0, 255).astype(np.uint8), paths[-1])
    return paths


def encoder_row(info: EncoderInfo) -> tuple[str, ...]:
    """Return an encoder as a row of a table with the columns `COLUMNS`."""
    speed = "" if info.images_per_second is None else f"{info.images_per_second:.0f}"
    return info.name, f"{info.width}", "yes" if info.at_hand else "no", info.where, speed
