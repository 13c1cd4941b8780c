"""What an update does with what was learned: kept as it is, young hashtags, and learning anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hashlens.indexer.config import (
    ALL_TOPICS,
    VECTOR_PRESETS,
    BuildConfig,
    UpdateConfig,
    VectorConfig,
)
from hashlens.indexer.errors import IndexMismatchError, InputError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.images.specs import LITE0, RECIPES, Recipe
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.sample import sample_pictures
from hashlens.indexer.storage.store import Store
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.json_format import format_answer
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.summary import summarize
from tests.indexer.pipeline.random_updates import SMALL, built, tables, updated, written

WALKS = [
    {
        "id": f"w{n}",
        "author": f"a{n}",
        "caption": f"walk in the park number{n}x",
        "hashtags": ["dog"],
    }
    for n in range(12)
]
TEAS = [
    {"id": f"t{n}", "author": f"a{n}", "caption": f"tea and cake at home {n}y", "hashtags": ["tea"]}
    for n in range(12)
]
NEW = [
    {
        "id": f"n{n}",
        "author": f"b{n}",
        "caption": "walk in the park",
        "hashtags": ["dog", "zoomies"],
    }
    for n in range(3)
]


def test_a_new_hashtag_is_young_recommended_at_once_and_among_its_company(tmp_path: Path) -> None:
    index = built([*WALKS, *TEAS], tmp_path)
    report = updated(NEW, index)
    assert (report.retrained, report.counts["young"], report.counts["since_training"]) == (
        False,
        1,
        3,
    )
    recommender = Recommender.open(index)
    answer = recommender.recommend(Query(caption="a walk in the park"), 3)
    young = {tag.tag: tag.is_new for tag in answer.tags}
    assert young["zoomies"]
    assert not young["dog"]
    told = format_answer(answer, evidence=False)["tags"]
    assert {tag["tag"]: tag.get("young") for tag in told} == {
        t: y or None for t, y in young.items()
    }
    shown = summarize(index)
    assert (shown["counts"]["young"], shown["counts"]["since_training"]) == (1, 3)


def test_a_young_vector_is_the_mean_of_its_company_each_author_one_voice(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "author": "x", "caption": "walk", "hashtags": ["zoomies"]},
        {"id": "2", "author": "x", "caption": "park", "hashtags": ["zoomies"]},
        {"id": "3", "author": "y", "caption": "tea cake", "hashtags": ["zoomies", "tea"]},
    ]
    index = built([*WALKS, *TEAS], tmp_path)
    updated(rows, index)
    reader = IndexReader.open(index)
    space, (tag,) = reader.space(ALL_TOPICS), reader.tag_ids(["zoomies"]).values()
    assert space is not None
    (idf, was) = reader.idf(["walk", "park", "tea", "cake", "#tea"])
    assert was["walk"] == pytest.approx(np.log1p(24 / 12))
    assert idf["walk"] == pytest.approx(np.log1p(27 / 13))

    def unit(*words: str) -> Any:
        total = sum(was[w] * space.vectors[space.lookup([w])[1][0]].astype(float) for w in words)
        return total / np.linalg.norm(total)

    ann = unit("walk") + unit("park")
    wanted = ann / np.linalg.norm(ann) + unit("tea", "cake", "#tea")
    wanted /= np.linalg.norm(wanted)
    np.testing.assert_allclose(reader.tag_vectors[tag], wanted, atol=2e-3)
    found = reader.hashtag_index(ALL_TOPICS)
    assert found is not None
    assert int(found.search(wanted[None].astype(np.float32), 1).ids[0, 0]) == tag


@pytest.mark.parametrize("preset", ["report-word2vec", "report-glove", "report-pretrained"])
def test_the_reports_settings_can_be_updated(preset: str, tmp_path: Path) -> None:
    config = BuildConfig(**{**_fields(SMALL), "vectors": VECTOR_PRESETS[preset]})
    index = built([*WALKS, *TEAS], tmp_path, config)
    assert updated(NEW, index).counts["young"] == 1
    reader = IndexReader.open(index)
    (tag,) = reader.tag_ids(["zoomies"]).values()
    assert np.linalg.norm(reader.tag_vectors[tag]) == pytest.approx(1, abs=1e-3)
    answer = Recommender(reader).recommend(Query(caption="walk in the park", seeds=("dog",)), 1)
    assert [(found.tag, found.is_new) for found in answer.tags] == [("zoomies", True)]


def test_what_was_learned_is_linked_not_copied(tmp_path: Path) -> None:
    index = built([*WALKS, *TEAS], tmp_path)
    before = open_current(index)
    updated(NEW, index)
    after = open_current(index)
    kept = [p for p in before.manifest.files if p.split("/")[0] in ("topics", "words", "trained")]
    kept.append("captions/0001.faiss")
    assert len(kept) > 8
    for path in kept:
        assert (before.folder / path).stat().st_ino == (after.folder / path).stat().st_ino
    assert "captions/0002.faiss" in after.manifest.files
    assert before.manifest.files.keys().isdisjoint({"captions/0002.faiss", "captions/dead.npy"})


def test_learning_anew_gives_the_index_that_a_build_of_the_same_posts_gives(tmp_path: Path) -> None:
    index = built([*WALKS, *TEAS], tmp_path / "a")
    updated(NEW[:2], index, ["w3"])
    report = updated(NEW[2:], index, ["w4"], retrain=True)
    assert report.retrained
    assert any("learned anew: as asked" in note for note in report.notes)
    left = [row for row in [*WALKS, *TEAS, *NEW] if row["id"] not in ("w3", "w4")]
    other = built(left, tmp_path / "b")
    found, wanted = open_current(index), open_current(other)
    assert found.manifest.files.keys() == wanted.manifest.files.keys()
    assert tables(found.folder) == tables(wanted.folder)
    for path, entry in wanted.manifest.files.items():
        assert path == "posts.duckdb" or found.manifest.files[path] == entry, path
    assert found.manifest.counts == wanted.manifest.counts


def test_it_learns_anew_by_itself_from_a_share_of_new_posts_on(tmp_path: Path) -> None:
    config = BuildConfig(**{**_fields(SMALL), "update": UpdateConfig(retrain_share=0.1)})
    index = built([*WALKS, *TEAS], tmp_path, config)
    assert not updated(NEW[:2], index, retrain=None).retrained
    report = updated(NEW[2:], index, retrain=None)
    assert report.retrained
    assert "11% of the posts are new, over 10%" in report.notes[0]
    assert "young" not in report.counts


def test_word_vectors_of_ones_own_are_read_again_only_where_they_are_named(tmp_path: Path) -> None:
    words = {"walk": "1 0", "tea": "0 1", "cake": "0.1 1", "park": "1 0.1"}
    file, other = tmp_path / "words.txt", tmp_path / "other.txt"
    for path in (file, other):
        path.write_text("".join(f"{word} {row}\n" for word, row in words.items()))
    vectors = VectorConfig("pretrained+word2vec", 2, pretrained=str(file), min_count=1, epochs=1)
    given = _fields(SMALL) | {"vectors": vectors, "update": UpdateConfig(retrain_share=0.1)}
    index = built([*WALKS, *TEAS], tmp_path, BuildConfig(**given))
    with pytest.raises(InputError, match=r"words\.txt, and an index alone is not followed there"):
        updated([], index, retrain=True)
    report = updated(NEW, index, retrain=None)  # there would be reason enough
    assert not report.retrained
    assert "name that file with --pretrained" in report.notes[0]
    assert updated([], index, retrain=True, pretrained=other).retrained
    assert open_current(index).manifest.config["vectors"]["pretrained"] == str(other)


def _fields(config: BuildConfig) -> dict[str, Any]:
    names = ("encoder", "hashtag_rule", "vectors", "topics", "ranking")
    return {name: getattr(config, name) for name in names}


def test_the_same_posts_again_change_nothing_and_make_no_generation(tmp_path: Path) -> None:
    index = built(WALKS, tmp_path)
    first = updated(NEW, index)
    again = updated([*WALKS, *NEW], index, ["nobody"])
    assert (again.generation, again.unchanged, again.added) == (first.generation, 15, 0)
    assert again.not_found == ("nobody",)
    assert any("nobody" in note for note in again.notes)
    assert sorted(p.name for p in index.glob("gen-*")) == ["gen-000001", "gen-000002"]


def test_deleted_wins_over_given_and_keep_keeps_as_many(tmp_path: Path) -> None:
    index = built(WALKS, tmp_path)
    report = updated([WALKS[0], NEW[0]], index, ["w0", "n0"], keep=1)
    assert (report.deleted, report.added, report.unchanged) == (1, 0, 0)
    assert report.not_found == ("n0",)
    assert "2 posts were given and to be deleted" in report.notes[1]
    assert [path.name for path in index.glob("gen-*")] == ["gen-000002"]
    with pytest.raises(InputError, match="nothing"):
        updated([], index)


def test_pictures_old_new_and_deleted_are_neighbours_as_in_a_build(tmp_path: Path) -> None:
    pictures = sample_pictures()
    names = sorted(pictures)[:6]
    rows = [
        {"id": n, "author": n, "image": n, "caption": f"one {n}", "hashtags": ["dog"]}
        for n in names
    ]
    for place in ("a", "b"):
        (tmp_path / place / "posts").mkdir(parents=True)
        (tmp_path / place / "more").mkdir()
        for name in names:
            shutil.copy(pictures[name], tmp_path / place / "posts" / name)
            shutil.copy(pictures[name], tmp_path / place / "more" / name)
    index = built(rows[:4], tmp_path / "a")
    updated(rows[4:], index, [names[1]])
    changed = {**rows[0], "caption": "another"}
    updated([changed], index)
    left = [rows[2], rows[3], rows[4], rows[5], changed]
    other = built(left, tmp_path / "b")
    found, wanted = IndexReader.open(index), IndexReader.open(other)
    assert found.manifest.counts["pictures"] == wanted.manifest.counts["pictures"] == 5
    assert found.images is not None
    assert wanted.images is not None
    assert len(found.images) == 5
    query = wanted.images.reconstruct(wanted.images.ids)
    near, truth = found.images.search(query, 9), wanted.images.search(query, 9)
    np.testing.assert_allclose(near.scores, truth.scores, atol=1e-6)
    for row in range(5):
        assert _posts(found, near.row(row)[0]) == _posts(wanted, truth.row(row)[0])
    updated([], index, retrain=True)
    anew = IndexReader.open(index)
    assert anew.images is not None
    np.testing.assert_allclose(anew.images.reconstruct(anew.images.ids), query, atol=1e-6)
    for path in ("images/0001.npy", "images/0001.faiss"):
        assert anew.manifest.files[path] == wanted.manifest.files[path]


def _posts(reader: IndexReader, keys: Any) -> list[str]:
    names = reader.post_ids(keys.tolist())
    return [names[key] for key in keys.tolist()]


def test_an_encoder_with_other_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = sorted(sample_pictures())[0]
    rows = [{"id": "p", "image": name, "caption": "one", "hashtags": ["dog"]}]
    folder = written(rows, tmp_path / "posts")
    shutil.copy(sample_pictures()[name], folder / name)
    build([folder], tmp_path / "index", config=SMALL, workers=1)
    more = written([{**rows[0], "id": "q"}], tmp_path / "more")
    shutil.copy(sample_pictures()[name], more / name)
    assert LITE0.shipped is not None
    other = replace(LITE0, shipped=replace(LITE0.shipped, weights_sha256="0" * 64))
    monkeypatch.setitem(cast(dict[str, Recipe], RECIPES), LITE0.name, other)
    with pytest.raises(IndexMismatchError, match="0000"):
        update([more], tmp_path / "index", retrain=False)
    assert open_current(tmp_path / "index").number == 1


def test_a_deleted_post_is_in_no_table_count_or_answer(tmp_path: Path) -> None:
    index = built([*WALKS, *TEAS, *NEW], tmp_path)
    gone = [str(row["id"]) for row in NEW]
    updated([], index, gone)
    reader = IndexReader.open(index)
    with Store.open(reader.generation.folder / "posts.duckdb") as store:
        assert store.rows("select count(*) from hashtags where key = 'zoomies'") == [(0,)]
        keys = {key for (key,) in store.rows("select post_key from posts")}
    assert reader.captions is not None
    near = reader.captions.search(reader.captions.reconstruct(reader.captions.ids), 100)
    assert {int(i) for row in range(len(near.ids)) for i in near.row(row)[0]} <= keys
    answer = Recommender(reader).recommend(Query(caption="walk in the park"), 5, explain=True)
    told = {post for tag in answer.tags for part in tag.evidence for post in part.posts}
    assert told.isdisjoint(gone)
    assert "zoomies" not in {tag.tag for tag in answer.tags}
