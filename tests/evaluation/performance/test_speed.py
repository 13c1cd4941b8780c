"""Synthetic posts, isolated work, and costs by size."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hashlens.evaluation.performance import peers, profiling, sizes, speed
from hashlens.evaluation.performance.isolated import StageTimer, run_isolated
from hashlens.evaluation.performance.peers import compare_peers
from hashlens.evaluation.performance.sizes import count_bytes, read_captions
from hashlens.evaluation.performance.speed_report import format_speed, plot_speed
from hashlens.evaluation.performance.synthetic_posts import (
    CHANGED_SHARE,
    NEW_SHARE,
    synthesise,
    write_synthetic_posts,
)
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Embeddings, Post

WORDS = [f"word{n}" for n in range(40)]
POSTS = [
    Post(
        f"p{n}",
        caption=" ".join(WORDS[n : n + 20]),
        hashtags=(f"tag{n}", f"tag{n + 1}", "all"),
        forms=(f"Tag{n}", f"tag{n + 1}", "all"),
        author=f"a{n // 2}",
    )
    for n in range(20)
]


def test_synthetic_posts_are_real_ones_with_some_words_replaced() -> None:
    rows = list(synthesise(POSTS, 400))
    assert [row["id"] for row in rows] == [f"s1-{n}" for n in range(400)]
    captions = {post.caption: set(post.caption.split()) for post in POSTS}
    same, new, total = 0, 0, 0
    for row in rows:
        words = row["caption"].split()
        source = max(captions.values(), key=lambda known: len(known & set(words)))
        same += sum(word in source for word in words)
        new += sum(word not in WORDS for word in words)
        total += len(words)
    assert total == 400 * 20
    assert (
        1 - CHANGED_SHARE < same / total < 1 - CHANGED_SHARE / 10
    )  # many words are replaced by themselves
    assert NEW_SHARE / 3 < new / total < NEW_SHARE * 3
    # Each round has every post once, with new authors.
    authors = Counter(row["author"] for row in rows)
    assert len(authors) == 10 * 20
    assert set(authors.values()) == {2}
    assert list(synthesise(POSTS, 400)) == rows
    assert list(synthesise(POSTS, 400, seed=2)) != rows


def test_synthetic_posts_are_read_like_other_posts(tmp_path: Path) -> None:
    write_synthetic_posts(POSTS, 30, tmp_path / "posts")
    read = list(read_posts([tmp_path / "posts"], rule="instagram", rejections=[]))
    assert [post.post_id for post in read] == [f"s1-{n}" for n in range(30)]
    rows = list(synthesise(POSTS, 30))
    assert [post.caption for post in read] == [row["caption"] for row in rows]
    assert [list(post.forms) for post in read] == [list(dict.fromkeys(r["hashtags"])) for r in rows]
    assert len(read_captions(tmp_path / "posts", 7)) == 7


def fill_memory(mib: int) -> tuple[int, int]:
    return os.getpid(), int(np.ones(mib << 20, np.uint8).sum())


def raise_error() -> None:
    raise InputError("found nothing")


def exit_at_once() -> None:
    os._exit(3)


def test_isolated_work_has_its_own_memory_and_errors() -> None:
    found = run_isolated(fill_memory, 300)
    assert found.value[0] != os.getpid()
    assert found.value[1] == 300 << 20
    assert found.peak_mib > 300
    assert found.processor > 0
    assert 0 < found.seconds < 60
    with pytest.raises(HashlensError, match="raise_error: InputError: found nothing"):
        run_isolated(raise_error)
    with pytest.raises(HashlensError, match="exit_at_once: the process ended without a result"):
        run_isolated(exit_at_once)


def count_words() -> int:
    return sum(len(" ".join(WORDS).split()) for _ in range(3_000))


def sort_numbers() -> object:
    return np.sort(np.tile(np.arange(1000), 3_000))


def count_and_sort() -> None:
    count_words()
    sort_numbers()


def test_a_profile_separates_our_time_from_that_of_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiling, "OURS", (*profiling.OURS, f"{Path(__file__).parent}/"))
    assert profiling.profile_work(count_words)["ours"] > 0.9  # `split` counts for its caller
    found = profiling.profile_work(count_and_sort)
    assert 0 < found["ours"] < 0.9
    assert found["largest"][0][0] == "tests/evaluation/performance/test_speed.py: <genexpr>"
    assert profiling.profile_work(sort_numbers)["ours"] < 0.5


def test_stages_are_timed_separately() -> None:
    stages = StageTimer()
    stages.stage("one")
    stages.advance()
    stages.stage("two")
    stages.stage("one")
    assert list(stages.seconds()) == ["start", "one", "two"]


def test_peers_answer_the_same_queries_and_missing_ones_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = np.random.default_rng(1).normal(size=(600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = Embeddings(np.arange(600, dtype=np.int64) * 3, vectors)
    monkeypatch.setitem(peers.PEERS, "Nobody", ("no_such_package", peers.PlainFaiss))
    found = compare_peers(stored, vectors[:20])
    assert found["Nobody"] == {"missing": "no_such_package"}
    measured = {name: each for name, each in found.items() if "missing" not in each}
    assert {"hashlens", "FAISS + dict"} <= measured.keys()
    for each in measured.values():
        assert each["recall"] > 0.8
        assert each["ms"] > 0
        assert each["bytes"] >= 600 * 16 * 4
    assert measured["hashlens"]["recall"] == measured["FAISS + dict"]["recall"] == 1


def test_costs_are_measured_by_size_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sizes, "COLD_STARTS", 1)
    monkeypatch.setattr(speed, "UPDATE_POSTS", 20)
    monkeypatch.setattr(speed, "SINGLE_QUERIES", 10)
    monkeypatch.setattr(speed, "BATCH_QUERIES", 30)
    write_synthetic_posts(POSTS, 60, tmp_path / "real")
    speed.main([str(tmp_path / "real"), "--sizes", "100", "50", "--out", str(tmp_path / "bench")])
    text = capsys.readouterr().out
    assert text == (tmp_path / "bench" / "speed.md").read_text(encoding="utf-8")
    found = json.loads((tmp_path / "bench" / "speed.json").read_text(encoding="utf-8"))
    assert list(found["sizes"]) == ["50", "100"]
    for size, each in found["sizes"].items():
        assert 0.8 * int(size) <= each["build"]["counts"]["posts"] <= int(size)  # some are reposts
        assert each["neighbours"]["recall"] == 1
        assert each["query"]["median_ms"] <= each["query"]["p99_ms"]
        assert each["update"]["added"] > 10
        assert each["bytes"] > 100_000
    assert found["limits"].keys() == {"read", "train", "add"}
    assert found["peers"]["hashlens"]["recall"] == 1
    assert found["profiles"].keys() == {"build", "query"}
    assert found["growth"]["times"].keys() >= {"build", "query", "disk", "update"}
    assert "| caption query, warm, median ms |" in text
    assert format_speed(found) == text
    assert b"<svg" in plot_speed(found)
    assert count_bytes(tmp_path / "bench") > 0


def test_posts_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no post with a caption or hashtags"):
        speed.measure_all_sizes([], [10], tmp_path)
