"""VectorIndex of either kind against brute force in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.indexer.errors import ConfigError, ShapeError
from hashlens.indexer.types import Embeddings, Floats, Ids
from hashlens.indexer.vectors.faiss_types import Kind
from hashlens.indexer.vectors.index import VectorIndex
from tests.support.vector_oracle import WIDTH, array, as_dict, check, embeddings, kinds, unit


@kinds
@pytest.mark.parametrize("queries", [1, 3, 40])
def test_search_equals_brute_force(kind: Kind, queries: int) -> None:
    stored = embeddings(500)
    index = VectorIndex.build(stored, kind)
    assert (index.kind, index.width, len(index)) == (kind, WIDTH, 500)
    np.testing.assert_array_equal(index.ids, np.sort(stored.ids))
    asked = unit(queries, seed=9)
    check(index.search(asked, 10), as_dict(stored), asked, 10)


def test_a_search_worked_by_hand() -> None:
    rows = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], dtype=np.float32)
    index = VectorIndex.build(Embeddings(array(40, 30, 20, 10), rows))
    found = index.search(rows[:1], 6)
    np.testing.assert_array_equal(found.ids, [[40, 30, 20, 10, 0, 0]])
    np.testing.assert_allclose(found.scores, [[1, 0.6, 0, -1, -np.inf, -np.inf]], atol=1e-6)
    np.testing.assert_array_equal(found.counts, [4])


@kinds
def test_equal_vectors_are_given_by_rising_id_however_many(kind: Kind) -> None:
    same = np.repeat(unit(1), 300, axis=0)
    ids = np.random.default_rng(1).permutation(300).astype(np.int64)
    far = embeddings(50, seed=3)
    both = Embeddings(np.concatenate([ids, far.ids + 1000]), np.concatenate([same, far.vectors]))
    index = VectorIndex.build(both, kind)
    for queries in (same[:1], same[:2]):
        found = index.search(queries, 7)
        np.testing.assert_array_equal(found.ids, [list(range(7))] * len(queries))


@kinds
def test_an_empty_index_answers(kind: Kind) -> None:
    index = VectorIndex.build(embeddings(0), kind)
    asked = unit(2, seed=5)
    check(index.search(asked, 4), {}, asked, 4)
    assert (len(index), index.ids.tolist(), index.kind) == (0, [], kind)
    check(index.search(np.zeros((0, WIDTH), np.float32), 4), {}, asked[:0], 4)


@kinds
def test_ids_to_skip_are_not_found(kind: Kind) -> None:
    stored, asked = embeddings(200), unit(4, seed=6)
    index = VectorIndex.build(stored, kind)
    gone = stored.ids[::3]
    known = {i: v for i, v in as_dict(stored).items() if i not in set(gone.tolist())}
    without = np.concatenate([gone, gone[:2], array(1, 10**15)])
    for _ in range(2):
        check(index.search(asked, 200, without=without), known, asked, 200)
    check(index.search(asked, 200), as_dict(stored), asked, 200)
    check(index.search(asked, 2, without=stored.ids), {}, asked, 2)
    check(index.search(asked, 9, without=array(1)), as_dict(stored), asked, 9)


@kinds
def test_reconstruct_in_the_order_asked(kind: Kind) -> None:
    stored = embeddings(100)
    index = VectorIndex.build(stored, kind)
    rows = [5, 3, 99, 5]
    np.testing.assert_array_equal(index.reconstruct(stored.ids[rows]), stored.vectors[rows])
    assert index.reconstruct(array()).shape == (0, WIDTH)
    with pytest.raises(ShapeError, match="found id 1, expected one of the 100"):
        index.reconstruct(array(7, 1))


@kinds
def test_bad_input_is_refused(kind: Kind) -> None:
    stored = embeddings(50)
    index = VectorIndex.build(stored, kind)
    one = unit(1, seed=8)
    refused: list[tuple[Ids, Floats, str]] = [
        (array(1, 1), unit(2), "found id 1 twice"),
        (array(-1), one, "found id -1"),
        (array(1), one * np.float32("nan"), "NaN"),
        (array(1), one * 0, "length 0"),
        (array(1), one * 2, "length 2"),
    ]
    for ids, vectors, message in refused:
        with pytest.raises(ShapeError, match=message):
            VectorIndex.build(Embeddings(ids, vectors), kind)
    for vectors, message in [
        *((row[1], row[2]) for row in refused[2:]),
        (unit(1, 9), "width 9, expected 10"),
        (unit(1, 16), "width 16, expected 10"),
    ]:
        with pytest.raises(ShapeError, match=message):
            index.search(vectors, 3)
    with pytest.raises(ShapeError, match="found 0 neighbours"):
        index.search(one, 0)
    with pytest.raises(ShapeError, match="float64"):
        index.search(one.astype(np.float64), 3)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'hnsw', expected exact or ivf or ivf-sq8"):
        VectorIndex.build(embeddings(3), "hnsw")  # type: ignore[arg-type]


def test_auto_is_exact_until_vectors_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashlens.indexer.vectors.faiss_types.MAX_EXACT", 99)
    assert VectorIndex.build(embeddings(99)).kind == "exact"
    assert VectorIndex.build(embeddings(100)).kind == "ivf"
    monkeypatch.setattr("hashlens.indexer.vectors.faiss_types.MAX_FLOAT_WIDTH", WIDTH - 1)
    assert VectorIndex.build(embeddings(99)).kind == "exact"
    assert VectorIndex.build(embeddings(100)).kind == "ivf-sq8"


@pytest.mark.parametrize("kind", ["ivf", "ivf-sq8"])
def test_clusters_find_nearly_what_exact_finds_and_are_repeatable(kind: Kind) -> None:
    """The exact index judges: recall@10 where clusters are many and only a share is looked at."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(400, 32))
    vectors = (centres[rng.integers(400, size=20_000)] + rng.normal(size=(20_000, 32))).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = Embeddings(np.arange(20_000), vectors)
    ivf, exact = VectorIndex.build(stored, kind), VectorIndex.build(stored, "exact")
    found, true = ivf.search(vectors[:300], 10), exact.search(vectors[:300], 10)
    pairs = zip(found.ids, true.ids, strict=True)
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs])
    assert recall > 0.9
    again = VectorIndex.build(stored, kind).search(vectors[:300], 10)
    np.testing.assert_array_equal(again.ids, found.ids)


def test_vectors_kept_as_bytes_are_nearly_those_added(tmp_path: Path) -> None:
    stored, asked = Embeddings(np.arange(1200) * 5, unit(1200, 64)), unit(20, 64, seed=4)
    VectorIndex.build(stored, "ivf-sq8").save(tmp_path / "x.faiss")
    assert (tmp_path / "x.faiss").stat().st_size < 1200 * (64 + 8) * 1.2
    index = VectorIndex.open(tmp_path / "x.faiss")
    found = index.reconstruct(stored.ids[::7])
    np.testing.assert_allclose((found * stored.vectors[::7]).sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    near = index.search(asked, 10)
    true = np.sort(asked @ stored.vectors.T, axis=1)[:, :-11:-1]
    np.testing.assert_allclose(near.scores, true, atol=0.02)
    own = np.einsum("qmd,qd->qm", stored.vectors[near.ids // 5], asked)
    np.testing.assert_allclose(near.scores, own, atol=0.02)


few_ids = st.lists(st.integers(0, 30), max_size=12, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["exact", "ivf"]),
    ids=few_ids,
    seed=st.integers(0, 6),
    m=st.integers(1, 12),
    without=st.none() | few_ids,
    mmap=st.booleans(),
)
def test_whatever_is_built_is_found_again(
    tmp_path_factory: pytest.TempPathFactory,
    kind: Kind,
    ids: list[int],
    seed: int,
    m: int,
    without: list[int] | None,
    mmap: bool,
) -> None:
    """Equal vectors, ids to skip, and files read or mapped, against a dict."""
    vectors = unit(3, seed=seed)[np.arange(len(ids)) % 3]
    stored, path = Embeddings(array(*ids), vectors), tmp_path_factory.mktemp("v") / "x.faiss"
    VectorIndex.build(stored, kind).save(path)
    index, asked = VectorIndex.open(path, mmap=mmap), unit(2, seed=seed)
    known = {i: v for i, v in as_dict(stored).items() if i not in (without or [])}
    found = index.search(asked, m, without=None if without is None else array(*without))
    check(found, known, asked, m)
    assert index.ids.tolist() == sorted(ids)
    np.testing.assert_array_equal(index.reconstruct(stored.ids), stored.vectors)
