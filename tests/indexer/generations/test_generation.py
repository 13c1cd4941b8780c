"""The sealed folder: published, gone back in, written to by others and read by many."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import hashlens.indexer.generations.generation
from hashlens.indexer.errors import HashlensError, IndexCorruptError, IndexLockedError
from hashlens.indexer.generations.generation import history, open_current, rollback, writer
from hashlens.indexer.generations.manifest import FORMAT
from tests.support.published import ROOT, check_whole, names, published, verify


def test_what_is_published_is_opened(tmp_path: Path) -> None:
    index = tmp_path / "new" / "index"
    with writer(index) as new:
        assert new.previous is None
        (new.folder / "posts.bin").write_bytes(b"abc")
        made = new.publish(
            encoder={"name": "resnet50", "width": 2048},
            topics=["pets", "food"],
            config={"seed": 1},
            counts={"posts": 3},
        )
    opened = open_current(index, deep=True)
    assert opened == made
    assert opened.folder == index / "gen-000001"
    manifest = opened.manifest
    assert (manifest.format, manifest.generation, manifest.topics) == (FORMAT, 1, ("pets", "food"))
    assert manifest.encoder == {"name": "resnet50", "width": 2048}
    assert (manifest.config, manifest.counts) == ({"seed": 1}, {"posts": 3})
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180, "abc"
    assert manifest.files == {"posts.bin": {"bytes": 3, "sha256": digest}}
    assert manifest.created.endswith("+00:00")
    assert manifest.libraries["numpy"].count(".") == 2
    assert (index / "CURRENT").read_text() == "gen-000001 8e7b5a4f\n"
    assert names(index) == ["CURRENT", "gen-000001", "writer.lock"]


def test_unchanged_files_are_linked_and_the_last_three_generations_stay(tmp_path: Path) -> None:
    generation = published(tmp_path, 5)
    check_whole(generation)
    assert [g.number for g in history(tmp_path)] == [3, 4, 5]
    first, last = history(tmp_path)[0], history(tmp_path)[-1]
    assert (first.folder / "images/0001.bin").samefile(last.folder / "images/0001.bin")
    assert not (first.folder / "posts.bin").samefile(last.folder / "posts.bin")
    assert verify(tmp_path).sound


def test_link_copies_where_the_disk_cannot_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    check_whole(published(tmp_path))
    assert verify(tmp_path).sound


def test_link_refuses_what_the_previous_generation_lacks(tmp_path: Path) -> None:
    published(tmp_path)
    with pytest.raises(HashlensError, match=r"no \.\./CURRENT"), writer(tmp_path) as new:
        new.link("../CURRENT")


def test_a_generation_that_a_reader_holds_is_not_deleted(tmp_path: Path) -> None:
    published(tmp_path)
    held = open_current(tmp_path)
    published(tmp_path, 4)
    check_whole(held)
    assert [g.number for g in history(tmp_path)] == [1, 3, 4, 5]
    del held
    published(tmp_path)
    assert [g.number for g in history(tmp_path)] == [4, 5, 6]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_what_is_not_published_leaves_no_trace(tmp_path: Path, kind: type[BaseException]) -> None:
    published(tmp_path)
    before = names(tmp_path)

    def interrupted() -> None:
        with writer(tmp_path) as new:
            (new.folder / "posts.bin").write_bytes(b"half")
            raise kind

    with pytest.raises(kind):
        interrupted()
    with writer(tmp_path) as new:
        (new.folder / "posts.bin").write_bytes(b"forgotten")
    assert names(tmp_path) == before
    check_whole(open_current(tmp_path, deep=True))


def test_leftovers_of_killed_writers_are_cleared(tmp_path: Path) -> None:
    published(tmp_path)
    (tmp_path / "gen-000002").mkdir()
    (tmp_path / "gen-000002" / "posts.bin").write_bytes(b"half")
    (tmp_path / "CURRENT.tmp").write_bytes(b"gen-0")
    (tmp_path / "gen-notes").mkdir()
    check_whole(open_current(tmp_path))
    published(tmp_path)
    expected = ["CURRENT", "gen-000001", "gen-000002", "gen-notes", "writer.lock"]
    assert names(tmp_path) == expected


# Going back ---------------------------------------------------------------------------------


def test_rollback_returns_and_numbers_are_not_used_again(tmp_path: Path) -> None:
    published(tmp_path, 3)
    assert rollback(tmp_path).number == 2
    check_whole(open_current(tmp_path, deep=True))
    assert open_current(tmp_path).number == 2
    assert rollback(tmp_path, 3).number == 3
    assert rollback(tmp_path, 1).number == 1
    after = published(tmp_path)
    assert after.number == 4
    check_whole(after)
    # The parent, generation 1, is what one would go back to: it stays before newer ones.
    with pytest.raises(HashlensError, match=r"no generation 9; there are 1, 3, 4, live is 4"):
        rollback(tmp_path, 9)


def test_rollback_refuses_a_damaged_generation(tmp_path: Path) -> None:
    first = published(tmp_path)
    published(tmp_path)
    path = first.folder / "posts.bin"
    path.write_bytes(path.read_bytes().replace(b"1", b"7", 1))
    with pytest.raises(IndexCorruptError, match=r"gen-000001/posts\.bin"):
        rollback(tmp_path)
    assert open_current(tmp_path).number == 2
    published(tmp_path, 1)
    assert [trouble.split(":")[0] for trouble in verify(tmp_path).troubles] == [str(path)]


def test_rollback_of_the_only_generation(tmp_path: Path) -> None:
    published(tmp_path)
    with pytest.raises(HashlensError, match="no older generation"):
        rollback(tmp_path)


def test_a_new_build_replaces_a_damaged_index(tmp_path: Path) -> None:
    (published(tmp_path).folder / "manifest.json").unlink()
    with writer(tmp_path) as new:
        (new.folder / "posts.bin").write_bytes(b"abc")
        assert new.publish(encoder=None, topics=(), config={}, counts={}).number == 2
    assert open_current(tmp_path, deep=True).number == 2


# Others at work -----------------------------------------------------------------------------


def test_a_second_writer_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    published(tmp_path, 2)
    code = "import sys; from pathlib import Path\n"
    code += "from hashlens.indexer.generations.generation import writer\n"
    code += "with writer(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(IndexLockedError, match=f"process {child.pid} "), writer(tmp_path):
            pass
        with pytest.raises(IndexLockedError, match=f"process {child.pid} "):
            rollback(tmp_path)
        check_whole(open_current(tmp_path))
        child.kill()
    assert published(tmp_path).number == 3


def test_a_reader_overtaken_by_writers_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    read = hashlens.indexer.generations.generation.live_number

    def overtaken(index: Path) -> int:
        number = read(index)
        monkeypatch.undo()
        published(index, 4)  # generation 1 is deleted before it is opened
        return number

    monkeypatch.setattr(hashlens.indexer.generations.generation, "live_number", overtaken)
    generation = open_current(tmp_path)
    assert generation.number == 5
    check_whole(generation)


def test_readers_never_fail_while_generations_are_published(tmp_path: Path) -> None:
    published(tmp_path)
    done = threading.Event()
    troubles: list[BaseException] = []
    reads = [0]

    def read() -> None:
        while not done.is_set():
            try:
                generation = open_current(tmp_path)
                time.sleep(0.002)  # long enough for several generations to pass by
                check_whole(generation)
                reads[0] += 1
            except BaseException as error:
                troubles.append(error)

    code = "import sys, time; from pathlib import Path\n"
    code += "from hashlens.indexer.generations.generation import open_current\n"
    code += "from tests.support.published import check_whole\n"
    code += (
        "while not Path(sys.argv[1], 'stop').exists(): check_whole(open_current(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    threads = [threading.Thread(target=read) for _ in range(3)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        for thread in threads:
            thread.start()
        time.sleep(1)  # until the other process reads as well
        assert published(tmp_path, 20).number == 21
        done.set()
        (tmp_path / "stop").touch()
        for thread in threads:
            thread.join()
        _, errors = child.communicate()
    assert (troubles, errors, child.returncode) == ([], "", 0)
    assert reads[0] > 20
