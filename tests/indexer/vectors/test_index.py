"""VectorIndex of either kind against brute force in NumPy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
    index = VectorIndex.build(Embeddings(ids, same), kind)
    index.add(far)
    for queries in (same[:1], same[:2]):
        found = index.search(queries, 7)
        np.testing.assert_array_equal(found.ids, [list(range(7))] * len(queries))


@kinds
def test_a_subset_is_searched_exactly(kind: Kind) -> None:
    stored = embeddings(3000)
    index = VectorIndex.build(stored, kind)
    chosen = stored.ids[::100]
    asked = unit(5, seed=2)
    known = {i: v for i, v in as_dict(stored).items() if i in set(chosen.tolist())}
    check(index.search(asked, 12, subset=chosen), known, asked, 12)
    check(index.search(asked, 50, subset=chosen), known, asked, 50)
    check(index.search(asked, 3, subset=array(1, 2, -1)), {}, asked, 3)
    twice = np.concatenate([chosen[:2], chosen[:2], array(1)])
    two = {int(i): known[int(i)] for i in chosen[:2]}
    check(index.search(asked, 3, subset=twice), two, asked, 3)


@kinds
def test_an_empty_index_answers_and_grows(kind: Kind) -> None:
    index = VectorIndex.empty(WIDTH, kind)
    asked = unit(2, seed=5)
    check(index.search(asked, 4), {}, asked, 4)
    assert (len(index), index.ids.tolist(), index.kind) == (0, [], kind)
    stored = embeddings(3)
    index.add(stored)
    check(index.search(asked, 4), as_dict(stored), asked, 4)
    check(index.search(np.zeros((0, WIDTH), np.float32), 4), as_dict(stored), asked[:0], 4)


@kinds
def test_remove_then_search_then_add_again(kind: Kind) -> None:
    stored, asked = embeddings(200), unit(4, seed=6)
    index = VectorIndex.build(stored, kind)
    known = as_dict(stored)
    gone = stored.ids[::3]
    assert index.remove(np.concatenate([gone, gone[:2], array(1, 10**15)])) == len(gone)
    known = {i: v for i, v in known.items() if i not in set(gone.tolist())}
    check(index.search(asked, 200), known, asked, 200)
    np.testing.assert_array_equal(index.ids, sorted(known))
    again = Embeddings(gone, unit(len(gone), seed=7))
    index.add(again)
    known |= as_dict(again)
    check(index.search(asked, 200), known, asked, 200)
    np.testing.assert_array_equal(index.reconstruct(gone), again.vectors)
    assert index.remove(index.ids) == 200
    check(index.search(asked, 2), {}, asked, 2)


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
def test_bad_input_is_refused_and_changes_nothing(kind: Kind) -> None:
    stored = embeddings(50)
    index = VectorIndex.build(stored, kind)
    one = unit(1, seed=8)
    refused: list[tuple[Ids, Floats, str]] = [
        (stored.ids[:1], one, "twice"),
        (array(1, 1), unit(2), "found id 1 twice"),
        (array(-1), one, "found id -1"),
        (array(1), unit(1, 9), "width 9, expected 10"),
        (array(1), unit(1, 16), "width 16, expected 10"),
        (array(1), one * np.float32("nan"), "NaN"),
        (array(1), one * 0, "length 0"),
        (array(1), one * 2, "length 2"),
    ]
    for ids, vectors, message in refused:
        with pytest.raises(ShapeError, match=message):
            index.add(Embeddings(ids, vectors))
    for vectors, message in [(row[1], row[2]) for row in refused[3:]]:
        with pytest.raises(ShapeError, match=message):
            index.search(vectors, 3)
    with pytest.raises(ShapeError, match="found 0 neighbours"):
        index.search(one, 0)
    with pytest.raises(ShapeError, match="float64"):
        index.search(one.astype(np.float64), 3)
    np.testing.assert_array_equal(index.ids, np.sort(stored.ids))
    check(index.search(one, 5), as_dict(stored), one, 5)


def test_unknown_kinds_and_widths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'hnsw', expected exact or ivf or ivf-sq8"):
        VectorIndex.empty(4, "hnsw")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="width of 0"):
        VectorIndex.empty(0)


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
    stored, asked = Embeddings(np.arange(3000) * 5, unit(3000, 64)), unit(20, 64, seed=4)
    VectorIndex.build(stored, "ivf-sq8").save(tmp_path / "x.faiss")
    assert (tmp_path / "x.faiss").stat().st_size < 3000 * (64 + 8) * 1.2
    index = VectorIndex.open(tmp_path / "x.faiss")
    found = index.reconstruct(stored.ids[::7])
    np.testing.assert_allclose((found * stored.vectors[::7]).sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    near = index.search(asked, 10, subset=stored.ids)
    true = np.sort(asked @ stored.vectors.T, axis=1)[:, :-11:-1]
    np.testing.assert_allclose(near.scores, true, atol=0.02)
    own = np.einsum("qmd,qd->qm", stored.vectors[near.ids // 5], asked)
    np.testing.assert_allclose(near.scores, own, atol=0.02)
    assert index.remove(stored.ids[:100]) == 100
    index.add(Embeddings(stored.ids[:50], stored.vectors[:50]))
    index.save(tmp_path / "x.faiss")
    assert VectorIndex.open(tmp_path / "x.faiss").ids.tolist() == [
        *stored.ids[:50],
        *stored.ids[100:],
    ]


# Any order of changes -----------------------------------------------------------------------

few_ids = st.lists(st.integers(0, 30), max_size=8, unique=True)
seeds = st.integers(0, 6)  # few, so that equal vectors come up


class Changes(RuleBasedStateMachine):
    """Add, remove, save and open in any order, against a dict."""

    @initialize(kind=st.sampled_from(["exact", "ivf"]))
    def begin(self, kind: Kind) -> None:
        self.index = VectorIndex.empty(WIDTH, kind)
        self.known: dict[int, Floats] = {}

    @rule(ids=few_ids, seed=seeds)
    def add(self, ids: list[int], seed: int) -> None:
        stored = Embeddings(array(*ids), unit(len(ids), seed=seed))
        if self.known.keys() & set(ids):
            with pytest.raises(ShapeError, match="twice"):
                self.index.add(stored)
        else:
            self.index.add(stored)
            self.known |= as_dict(stored)

    @rule(ids=few_ids)
    def remove(self, ids: list[int]) -> None:
        assert self.index.remove(array(*ids)) == len(self.known.keys() & set(ids))
        self.known = {i: v for i, v in self.known.items() if i not in ids}

    @rule(mmap=st.booleans())
    def save_and_open(self, mmap: bool) -> None:
        path = Path(os.environ["VECTORS_FOLDER"]) / "x.faiss"
        self.index.save(path)
        self.index = VectorIndex.open(path, mmap=mmap)

    @rule(seed=seeds, m=st.integers(1, 12), subset=st.none() | few_ids)
    def search(self, seed: int, m: int, subset: list[int] | None) -> None:
        asked = unit(2, seed=seed)
        chosen = None if subset is None else array(*subset)
        known = {i: v for i, v in self.known.items() if subset is None or i in subset}
        check(self.index.search(asked, m, subset=chosen), known, asked, m)

    @invariant()
    def holds_the_same(self) -> None:
        assert self.index.ids.tolist() == sorted(self.known)
        for i, vector in self.known.items():
            np.testing.assert_array_equal(self.index.reconstruct(array(i))[0], vector)


def test_any_order_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("VECTORS_FOLDER", str(tmp_path))
    run_state_machine_as_test(
        Changes, settings=settings(max_examples=60, stateful_step_count=20, deadline=None)
    )
