"""The sealed folder under crashes and full disks."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hashlens.indexer.errors import HashlensError
from hashlens.indexer.generations.generation import open_current, writer
from tests.support.published import ROOT, check_whole, names, published, verify


def test_killed_at_any_instant_the_index_is_whole(tmp_path: Path) -> None:
    chance = random.Random(4)
    torn_folders = 0
    for _ in range(20):
        command = [sys.executable, "-m", "tests.reliability.crash_writer", str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            acknowledged = [int(child.stdout.readline())]
            time.sleep(chance.uniform(0, 0.1))
            child.kill()
            acknowledged += map(int, child.stdout.read().split())
        generation = open_current(tmp_path, deep=True)
        check_whole(generation)
        assert generation.number in (acknowledged[-1], acknowledged[-1] + 1)
        assert verify(tmp_path).sound
        folders = [path for path in tmp_path.glob("gen-*") if path.is_dir()]
        torn_folders += any(not (path / "manifest.json").exists() for path in folders)
    assert torn_folders > 0, "no kill hit a writer at work: the test proved nothing"
    last = published(tmp_path)
    assert all((path / "manifest.json").exists() for path in tmp_path.glob("gen-*"))
    check_whole(last)


def fail_at(calls: int, real: Callable[..., object], error: BaseException) -> Callable[..., object]:
    left = [calls]

    def call(*args: object, **names: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise error
        return real(*args, **names)

    return call


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["fsync", "replace", "link"])
def test_a_failure_at_the_nth_call_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    number = published(tmp_path).number
    for calls in range(1, 40):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail_at(calls, getattr(os, name), error))
            try:
                published(tmp_path)
            except type(error):
                failed = True
            else:
                failed = False
        live = open_current(tmp_path, deep=True)
        check_whole(live)
        assert live.number in ((number, number + 1) if failed else (number + 1,))
        assert max(tmp_path.glob("gen-*")).name == live.folder.name  # nothing half-written
        assert verify(tmp_path).sound
        number = live.number
        if not failed:
            break
    assert not failed
    assert calls > 1


def test_a_full_disk_is_explained_and_harmless(tmp_path: Path) -> None:
    published(tmp_path)
    before = names(tmp_path)

    def fill() -> None:
        with writer(tmp_path) as new:
            (new.folder / "posts.bin").symlink_to("/dev/full")  # a device that is always full
            with (new.folder / "posts.bin").open("wb") as file:
                file.write(b"x" * 100_000)

    with pytest.raises(HashlensError, match=r"disk full .*free some space.*as it was"):
        fill()
    assert names(tmp_path) == before
    check_whole(open_current(tmp_path, deep=True))


def test_a_disk_that_fills_while_publishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", fail_at(3, os.fsync, full))
    with pytest.raises(HashlensError, match="disk full"):
        published(tmp_path)
    check_whole(open_current(tmp_path, deep=True))
