"""OpenCLIP: a small model of our own, its pictures and texts against open_clip's, and names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from hashlens.indexer.decoding.pixels import crop_image
from hashlens.indexer.images.catalog import encoder_infos
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.images.imagenet import class_titles
from hashlens.indexer.images.open_clip import EXAMPLE, model_card, open_clip_recipe
from tests.indexer.images.test_onnx_network import ENCODE, run
from tests.support.encoder_fixtures import (
    PHOTOS,
    TINY_CLIP,
    clip_vectors,
    drawn_clip,
    drawn_resnet50,
    refusal,
)

NAME = TINY_CLIP
PNGS = [PHOTOS["chelsea"], PHOTOS["coffee"], PHOTOS["astronaut"]]  # decoded whole
TEXTS = ["a cat", "a cup of coffee", "a person in an orange suit"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHLENS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def network(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return drawn_clip(tmp_path_factory.mktemp("configs"))


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(network.state_dict(), path)
    return path


def test_pictures_and_texts_are_open_clips(network: Any, weights: Path):
    images, texts = clip_vectors(network, PNGS, TEXTS)
    for reference in (True, False):
        encoder = open_encoder(NAME, weights, reference=reference)
        found = encoder.encode(PNGS, classes=True)
        assert (encoder.name, encoder.width, encoder.has_classes) == (NAME, 32, False)
        assert found.classes is None
        assert np.abs(found.vectors - images).max() < 1e-4
        assert encoder.reads_text
        assert np.abs(encoder.encode_texts(TEXTS) - texts).max() < 1e-4
        assert encoder.encode_texts([]).shape == (0, 32)


def test_a_picture_does_not_wait_for_open_clip(cache: Path, weights: Path):
    wanted = open_encoder(NAME, weights).encode(PNGS[:1]).vectors[0]
    loaded, vector = json.loads(run(ENCODE, cache, NAME, str(PNGS[0]), str(weights)))
    assert loaded == []
    assert np.abs(np.array(vector) - wanted).max() < 1e-5


def test_weights_of_another_model_are_refused(network: Any, weights: Path, tmp_path: Path):
    torch.save(drawn_resnet50().state_dict(), tmp_path / "resnet.pth")
    message = refusal(NAME, tmp_path / "resnet.pth")
    assert message.startswith(f"{tmp_path / 'resnet.pth'}: found weights of another model")
    assert f"expected those of {NAME}" in message
    message = refusal("resnet50", weights)
    assert "found weights of another model" in message
    wide = network.state_dict() | {"visual.proj": torch.ones(64, 48)}
    torch.save(wide, tmp_path / "wide.pth")
    message = refusal(NAME, tmp_path / "wide.pth")
    assert "visual.proj: found (64, 48), expected (64, 32)" in message


def test_names_that_open_clip_does_not_know(cache: Path):
    assert "expected open-clip:MODEL/PRETRAINED" in refusal("open-clip:ViT-B-32")
    assert "near it are ViT-B-32" in refusal("open-clip:ViT-B32/openai")
    message = refusal("open-clip:ViT-B-32/mine")
    assert "found 'mine' as weights of open_clip model ViT-B-32" in message
    assert "openai" in message
    assert list((cache / "json").glob("*ViT*")) == []


def test_the_first_example_is_as_open_clip_has_it():
    tag = EXAMPLE.partition("/")[2]
    known = open_clip.get_pretrained_cfg("ViT-B-32", tag)
    card = model_card(EXAMPLE, open_clip.get_model_config("ViT-B-32"), known)
    recipe = open_clip_recipe(EXAMPLE)
    assert (recipe.width, recipe.crop, recipe.bicubic) == (card["width"], card["size"], True)
    assert (list(recipe.mean), list(recipe.std)) == (card["mean"], card["std"])
    assert recipe.source == card["source"]


def test_models_that_were_named_are_listed_and_found_in_the_hubs_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = "open-clip:ViT-B-16-SigLIP/webli"
    recipe = open_clip_recipe(name)
    assert recipe.squash
    assert "both sides 224" in recipe.preprocessing
    found = {info.name: info for info in encoder_infos()}[name]
    assert (found.width, found.at_hand) == (768, False)
    assert found.where == "hf.co/timm/ViT-B-16-SigLIP/"
    hub = tmp_path / "models--timm--ViT-B-16-SigLIP"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    (hub / "snapshots" / "abc").mkdir(parents=True)
    file = hub / "snapshots" / "abc" / "open_clip_model.safetensors"
    file.touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = {info.name: info for info in encoder_infos()}[name]
    assert (found.at_hand, found.where) == (True, str(file))


def test_squashed_pictures_are_open_clips():
    transform = image_transform_v2(PreprocessCfg(size=64, resize_mode="squash"), is_train=False)
    steps = transform.transforms[:2]  # to size, and cut
    picture = Image.open(PHOTOS["chelsea"]).convert("RGB")
    expected = picture
    for step in steps:
        expected = step(expected)
    found = crop_image(picture, shorter=64, crop=64, bicubic=True, squash=True)
    assert np.array_equal(np.asarray(found), np.asarray(expected)[:64, :64])


def test_the_bundled_class_names_are_those_of_open_clip() -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    assert class_titles() == list(IMAGENET_CLASSNAMES)
