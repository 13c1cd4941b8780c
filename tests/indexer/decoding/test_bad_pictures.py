"""A folder of bad and odd pictures in one batch: each failure is told, and the rest goes on."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashlens.indexer.images.encoder import open_encoder
from tests.support.encoder_fixtures import PHOTOS


def photo() -> Image.Image:
    return Image.open(PHOTOS["chelsea"]).convert("RGB")


def claimed(width: int, height: int) -> bytes:
    """A PNG that says it has a size, and holds next to nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def truncated(path: Path) -> None:
    photo().save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forbidden(path: Path) -> None:
    photo().save(path)
    path.chmod(0)


# How each file is made, and what is said of it.
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated.jpg": (truncated, "truncated"),
    "zero.jpg": (Path.touch, "empty file"),
    "heic.jpg": (lambda p: p.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "HEIC picture"),
    "thin.png": (lambda p: p.write_bytes(claimed(1, 20_000)), "1 x 20000 pixels"),
    "bomb.png": (lambda p: p.write_bytes(claimed(20_000, 10_000)), "200 megapixels"),
    "folder.jpg": (Path.mkdir, "a folder"),
    "forbidden.png": (forbidden, "no permission"),
    "text.png": (lambda p: p.write_text("hello"), "not a picture"),
}


def palette(path: Path) -> None:
    indexed = photo().quantize(256)
    indexed.save(path, transparency=bytes([255] * 256))


def deep(path: Path) -> None:
    grey = np.asarray(photo().convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(path)


def moving(path: Path) -> None:
    photo().save(path, "WEBP", save_all=True, append_images=[Image.new("RGB", photo().size)])


# How each file is made, and how near its vector must be to the plain photo's.
TAKEN: dict[str, tuple[Callable[[Path], object], float]] = {
    "cmyk.jpg": (lambda p: photo().convert("CMYK").save(p, quality=95), 0.95),
    "palette.png": (palette, 0.9),
    "deep.png": (deep, 0.5),  # colours are lost
    "moving.webp": (moving, 0.9),
    "png.jpg": (lambda p: photo().save(p, "PNG"), 0.9999),
    "dot.png": (lambda p: Image.new("RGB", (1, 1), "red").save(p), -1.0),
}


@pytest.fixture
def as_anyone() -> object:
    """Not root, who may read anything."""
    was = os.geteuid()
    yield lambda: os.seteuid(65534 if was == 0 else was)
    os.seteuid(was)


def test_a_batch_goes_on(tmp_path: Path, as_anyone: Callable[[], None]):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("test_", "popen-", "pytest-")):  # pytest's own
            folder.chmod(0o755)
    names = [name for pair in zip(REFUSED, [*TAKEN, "", ""], strict=True) for name in pair if name]
    for name in names:
        (REFUSED | TAKEN)[name][0](tmp_path / name)
    encoder = open_encoder("efficientnet-lite0")
    plain = encoder.encode([PHOTOS["chelsea"]] * 2, batch_size=1).vectors[0]
    as_anyone()
    found = encoder.encode([tmp_path / name for name in names], batch_size=3)
    failed = {names[row]: reason for row, reason in found.failures}
    assert set(failed) == set(REFUSED)
    for name, reason in failed.items():
        assert reason.startswith(f"{tmp_path / name}: ")
        assert REFUSED[name][1] in reason
    near = dict(zip([names[row] for row in found.rows], found.vectors @ plain, strict=True))
    assert set(near) == set(TAKEN)
    assert {name for name, least in TAKEN.items() if near[name] < least[1]} == set()


MEMORY = """
import sys
import time
from pathlib import Path
from threading import Thread
from hashlens.indexer.images.encoder import open_encoder

def held(status):
    try:
        return next(int(l.split()[1]) for l in status.open() if l.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0

def watch():
    while True:
        tasks = Path("/proc/self/task").iterdir()
        pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
        peaks.append(sum(held(Path(f"/proc/{pid}/status")) for pid in ["self", *pids]) // 1024)
        time.sleep(0.01)

peaks = []
encoder = open_encoder("efficientnet-lite0")
Thread(target=watch, daemon=True).start()
found = encoder.encode([Path(sys.argv[1])] * 4, workers=4, batch_size=1)
assert len(found.rows) == 4, found.failures
print(max(peaks))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_large_pictures_do_not_add_up_their_memory(tmp_path: Path):
    large = tmp_path / "large.png"
    Image.new("RGBA", (8000, 6250), (200, 10, 10, 128)).save(large, compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(large)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1000  # MiB, of all processes; four at once would take 1,700
