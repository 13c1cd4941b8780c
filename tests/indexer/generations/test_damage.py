"""The sealed folder, damaged or forged."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from hashlens.indexer.errors import (
    HashlensError,
    IndexCorruptError,
    IndexMismatchError,
    IndexMissingError,
    IndexUnusableError,
)
from hashlens.indexer.generations.generation import history, open_current, rollback, writer
from hashlens.indexer.generations.manifest import FORMAT
from tests.support.forged import reseal
from tests.support.published import FILES, check_whole, published, verify


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_flipped_bit_is_found_by_a_deep_look(tmp_path: Path, name: str) -> None:
    path = published(tmp_path).folder / name
    whole = path.read_bytes()
    chance = random.Random(name)
    for _ in range(20):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(IndexUnusableError, match=path.name):
            open_current(tmp_path, deep=True)
        (trouble,) = verify(tmp_path).troubles
        assert str(path) in trouble
    path.write_bytes(whole)
    assert verify(tmp_path).sound


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_file_cut_short_is_found_on_opening(tmp_path: Path, name: str, share: float) -> None:
    path = published(tmp_path).folder / name
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    with pytest.raises(IndexCorruptError) as caught:
        open_current(tmp_path)
    for part in (str(path), f"expected {size}", "hashlens verify", "hashlens rollback"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_found_on_opening(tmp_path: Path, name: str) -> None:
    path = published(tmp_path).folder / name
    path.unlink()
    with pytest.raises(IndexCorruptError, match=path.name):
        open_current(tmp_path)


def test_no_index(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    for index in (tmp_path, tmp_path / "nothing", tmp_path / "a file"):
        for ask in (open_current, history, verify, rollback):
            with pytest.raises(IndexMissingError, match="hashlens build"):
                ask(index)
    with pytest.raises(HashlensError, match="cannot write there"), writer(tmp_path / "a file"):
        pass


def test_another_format_is_refused_with_both_named(tmp_path: Path) -> None:
    reseal(published(tmp_path).folder, format=FORMAT + 1)
    with pytest.raises(IndexMismatchError, match=f"format {FORMAT + 1}, expected {FORMAT}"):
        open_current(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["", "../gen-000001", "gen-000001/../..", "/etc", "gen-1", "gen-000000", "gen-000001\n\n", "é"],
)
def test_current_cannot_point_elsewhere(tmp_path: Path, line: str) -> None:
    published(tmp_path)
    (tmp_path / "CURRENT").write_text(line)
    with pytest.raises(IndexCorruptError, match="CURRENT"):
        open_current(tmp_path)
    assert "CURRENT" in verify(tmp_path).pointer[0]
    check_whole(rollback(tmp_path))
    check_whole(open_current(tmp_path))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "./posts.bin", ""])
def test_a_manifest_cannot_reach_outside(tmp_path: Path, name: str) -> None:
    index = tmp_path / "index"
    folder = published(index).folder
    (index / "secret").write_bytes(b"abc")
    reseal(folder, files={name: {"bytes": 3, "sha256": "0" * 64}})
    with pytest.raises(IndexCorruptError, match=r"manifest\.json"):
        open_current(index)


def test_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    path = published(tmp_path).folder / "posts.bin"
    shutil.copy(path, tmp_path / "outside")
    path.unlink()
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(IndexCorruptError, match="link"):
        open_current(tmp_path)
    with writer(tmp_path) as new:
        (new.folder / "posts.bin").symlink_to(tmp_path / "outside")
        with pytest.raises(HashlensError, match="neither a file"):
            new.publish(encoder=None, topics=(), config={}, counts={})


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", f'{{"format": {FORMAT}, "seal": 0}}', "[" * 9000]
)
def test_a_manifest_of_other_make(tmp_path: Path, text: str) -> None:
    (published(tmp_path).folder / "manifest.json").write_text(text)
    with pytest.raises(IndexCorruptError, match=r"manifest\.json"):
        open_current(tmp_path)
