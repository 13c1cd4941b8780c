"""Sparse rows on disk, against dense NumPy arrays and plain lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.arrays.sparse import Matrix, open_npy
from hashlens.indexer.errors import IndexCorruptError, ShapeError

PARTS = ("starts", "columns", "values")
Entry = tuple[int, int, float]

entries_of = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.floats(-9, 9, width=32)), max_size=30
)


def matrix(entries: list[Entry], size: int, width: int = 2) -> Matrix:
    """Entries whose values are (v, -v)."""
    rows, columns = (np.array([e[n] for e in entries], np.int64) for n in (0, 1))
    values = np.array([[e[2], -e[2]] for e in entries], np.float32).reshape(-1, 2)
    return Matrix.of(rows, columns, values[:, :width], size)


def asked(found: Matrix, ids: list[int]) -> list[tuple[int, int, list[float]]]:
    places, columns, values = found.rows(np.array(ids, np.int64))
    assert [array.dtype.name for array in (places, columns, values)] == [
        "int64",
        "int64",
        "float32",
    ]
    return list(zip(places.tolist(), columns.tolist(), values.tolist(), strict=True))


@given(entries_of, st.lists(st.integers(-3, 9), max_size=8))
def test_rows_and_lengths_are_those_of_plain_lists(entries: list[Entry], ids: list[int]) -> None:
    expected = [
        (place, column, [value, -value])
        for place, wanted in enumerate(ids)
        for row, column, value in entries
        if row == wanted
    ]
    found = matrix(entries, 6)
    assert len(found) == 6
    assert asked(found, ids) == expected
    lengths = found.lengths(np.array(ids, np.int64))
    assert lengths.tolist() == [sum(row == wanted for row, *_ in entries) for wanted in ids]


@given(entries_of)
def test_all_rows_make_the_dense_matrix(entries: list[Entry]) -> None:
    expected, found = np.zeros((2, 6, 10)), np.zeros((2, 6, 10))
    for row, column, value in entries:
        expected[:, row, column] += (value, -value)
    places, columns, values = matrix(entries, 6).rows(np.arange(6))
    for place, column, value in zip(places, columns, values, strict=True):
        found[:, place, column] += value
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("width", [0, 2])
def test_empty_matrices_have_rows_without_entries(size: int, width: int, tmp_path: Path) -> None:
    matrix([], size, width).save(tmp_path / "m")
    found = Matrix.open(tmp_path / "m")
    assert len(found) == size
    assert asked(found, [0, 1, -1, 7]) == []
    assert found.lengths(np.array([0, 1, -1, 7])).tolist() == [0, 0, 0, 0]
    assert found.values.shape == (0, width)


def test_a_matrix_is_opened_as_it_was_saved_and_not_read_into_memory(tmp_path: Path) -> None:
    kept = matrix([(2, 7, 0.5), (0, 3, 1.0), (2, 1, -2.0)], 4)
    kept.save(tmp_path / "beside")
    found = Matrix.open(tmp_path / "beside")
    assert asked(found, [2, 0, 2]) == [
        (0, 7, [0.5, -0.5]),
        (0, 1, [-2.0, 2.0]),
        (1, 3, [1.0, -1.0]),
        (2, 7, [0.5, -0.5]),
        (2, 1, [-2.0, 2.0]),
    ]
    assert isinstance(found.values.base, np.memmap)
    assert not found.values.flags.writeable


@pytest.mark.parametrize(
    ("starts", "columns", "values"),
    [
        (np.array([0, 2]), np.zeros(3, np.int32), np.zeros((3, 1), np.float32)),
        (np.array([0, 2, 1, 3]), np.zeros(3, np.int32), np.zeros((3, 1), np.float32)),
        (np.array([1, 3]), np.zeros(3, np.int32), np.zeros((3, 1), np.float32)),
        (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 1), np.float32)),
        (np.array([0.0, 3.0]), np.zeros(3, np.int32), np.zeros((3, 1), np.float32)),
        (np.array([0, 3]), np.zeros(3, np.int64), np.zeros((3, 1), np.float32)),
        (np.array([0, 3]), np.zeros(3, np.int32), np.zeros(3, np.float32)),
        (np.array([0, 3]), np.zeros(3, np.int32), np.zeros((2, 1), np.float32)),
        (np.array([0, 3]), np.zeros(3, np.int32), np.zeros((3, 1), np.float64)),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    starts: np.ndarray, columns: np.ndarray, values: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ShapeError, match="Matrix"):
        Matrix(starts, columns, values)
    for part, array in zip(PARTS, (starts, columns, values), strict=True):
        np.save(tmp_path / f"m.{part}.npy", array)
    with pytest.raises(IndexCorruptError, match="rollback"):
        Matrix.open(tmp_path / "m")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NumPy's own, on damaged headers
@pytest.mark.parametrize("part", PARTS)
def test_damaged_files_are_refused_or_harmless(part: str, tmp_path: Path) -> None:
    matrix([(0, 5, 1.0), (1, 6, 2.0), (1, 7, 3.0)], 3).save(tmp_path / "m")
    path, draw, refused = tmp_path / f"m.{part}.npy", np.random.default_rng(1), 0
    sound = path.read_bytes()
    for number in range(150):
        bad = bytearray(sound)
        if number % 3 == 0:
            bad = bad[: draw.integers(0, len(bad))]
        for _ in range(draw.integers(1, 4)) if bad else ():
            bad[draw.integers(0, len(bad))] = draw.integers(0, 256)
        path.write_bytes(bad)
        try:
            Matrix.open(tmp_path / "m").rows(np.arange(3))
        except IndexCorruptError:
            refused += 1
    assert refused > 80
    path.unlink()
    with pytest.raises(IndexCorruptError, match=part):
        Matrix.open(tmp_path / "m")


def test_what_is_no_single_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "several.npz", a=np.arange(3))
    (tmp_path / "several.npz").rename(tmp_path / "x.npy")
    with pytest.raises(IndexCorruptError, match=r"x\.npy"):
        open_npy(tmp_path / "x.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(IndexCorruptError, match="objects"):
        open_npy(tmp_path / "objects.npy")
