"""The gain of an account's own posts, for two accounts that always use the same hashtags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hashlens.evaluation.studies import accounts
from hashlens.evaluation.studies.accounts import measure_accounts
from hashlens.indexer.types import Post
from hashlens.retriever.index.default import bundled_index

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def posts(author: str, captions: list[str]) -> list[Post]:
    tags = (f"{author}pottery", f"{author}kiln")
    return [
        Post(
            f"{author}{n}",
            None,
            caption,
            tags,
            tags,
            author,
            BEGINNING + timedelta(days=n),
            content_hash=f"{author}{n}",
        )
        for n, caption in enumerate(captions)
    ]


CAPTIONS = ["a bowl", "two cups", "glaze again", "sunset", "the sea", "a bowl", "coffee", "rain"]


def test_first_posts_are_added_and_later_ones_are_queries(
    sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ADDED", (0, 3))
    some = [*posts("ann", CAPTIONS), *reversed(posts("bob", CAPTIONS)), *posts("eve", ["x y"] * 9)]
    before, after = measure_accounts(some, bundled_index(), sample_index, tmp_path)
    # All later captions of eve repeat earlier ones, and one of each other account does.
    assert (before["own_posts"], before["accounts"], before["queries"]) == (0, 2, 8)
    assert (after["own_posts"], after["accounts"], after["queries"]) == (3, 2, 8)
    for index in ("joined", "named"):
        assert before[index]["P@5"] == 0
        assert after[index]["P@5"] == pytest.approx(2 / 5)
        assert after[index]["nDCG@10"] > 0.9
    assert before["unnamed"]["P@5"] == after["unnamed"]["P@5"] == 0
    (tmp_path / "again").mkdir()
    repeated = measure_accounts(
        posts("eve", ["x y"] * 9), bundled_index(), sample_index, tmp_path / "again"
    )
    assert repeated[0]["queries"] == 0


def test_of_accounts_that_copy_one_another_one_is_used(
    sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ADDED", (0, 3))
    template = "new in the shop today, come and see our {}"
    copies = [f"new in the shop today, come in and see our {n}" for n in ("cups", *"abcdefg")]
    some = [*posts("ann", [template.format(n) for n in ("bowls", *"hijklmn")])]
    some += [*posts("bob", copies), *posts("cat", CAPTIONS)]
    before, _ = measure_accounts(some, bundled_index(), sample_index, tmp_path)
    assert before["accounts"] == 2
