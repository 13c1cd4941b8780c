"""Exports for ONNX Runtime: kept whole, made anew where damaged, and used without PyTorch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.cache import cache_folder, cached, whole_files
from indexer.encoders import open_encoder
from indexer.errors import EncoderError
from indexer.exports import AGREEMENT
from tests.drawn import PHOTOS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds Lite0's export."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHLENS_CACHE", str(folder))
        open_encoder("efficientnet-lite0")
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
    found = open_encoder("efficientnet-lite0").encode([PHOTOS["coffee"]]).vectors
    wanted = open_encoder("efficientnet-lite0", reference=True).encode([PHOTOS["coffee"]]).vectors
    assert np.abs(found - wanted).max() < AGREEMENT
    (file,) = (tmp_path / "copy" / "onnx").iterdir()
    assert file.read_bytes() != content


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
from indexer.encoders import open_encoder
name, image = sys.argv[1:3]
weights = Path(sys.argv[3]) if sys.argv[3:] else None
vectors = open_encoder(name, weights).encode([Path(image)]).vectors
slow = ("torch", "torchvision", "open_clip", "onnx", "huggingface_hub", "efficientnet_lite_pytorch")
print(json.dumps([[n for n in slow if n in sys.modules], vectors[0].tolist()]))
"""


def test_a_picture_never_waits_for_torch_once_there_is_an_export(exported: Path):
    photo = PHOTOS["chelsea"]
    loaded, vector = json.loads(run(ENCODE, exported, "efficientnet-lite0", str(photo)))
    assert loaded == []
    wanted = open_encoder("efficientnet-lite0", reference=True).encode([photo]).vectors[0]
    assert np.abs(np.array(vector) - wanted).max() < AGREEMENT


def test_names_do_not_wait_for_torch(exported: Path):
    program = (
        "import sys; from indexer.available import encoder_infos; encoder_infos(); "
        "print(*[n for n in ('torch', 'torchvision', 'PIL', 'onnxruntime') if n in sys.modules])"
    )
    assert run(program, exported).split() == []
