"""Updates: equal to a build of the same posts, file by file and table by table."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from indexer import counts
from indexer.counts import MATRICES, Counts
from indexer.generation import Generation, open_current
from indexer.matrices import Matrix
from indexer.store import Store
from tests import growing
from tests.growing import Life, built, drawn, rebuilt, tables, updated


def test_added_posts_give_the_files_that_a_build_of_all_posts_gives(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [drawn(number, draw) for number in range(60)]
    index = built(rows[:40], tmp_path / "a")
    report = updated(rows[40:], index)
    assert (report.added, report.changed, report.unchanged, report.deleted) == (20, 0, 0, 0)
    left, right = open_current(index), rebuilt(rows, index, tmp_path / "b")
    assert tables(left.folder) == tables(right.folder)
    names = sorted(path.name for path in (left.folder / "counts").iterdir())
    assert names == sorted(path.name for path in (right.folder / "counts").iterdir())
    for name in names:
        found, wanted = ((g.folder / "counts" / name).read_bytes() for g in (left, right))
        assert found == wanted, name


@pytest.mark.parametrize("seed", range(6))
def test_rounds_of_changes_give_what_a_build_of_what_is_left_gives(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "EASE_POSTS", 2)
    draw = random.Random(seed)
    life = Life()
    life.put([drawn(number, draw) for number in range(30)])
    index = built(list(life.rows.values()), tmp_path / "a")
    for turn in range(4):
        first = 30 + 10 * turn
        changed = [drawn(int(name[1:]), draw) for name in draw.sample(sorted(life.rows), 6)]
        rows = [*changed, *(drawn(number, draw) for number in range(first, first + 8))]
        draw.shuffle(rows)
        deleted = draw.sample(sorted(life.rows.keys() - {row["id"] for row in rows}), 5)
        updated(rows, index, [*deleted, "nobody"])
        life.delete(deleted)
        life.put(rows)
        left = open_current(index)
        right = rebuilt(_arrived(life, left), index, tmp_path / f"b{turn}")
        assert tables(left.folder) == tables(right.folder)
        assert _named(left) == pytest.approx(_named(right), rel=1e-4)
        numbers = {n: left.manifest.counts[n] for n in right.manifest.counts}
        assert numbers == right.manifest.counts


def _arrived(life: Life, generation: Generation) -> growing.Rows:
    """The rows in the order of the index: posts by key, then reposts by number."""
    with Store.open(generation.folder / "posts.duckdb") as store:
        names = [name for (name,) in store.rows("select post_id from posts order by post_key")]
        names += [name for (name,) in store.rows("select post_id from copies order by number")]
    assert sorted(names) == sorted(life.rows)
    return [life.rows[name] for name in names]


def _named(generation: Generation) -> dict[tuple[str, ...], float]:
    """Every value of the matrices and columns by names, not by ids."""
    found = Counts.open(generation.folder / "counts")
    with Store.open(generation.folder / "posts.duckdb") as store:
        tags = dict(store.rows("select tag_id, key from hashtags"))
        words = dict(store.rows("select word_id, word from words"))
        posts = dict(store.rows("select post_key, post_id from posts"))
    sides = {"post": posts, "tag": tags, "word": words, "tags": tags, "posts": posts}
    values: dict[tuple[str, ...], float] = {
        ("size",): found.size,
        ("words",): int(found.posts[:, 1].sum()),
    }
    for name in MATRICES:
        left, right = (tags, tags) if name == "ease" else map(sides.get, _pair(name))
        values |= _entries(name, getattr(found, name), left or {}, right or {})
    for name, owners in (("hashtags", tags), ("words", words), ("topics", tags), ("norms", posts)):
        rows = np.asarray(getattr(found, name)).reshape(len(getattr(found, name)), -1)
        assert not rows[[i for i in range(len(rows)) if i not in owners]].any()
        for number, owner in owners.items():
            values |= {(name, owner, str(c)): float(v) for c, v in enumerate(rows[number])}
    return values


def _pair(name: str) -> tuple[str, str]:
    left, right = name.split("_")
    return left, {"inside": "tag"}.get(right, right)


def _entries(
    name: str, matrix: Matrix, left: dict[int, str], right: dict[int, str]
) -> dict[tuple[str, ...], float]:
    places, columns, entries = matrix.rows(np.arange(len(matrix)))
    return {
        (name, left[row], right[column], str(c)): float(value)
        for row, column, values in zip(
            places.tolist(), columns.tolist(), entries.tolist(), strict=True
        )
        for c, value in enumerate([1.0, *values])
    }
