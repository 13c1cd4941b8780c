"""OpenCLIP's models, named `open-clip:MODEL/PRETRAINED`: images and texts in one space.

Radford et al., Learning transferable visual models from natural language supervision, 2021;
Cherti et al., Reproducible scaling laws for contrastive language-image learning, 2023.
What open_clip knows of a model is kept as a card in the user's cache, for to import it is to
import PyTorch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashlens.indexer.errors import EncoderError
from hashlens.indexer.images.file_cache import cached, whole_files
from hashlens.indexer.images.specs import Recipe
from hashlens.indexer.images.torch_network import load_weights
from hashlens.indexer.libraries import require_libraries
from hashlens.indexer.types import Floats

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hashlens.indexer.images.specs import State

PREFIX = "open-clip:"
FORM = f"{PREFIX}MODEL/PRETRAINED"
EXAMPLE = f"{PREFIX}ViT-B-32/laion2b_s34b_b79k"
_EXAMPLE_CARD: dict[str, Any] = {
    "name": EXAMPLE,
    "width": 512,
    "size": 224,
    "squash": False,
    "bicubic": True,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "source": "hf.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/",
}
_VERSION = 1  # of the cards
_UNREAD = frozenset({"logit_scale", "logit_bias"})  # for training; vectors do not use them
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TEXTS_AT_ONCE = 128
_LIBRARIES = ("torch", "torchvision", "open_clip", "huggingface_hub", "onnx")


def open_clip_recipe(name: str, weights: Path | None = None) -> Recipe:
    """Return the recipe of a model by its full name; with `weights`, PRETRAINED may be unknown.

    Raises:
        EncoderError: open_clip does not know the model or its weights, or feeds it otherwise
            than we can.
    """
    # open_clip takes `local-dir:` and `hf-hub:` for a model: an index from elsewhere may name one.
    if not all(_model(name)) or ":" in name.removeprefix(PREFIX):
        raise EncoderError(f"found encoder {name!r}, expected {FORM}, such as {EXAMPLE}")
    if name == EXAMPLE:
        return _recipe(name, _EXAMPLE_CARD)
    key = f"{_VERSION}\n{name}\n{'given' if weights else 'known'}"
    file = cached("json", name, key, partial(_write_card, name, weights))
    return _recipe(name, json.loads(file.read_bytes()))


def check_open_clip(name: str) -> None:
    """Check that the libraries of a model are installed.

    Raises:
        SetupError: one is missing.
    """
    require_libraries(_LIBRARIES, f"encoder {name} needs", "torch")


def _model(name: str) -> tuple[str, str]:
    """Return MODEL and PRETRAINED of a full name."""
    model, _, pretrained = name.removeprefix(PREFIX).partition("/")
    return model, pretrained


def known_recipes() -> list[Recipe]:
    """Return models that were used on this machine, and an example."""
    cards = {EXAMPLE: _EXAMPLE_CARD}
    for file in whole_files("json", "open-clip"):
        card = json.loads(file.read_bytes())
        if card["source"]:
            cards[card["name"]] = card
    return [_recipe(name, card) for name, card in sorted(cards.items())]


def text_vectors(recipe: Recipe, file: Path, digest: str, texts: Sequence[str]) -> Floats:
    """Return unit vectors float32 (n, width) of n texts, in the space of pictures.

    Raises:
        EncoderError: the weights in `file`, whose sha256 is `digest`, are of another model.
        SetupError: a library that reads texts is missing.
    """
    recipe.check_libraries()
    import torch

    network, tokenize = _text_model(recipe, file, digest)
    vectors = [np.empty((0, recipe.width), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            tokens = tokenize(list(texts[start : start + _TEXTS_AT_ONCE]))
            vectors.append(_encode_tokens(network, tokens).numpy())
    return np.concatenate(vectors)


def _encode_tokens(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return unit vectors (n, width) of tokens (n, length).

    If tokens depend on earlier ones alone, and the last one of a text represents it, the padding
    after the longest text is cut: hashtags are encoded several times faster.
    """
    from torch.func import functional_call

    network: Any = model
    found: Tensor
    if getattr(network, "text_pool_type", "") != "argmax" or network.attn_mask is None:
        found = network.encode_text(tokens, normalize=True)
        return found
    length = int(tokens.argmax(dim=1).max()) + 1
    cut = {
        "positional_embedding": network.positional_embedding[:length],
        "attn_mask": network.attn_mask[:length, :length],
    }
    _, found, *_ = functional_call(network, cut, (None, tokens[:, :length]))
    return found


@lru_cache(maxsize=1)
def _text_model(recipe: Recipe, file: Path, _digest: str) -> tuple[Any, Any]:
    import open_clip

    return load_weights(recipe, file), open_clip.get_tokenizer(_model(recipe.name)[0])


def _write_card(name: str, weights: Path | None, file: Path) -> None:
    """Write what open_clip knows of a model and its preprocessing."""
    check_open_clip(name)
    import open_clip

    model, pretrained = _model(name)
    config = open_clip.get_model_config(model)
    if config is None:
        close = get_close_matches(model, open_clip.list_models(), 3)
        hint = f"; near it are {', '.join(close)}" if close else ""
        raise EncoderError(f"found open_clip model {model!r}, expected one that it knows{hint}")
    known = open_clip.get_pretrained_cfg(model, pretrained)
    if not known and not weights:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise EncoderError(
            f"found {pretrained!r} as weights of open_clip model {model}, expected one of those it "
            f"knows ({tags}): name one, or a file with --weights FILE"
        )
    file.write_text(json.dumps(model_card(name, config, known)), encoding="utf-8")


def model_card(name: str, config: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return the card of a model, from open_clip's settings of the model and of its weights.

    Raises:
        EncoderError: it takes pictures in another way than we prepare them.
    """
    from open_clip.transform import PreprocessCfg

    usual, size = PreprocessCfg(), config["vision_cfg"].get("image_size", 224)
    mode = known.get("resize_mode", usual.resize_mode)
    if not isinstance(size, int) or mode == "longest":
        raise EncoderError(
            f"{name}: found pictures of size {size}, resized by their {mode} side, expected "
            f"squares resized by the shortest or squashed: name another model, such as {EXAMPLE}"
        )
    return {
        "name": name,
        "width": config["embed_dim"],
        "size": size,
        "squash": mode == "squash",
        "bicubic": known.get("interpolation", usual.interpolation) != "bilinear",
        "mean": list(known.get("mean", usual.mean)),
        "std": list(known.get("std", usual.std)),
        # `REPOSITORY/` or `REPOSITORY/FILE` on the Hugging Face hub, a URL, or nothing.
        "source": f"hf.co/{known['hf_hub']}" if known.get("hf_hub") else str(known.get("url", "")),
    }


def _recipe(name: str, card: dict[str, Any]) -> Recipe:
    model, pretrained = _model(name)

    def fetch(_: Path) -> None:
        import open_clip

        open_clip.download_pretrained(open_clip.get_pretrained_cfg(model, pretrained))

    return Recipe(
        name=name,
        width=card["width"],
        network=partial(_network, model),
        file=partial(_file, card["source"]),
        source=card["source"],
        fetch=fetch,
        shorter=card["size"],
        crop=card["size"],
        bicubic=card["bicubic"],
        squash=card["squash"],
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
        tower="visual",
        unread=_UNREAD,
        read=_read,
        libraries=_LIBRARIES,
    )


def _network(model: str) -> nn.Module:
    import open_clip

    quiet = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of weights not loaded, which are filled in later
    try:
        network: nn.Module = open_clip.create_model(
            model, load_weights=False, pretrained_image=False, pretrained_text=False
        )
    finally:
        logging.disable(quiet)
    return network


def _read(network: nn.Module, state: State) -> State:
    """Return a state dict of any layout that open_clip reads, in the network's own layout."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(network, state)
    if "positional_embedding" in state and not hasattr(network, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    # These differ in shape between versions, and no vector depends on them.
    return {n: t for n, t in state.items() if n not in _UNREAD}


def _file(source: str) -> Path:
    """Return the file of weights in open_clip's caches, existing or not.

    Raises:
        SetupError: the library that knows the cache of the Hugging Face hub is missing.
    """
    if not source.startswith("hf.co/"):
        return Path("~/.cache/clip").expanduser() / (source.rpartition("/")[2] or "weights")
    require_libraries(["huggingface_hub"], f"the cache of {source} needs", "torch")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    repository, _, file = source.removeprefix("hf.co/").rpartition("/")
    safe = Path(file).with_suffix(".safetensors").name if file else ""
    for name in (safe, file) if file else _HUB_FILES:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / (file or _HUB_FILES[0])
