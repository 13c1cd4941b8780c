"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hashlens.indexer.file_io import hash_file, replace_file


def test_a_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_file_is_replaced_once_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replace_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail() -> None:
        with replace_file(path) as file:
            file.write(b"half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "a"
    other.write_bytes(b"somebody's")
    (tmp_path / "a.tmp").symlink_to(other)
    with replace_file(path) as file:
        file.write(b"new")
    assert (other.read_bytes(), path.read_bytes()) == (b"somebody's", b"new")
