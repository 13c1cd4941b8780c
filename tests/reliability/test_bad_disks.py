"""Disks that are full or read-only, writers that meet, other formats, clocks that go back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import hashlens.indexer.generations.generation
from hashlens.indexer.errors import HashlensError, IndexMismatchError
from hashlens.indexer.generations.generation import history, open_current
from hashlens.indexer.generations.manifest import FORMAT
from hashlens.indexer.pipeline.compact import compact
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import updated, written
from tests.support.forged import reseal

ROOT = Path(__file__).parents[2]
ROWS = [{"id": f"n{i}", "caption": "sleepy park", "hashtags": ["fresh"]} for i in range(5)]
MIB = 1 << 20


class Disk:
    """A small disk in memory, which can be made larger, or read-only."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def set(self, options: str) -> None:
        command = ["mount", "-o", f"remount,{options}", str(self.place)]
        subprocess.run(command, check=True, capture_output=True)

    def used(self) -> int:
        found = os.statvfs(self.place)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def listed(index: Path) -> list[str]:
    return sorted(path.name for path in index.iterdir())


def writing_fails(writing: str, index: Path, more: Path) -> bool:
    """Whether the disk was too small; any other error is raised."""
    try:
        if writing == "update":
            update([more], index, retrain=False, workers=1)
        else:
            compact(index)
    except HashlensError as error:
        if "disk full while writing" not in str(error):
            raise
        return True
    return False


@pytest.mark.parametrize("writing", ["update", "compact"])
def test_a_disk_that_fills_half_way_leaves_the_index_as_it_was(
    writing: str, sound: Path, disk: Disk, tmp_path: Path
) -> None:
    more = written(ROWS, tmp_path / "more")
    index = shutil.copytree(sound, disk.place / "index")
    before, room, failed = listed(index), 0, 0
    while True:
        disk.set(f"size={disk.used() + room}")
        if not writing_fails(writing, index, more):
            break
        failed += 1
        assert listed(index) == before
        assert open_current(index, deep=True).number == 1
        room += MIB // 4 if room < MIB else MIB
    assert failed > 3
    assert open_current(index).number == 2
    assert verify(index).sound


@contextmanager
def read_only(disk: Disk) -> Iterator[None]:
    disk.set("ro")
    try:
        yield
    finally:
        disk.set("rw")


def test_a_read_only_index_answers_and_refuses_writers(
    sound: Path, disk: Disk, tmp_path: Path
) -> None:
    more = written(ROWS, tmp_path / "more")
    index = shutil.copytree(sound, disk.place / "index")
    with read_only(disk):
        found = Recommender.open(index, check=True).recommend(Query(caption="kitten"), 3)
        assert found.tags
        assert verify(index).sound
        assert len(history(index)) == 1
        for write in (lambda: update([more], index), lambda: compact(index)):
            with pytest.raises(HashlensError, match="cannot write there"):
                write()
    assert verify(index).sound


def test_of_two_writers_at_once_one_is_told_or_both_take_turns(index: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from hashlens.indexer.pipeline.update import update\n"
        "from hashlens.indexer.errors import IndexLockedError\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: update([Path(sys.argv[2])], Path(sys.argv[1]), retrain=False, workers=1)\n"
        "except IndexLockedError as error: sys.exit(error.exit_code)"
    )
    pipe: Any = subprocess.PIPE
    with ExitStack() as stack:
        children = []
        for number in range(2):
            place = written(ROWS[number : number + 1], tmp_path / f"more{number}")
            command = [sys.executable, "-c", program, str(index), str(place)]
            child: Any = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
            children.append(stack.enter_context(child))
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 2
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        statuses = [child.wait() for child in children]
    assert sorted(statuses) in ([0, 0], [0, 5])
    assert open_current(index).manifest.counts["posts"] == 8 + statuses.count(0)
    assert verify(index).sound


def test_an_index_of_a_newer_format_is_refused_and_left_alone(index: Path) -> None:
    reseal(index / "gen-000001", format=FORMAT + 1)
    before = (index / "gen-000001" / "manifest.json").read_bytes()
    asks = (open_current, Recommender.open, compact, lambda index: updated(ROWS, index))
    for ask in asks:
        with pytest.raises(IndexMismatchError, match=f"format {FORMAT + 1}, expected {FORMAT}"):
            ask(index)
    assert f"format {FORMAT + 1}, expected {FORMAT}" in verify(index).troubles[0]
    assert listed(index) == ["CURRENT", "gen-000001", "writer.lock"]
    assert (index / "gen-000001" / "manifest.json").read_bytes() == before


def test_a_clock_that_goes_back_changes_no_order(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(1999, 12, 31, tzinfo=UTC)

    monkeypatch.setattr(hashlens.indexer.generations.generation, "datetime", Clock)
    os.utime(index / "gen-000001", (2e9, 2e9))
    assert updated(ROWS, index).generation == 2
    assert open_current(index, deep=True).manifest.created.startswith("1999-12-31")
    assert [generation.number for generation in history(index)] == [1, 2]
    assert verify(index).sound
    assert hashlens.indexer.generations.generation.rollback(index).number == 1
