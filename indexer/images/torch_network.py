"""Networks in PyTorch with loaded weights, which are the reference for exports.

PyTorch is imported inside functions: once a network is exported, no picture waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.images.specs import Recipe
from hashlens.indexer.images.weights import check_fit, read_state
from hashlens.indexer.types import Floats

if TYPE_CHECKING:
    from torch import Tensor, nn


IMAGENET_CLASSES = 1000  # of ImageNet

Pixels = NDArray[np.uint8]  # (b, crop, crop, 3), RGB
Outputs = tuple[Floats, Floats | None]  # features (b, width); logits (b, 1000) or None


class Network(Protocol):
    """A network that takes decoded pictures and scales colours itself."""

    @property
    def has_classes(self) -> bool:
        """Whether it has logits of ImageNet's 1,000 classes."""

    def run(self, pixels: Pixels, cores: int = 1) -> Outputs:
        """Return features and logits of b pictures, computed on that many cores."""


@dataclass(frozen=True, slots=True, eq=False)
class TorchNetwork:
    """A network in PyTorch; `module` is from `reference_module`."""

    module: nn.Module
    has_classes: bool

    @classmethod
    def open(cls, recipe: Recipe, file: Path) -> TorchNetwork:
        """Open the network of a recipe with a file's weights.

        Raises:
            EncoderError: the file cannot be read safely, or its weights are of another model.
            SetupError: a library that makes the network is missing.
        """
        recipe.check_libraries()
        module = reference_module(recipe, file)
        return cls(module, module.classifier is not None)

    def run(self, pixels: Pixels, cores: int = 1) -> Outputs:
        """Return features and logits as in `Network`, on one core."""
        import torch

        with one_core(), torch.inference_mode():
            features, *logits = self.module(torch.from_numpy(pixels))
        return features.numpy(), logits[0].numpy() if logits else None


@contextmanager
def one_core() -> Iterator[None]:
    """Let PyTorch use one core in the calling thread, and its setting in all others.

    Threads inside one operation meet at barriers, and were ten times slower on busy cores.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # torch sets a new thread's count on first use, so before ours
    with threadpool_limits(1, user_api="openmp"):
        yield


def reference_module(recipe: Recipe, file: Path) -> nn.Module:
    """Return a module from uint8 (b, crop, crop, 3) to float32 (b, width), and maybe logits.

    Raises:
        EncoderError: the file cannot be read safely, or its weights are of another model.
    """
    import torch
    from torch import nn

    class Reference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            network, self.classifier = load_weights(recipe, file), None
            if recipe.tower:
                network = getattr(network, recipe.tower)
            elif not isinstance(head := getattr(network, recipe.head), nn.Identity):
                self.classifier = head
                setattr(network, recipe.head, nn.Identity())
            self.features = network
            self.mean = nn.Buffer(torch.tensor(recipe.mean).view(3, 1, 1))
            self.std = nn.Buffer(torch.tensor(recipe.std).view(3, 1, 1))

        def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
            scaled = pixels.permute(0, 3, 1, 2).float() / 255
            features = self.features((scaled - self.mean) / self.std)
            return (features, self.classifier(features)) if self.classifier else (features,)

    return Reference().eval().requires_grad_(False)


def load_weights(recipe: Recipe, file: Path) -> nn.Module:
    """Return a network with a file's weights, ready to infer; with its head if the file has it.

    Raises:
        EncoderError: the file cannot be read safely, or its weights are of another model.
    """
    import torch

    state = read_state(file)
    # Drawing weights takes time; a network with a tower may compute some that no file holds.
    place = torch.device("cpu" if recipe.tower else "meta")
    with torch.random.fork_rng(devices=[]), place:  # a caller's own draws stay as they were
        network = recipe.network()
    if recipe.read:
        state = recipe.read(network, state)
    check_fit(network.state_dict(), state, recipe, file)
    if recipe.head:
        head: nn.Module = getattr(network, recipe.head)
        shapes = {f"{recipe.head}.{n}": t.shape for n, t in head.state_dict().items()}
        if any(n not in state or state[n].shape != shape for n, shape in shapes.items()):
            # The file has no classifier, or one of other classes than ImageNet's.
            setattr(network, recipe.head, torch.nn.Identity())
            state = {n: t for n, t in state.items() if n.partition(".")[0] != recipe.head}
    if place.type == "meta":
        network = network.to_empty(device="cpu")
    network.load_state_dict(state, strict=False)
    return network.eval().requires_grad_(False)
