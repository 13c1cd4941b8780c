"""Segments searched as one, against brute force over all their living vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.arrays import disk_rows as rowfile
from hashlens.indexer.errors import IndexCorruptError, ShapeError
from hashlens.indexer.types import Embeddings
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.segments import (
    DELETED,
    Segments,
    load_live,
    mark_deleted,
    save_segment,
    segment_paths,
)


def unit(draw: np.random.Generator, count: int, width: int = 6) -> np.ndarray:
    # Coarse values: many ties.
    rows = draw.integers(-1, 2, (count, width)).astype(np.float32)
    rows[:, 0] += 2
    found: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def nearest(
    ids: np.ndarray, vectors: np.ndarray, query: np.ndarray, m: int
) -> tuple[list[int], np.ndarray]:
    scores = vectors @ query
    order = np.lexsort((ids, -scores.round(5)))[:m]
    return ids[order].tolist(), scores[order]


@pytest.mark.parametrize("seed", range(8))
def test_search_is_that_of_brute_force_over_the_living(seed: int) -> None:
    draw = np.random.default_rng(seed)
    ids = draw.permutation(400)[:90].astype(np.int64)
    vectors = unit(draw, 90)
    dead = np.concatenate([draw.choice(ids, 30, replace=False), [1000]])
    parts = [
        VectorIndex.build(Embeddings(ids[a:b], vectors[a:b]))
        for a, b in ((0, 50), (50, 85), (85, 90))
    ]
    found = Segments(parts, dead)
    alive = ~np.isin(ids, dead)
    assert found.ids.tolist() == sorted(ids[alive].tolist())
    assert len(found) == 60
    np.testing.assert_array_equal(found.reconstruct(ids[alive]), vectors[alive])
    queries = unit(draw, 5)
    for m in (1, 10, 60, 80):
        near = found.search(queries, m)
        assert near.counts.tolist() == [min(m, 60)] * 5
        for number, query in enumerate(queries):
            told, scores = near.row(number)
            wanted, best = nearest(ids[alive], vectors[alive], query, m)
            np.testing.assert_allclose(scores, best, atol=1e-6)
            np.testing.assert_allclose(
                scores, [vectors[ids == i][0] @ query for i in told.tolist()], atol=1e-6
            )
            assert len(set(told.tolist())) == len(told)
            assert not np.isin(told, dead).any()
            assert len(wanted) == len(told)


def test_all_dead_finds_nothing_and_unknown_ids_are_refused() -> None:
    draw = np.random.default_rng(1)
    part = VectorIndex.build(Embeddings(np.arange(5), unit(draw, 5)))
    other = VectorIndex.build(Embeddings(np.arange(1), np.array([[1, 0]], np.float32)))
    found = Segments([part], np.arange(5))
    assert found.search(unit(draw, 2), 3).counts.tolist() == [0, 0]
    with pytest.raises(ShapeError, match="id 3"):
        found.reconstruct(np.array([3]))
    with pytest.raises(ShapeError, match="widths"):
        Segments([part, other])


@pytest.mark.parametrize("at_once", [1, 3, 4_096])
def test_segments_on_disk_keep_classes_and_lose_the_dead(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowfile, "ROWS_AT_ONCE", at_once)
    draw = np.random.default_rng(2)
    vectors, classes = unit(draw, 6), draw.random((6, 4)).astype(np.float32)
    folder = tmp_path / "images"
    for first in (0, 1):
        some = slice(first, None, 2)
        part = Embeddings(np.arange(6)[some] * 10, vectors[some])
        save_segment(folder, part, classes[some])
    save_segment(folder, Embeddings(np.zeros(0, np.int64), np.zeros((0, 6), np.float32)), None)
    assert [path.name for path in segment_paths(folder)] == ["0001.faiss", "0002.faiss"]
    left, dead = mark_deleted(folder, np.array([10, 40, 7, 999]))
    assert ([path.name for path in left], dead.tolist()) == (["0001.faiss", "0002.faiss"], [10, 40])
    left, dead = mark_deleted(folder, np.array([0, 10, 20, 40]))
    assert ([path.name for path in left], dead.tolist()) == (["0002.faiss"], [10])
    np.save(folder / DELETED, np.array([10, 40]))
    found, told = load_live(folder)
    assert found is not None
    assert told is not None
    rows = [0, 2, 3, 5]
    assert found.ids.tolist() == [0, 20, 30, 50]
    np.testing.assert_array_equal(found.vectors, vectors[rows])
    np.testing.assert_array_equal(told, classes[rows].astype(np.float16).astype(np.float32))
    np.save(folder / DELETED, np.array([1.5]))
    with pytest.raises(IndexCorruptError, match=DELETED):
        Segments.open(folder)
