"""Decoding in other processes: the same pixels, bounded time and memory, nothing left behind."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashlens.indexer.decoding import decoder_pool as decoders
from hashlens.indexer.decoding.loading import open_image
from hashlens.indexer.decoding.pixels import crop_image
from hashlens.indexer.errors import ImageError
from tests.support.encoder_fixtures import PHOTOS

ROOT = Path(__file__).parents[3]
CUT: dict[str, Any] = {"shorter": 256, "crop": 224, "bicubic": True, "squash": False}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No process from before, none left."""
    decoders.stop()
    yield
    decoders.stop()


def children() -> set[int]:
    """Processes of this one."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def waited_for(done: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    return done()


def interlaced(path: Path, side: int = 12_200) -> Path:
    """Write an interlaced PNG of under a megabyte that takes a second or more to decode."""
    packing, rows = zlib.compressobj(9), []
    # Adam7: the first column and row of each pass, and its steps.
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    for left, top, across, down in (*passes, (0, 1, 1, 2)):
        width, height = -((left - side) // across), -((top - side) // down)
        paeth = b"\4" + b"\1" * (3 * width)
        rows += [packing.compress(paeth) for _ in range(height)]
    rows.append(packing.flush())
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", head), (b"IDAT", b"".join(rows)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks))
    assert path.stat().st_size < 1_000_000
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


@pytest.mark.parametrize("name", list(PHOTOS))
def test_another_process_gives_the_same_pixels(name: str):
    picture = open_image(PHOTOS[name], side=512)
    found = decoders.crop_picture(PHOTOS[name], side=512, **CUT)
    assert np.array_equal(found, np.asarray(crop_image(picture, **CUT)))


def test_a_thumbnail_says_nothing_of_its_picture(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "at home"
    path = tmp_path / "a.jpg"
    Image.new("RGB", (400, 200), "red").save(path, exif=exif, comment="by ann", dpi=(77, 77))
    found = Image.open(BytesIO(decoders.thumbnail(path, 100)))
    assert (found.format, found.size) == ("JPEG", (50, 100))
    assert not found.getexif()
    assert not found.info.get("comment")


def test_errors_name_the_file(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_text("hello")
    with pytest.raises(ImageError) as caught:
        decoders.thumbnail(path, 100)
    assert str(caught.value).startswith(f"{path}: not a picture, expected JPEG, PNG")
    with pytest.raises(ImageError, match="no such file"):
        decoders.thumbnail(tmp_path / "none.jpg", 100)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_is_kept_and_one_that_was_killed_replaced():
    photo = PHOTOS["coffee"]
    before = children()
    wanted = decoders.thumbnail(photo, 100)
    (first,) = children() - before
    assert decoders.thumbnail(photo, 100) == wanted
    assert children() - before == {first}
    os.kill(first, signal.SIGKILL)
    assert waited_for(lambda: not is_running(first))
    assert decoders.thumbnail(photo, 100) == wanted
    (second,) = children() - before
    assert second != first
    decoders.stop()
    assert children() == before


def test_a_picture_that_takes_too_long_is_given_up_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = interlaced(tmp_path / "slow.png")
    with pytest.raises(ImageError) as caught:
        decoders.crop_picture(path, side=512, seconds=0.25, **CUT)
    assert str(caught.value) == (
        f"{path}: was not decoded within 0.25 s: ask again, or save it anew"
    )
    monkeypatch.setattr(decoders, "MAX_SECONDS", 0.2)
    with pytest.raises(ImageError) as caught:
        decoders.crop_picture(path, side=512, seconds=120, **CUT)
    assert str(caught.value) == (
        f"{path}: takes more than 0.2 s to decode: save it anew as a plain JPEG"
    )
    monkeypatch.undo()
    assert decoders.crop_picture(PHOTOS["coffee"], side=512, **CUT).shape == (224, 224, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_stopping_cuts_a_picture_short(tmp_path: Path):
    path, failures = interlaced(tmp_path / "slow.png"), []

    def ask() -> None:
        try:
            decoders.thumbnail(path, 100)
        except ImageError as error:
            failures.append(str(error))

    before = children()
    asking = Thread(target=ask)
    asking.start()
    assert waited_for(lambda: len(children() - before) == 1)
    decoders.stop()
    asking.join(10)
    assert not asking.is_alive()
    assert len(failures) == 1
    assert children() == before


WAIT = """
import sys, time
from pathlib import Path
from hashlens.indexer.decoding import decoder_pool as decoders
decoders.thumbnail(Path(sys.argv[1]), 100)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_processes_end_with_the_one_that_asks():
    command = [sys.executable, "-c", WAIT, str(PHOTOS["coffee"])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"ready\n"
        (decoding,) = Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split()
        os.kill(int(decoding), signal.SIGTERM)  # as a service manager sends it to all
        os.kill(int(decoding), signal.SIGINT)
        time.sleep(0.2)
        assert is_running(int(decoding))
        asking.kill()
    assert waited_for(lambda: not is_running(int(decoding)))


def test_a_forked_child_has_processes_of_its_own():
    wanted = decoders.thumbnail(PHOTOS["coffee"], 100)
    child = os.fork()
    if not child:
        found = decoders.thumbnail(PHOTOS["coffee"], 100)
        decoders.stop()
        os._exit(found != wanted)
    assert os.waitpid(child, 0)[1] == 0
    assert decoders.thumbnail(PHOTOS["coffee"], 100) == wanted


CAPTION = """
import sys
from pathlib import Path
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
recommender = Recommender.open(Path(sys.argv[1]))
assert recommender.recommend(Query(caption="coffee for breakfast")).tags
children = [p.read_text() for p in Path("/proc/self/task").glob("*/children")]
print("".join(children), *({"PIL", "onnxruntime", "torch"} & set(sys.modules)))
assert recommender.recommend(Query(image=Path(sys.argv[2]))).tags
children = [p.read_text() for p in Path("/proc/self/task").glob("*/children")]
print(len("".join(children).split()), "PIL" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_caption_starts_no_process_and_a_picture_one(sample_index: Path):
    command = [sys.executable, "-c", CAPTION, str(sample_index), str(PHOTOS["coffee"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "1 False"]


PEAK = """
import sys
from pathlib import Path
from hashlens.indexer.decoding import decoder_pool as decoders
for path in map(Path, sys.argv[1:]):
    decoders.crop_picture(path, side=512, shorter=256, crop=224, bicubic=True, squash=False)
(pid,) = Path("/proc/thread-self/children").read_text().split()
peak = next(l for l in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in l)
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_what_the_limit_says(tmp_path: Path):
    sizes = {"F": (7000, 7000), "I;16": (8000, 8000), "RGBA": (7000, 7000)}
    paths = [tmp_path / f"{mode[0]}.tiff" for mode in sizes]
    for path, (mode, size) in zip(paths, sizes.items(), strict=True):
        Image.new(mode, size).save(path, compression="tiff_deflate")
    paths.append(tmp_path / "a.webp")
    Image.new("RGB", (6000, 5000), "red").save(paths[-1], method=0)
    command = [sys.executable, "-c", PEAK, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 700  # MiB
