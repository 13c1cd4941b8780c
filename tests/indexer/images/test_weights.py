"""Files of weights: which are read, and which are refused with what words."""

import hashlib
import os
import pickle
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from hashlens.indexer.errors import EncoderError
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.images.specs import RESNET50, fetch_by_torch, torch_cache
from hashlens.indexer.images.torch_network import one_core
from hashlens.indexer.images.weights import weights_file
from tests.support.encoder_fixtures import PHOTOS, drawn_resnet50, refusal, unit


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of exports for this file alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return drawn_resnet50()


@pytest.fixture(scope="module")
def resnet_file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(network.state_dict(), path)
    return path


def test_resnet50_is_torchvisions(network: nn.Module, resnet_file: Path):
    from torchvision.models import ResNet50_Weights
    from torchvision.models.feature_extraction import create_feature_extractor

    paths = [PHOTOS["chelsea"], PHOTOS["coffee"], PHOTOS["astronaut"]]
    transform = ResNet50_Weights.IMAGENET1K_V2.transforms()
    with one_core(), torch.inference_mode():
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        found = create_feature_extractor(network, ["flatten", "fc"])(pixels)
    for reference in (True, False):
        encoder = open_encoder("resnet50", resnet_file, reference=reference)
        encoded = encoder.encode(paths, classes=True)
        assert (encoder.width, encoded.vectors.shape) == (2048, (3, 2048))
        assert np.abs(encoded.vectors - unit(found["flatten"])).max() < 1e-4
        assert encoded.classes is not None
        assert np.abs(encoded.classes - found["fc"].softmax(1).numpy()).max() < 1e-4
        assert encoder.weights_sha256 == hashlib.sha256(resnet_file.read_bytes()).hexdigest()


def test_safetensors_and_any_classifier(network: nn.Module, resnet_file: Path, tmp_path: Path):
    kept = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    save_file(kept, tmp_path / "headless.safetensors")
    torch.save(kept | {"fc.weight": torch.ones(10, 2048)}, tmp_path / "ten.pth")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in kept.items()}},
        tmp_path / "run.pth",
    )
    opened = partial(open_encoder, "resnet50", reference=True)
    expected = opened(resnet_file).encode([PHOTOS["chelsea"]]).vectors
    for name in ("headless.safetensors", "ten.pth", "run.pth"):
        encoder = opened(tmp_path / name)
        found = encoder.encode([PHOTOS["chelsea"]], classes=True)
        assert not encoder.has_classes
        assert found.classes is None
        assert np.array_equal(found.vectors, expected)


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


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch cache, and a network that refuses every connection at once."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "torch" / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"


def test_resnet50_without_a_network_says_where_weights_go(away: Path):
    message = refusal("resnet50")
    assert message.startswith("resnet50: found no weights, and https://download.pytorch.org/")
    assert f"put that file at {away}, or name it with --weights FILE" in message
    assert not away.exists()


class Served(BaseHTTPRequestHandler):
    """Answers every request with the same bytes."""

    content = b"weights that were changed on their way"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_corrupt_download_is_refused_and_a_whole_one_kept(away: Path):
    digest = hashlib.sha256(Served.content).hexdigest()
    with HTTPServer(("127.0.0.1", 0), Served) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/w.pth"
        served = replace(RESNET50, source=url, fetch=partial(fetch_by_torch, url))
        with pytest.raises(EncoderError, match=r"cannot be fetched .*invalid hash value"):
            weights_file(served)
        assert list(away.parent.iterdir()) == []
        whole = away.with_name(f"resnet50-{digest[:8]}.pth")
        assert weights_file(replace(served, file=lambda: whole)) == whole
        server.shutdown()
    assert whole.read_bytes() == Served.content
    whole.write_bytes(b"damaged later")
    with pytest.raises(EncoderError, match=f"expected {digest[:8]}.*delete it to have it fetched"):
        weights_file(replace(served, file=lambda: whole))


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
    assert torch_cache() == Path(torch.hub.get_dir()) / "checkpoints"
