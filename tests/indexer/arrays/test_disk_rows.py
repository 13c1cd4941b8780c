"""Rows of numbers are the same in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.arrays import disk_rows as rowfile
from hashlens.indexer.arrays.disk_rows import RowWriter, concat_rows, take_rows
from hashlens.indexer.types import Floats

NUMBERS = np.random.default_rng(3).normal(size=(1_000, 7)).astype(np.float32)


def _added(sizes: list[int]) -> Floats:
    rows = RowWriter(7)
    for part in np.split(NUMBERS, np.cumsum(sizes)):
        rows.add(part)
    return rows.to_array()


@pytest.mark.parametrize("held", [0, 5_000, 1 << 20])
def test_rows_come_back_as_they_were_added(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowfile, "MAX_HELD_BYTES", held)
    monkeypatch.setattr(rowfile, "ROWS_AT_ONCE", 100)
    found = _added([0, 1, 300, 0, 299])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, NUMBERS)
    places = np.random.default_rng(4).permutation(1_000)[:350]
    np.testing.assert_array_equal(take_rows(found, places), NUMBERS[places])
    assert take_rows(found, places[:0]).shape == (0, 7)
    parts = [NUMBERS[:450], NUMBERS[450:450], NUMBERS[450:]]
    np.testing.assert_array_equal(concat_rows(parts), NUMBERS)
    assert RowWriter(5).to_array().shape == (0, 5)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of mapped files here")
def test_many_rows_are_in_a_file_that_goes_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> int:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
        return maps.count("(deleted)")

    monkeypatch.setattr(rowfile, "MAX_HELD_BYTES", 0)
    before = files()
    rows = RowWriter(7)
    rows.add(NUMBERS)
    found = rows.to_array()
    assert files() > before
    np.testing.assert_array_equal(found[500:], NUMBERS[500:])
    del found, rows
    assert files() == before
