"""Compacting keeps answers; forgetting keeps nothing of a person."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.pipeline.compact import compact
from hashlens.indexer.pipeline.forget import forget
from hashlens.indexer.storage.store import Store
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import WORDS, built, drawn, tables, updated


def grown(place: Path) -> Path:
    """An index after some updates, with dead vectors in more than one segment."""
    draw = random.Random(3)
    index = built([drawn(number, draw) for number in range(40)], place)
    for turn in range(3):
        first = 40 + 8 * turn
        rows = [drawn(number, draw) for number in (*range(first, first + 8), turn, 50 - turn)]
        updated(rows, index, [f"p{first - 5}", f"p{10 + turn}"])
    return index


def test_compacting_merges_segments_and_keeps_every_answer(tmp_path: Path) -> None:
    index = grown(tmp_path)
    before = IndexReader.open(index)
    queries = [Query(caption=f"{a} {b}", seeds=("dog",)) for a in WORDS[:6] for b in WORDS[6:9]]
    answers = Recommender(before).recommend_many(queries, 5, explain=True)
    assert len(before.captions or ()) > 0
    report = compact(index)
    after = IndexReader.open(index)
    assert (report.generation, report.segments) == (5, 4)
    assert report.dropped > 0
    assert sorted(p for p in after.manifest.files if p.startswith("captions")) == [
        "captions/0001.faiss"
    ]
    assert tables(after.generation.folder) == tables(before.generation.folder)
    assert before.captions is not None
    assert after.captions is not None
    np.testing.assert_array_equal(before.captions.ids, after.captions.ids)
    assert Recommender(after).recommend_many(queries, 5, explain=True) == answers
    assert verify(index).sound


def test_an_index_can_be_updated_after_it_was_compacted(tmp_path: Path) -> None:
    index = grown(tmp_path)
    compact(index, keep=1)
    draw = random.Random(9)
    report = updated([drawn(number, draw) for number in range(100, 110)], index, ["p1"])
    assert (report.added, report.generation) == (10, 6)
    assert len(list(index.glob("gen-*"))) == 2


SECRET = "meet me at platform seventeen tonight"


def secret(name: str, author: str, caption: str = SECRET) -> dict[str, object]:
    return {"id": name, "author": author, "caption": caption, "hashtags": ["zuleikasown", "dog"]}


def holding(index: Path, text: str) -> list[str]:
    """Files of the index folder that hold a text."""
    files = [path for path in index.rglob("*") if path.is_file()]
    return [path.name for path in files if text.encode() in path.read_bytes()]


def test_forgetting_an_author_leaves_no_trace_of_the_captions(tmp_path: Path) -> None:
    draw = random.Random(4)
    rows = [drawn(number, draw) for number in range(20)]
    index = built([*rows, secret("s1", "zuleika")], tmp_path)
    updated([secret("s2", "zuleika", f"{SECRET} again"), secret("s3", "zuleika")], index)
    assert "posts.duckdb" in holding(index, SECRET)
    report = forget(index, author="zuleika")
    assert report.posts == 3
    assert any("--retrain" in note for note in report.notes)
    assert [path.name for path in index.glob("gen-*")] == [f"gen-{report.generation:06d}"]
    for text in (SECRET, f"{SECRET} again", "zuleika\x00", "zuleika,"):
        assert holding(index, text) == []
    assert set(holding(index, "zuleika")) <= {"words.txt"}  # the learned vocabulary, as is said
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        assert store.rows("select count(*) from posts where author = 'zuleika'") == [(0,)]
        assert store.rows("select count(*) from hashtags where key = 'zuleikasown'") == [(0,)]
    assert verify(index).sound
    again = built(rows, tmp_path / "b")
    assert (
        tables(open_current(index).folder)["posts"] == tables(open_current(again).folder)["posts"]
    )


def test_forgetting_with_learning_anew_leaves_not_even_words(tmp_path: Path) -> None:
    draw = random.Random(4)
    rows = [drawn(number, draw) for number in range(20)]
    index = built([*rows, secret("s1", "zuleika")], tmp_path)
    forget(index, post="s1", retrain=True, workers=1)
    for text in (SECRET, "platform", "zuleika"):
        assert holding(index, text) == []


def test_a_repost_of_what_is_forgotten_stays_its_own_authors(tmp_path: Path) -> None:
    rows = [
        secret("s1", "zuleika"),
        secret("s2", "yan", f"{SECRET} @zuleika"),
        secret("s3", "yan", "x"),
    ]
    index = built(rows, tmp_path)
    forget(index, author="zuleika")
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        assert store.rows("select post_id from posts order by 1") == [("s2",), ("s3",)]
        assert store.copies() == []


def test_an_open_reader_keeps_its_generation_and_that_is_said(tmp_path: Path) -> None:
    index = built([secret("s1", "zuleika"), secret("s2", "yan", "x")], tmp_path)
    reader = IndexReader.open(index)
    report = forget(index, author="zuleika")
    assert any("generation 1 is held by a reader" in note for note in report.notes)
    assert reader.store.rows("select count(*) from posts") == [(2,)]


def test_nobody_to_forget_is_an_error(tmp_path: Path) -> None:
    index = built([secret("s1", "zuleika")], tmp_path)
    with pytest.raises(InputError, match="'nobody'"):
        forget(index, author="nobody")
    with pytest.raises(InputError, match="one of them"):
        forget(index)
