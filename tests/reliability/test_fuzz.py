"""A short run of `tests.reliability.fuzz_readers` over every reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashlens.indexer.posts.formats.registry import READERS
from tests.reliability.fuzz_readers import SEEDS, fuzz


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_give_posts_rejections_or_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "cache"))
    outcome = fuzz(reader, 200, tmp_path / "source")
    assert outcome.posts
    assert outcome.rejections + outcome.errors or reader == "captioned"


def test_every_reader_has_seeds() -> None:
    assert SEEDS.keys() == READERS.keys()
