"""Spaces of words: lookup, and files on disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import IndexCorruptError, InputError, ShapeError
from tests.support.vector_oracle import neighbors


def small_space() -> WordSpace:
    return WordSpace(
        ("sea", "#sea", "cat"),
        np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32),
        np.array([5, 3, 0], np.int64),
    )


def random_space(size: int, width: int, seed: int = 0) -> WordSpace:
    vectors = np.random.default_rng(seed).normal(size=(size, width))
    return WordSpace.normalized([f"w{i}" for i in range(size)], vectors, np.arange(size))


def test_lookup_gives_positions_and_rows_of_known_words_only():
    positions, rows = small_space().lookup(["cat", "dog", "#sea", "cat", ""])
    assert positions.tolist() == [0, 2, 3]
    assert rows.tolist() == [2, 1, 2]
    assert positions.dtype == rows.dtype == np.int64
    nothing = small_space().lookup(["dog"])
    assert [part.shape for part in nothing] == [(0,), (0,)]


def test_scaled_rows_are_unit_and_rows_of_zeros_left_out():
    space = WordSpace.normalized(["a", "b", "c"], [[3, 4], [0, 0], [0, 2]], [1, 2, 3])
    assert space.words == ("a", "c")
    assert space.counts.tolist() == [1, 3]
    np.testing.assert_allclose(space.vectors, np.array([[0.6, 0.8], [0, 1]]), rtol=1e-6)


def test_wrong_arrays_are_refused():
    good = small_space()
    with pytest.raises(ShapeError, match="float64"):
        WordSpace(good.words, good.vectors.astype(np.float64), good.counts)
    with pytest.raises(ShapeError, match="counts: found int64"):
        WordSpace(good.words, good.vectors, good.counts[:2])
    with pytest.raises(ShapeError, match="1 repeated"):
        WordSpace(("a", "b", "a"), good.vectors, good.counts).lookup(["a"])
    with pytest.raises(ShapeError, match="NaN"):
        WordSpace.normalized(["a"], [[np.nan, 1]], [1])
    with pytest.raises(ShapeError, match="2 words, 1 vectors"):
        WordSpace.normalized(["a", "b"], [[0, 1]], [1])


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        small_space().vectors[0, 0] = 3


def test_trained_leaves_out_words_of_count_0():
    trained = small_space().without_pretrained()
    assert trained.words == ("sea", "#sea")
    assert trained.counts.tolist() == [5, 3]
    np.testing.assert_array_equal(trained.vectors, small_space().vectors[:2])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=8).filter(lambda word: "\n" not in word), unique=True))
def test_words_survive_saving(tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("space")
    vectors = np.random.default_rng(len(words)).normal(size=(len(words), 3))
    space = WordSpace.normalized(words, vectors, np.arange(len(words)))
    space.save(folder)
    again = WordSpace.open(folder)
    assert tuple(again.words) == space.words
    assert again.counts.tolist() == space.counts.tolist()
    np.testing.assert_allclose(again.vectors, space.vectors, atol=1e-3)


def test_a_line_break_in_a_word_is_refused_before_anything_is_written(tmp_path):
    space = WordSpace(("a\nb",), np.ones((1, 1), np.float32), np.zeros(1, np.int64))
    with pytest.raises(InputError, match="line break"):
        space.save(tmp_path / "space")
    assert not (tmp_path / "space").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def fill(path: Path) -> None:
    path.write_bytes(b"\xff\xfe nonsense\n")


@pytest.mark.parametrize("name", ["words.txt", "vectors.npy", "counts.npy"])
@pytest.mark.parametrize("harm", [cut, fill, Path.unlink])
def test_harmed_files_are_named(tmp_path, name, harm):
    random_space(5, 3).save(tmp_path)
    harm(tmp_path / name)
    with pytest.raises(IndexCorruptError, match=name):
        WordSpace.open(tmp_path)


def test_files_that_do_not_fit_each_other_are_named(tmp_path):
    for name, other in (("vectors.npy", random_space(4, 3)), ("counts.npy", random_space(6, 3))):
        random_space(5, 3).save(tmp_path)
        other.save(tmp_path / "other")
        (tmp_path / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(IndexCorruptError, match=name):
            WordSpace.open(tmp_path)


def test_pickled_arrays_are_refused(tmp_path):
    random_space(2, 3).save(tmp_path)
    np.save(tmp_path / "counts.npy", np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(IndexCorruptError, match=r"counts\.npy"):
        WordSpace.open(tmp_path)


@pytest.fixture(scope="module")
def whole_glove(tmp_path_factory) -> tuple[WordSpace, Path]:
    folder = tmp_path_factory.mktemp("glove")
    space = load_pretrained()
    space.save(folder)
    return space, folder


def test_vectors_stay_on_disk_until_they_are_read(whole_glove):
    space = WordSpace.open(whole_glove[1])
    _, rows = space.lookup(["sea", "beach", "qqqqqq", "sand", "sun"])
    assert len(rows) == 4
    held = space.vectors
    while isinstance(held.base, np.ndarray):
        held = held.base
    assert isinstance(held, np.memmap)


def test_neighbours_do_not_suffer_from_float16(whole_glove):
    space, folder = whole_glove
    half = WordSpace.open(folder)
    rows = np.random.default_rng(0).choice(50_000, 20, replace=False)
    shared = [
        len(set(neighbors(half, query, 10)[0]) & set(neighbors(space, query, 10)[0]))
        for query in space.vectors[rows]
    ]
    assert np.mean(shared) >= 9.9


def test_opening_imports_no_heavy_library(tmp_path):
    random_space(5, 3).save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from hashlens.indexer.embeddings.space import WordSpace;"
        f"WordSpace.open(Path({str(tmp_path)!r})).lookup(['w1']);"
        "sys.exit(' '.join({'torch', 'gensim', 'scipy', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
