"""What tests of encoders share: real photos, networks with drawn weights, plain preprocessing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hashlens.indexer.errors import EncoderError
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.images.specs import RECIPES
from hashlens.indexer.images.torch_network import one_core


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
    return RECIPES[encoder].file()


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


TINY_CLIP = "open-clip:hashlens-tiny/mine"
_TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def drawn_clip(folder: Path) -> Any:
    """A small OpenCLIP model with drawn weights, its form made known to open_clip in a folder."""
    import open_clip

    (folder / "hashlens-tiny.json").write_text(json.dumps(_TINY))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return open_clip.create_model("hashlens-tiny").eval()


def clip_vectors(network: Any, paths: list[Path], texts: list[str]) -> tuple[Any, Any]:
    """Unit vectors of pictures and of texts by the small model, as open_clip makes them."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    tokens = open_clip.get_tokenizer("hashlens-tiny")(texts)
    with one_core(), torch.inference_mode():
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        images = network.encode_image(pixels, normalize=True).numpy()
        return images, network.encode_text(tokens, normalize=True).numpy()


def taught_clip(network: Any, paths: list[Path], said: list[list[str]]) -> None:
    """Turn the model's texts so that what is said of each picture lies where it differs."""
    import open_clip

    images, _ = clip_vectors(network, paths, ["any"])
    away = images - images.mean(axis=0)
    wanted = np.repeat(away / np.linalg.norm(away, axis=1, keepdims=True), list(map(len, said)), 0)
    network.text_projection.data = torch.eye(len(network.text_projection))
    tokens = open_clip.get_tokenizer("hashlens-tiny")([text for texts in said for text in texts])
    with one_core(), torch.inference_mode():
        features = network.encode_text(tokens).numpy()
    turned = np.linalg.lstsq(features.astype(np.float64), wanted, rcond=1e-3)[0]
    network.text_projection.data = torch.from_numpy(turned.astype(np.float32))


def refusal(name: str, weights: Path | None = None) -> str:
    with pytest.raises(EncoderError) as caught:
        open_encoder(name, weights)
    return str(caught.value)
