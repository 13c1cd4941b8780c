"""The counts of a tiny store as sparse rows: every value by hand, or by plain counting."""

from __future__ import annotations

import itertools
import math
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.indexer.arrays.sparse import Matrix
from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.storage import count_matrices as counts
from hashlens.indexer.storage.count_matrices import MATRICES, Counts, write_counts
from hashlens.indexer.storage.statistics import derive
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Post

TOPICS = ("pets", "food", "travel")
Row = tuple[str | None, str, str, str | None]

# Author, caption words, hashtags, topic.
ROWS: list[Row] = [
    ("ann", "walk in the park", "dog park dogpark", "pets"),
    ("ann", "walk walk", "dog dogpark", "pets"),
    ("bob", "the dog", "dog dogpark éclair", None),
    (None, "", "éclair", "food"),
    (None, "the", "", None),
]
# Ids by first appearance.
TAGS = {"dog": 0, "park": 1, "dogpark": 2, "éclair": 3}
WORDS = {"walk": 0, "in": 1, "the": 2, "park": 3, "dog": 4}


def cut(key: str) -> Sequence[str]:
    return {"dogpark": ("dog", "park")}.get(key, (key,))


def written(rows: Sequence[Row], folder: Path) -> Counts:
    posts = [
        Post(f"p{n}", None, f"{caption} .", (*tags.split(),), (*tags.split(),), author)
        for n, (author, caption, tags, _) in enumerate(rows)
    ]
    folder.mkdir(exist_ok=True)
    with Store.create(folder / "posts.duckdb") as store:
        words = [caption.split() for _, caption, _, _ in rows]
        store.add_posts(posts, words, [(topic, "given") for *_, topic in rows])
        derive(store)
        write_counts(store, cut, TOPICS, folder / "counts")
    return Counts.open(folder / "counts")


def pairs(matrix: Matrix) -> dict[tuple[int, int], list[float]]:
    """Every entry of a matrix by row and column."""
    rows, columns, values = matrix.rows(np.arange(len(matrix)))
    keys = zip(rows.tolist(), columns.tolist(), strict=True)
    found = dict(zip(keys, values.tolist(), strict=True))
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    return written(ROWS, tmp_path_factory.mktemp("counts"))


def test_columns_are_those_worked_by_hand(found: Counts) -> None:
    assert found.hashtags.tolist() == [[3, 2, 2], [1, 1, 1], [3, 2, 2], [2, 2, 1]]
    assert found.words.tolist() == [[2, 1], [1, 1], [3, 3], [1, 1], [1, 1]]
    assert found.shapes.tolist() == [[3, 1], [4, 1], [7, 1], [6, 0]]
    assert found.topics.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    # Each post without a known author has one of its own.
    assert found.authors == 4
    numbers = found.posts[:, 0].tolist()
    assert numbers[0] == numbers[1]
    assert sorted(set(numbers)) == [1, 2, 3, 4]
    assert found.posts[:, 1].tolist() == [4, 1, 2, 0, 1]
    for name in ("hashtags", "words", "shapes", "posts", "topics"):
        assert getattr(found, name).dtype == np.int32
    assert found.norms.dtype == np.float32


def test_posts_and_what_they_hold_are_each_others_rows(found: Counts) -> None:
    held = {(n, TAGS[tag]) for n, row in enumerate(ROWS) for tag in row[2].split()}
    assert set(pairs(found.post_tags)) == held
    assert {(post, tag) for tag, post in pairs(found.tag_posts)} == held
    # Posts without hashtags cannot vote: the last post's word is left out.
    said = {(WORDS[w], n) for n, row in enumerate(ROWS) if row[2] for w in row[1].split()}
    assert set(pairs(found.word_posts)) == said
    assert (len(found.post_tags), len(found.tag_posts), len(found.word_posts)) == (5, 4, 5)
    assert all(found.post_tags.values.shape[1] == 0 for _ in "a")


def test_pairs_have_their_authors_and_posts(found: Counts) -> None:
    dog, park, dogpark, eclair = TAGS.values()
    both = {
        (dog, dogpark): [2, 3],
        (dog, park): [1, 1],
        (dog, eclair): [1, 1],
        (park, dogpark): [1, 1],
        (dogpark, eclair): [1, 1],
    }
    assert pairs(found.tag_tags) == both | {(b, a): n for (a, b), n in both.items()}
    walk = {tag: values for (word, tag), values in pairs(found.word_tags).items() if word == 0}
    assert walk == {dog: [1, 2], park: [1, 1], dogpark: [1, 2]}
    the = {tag: values for (word, tag), values in pairs(found.word_tags).items() if word == 2}
    assert the == {dog: [2, 2], park: [1, 1], dogpark: [2, 2], eclair: [1, 1]}


def test_hashtags_are_found_by_the_words_inside_them(found: Counts) -> None:
    assert pairs(found.word_inside) == {
        (WORDS["dog"], TAGS["dogpark"]): [0.5],
        (WORDS["park"], TAGS["dogpark"]): [0.5],
    }


def test_norms_are_lengths_by_idf(found: Counts) -> None:
    idf = {tag: math.log(1 + 5 / uses) for tag, uses in zip(TAGS, (3, 1, 3, 2), strict=True)}
    expected = [math.sqrt(sum(idf[t] ** 2 for t in row[2].split())) for row in ROWS]
    assert found.norms.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_store_without_hashtags_or_words_has_empty_rows(tmp_path: Path) -> None:
    found = written([("ann", "", "", None)], tmp_path)
    for name in MATRICES:
        assert pairs(getattr(found, name)) == {}
    assert (found.hashtags.shape, found.words.shape) == ((0, 3), (0, 2))
    assert found.topics.shape == (0, 3)
    assert (found.norms.tolist(), found.authors) == ([0], 1)


def test_bounded_rows_keep_the_commonest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [
        *((f"a{n}", "sea", "a b", None) for n in range(3)),
        *((f"b{n}", "sea", "a c", None) for n in range(2)),
        ("c", "sea", "a d", None),
        ("c", "sea", "a d", None),
        ("e", "sea", "a e", None),
    ]
    monkeypatch.setattr(counts, "BESIDE_TAG", 3)
    monkeypatch.setattr(counts, "BESIDE_WORD", 2)
    found = written(rows, tmp_path)
    # Of #a: #b has three authors, #c two, #d and #e one, but #d two posts.
    beside = {column: values for (row, column), values in pairs(found.tag_tags).items() if not row}
    assert beside == {1: [3, 3], 2: [2, 2], 3: [1, 2]}
    assert pairs(found.word_tags) == {(0, 0): [7, 8], (0, 1): [3, 3]}


def test_hashtags_of_a_word_are_those_of_most_authors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: dict[str, Sequence[str]] = {
        "reddog": ("red", "dog"),
        "bigdog": ("big", "dog"),
        "olddog": ("old", "dog"),
    }
    words |= {"redbigdog": ("red", "big", "dog")}
    used = {"reddog": 2, "bigdog": 4, "olddog": 3, "redbigdog": 1}
    rows: list[Row] = [
        (f"{tag}{n}", "red big dog", tag, None) for tag, times in used.items() for n in range(times)
    ]
    monkeypatch.setattr(counts, "INSIDE", 2)
    monkeypatch.setitem(globals(), "cut", lambda key: words[key])
    found = written(rows, tmp_path)
    reddog, bigdog, olddog = range(3)
    red, big, dog = range(3)
    # #redbigdog is one author's; #reddog is the third of those with `dog`.
    assert pairs(found.word_inside) == {
        (red, reddog): [1 / 2],
        (big, bigdog): [1 / 2],
        (dog, bigdog): [1 / 2],
        (dog, olddog): [1 / 2],
    }


@pytest.mark.parametrize(("most", "kept"), [(20, 7), (7, 7), (6, 4), (4, 4), (3, 3), (2, 2)])
def test_long_rows_keep_an_even_sample(
    most: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "OF_TAG", most)
    rows: list[Row] = [("ann", "sea", "a" if n % 2 else "a b", None) for n in range(7)]
    found = written(rows, tmp_path)
    step = math.ceil(7 / most)
    of_a = [post for tag, post in pairs(found.tag_posts) if tag == 0]
    assert of_a == list(range(0, 7, step)) == [post for _, post in pairs(found.word_posts)]
    assert len(of_a) == kept <= most
    held = [0, 2, 4, 6]
    assert [p for tag, p in pairs(found.tag_posts) if tag == 1] == held[:: math.ceil(4 / most)]


def closed_form(rows: Sequence[set[int]], size: int, penalty: float) -> np.ndarray:
    """Steck's B = I - P diag(1 / diag P), where P inverts the Gram matrix with its penalty."""
    dense = np.zeros((len(rows), size))
    for row, tags in enumerate(rows):
        dense[row, list(tags)] = 1
    inverse = np.linalg.inv(dense.T @ dense + penalty * np.eye(size))
    return np.eye(size) - inverse @ np.diag(1 / np.diag(inverse))


@settings(max_examples=10)
@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=4, max_size=14))
def test_the_linear_model_is_stecks_closed_form(
    tmp_path_factory: pytest.TempPathFactory, rows: list[set[int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "EASE_POSTS", 2)
        patch.setattr(counts, "EASE_PENALTY", 3.0)
        texts: list[Row] = [
            (f"a{n}", "", " ".join(f"t{t}" for t in sorted(tags)), None)
            for n, tags in enumerate(rows)
        ]
        folder = tmp_path_factory.mktemp("ease")
        found = pairs(written(texts, folder).ease)
    ids: dict[int, int] = {}
    uses: dict[int, int] = defaultdict(int)
    for tag in itertools.chain.from_iterable(map(sorted, rows)):
        ids.setdefault(tag, len(ids))
        uses[tag] += 1
    # Only hashtags of two posts and more take part.
    part = sorted((ids[tag] for tag, number in uses.items() if number >= 2))
    places = {tag: place for place, tag in enumerate(part)}
    held = [{places[ids[t]] for t in tags if ids[t] in places} for tags in rows]
    if len(part) < 2:
        assert found == {}
        return
    expected = closed_form(held, len(part), 3.0)
    assert found == {
        (a, b): [pytest.approx(expected[places[a], places[b]], abs=1e-5)]
        for a, b in itertools.permutations(part, 2)
    }


def test_the_linear_model_keeps_the_largest_weights_of_the_most_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "EASE_POSTS", 1)
    monkeypatch.setattr(counts, "EASE_TAGS", 4)
    monkeypatch.setattr(counts, "EASE_KEPT", 1)
    texts = ["a b", "a b", "a c", "c d", "c d", "b d", "rare"]
    found = pairs(written([(f"a{n}", "", t, None) for n, t in enumerate(texts)], tmp_path).ease)
    rows = [{"abcd".index(t) for t in text.split()} for text in texts[:-1]] + [set()]
    expected = closed_form(rows, 4, counts.EASE_PENALTY)
    np.fill_diagonal(expected, -np.inf)
    assert found == {
        (row, int(expected[row].argmax())): [pytest.approx(expected[row].max(), abs=1e-6)]
        for row in range(4)
    }


@pytest.mark.parametrize(
    "name", ["posts.npy", "norms.npy", "ease.values.npy", "tag_tags.starts.npy"]
)
def test_damaged_and_missing_files_are_refused(name: str, found: Counts, tmp_path: Path) -> None:
    written(ROWS, tmp_path / "index")
    path = tmp_path / "index" / "counts" / name
    whole = path.read_bytes()
    for bad in (b"", whole[: len(whole) - 1], b"nothing" * 30):
        path.write_bytes(bad)
        with pytest.raises(IndexCorruptError, match=name.split(".")[0]):
            Counts.open(path.parent)
    path.unlink()
    with pytest.raises(IndexCorruptError, match=name.split(".")[0]):
        Counts.open(path.parent)
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("name", ["hashtags", "words", "shapes", "posts", "norms", "topics"])
def test_columns_of_another_form_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "index" / "counts"
    found = written(ROWS, tmp_path / "index")
    array = np.array(getattr(found, name))
    for bad in (array.astype(np.float64), array[:-1], array[..., None], array.ravel()[:0]):
        np.save(folder / f"{name}.npy", bad)
        with pytest.raises(IndexCorruptError, match=name):
            Counts.open(folder)
