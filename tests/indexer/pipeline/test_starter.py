"""An index without posts: what it holds, what it answers, and how posts join it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashlens.evaluation.assets.aggregates import Thresholds, write_aggregates
from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.generation import Generation, open_current, writer
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.storage.store import Store
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import Rows, built, drawn, updated

ALL = Thresholds(1, 1, 1, 1_000, 1_000)
COUNTED = {
    "hashtag_counts": "select key, posts, authors, known_authors from hashtag_counts order by key",
    "word_counts": "select word, posts, authors from word_counts order by word",
    "hashtag_topics": """select topic, key, t.posts, t.authors from hashtag_topics t
        join hashtags using (tag_id) order by topic, key""",
    "cooccurrences": """select a.key, b.key, c.posts, c.authors from cooccurrences c
        join hashtags a on a.tag_id = c.tag_id join hashtags b on b.tag_id = c.other_id
        order by a.key, b.key""",
    "word_hashtags": """select word, key, c.posts, c.authors from word_hashtags c
        join words using (word_id) join hashtags using (tag_id) order by word, key""",
}


def rows_of(first: int, count: int, authors: str) -> Rows:
    """Posts of authors that no other call draws."""
    draw = random.Random(first)
    rows = [drawn(first + number, draw) for number in range(count)]
    return [
        row | ({"author": f"{authors}{row['author']}"} if "author" in row else {}) for row in rows
    ]


def bare(full: Generation, index: Path, enough: Thresholds | None = None) -> Path:
    """The aggregates of a generation, published."""
    with writer(index) as new:
        counts = write_aggregates(full, new.folder, enough)
        new.publish_like(full.manifest, counts)
    return index


def counted(index: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        return {name: store.rows(query) for name, query in COUNTED.items()}


def files_of(index: Path, *folders: str) -> dict[str, str]:
    """Hashes of the live generation's files, in some of its folders."""
    files = open_current(index).manifest.files
    return {name: entry["sha256"] for name, entry in files.items() if name.split("/")[0] in folders}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(rows_of(0, 80, "a-"), tmp_path_factory.mktemp("full"))


def test_counts_that_rest_on_enough_stay_and_others_go(full: Path, tmp_path: Path) -> None:
    enough = Thresholds(min_posts=7, min_authors=5, min_pair_authors=2)
    index = bare(open_current(full), tmp_path / "bare", enough)
    before, after = counted(full), counted(index)
    kept = {row[0] for row in before["hashtag_counts"] if row[1] >= 7 and row[2] >= 5}
    words = {row[0] for row in before["word_counts"] if row[1] >= 7 and row[2] >= 5}
    assert 0 < len(kept) < len(before["hashtag_counts"])
    assert {row[0] for row in after["hashtag_counts"]} == kept
    assert after["cooccurrences"] == [
        row for row in before["cooccurrences"] if {row[0], row[1]} <= kept and row[3] >= 2
    ]
    assert after["word_hashtags"] == [
        row for row in before["word_hashtags"] if row[0] in words and row[1] in kept and row[3] >= 2
    ]


def test_no_post_caption_or_author_is_in_any_of_its_files(full: Path, tmp_path: Path) -> None:
    index = bare(open_current(full), tmp_path / "bare")
    content = b"".join(path.read_bytes() for path in index.rglob("*") if path.is_file())
    held = b"".join(path.read_bytes() for path in full.rglob("*") if path.is_file())
    for trace in (b"all is well that ends here", b"a-ann", b"p17"):
        assert trace in held
        assert trace not in content
    assert not [*index.rglob("images"), *index.rglob("captions")]
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        assert store.rows("select count(*) from posts") == [(0,)]


def test_it_answers_with_the_counts_of_the_posts_it_was_made_from(
    full: Path, tmp_path: Path
) -> None:
    index = bare(open_current(full), tmp_path / "bare", ALL)
    whole, alone = Recommender.open(full), Recommender.open(index)
    assert alone.index.counts.size == whole.index.counts.size > 50
    assert alone.index.counts.authors == whole.index.counts.authors
    answer = alone.recommend(Query(seeds=("dog",)), k=5)
    assert len(answer.tags) == 5
    for query in (Query(seeds=("dog", "love")), Query(caption="sunday moontime")):
        assert alone.recommend(query).tags


def test_posts_that_join_it_add_to_its_counts(full: Path, tmp_path: Path) -> None:
    # Reposts of posts that are not there cannot be told.
    drawn_too = rows_of(1_000, 50, "b-")
    own = [row for row in drawn_too if not {"five", "well"} & set(row["caption"].split())]
    index = tmp_path / "own"
    with copy_index(index, bare(open_current(full), tmp_path / "bare", ALL)):
        report = updated(own, index)
    together = built([*rows_of(0, 80, "a-"), *own], tmp_path / "both")
    assert report.added == len(own) > 20
    found, expected = counted(index), counted(together)
    for name in ("hashtag_counts", "word_counts", "cooccurrences", "word_hashtags"):
        assert found[name] == expected[name], name
    # And they go again, leaving what was there.
    updated([], index, [row["id"] for row in own])
    assert counted(index)["cooccurrences"] == counted(full)["cooccurrences"]


def test_an_index_that_is_there_is_not_begun_again(full: Path) -> None:
    with pytest.raises(InputError, match="hashlens update"), copy_index(full, full):
        raise AssertionError


def test_what_fails_leaves_no_index(full: Path, tmp_path: Path) -> None:
    source = bare(open_current(full), tmp_path / "bare")
    with pytest.raises(InputError, match="no usable post"), copy_index(tmp_path / "own", source):
        updated([{"id": "empty"}], tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_disk_that_removes_nothing_hides_no_first_error(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bare(open_current(full), tmp_path / "bare")

    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error")

    def fail() -> None:
        with copy_index(tmp_path / "own", source):
            monkeypatch.setattr("shutil.rmtree", refuse)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        fail()


def test_it_cannot_learn_anew_from_posts_that_it_does_not_hold(full: Path, tmp_path: Path) -> None:
    source = bare(open_current(full), tmp_path / "bare")
    with copy_index(tmp_path / "own", source):
        updated(rows_of(1_000, 5, "b-"), tmp_path / "own")
    learned = files_of(tmp_path / "own", "topics", "words", "trained")
    for retrain in (True, None):
        report = updated(rows_of(2_000, 5, "c-"), tmp_path / "own", retrain=retrain)
        assert not report.retrained
        assert files_of(tmp_path / "own", "topics", "words", "trained") == learned


def test_the_linear_model_is_that_of_the_posts(full: Path, tmp_path: Path) -> None:
    index = bare(open_current(full), tmp_path / "bare", ALL)
    names = {}
    for place in (full, index):
        with Store.open(open_current(place).folder / "posts.duckdb") as store:
            names[place] = store.tag_ids()
    one, other = (Recommender.open(place).index.counts.ease for place in (full, index))
    for key, number in names[full].items():
        _, columns, weights = one.rows(np.array([number]))
        _, others, same = other.rows(np.array([names[index][key]]))
        back = {number: key for key, number in names[full].items()}
        beside = {number: key for key, number in names[index].items()}
        left = {back[c]: w for c, w in zip(columns.tolist(), weights[:, 0], strict=True)}
        right = {beside[c]: w for c, w in zip(others.tolist(), same[:, 0], strict=True)}
        assert left.keys() == right.keys()
        for tag, weight in left.items():
            assert right[tag] == pytest.approx(weight, abs=1e-5)
