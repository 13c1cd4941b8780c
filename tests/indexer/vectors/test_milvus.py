"""Vectors in Milvus against the same in FAISS files, with a real Milvus Lite."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.errors import (
    HashlensError,
    InputError,
    ShapeError,
    VectorsUnreachableError,
)
from hashlens.indexer.generations.generation import open_current, rollback
from hashlens.indexer.pipeline import incremental as extend
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.compact import compact
from hashlens.indexer.pipeline.forget import forget
from hashlens.indexer.types import Embeddings
from hashlens.indexer.vectors import milvus_client as milvus
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.milvus_client import Collection, list_collections
from hashlens.indexer.vectors.milvus_location import MilvusLocation
from hashlens.indexer.vectors.milvus_segments import SUFFIX, MilvusVectors, primary_keys
from hashlens.indexer.vectors.segments import (
    Segments,
    live_ids,
    load_live,
    save_segment,
    segment_paths,
)
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import SMALL, WORDS, built, updated, written
from tests.support import tiny_index as tiny
from tests.support.milvus_index import (
    QUERIES,
    ROWS,
    answered,
    assert_same_up_to_ties,
    coarse,
    collections,
    everything,
    kept_there,
    near,
    place_of,
    published,
)


@pytest.mark.parametrize("seed", range(3))
def test_search_is_that_of_exact_faiss_up_to_ties(seed: int, lite: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(seed)
    ids = draw.permutation(500)[:200].astype(np.int64)
    vectors = coarse(draw, 200) if seed else draw.normal(size=(200, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    dead = np.concatenate([draw.choice(ids, 60, replace=False), [1000]])
    parts = {3: slice(0, 90), 4: slice(90, 195), 12: slice(195, 200)}
    there = Collection.make(lite, f"hashlens_test_{seed}", 6, 200)
    for number, part in parts.items():
        there.add(number, primary_keys(number, ids[part]), vectors[part])
    # Of another generation, and nearest to everything: never seen.
    there.add(5, primary_keys(5, ids), np.repeat(vectors[:1], 200, axis=0))
    inside = Segments(
        [VectorIndex.build(Embeddings(ids[part], vectors[part])) for part in parts.values()], dead
    )
    found = MilvusVectors(there, {number: ids[part] for number, part in parts.items()})
    outside = Segments([found], dead)
    assert outside.ids.tolist() == inside.ids.tolist()
    assert len(outside) == len(inside) == 140
    some = draw.permutation(inside.ids)[:50]
    np.testing.assert_array_equal(outside.reconstruct(some), inside.reconstruct(some))
    queries = np.concatenate([coarse(draw, 5), vectors[:3]])
    for m in (1, 10, 100, 140, 300):
        assert_same_up_to_ties(outside.search(queries, m), inside.search(queries, m))
    assert not np.isin(outside.search(queries, 140).ids, dead).any()
    with pytest.raises(ShapeError, match="id 1000"):
        outside.reconstruct(np.array([1000]))


def test_equal_scores_stand_by_rising_id_however_many(lite: str) -> None:
    ids = np.random.default_rng(1).permutation(400).astype(np.int64)
    vectors = np.tile(np.eye(4, dtype=np.float32), (100, 1))
    there = Collection.make(lite, "hashlens_test_ties", 4, 400)
    there.add(1, primary_keys(1, ids[:200]), vectors[:200])
    there.add(2, primary_keys(2, ids[200:]), vectors[200:])
    found = MilvusVectors(there, {1: ids[:200], 2: ids[200:]})
    near = found.search(vectors[:4], 30)
    wanted = VectorIndex.build(Embeddings(ids, vectors)).search(vectors[:4], 30)
    np.testing.assert_array_equal(near.ids, wanted.ids)
    np.testing.assert_array_equal(near.scores, wanted.scores)
    for m, width, what in ((0, 4, "neighbours"), (1, 5, "width 5")):
        with pytest.raises(ShapeError, match=what):
            found.search(np.eye(width, dtype=np.float32)[:1], m)
    with pytest.raises(ShapeError, match="width 5"):
        there.add(3, primary_keys(3, ids[:1]), np.eye(5, dtype=np.float32)[:1])


def test_a_server_is_used_as_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an index that is not exact finds nearly the same."""
    served = pytest.importorskip("milvus_lite.adapter.grpc.server")
    server, database, port = served.start_server_in_thread(str(tmp_path / "served.db"))
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(milvus, "MAX_EXACT", 100)
    draw, ids = np.random.default_rng(2), np.arange(1000)
    vectors = draw.normal(size=(1000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    there = Collection.make(address, "hashlens_test", 16, 1000)
    there.add(1, primary_keys(1, ids), vectors)
    found = MilvusVectors(Collection.open(address, "hashlens_test"), {1: ids})
    near, wanted = found.search(vectors[:20], 10), vectors[:20] @ vectors.T
    best = np.argsort(-wanted, axis=1)[:, :10]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(near.ids, best, strict=True)]) > 0.95
    assert list_collections(address, "hashlens_") == ["hashlens_test"]
    server.stop(0).wait()
    database.close()
    with pytest.raises(VectorsUnreachableError, match=str(port)):
        found.search(vectors[:1], 1)


def test_an_index_answers_as_one_of_files_through_its_whole_life(lite: str, tmp_path: Path) -> None:
    index, other = kept_there(ROWS[:40], tmp_path / "a", lite), built(ROWS[:40], tmp_path / "b")
    assert_same_up_to_ties(near(index), near(other))
    assert not list(index.glob("gen-*/captions/*.faiss"))
    reader = Recommender(IndexReader.open(index))
    first, answers = near(index), reader.recommend_many(QUERIES, 5)
    changed = [row | {"caption": f"{WORDS[3]} {WORDS[7]}"} for row in ROWS[:6]]
    for each in (index, other):
        updated([*ROWS[40:50], *changed], each, ["p20", "p21", "p41"])
    second = near(index)
    assert second.ids.tolist() != first.ids.tolist()
    assert_same_up_to_ties(second, near(other))
    assert answered(index) == pytest.approx(answered(other), abs=1e-5)
    # Back, and on another way: the same keys again, of other posts.
    for each in (index, other):
        rollback(each, 1)
        assert_same_up_to_ties(near(each), first)
        updated(ROWS[50:], each, ["p7"])
    third = near(index)
    assert_same_up_to_ties(third, near(other))
    rollback(index, 2)
    assert_same_up_to_ties(near(index), second)
    assert reader.recommend_many(QUERIES, 5) == answers
    assert verify(index).troubles == ()
    rollback(index, 3)
    compact(index)
    assert_same_up_to_ties(near(index), third)
    assert len(collections(index)) == 2  # older generations have theirs
    updated([], index, retrain=True, keep=1)
    assert len(collections(index)) == 2  # a reader holds generation 1
    assert reader.recommend_many(QUERIES, 5) == answers
    del reader
    compact(index, keep=1)
    assert collections(index) == [place_of(index).collection("captions")]
    assert verify(index).sound


def test_pictures_and_their_classes_are_kept(lite: str, tmp_path: Path) -> None:
    index, other = tmp_path / "a", tmp_path / "b"
    generation, same = published(index, lite), tiny.published(other)
    assert generation.manifest.counts == same.manifest.counts
    there, here = IndexReader(generation).images, IndexReader(same).images
    assert there is not None
    assert here is not None
    asked = tiny.PICTURES[::-1].copy()
    assert_same_up_to_ties(there.search(asked, 3), here.search(asked, 3))
    updated([{"id": "new", "caption": "sleepy park", "hashtags": ["dog"]}], index, ["p1"])
    assert open_current(index).manifest.counts["pictures"] == 3
    folder = tmp_path / "gen-000002"
    folder.mkdir()
    MilvusLocation.first(lite, tmp_path, 2).save(folder)
    classes = np.random.default_rng(1).random((4, 10)).astype(np.float32)
    save_segment(folder / "images", Embeddings(np.arange(4), tiny.PICTURES), classes)
    np.save(folder / "images" / "dead.npy", np.array([2]))
    found, told = load_live(folder / "images")
    assert found is not None
    assert found.ids.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(found.vectors, tiny.PICTURES[[0, 1, 3]])
    np.testing.assert_array_equal(told, classes[[0, 1, 3]].astype(np.float16).astype(np.float32))
    assert [path.suffix for path in segment_paths(folder / "images")] == [SUFFIX]


def test_forgetting_leaves_no_vector_of_a_person(lite: str, tmp_path: Path) -> None:
    secret = {"author": "zuleika", "caption": " ".join(WORDS[:9]), "hashtags": ["dog"]}
    index = kept_there([*ROWS[:20], secret | {"id": "s1"}], tmp_path, lite)
    updated([secret | {"id": "s2", "caption": " ".join(WORDS[4:14])}], index)
    captions = IndexReader.open(index).captions
    assert captions is not None
    with_hers = IndexReader.open(index).store
    hers = [key for (key,) in with_hers.rows("select post_key from posts where author = 'zuleika'")]
    with_hers.close()
    vectors = captions.reconstruct(np.array(hers))
    before = place_of(index)
    assert (everything(before.collection("captions"), lite) == vectors[1]).all(axis=1).any()
    report = forget(index, author="zuleika")
    assert report.posts == 2
    (left,) = collections(index)
    assert left == place_of(index).collection("captions") != before.collection("captions")
    rows = everything(left, lite)
    assert len(rows) == len(live_ids(open_current(index).folder / "captions"))
    assert not (rows[:, None] == vectors).all(axis=2).any()
    assert not list(Path(lite).rglob(before.collection("captions")))
    assert verify(index).sound


def test_what_a_killed_update_left_is_never_seen(
    lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, other = kept_there(ROWS[:30], tmp_path / "a", lite), built(ROWS[:30], tmp_path / "b")
    before = near(index)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extend, "write_count_matrices", die)
        with pytest.raises(KeyboardInterrupt):
            updated(ROWS[30:50], index)
    (name,) = collections(index)
    assert len(everything(name, lite)) > len(live_ids(open_current(index).folder / "captions"))
    assert_same_up_to_ties(near(index), before)
    # Fewer posts, some without a word: no key of theirs may find what was left.
    more = [ROWS[50], {"id": "bare", "hashtags": ["cat"]}, ROWS[51]]
    for each in (index, other):
        updated(more, each)
    assert_same_up_to_ties(near(index), near(other))
    assert verify(index).sound


def test_what_a_killed_build_left_goes_with_the_next(
    lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts, index = written(ROWS[:10], tmp_path / "posts"), tmp_path / "index"
    there = set(list_collections(lite, "hashlens_"))

    def die(*_: object) -> None:  # as a killed process, which removes nothing
        shutil.copytree(index / "gen-000001", tmp_path / "left")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hashlens.indexer.corpus.corpus.write_count_matrices", die)
        with pytest.raises(KeyboardInterrupt):
            build([posts], index, config=SMALL, vectors_in=f"milvus:{lite}")
    shutil.move(tmp_path / "left", index / "gen-000001")
    assert len(set(list_collections(lite, "hashlens_")) - there) == 1
    build([posts], index, config=SMALL, vectors_in=f"milvus:{lite}")
    assert set(list_collections(lite, "hashlens_")) - there == set(collections(index))
    build([posts], index, config=SMALL, keep=1)  # files again: nothing is left there
    assert set(list_collections(lite, "hashlens_")) == there


def test_a_copy_never_writes_to_what_it_shares(lite: str, tmp_path: Path) -> None:
    index = kept_there(ROWS[:20], tmp_path, lite)
    before, there = near(index), collections(index)
    copy = shutil.copytree(index, tmp_path / "copy")
    assert_same_up_to_ties(near(copy), before)
    with pytest.raises(HashlensError, match="copied"):
        updated(ROWS[20:], copy)
    compact(copy, keep=1)
    updated(ROWS[20:30], copy, ["p1"])
    assert place_of(copy).index != place_of(index).index
    assert collections(index) == there
    assert_same_up_to_ties(near(index), before)
    assert verify(copy).sound
    assert verify(index).sound
    with pytest.raises(InputError, match="Milvus"), copy_index(tmp_path / "new", index):
        pass
