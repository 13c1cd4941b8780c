"""Builds: what becomes of pictures and topics, and of an index that is built again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hashlens.indexer.config import VECTOR_PRESETS, BuildConfig, VectorConfig
from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.pipeline.build import BuildReport, build
from hashlens.indexer.sample import sample_pictures
from hashlens.indexer.storage.store import Store

SMALL = BuildConfig(encoder="efficientnet-lite0", vectors=VectorConfig("word2vec", 8, min_count=1))


def posts(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "posts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def built(folder: Path, index: Path, config: BuildConfig = SMALL) -> BuildReport:
    return build([folder], index, config=config, workers=1)


def test_an_unreadable_picture_costs_a_post_only_its_picture(tmp_path: Path) -> None:
    folder = posts(
        tmp_path / "posts",
        [
            {"id": "good", "image": "cat.png", "caption": "nap #cat"},
            {"id": "broken", "image": "broken.jpg", "caption": "nap again #cat"},
            {"id": "nothing-else", "image": "broken.jpg"},
            {"id": "words", "caption": "just words #cat"},
        ],
    )
    shutil.copy(sample_pictures()["cat.png"], folder / "cat.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    report = built(folder, tmp_path / "index")
    assert report.counts["posts"] == 3
    assert report.counts["pictures"] == 1
    kept = {r.post_kept for r in report.rejections}
    assert [Path(r.source).name for r in report.rejections] == ["broken.jpg", "broken.jpg"]
    assert kept == {True, False}
    with Store.open(open_current(tmp_path / "index").folder / "posts.duckdb") as store:
        assert store.rows("select post_id from posts order by post_key") == [
            ("good",),
            ("broken",),
            ("words",),
        ]


def test_topics_come_from_the_post_else_from_its_defining_hashtags(tmp_path: Path) -> None:
    folder = posts(
        tmp_path / "posts",
        [
            {"id": "given", "caption": "x #dog", "topic": "food"},
            {"id": "defined", "caption": "y #dog #love"},
            {"id": "stranger", "caption": "z #love", "topic": "no-such-topic"},
        ],
    )
    built(folder, tmp_path / "index")
    with Store.open(open_current(tmp_path / "index").folder / "posts.duckdb") as store:
        found = store.rows("select post_id, topic, topic_source from posts order by post_key")
    assert found == [
        ("given", "food", "given"),
        ("defined", "pets", "hashtags"),
        ("stranger", None, None),
    ]


def test_building_again_makes_the_next_generation_and_keeps_the_one_before(tmp_path: Path) -> None:
    folder = posts(tmp_path / "posts", [{"caption": f"walk {n} #dog"} for n in range(5)])
    first = built(folder, tmp_path / "index")
    held = open_current(tmp_path / "index")
    (folder / "posts.jsonl").write_text(json.dumps({"caption": "one #cat"}))
    second = built(folder, tmp_path / "index")
    assert (first.generation, second.generation) == (1, 2)
    with Store.open(held.folder / "posts.duckdb") as store:
        assert store.rows("select count(*) from posts") == [(5,)]
    assert open_current(tmp_path / "index").manifest.counts["posts"] == 1


def test_a_failed_build_leaves_the_live_generation(tmp_path: Path) -> None:
    folder = posts(tmp_path / "posts", [{"caption": "walk #dog"}])
    built(folder, tmp_path / "index")
    with pytest.raises(InputError, match="no usable post"):
        built(posts(tmp_path / "empty", [{"id": "nothing"}]), tmp_path / "index")
    config = BuildConfig(vectors=VectorConfig(pretrained=str(tmp_path / "missing.txt")))
    with pytest.raises(InputError, match=r"missing\.txt"):
        built(folder, tmp_path / "index", config)
    assert open_current(tmp_path / "index").number == 1
    assert [path.name for path in (tmp_path / "index").glob("gen-*")] == ["gen-000001"]


def test_the_same_posts_give_the_same_vectors(tmp_path: Path) -> None:
    folder = posts(tmp_path / "posts", [{"caption": f"walk {n % 3} #dog #park"} for n in range(9)])
    for name in ("a", "b"):
        built(folder, tmp_path / name)
    files = [open_current(tmp_path / name).manifest.files for name in ("a", "b")]
    vectors = [{p: e for p, e in f.items() if p.endswith((".npy", ".faiss"))} for f in files]
    assert vectors[0] == vectors[1] != {}


@pytest.mark.parametrize("preset", ["report-word2vec", "report-glove", "report-pretrained"])
def test_the_reports_settings_make_an_index_that_answers(preset: str, tmp_path: Path) -> None:
    from hashlens.retriever.recommendation import Query
    from hashlens.retriever.recommender import Recommender

    rows: list[dict[str, object]] = [
        {"caption": f"{word} today #{word} #{tag}", "author": f"a{n}"}
        for n in range(8)
        for word, tag in (("dog", "park"), ("pizza", "dinner"))
    ]
    config = BuildConfig(vectors=VECTOR_PRESETS[preset])
    built(posts(tmp_path / "posts", rows), tmp_path / "index", config)
    answer = Recommender.open(tmp_path / "index").recommend(Query(seeds=("dog",)), 1)
    assert [tag.tag for tag in answer.tags] == ["park"]
