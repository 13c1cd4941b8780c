"""What tests of encoders share: real photos, networks with drawn weights, plain preprocessing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from indexer.available import encoder_infos
from indexer.encoders import open_encoder
from indexer.errors import EncoderError


def photos() -> dict[str, Path]:
    """Photos that packages carry, by name."""
    import skimage.data
    import sklearn.datasets

    shown = Path(skimage.data.__file__).parent
    learned = Path(sklearn.datasets.__file__).parent / "images"
    paths = [shown / "chelsea.png", shown / "coffee.png", shown / "rocket.jpg"]
    paths += [shown / "astronaut.png", learned / "flower.jpg", learned / "china.jpg"]
    return {path.stem: path for path in paths}


PHOTOS = photos()


def weights_file(encoder: str) -> Path:
    (found,) = (info for info in encoder_infos() if info.name == encoder)
    return Path(found.where)


def unit(features: Any) -> Any:
    return nn.functional.normalize(features).numpy()


def plain_transform(shorter: int, mean: Any, std: Any, cubic: bool, crop: int = 224) -> Any:
    """torchvision's own steps."""
    from torchvision import transforms as t

    mode = t.InterpolationMode.BICUBIC if cubic else t.InterpolationMode.BILINEAR
    return t.Compose(
        [t.Resize(shorter, mode), t.CenterCrop(crop), t.ToTensor(), t.Normalize(mean, std)]
    )


def drawn_resnet50() -> nn.Module:
    """A ResNet50 with drawn weights, batch normalisation included."""
    from torchvision.models import resnet50

    with torch.random.fork_rng():
        torch.manual_seed(7)
        made: nn.Module = resnet50()
        for norm in (m for m in made.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.data.uniform_(0.5, 1.0)
            norm.bias.data.normal_(0, 0.1)
            norm.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.8, 1.2)  # type: ignore[union-attr]
    return made.eval()


def refusal(name: str, weights: Path | None = None) -> str:
    with pytest.raises(EncoderError) as caught:
        open_encoder(name, weights)
    return str(caught.value)
