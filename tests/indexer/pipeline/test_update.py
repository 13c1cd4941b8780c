"""Updates: equal to a build of the same posts, file by file and table by table."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashlens.indexer.arrays.sparse import Matrix
from hashlens.indexer.errors import HashlensError
from hashlens.indexer.generations.generation import Generation, open_current, writer
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.storage import count_matrices as counts
from hashlens.indexer.storage.count_matrices import MATRICES, Counts
from hashlens.indexer.storage.statistics import derive
from hashlens.indexer.storage.store import Store
from hashlens.indexer.verify.verify import verify
from tests.indexer.pipeline import random_updates as growing
from tests.indexer.pipeline.random_updates import Life, built, drawn, rebuilt, tables, updated


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


def _voices(index: Path) -> dict[str, tuple[int, int, int]]:
    """Posts, authors and known authors of each hashtag."""
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        query = "select key, posts, authors, known_authors from hashtag_counts"
        return {key: tuple(numbers) for key, *numbers in store.rows(query)}


def _voiced(name: str, author: str | None, caption: str) -> dict[str, Any]:
    return {"id": name, "caption": caption, "hashtags": ["snow"]} | (
        {"author": author} if author else {}
    )


def test_spellings_of_an_author_and_nameless_posts_that_say_the_same_are_one_voice(
    tmp_path: Path,
) -> None:
    spelt = [_voiced(f"s{n}", name, f"a{n}") for n, name in enumerate(("Spam", "@spam", "SPAM "))]
    said = "buy {} of these boots right now"
    nameless = [_voiced(f"n{n}", None, said.format(n)) for n in range(9)]
    alone = [_voiced("x", None, "one"), _voiced("y", None, "two")]
    rows = [*spelt, *nameless, *alone]
    index = built(rows, tmp_path / "a")
    assert _voices(index) == {"snow": (14, 4, 1)}
    updated([_voiced("s9", "@Spam", "b"), _voiced("n9", None, said.format(9))], index, ["n0", "x"])
    assert _voices(index) == {"snow": (14, 3, 1)}
    assert open_current(index).manifest.counts["authors"] == 1


NEAR = "join our shop for warm boots and {} coats today"


@pytest.mark.parametrize(
    ("texts", "voices"),
    [
        ([NEAR.format(f"w{n}ord") for n in range(30)], 1),  # one word differs
        ([f"{NEAR.format('red')} only {n} left" for n in range(30)], 1),  # a count differs
        ([" ".join(random.Random(n).sample(NEAR.split(), 9)) for n in range(30)], 1),
        ([f"{NEAR.format('red')} #extra{n}" for n in range(30)], 1),
        (["buy now" for _ in range(30)], 1),
        ([" ".join(f"{a}{n}" for a in "abcdefgh") for n in range(30)], 30),
        ([f"snow {n * 'x'} y" for n in range(1, 31)], 30),  # few words are anybody's
    ],
)
def test_nameless_posts_of_nearly_the_same_text_are_one_voice(
    tmp_path: Path, texts: list[str], voices: int
) -> None:
    rows = [_voiced(f"p{n}", None, text) for n, text in enumerate(texts)]
    index = built(rows[:20], tmp_path)
    assert _voices(index)["snow"][1] == min(voices, 20)
    updated(rows[20:], index)
    assert _voices(index)["snow"] == (30, voices, 0)
    assert verify(index).troubles == ()


def test_a_chain_of_nearly_the_same_texts_breaks_where_a_post_goes(tmp_path: Path) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    other = [*words[:4], "v", "w", "x", "y"]
    chain = [[*words[: 8 - n], *other[8 - n :]] for n in range(5)]
    rows = [_voiced(f"p{n}", None, " ".join(text)) for n, text in enumerate(chain)]
    index = built([rows[0], rows[4]], tmp_path)
    assert _voices(index)["snow"] == (2, 2, 0)
    updated(rows[1:4], index)
    assert _voices(index)["snow"] == (5, 1, 0)
    updated([], index, ["p1", "p2", "p3"])
    assert _voices(index)["snow"] == (2, 2, 0)
    assert verify(index).troubles == ()


def test_spellings_of_a_name_that_sql_does_not_fold_are_one_author(tmp_path: Path) -> None:
    names = ["Straße", "STRASSE", "@strasse", "\uff33trasse"]
    index = built([_voiced(f"p{n}", name, f"t{n}") for n, name in enumerate(names)], tmp_path)
    assert _voices(index)["snow"] == (4, 1, 1)


def test_an_author_named_like_a_key_is_nobody_elses_voice(tmp_path: Path) -> None:
    rows = [_voiced("a", None, "one"), _voiced("b", None, "two")]
    rows += [_voiced("c", "#0", "three"), _voiced("d", "#1", "four")]
    index = built(rows, tmp_path)
    assert _voices(index) == {"snow": (4, 4, 2)}
    updated([], index, ["a"])
    assert _voices(index) == {"snow": (3, 3, 2)}


def test_an_index_that_counted_voices_otherwise_is_counted_anew(tmp_path: Path) -> None:
    rows = [_voiced("a", "Ann", "one"), _voiced("b", "@ann", "two")]
    index = built(rows, tmp_path)
    with writer(index) as new:
        previous = open_current(index)
        for name in previous.manifest.files:
            (new.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(previous.folder / name, new.folder / name)
        with Store.change(new.folder / "posts.duckdb") as store:
            store.connection.execute("delete from migrations where number = 3")
            derive(store)
        shutil.rmtree(new.folder / "counts")
        with Store.change(new.folder / "posts.duckdb") as store:
            topics = previous.manifest.topics
            counts.write_counts(store, lambda key: [key], topics, new.folder / "counts")
            told = store.counts() | {"pictures": 0}
        new.publish_like(previous.manifest, told)
    assert _voices(index) == {"snow": (2, 2, 2)}
    assert verify(index).troubles == ()
    updated([_voiced("c", "ann", "three")], index)
    assert _voices(index) == {"snow": (3, 1, 1)}
    assert verify(index).troubles == ()


def test_pictures_that_moved_are_found_where_they_are_now(tmp_path: Path) -> None:
    def scrape(folder: Path) -> Path:
        folder.mkdir()
        Image.new("RGB", (64, 48), (90, 120, 80)).save(folder / "1.jpg")
        row = {"id": "p1", "image": "1.jpg", "caption": "Lake", "hashtags": ["lake"]}
        (folder / "posts.jsonl").write_text(json.dumps(row))
        return folder

    index = tmp_path / "index"
    build([scrape(tmp_path / "old")], index, config=growing.SMALL, workers=1)
    (tmp_path / "old").rename(tmp_path / "new")
    for retrain in (False, True):
        (tmp_path / "new").rename(place := tmp_path / f"moved-{retrain}")
        report = update([place], index, retrain=retrain, workers=1)
        assert (report.moved, report.unchanged, report.added) == (1, 1, 0)
        assert "1 with their picture elsewhere" in report.summary()
        with Store.open(open_current(index).folder / "posts.duckdb") as store:
            assert store.rows("select image from posts") == [(str(place / "1.jpg"),)]
        again = update([place], index, retrain=False, workers=1)
        assert (again.moved, again.notes) == (0, ("nothing new: no generation made",))
        assert verify(index).troubles == ()
        place.rename(tmp_path / "new")


def test_the_last_number_of_a_generation_is_refused_before_any_work(tmp_path: Path) -> None:
    index = built([_voiced("a", "Ann", "one")], tmp_path)
    shutil.copytree(index / "gen-000001", index / "gen-999999999999")
    with pytest.raises(HashlensError, match="generation 999999999999, the largest number"):
        updated([_voiced("b", "bob", "two")], index)
    assert open_current(index).number == 1
