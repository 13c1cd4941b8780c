"""Encoders: vectors against plain torch, weights that are refused, and what may not be loaded."""

import hashlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from indexer.encoders import (
    EncodedImages,
    ImageEncoder,
    _keep_to_one_core,
    encoder_infos,
    open_encoder,
)
from indexer.errors import ConfigError, EncoderError, ShapeError


@pytest.fixture(scope="module")
def lite0() -> ImageEncoder:
    return open_encoder("efficientnet-lite0")


@pytest.fixture(scope="module")
def photos() -> dict[str, Path]:
    import skimage.data
    import sklearn.datasets

    shown = Path(skimage.data.__file__).parent
    learned = Path(sklearn.datasets.__file__).parent / "images"
    paths = [shown / "chelsea.png", shown / "coffee.png", shown / "rocket.jpg"]
    paths += [shown / "astronaut.png", learned / "flower.jpg", learned / "china.jpg"]
    return {path.stem: path for path in paths}


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch cache, and a network that refuses every connection at once."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "torch" / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"


def weights_file(encoder: str) -> Path:
    (found,) = (info for info in encoder_infos() if info.name == encoder)
    return Path(found.where)


def unit(features: Any) -> Any:
    return nn.functional.normalize(features).numpy()


# ImageNet classes a person would give: any of them.
CLASSES = {
    "chelsea": {281, 282, 283, 284, 285},  # cats
    "coffee": {504, 967, 968},  # coffee mug, espresso, cup
    "rocket": {657, 744, 812},  # missile, projectile, space shuttle
    "flower": {985},  # daisy
    "china": {483, 538, 663, 698, 832},  # castle, dome, monastery, palace, stupa
}


def test_lite0_sees_what_is_in_photos(lite0: ImageEncoder, photos: dict[str, Path]):
    state = torch.load(weights_file("efficientnet-lite0"), weights_only=True)
    for name, classes in CLASSES.items():
        with torch.inference_mode():
            features = lite0.module(lite0.prepared([lite0.pixels(photos[name])]))
        logits = features @ state["_fc.weight"].T + state["_fc.bias"]
        assert int(logits.argmax()) in classes, name


def plain_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights_file("efficientnet-lite0"), weights_only=True))
    network._fc = nn.Identity()
    return network.eval()


def plain_transform(shorter: int, mean: list[float], std: list[float], cubic: bool) -> Any:
    from torchvision import transforms as t

    mode = t.InterpolationMode.BICUBIC if cubic else t.InterpolationMode.BILINEAR
    steps = [t.Resize(shorter, mode), t.CenterCrop(224), t.ToTensor(), t.Normalize(mean, std)]
    return t.Compose(steps)


def test_lite0_is_the_plain_network(lite0: ImageEncoder, photos: dict[str, Path]):
    paths = [photos["chelsea"], photos["coffee"]]  # PNG: decoded whole, whatever the side
    transform = plain_transform(256, [0.5] * 3, [0.5] * 3, True)
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        expected = unit(plain_lite0()(pixels))
    assert np.abs(lite0.encode(paths).vectors - expected).max() < 1e-5


def test_vectors_do_not_depend_on_batches_or_workers(lite0: ImageEncoder, photos: dict[str, Path]):
    paths = [*photos.values(), *reversed(photos.values())]
    one = lite0.encode(paths, batch_size=1, workers=1)
    eight = lite0.encode(paths, batch_size=8, workers=3)
    assert np.abs(one.vectors - eight.vectors).max() < 1e-5
    assert np.abs(np.linalg.norm(eight.vectors, axis=1) - 1).max() < 1e-5
    assert np.abs(eight.vectors - eight.vectors[::-1]).max() < 1e-5  # each photo stands twice
    same = eight.vectors @ eight.vectors.T
    assert same[0, 1:11].max() < 0.9  # and unlike the others


def test_a_large_jpeg_keeps_its_vector(
    lite0: ImageEncoder, photos: dict[str, Path], tmp_path: Path
):
    photo = Image.open(photos["chelsea"]).convert("RGB").resize((2706, 1800))
    for name in ("large.jpg", "large.png"):
        photo.save(tmp_path / name, quality=95, compress_level=1)
    jpeg, png = lite0.encode([tmp_path / "large.jpg", tmp_path / "large.png"]).vectors
    assert jpeg @ png > 0.998


def test_failures_are_told_and_the_rest_goes_on(
    lite0: ImageEncoder, photos: dict[str, Path], tmp_path: Path
):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("hello")
    cat, cup = photos["chelsea"], photos["coffee"]
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


def test_an_interruption_leaves_no_thread(lite0: ImageEncoder, photos: dict[str, Path]):
    def interrupt(_steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lite0.encode([photos["coffee"]] * 20, batch_size=1, on_progress=interrupt)
    assert not [t for t in threading.enumerate() if t.name.startswith("encode")]


def cores_of_a_new_thread(initializer: Callable[[], None] | None = None) -> int:
    with ThreadPoolExecutor(1, initializer=initializer) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_torchs_own_state_stays(photos: dict[str, Path]):
    def state() -> tuple[object, ...]:
        random = torch.get_rng_state().numpy().tobytes()
        cores = torch.get_num_threads(), cores_of_a_new_thread()
        return cores, random, torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    before = state()
    open_encoder("efficientnet-lite0").encode([photos["chelsea"]])
    assert state() == before


def test_a_worker_keeps_to_one_core():
    assert cores_of_a_new_thread(_keep_to_one_core) == 1


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


@pytest.fixture(scope="module")
def network() -> nn.Module:
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


@pytest.fixture(scope="module")
def resnet_file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(network.state_dict(), path)
    return path


def test_resnet50_is_torchvisions(network: nn.Module, resnet_file: Path, photos: dict[str, Path]):
    from torchvision.models import ResNet50_Weights
    from torchvision.models.feature_extraction import create_feature_extractor

    paths = [photos["chelsea"], photos["coffee"], photos["astronaut"]]
    transform = ResNet50_Weights.IMAGENET1K_V2.transforms()
    features = create_feature_extractor(network, ["flatten"])
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        expected = unit(features(pixels)["flatten"])
    encoder = open_encoder("resnet50", resnet_file)
    found = encoder.encode(paths)
    assert (encoder.width, found.vectors.shape) == (2048, (3, 2048))
    assert np.abs(found.vectors - expected).max() < 1e-4
    assert encoder.weights_sha256 == hashlib.sha256(resnet_file.read_bytes()).hexdigest()


def test_safetensors_and_any_classifier(
    network: nn.Module, resnet_file: Path, photos: dict[str, Path], tmp_path: Path
):
    kept = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    save_file(kept, tmp_path / "headless.safetensors")
    torch.save(kept | {"fc.weight": torch.ones(10, 2048)}, tmp_path / "ten.pth")
    expected = open_encoder("resnet50", resnet_file).encode([photos["chelsea"]]).vectors
    for name in ("headless.safetensors", "ten.pth"):
        found = open_encoder("resnet50", tmp_path / name).encode([photos["chelsea"]])
        assert np.array_equal(found.vectors, expected)


def refusal(name: str, weights: Path | None = None) -> str:
    with pytest.raises(EncoderError) as caught:
        open_encoder(name, weights)
    return str(caught.value)


def test_weights_of_another_model_are_refused(tmp_path: Path, resnet_file: Path):
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "r18.pth")
    message = refusal("resnet50", tmp_path / "r18.pth")
    assert message.startswith(f"{tmp_path / 'r18.pth'}: found weights of another model")
    first = "layer1.0.conv1.weight: found (64, 64, 3, 3), expected (64, 64, 1, 1)"
    assert first in message
    assert "expected those of resnet50" in message
    message = refusal("efficientnet-lite0", resnet_file)
    assert "_conv_stem.weight: found none, expected (32, 3, 3, 3)" in message


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_that_hold_code_are_not_run(tmp_path: Path):
    trace = tmp_path / "ran"
    torch.save({"conv1.weight": Code(trace)}, tmp_path / "torch.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Code(trace)))
    for name in ("torch.pth", "plain.pth"):
        message = refusal("resnet50", tmp_path / name)
        assert message.startswith(f"{tmp_path / name}: damaged, or holds more than tensors")
        assert "weights_only" not in message
    assert not trace.exists()


def test_damaged_weights_are_refused(tmp_path: Path, resnet_file: Path):
    content = resnet_file.read_bytes()
    damaged = {"half.pth": content[: len(content) // 2], "empty.pth": b"", "text.pth": b"hello"}
    for name, found in (damaged | {"text.safetensors": b"hello"}).items():
        (tmp_path / name).write_bytes(found)
        assert refusal("resnet50", tmp_path / name).startswith(f"{tmp_path / name}: damaged")
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "run.pth")
    assert "found a dict of other things than tensors" in refusal("resnet50", tmp_path / "run.pth")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    assert "found a list of other things" in refusal("resnet50", tmp_path / "list.pth")


def test_weights_that_are_not_there(tmp_path: Path):
    assert "No such file" in refusal("resnet50", tmp_path / "none.pth")
    assert "Is a directory" in refusal("resnet50", tmp_path)


def test_resnet50_without_a_network_says_where_weights_go(away: Path):
    message = refusal("resnet50")
    assert message.startswith("resnet50: found no weights, and https://download.pytorch.org/")
    assert f"put that file at {away}, or name it with --weights FILE" in message
    assert not away.exists()


def test_auto(away: Path):
    assert open_encoder().name == "efficientnet-lite0"
    away.parent.mkdir(parents=True)
    away.write_bytes(b"cut short")
    digest = hashlib.sha256(b"cut short").hexdigest()
    assert refusal("auto").startswith(f"{away}: damaged, found sha256 {digest}, expected 11ad3fa6")


def test_auto_needs_the_name_of_given_weights(resnet_file: Path):
    assert "expected the name of their encoder" in refusal("auto", resnet_file)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet5", "did you mean resnet50?"),
        ("EfficientNet-Lite0", "did you mean efficientnet-lite0?"),
        ("mobilenet", "expected one of auto, efficientnet-lite0, resnet50"),
    ],
)
def test_unknown_names(name: str, hint: str):
    message = refusal(name)
    assert message.startswith(f"found encoder {name!r}, expected one of auto, ")
    assert message.endswith(hint)


def test_infos(away: Path):
    lite, resnet = encoder_infos()
    assert (lite.name, lite.width, lite.at_hand) == ("efficientnet-lite0", 1280, True)
    assert (resnet.name, resnet.width, resnet.at_hand) == ("resnet50", 2048, False)
    assert resnet.where == str(away)
    away.parent.mkdir(parents=True)
    away.touch()
    assert encoder_infos()[1].at_hand


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"TORCH_HOME": "/a/torch"},
        {"TORCH_HOME": "~/torch"},
        {"XDG_CACHE_HOME": "/b"},
        {"TORCH_HOME": "/a", "XDG_CACHE_HOME": "/b"},
    ],
)
def test_torchs_cache_is_where_torch_has_it(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert weights_file("resnet50").parent == Path(torch.hub.get_dir()) / "checkpoints"


def test_names_do_not_wait_for_torch():
    code = (
        "import sys; from indexer.encoders import encoder_infos; encoder_infos(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
