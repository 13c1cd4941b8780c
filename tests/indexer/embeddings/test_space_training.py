"""Learning spaces from posts with each method, and reading pretrained vectors."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from hashlens.indexer.config import VectorConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.space_training import (
    context_means,
    procrustes_align,
    train_space,
)
from hashlens.indexer.errors import InputError
from tests.support.vector_oracle import mean, neighbors

ANIMALS = ["dog", "puppy", "cat", "kitten", "fur", "paw", "#mydog", "#catlife"]
FOODS = ["bread", "cheese", "soup", "pasta", "salad", "oven", "#yumyum", "#eatme"]


def posts(count: int = 600, seed: int = 0) -> list[list[str]]:
    """Posts of five words each, about animals and food by turns."""
    random = np.random.default_rng(seed)
    return [
        [str(word) for word in random.choice(FOODS if n % 2 else ANIMALS, 5, replace=False)]
        for n in range(count)
    ]


def pretrained() -> WordSpace:
    """Animals along one axis, food along another; `wolf` and `sushi` in no post."""
    words = [*ANIMALS[:6], "wolf", *FOODS[:6], "sushi", "piano"]
    centres = np.repeat(np.eye(8)[[0, 1, 2]], [7, 7, 1], axis=0)
    noise = 0.1 * np.random.default_rng(0).normal(size=(15, 8))
    return WordSpace.normalized(words, centres + noise, np.zeros(15, np.int64))


def share_of_own_kind(space: WordSpace, k: int) -> float:
    """Of each word's k nearest others, the share of its own kind; by chance 7 of 15."""
    shares = []
    for kind in (ANIMALS, FOODS):
        for word in kind:
            rows, _ = neighbors(space, mean(space, [word]), k + 1)
            nearest = [space.words[row] for row in rows]
            assert nearest[0] == word
            shares.append(len(set(nearest[1:]) & set(kind)) / k)
    return float(np.mean(shares))


@pytest.mark.parametrize(
    "config",
    [
        VectorConfig("word2vec", 16, window=0, epochs=30, negative=5),
        VectorConfig("word2vec", 16, window=3, epochs=30, negative=5),
        VectorConfig("word2vec", 16, window=5, epochs=60, skip_gram=False, negative=5),
        VectorConfig("glove", 16, window=0, epochs=30),
        VectorConfig("glove", 16, window=3, epochs=30),
    ],
    ids=lambda config: f"{config.method}-{config.window}-{config.skip_gram}",
)
def test_words_that_go_together_become_neighbours(config):
    assert share_of_own_kind(train_space(posts(), config), 4) > 0.95


def test_counts_stand_in_falling_order_and_rare_words_are_left_out():
    sentences = [["b", "a", "#a"], ["a", "b"], ["a", "rare"]]
    space = train_space(sentences, VectorConfig("word2vec", 4, min_count=1, epochs=1))
    assert space.words == ("a", "b", "#a", "rare")
    assert space.counts.tolist() == [3, 2, 1, 1]
    assert train_space(sentences, VectorConfig("glove", 4, epochs=1)).words == ("a", "b")
    np.testing.assert_allclose(np.linalg.norm(space.vectors, axis=1), 1, rtol=1e-5)


def test_hashtags_as_text_are_one_word_with_their_text():
    sentences = [["sea", "#sea", "#"], ["sun", "#sea", "#sun"]]
    config = VectorConfig("word2vec", 4, min_count=1, epochs=1, hashtags_as_text=True)
    space = train_space(sentences, config)
    assert dict(zip(space.words, space.counts.tolist(), strict=True)) == {
        **{"sea": 3, "sun": 2},
        "#": 1,
    }


@pytest.mark.parametrize("sentences", [[], [[]], [["once", "#only"]]])
def test_no_word_often_enough_gives_an_empty_space(sentences, tmp_path):
    space = train_space(sentences, VectorConfig("word2vec", 7))
    assert (len(space), space.vectors.shape) == (0, (0, 7))
    space.save(tmp_path)
    again = WordSpace.open(tmp_path)
    assert neighbors(again, mean(again, ["once"]), 3)[0].tolist() == []
    kept = train_space(sentences, VectorConfig(), pretrained=pretrained())
    assert kept.words == pretrained().words


@pytest.mark.parametrize("method", ["word2vec", "glove", "pretrained+word2vec"])
def test_same_seed_same_space(method):
    def vectors(seed: int) -> np.ndarray:
        config = VectorConfig(method, 8, epochs=3, seed=seed)
        return train_space(posts(80), config, pretrained=pretrained()).vectors

    np.testing.assert_array_equal(vectors(1), vectors(1))
    assert np.abs(vectors(1) - vectors(2)).max() > 1e-3


def test_the_space_does_not_hang_on_pythons_string_hash():
    code = (
        "import zlib\n"
        "from tests.indexer.embeddings.test_space_training import posts, train_space, VectorConfig;"
        "space = train_space(posts(60), VectorConfig('word2vec', 8, epochs=2));"
        "print(space.words, zlib.crc32(space.vectors.tobytes()))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_space_does_not_hang_on_the_threads_of_products():
    code = (
        "import zlib, numpy as np\n"
        "from tests.indexer.embeddings.test_space_training import train_space, VectorConfig;"
        "from tests.indexer.embeddings.test_space_training import WordSpace\n"
        "draw = np.random.default_rng(3);"
        "words = tuple(f'w{n}' for n in range(2000));"
        "said = [words[n:n + 6] for n in range(900)];"
        "vectors = draw.normal(size=(2000, 300));"
        "known = WordSpace.normalized(words, vectors, np.zeros(2000, np.int64));"
        "space = train_space(said, VectorConfig(epochs=1, min_count=1), pretrained=known);"
        "print(zlib.crc32(space.vectors.tobytes()))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("method", ["word2vec", "glove", "pretrained+word2vec"])
def test_progress_is_told_once_a_round(method):
    shares: list[float] = []
    config = VectorConfig(method, 8, epochs=4)
    train_space(posts(40), config, pretrained=pretrained(), on_progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1]


def test_new_hashtags_stand_among_pretrained_words_of_their_kind():
    space = train_space(posts(), VectorConfig(epochs=5), pretrained=pretrained())
    known = space.lookup(list(pretrained().words))[1]
    for tags, kind in ((ANIMALS[6:], [*ANIMALS[:6], "wolf"]), (FOODS[6:], [*FOODS[:6], "sushi"])):
        for tag in tags:
            rows, scores = neighbors(space, mean(space, [tag]), 7, among=known)
            assert {space.words[row] for row in rows} == set(kind)
            assert scores[-1] > 0.5


def test_pretrained_words_keep_their_places_to_each_other():
    before = pretrained()
    space = train_space(posts(), VectorConfig(epochs=5), pretrained=before)
    _, rows = space.lookup(before.words)
    after = space.vectors[rows]
    moved = np.abs(after @ after.T - before.vectors @ before.vectors.T)
    unseen = np.ix_([6, 13, 14], [6, 13, 14])  # wolf, sushi, piano: in no post
    assert moved[unseen].max() < 1e-5
    assert moved.max() < 0.3
    counts = dict(zip(space.words, space.counts.tolist(), strict=True))
    assert (counts["wolf"], counts["piano"]) == (0, 0)
    assert counts["dog"] == sum(post.count("dog") for post in posts())


def test_unseen_words_follow_the_turn_of_the_seen_ones():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 4)).astype(np.float32)
    turn = np.linalg.qr(random.normal(size=(4, 4)))[0].astype(np.float32)
    known = np.arange(0, 40, 2)
    turned = procrustes_align(vectors, known, 3 * vectors[known] @ turn)
    np.testing.assert_allclose(turned, vectors @ turn, atol=0.05)
    np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-4)
    np.testing.assert_allclose(
        procrustes_align(vectors, known[:0], vectors[:0]), vectors, atol=1e-6
    )


def test_company_is_the_rarity_weighted_mean_of_posts():
    # Word 2 is new, in posts 0 and 1; words 0 and 1 mean (1, 0) and (0, 1), centred (.5, -.5)
    # and (-.5, .5). Post 0 holds 0, post 1 holds 0 and 1, post 2 holds 1 alone. Word 0 and 1 are
    # equally rare, so post 1 has no direction, and post 0 that of word 0.
    beside = sparse.csr_array(np.array([[1, 0, 1], [1, 1, 1], [0, 1, 0]], np.float32))
    meanings = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    company = context_means(beside, meanings)
    np.testing.assert_allclose(company[2], np.sqrt(0.5) * np.array([1, -1]), atol=1e-6)


@pytest.mark.parametrize("tag", ["#foodporn", "#ootd", "#goldenretriever"])
def test_real_hashtags_stand_among_sensible_pretrained_words(tag, real_space):
    space, known = real_space
    sensible = {
        "#foodporn": "food meal restaurant breakfast dinner snack gourmet delicious chef",
        "#ootd": "fashion dress jeans shirt shirts wearing clothing outfit dresses style look wore",
        "#goldenretriever": "dog dogs cat cats puppy puppies pet pets rabbit retriever",
    }[tag].split()
    rows, _ = neighbors(space, mean(space, [tag]), 8, among=known)
    assert len({space.words[row] for row in rows} & set(sensible)) >= 3


@pytest.fixture(scope="module")
def real_space(posts_folder):
    sentences = []
    for path in sorted(posts_folder.glob("*/posts.jsonl")):
        for line in path.read_bytes().splitlines():
            tags = json.loads(line)["hashtags"]
            sentences.append([f"#{tag.casefold()}" for tag in tags])
    words = load_pretrained(limit=50_000)
    space = train_space(
        sentences, VectorConfig(min_count=5, negative=5, epochs=1), pretrained=words
    )
    return space, space.lookup(words.words)[1]


def test_pretrained_method_needs_words():
    with pytest.raises(InputError, match="found no pretrained words"):
        train_space(posts(10), VectorConfig())


def test_words_that_ship_hold_their_known_neighbours():
    space = load_pretrained(limit=30_000)
    assert len(space) == 30_000
    assert space.words[:3] == ("the", ",", ".")
    rows, _ = neighbors(space, mean(space, ["frog"]), 6)
    # The first neighbours that GloVe's own page shows for this word.
    assert {"toad", "snake"} & {space.words[row] for row in rows}
    assert not space.counts.any()
    assert not any(word.startswith("#") for word in space.words)


GLOVE = "cat 0.6 0.8 0\n. . 0 0 2\ndog 1 0 0\ncat 9 9 9\nnil 0 0 0\n"


@pytest.mark.parametrize("name", ["v.txt", "v.vec.gz"])
@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_text_files(tmp_path, name, header):
    path = tmp_path / name
    # A word with a space can only be told once the width is known, so it is never the first.
    data = (header + GLOVE).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    space = load_pretrained(str(path))
    assert space.words == ("cat", ". .", "dog")
    expected = np.array([[0.6, 0.8, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(space.vectors, expected, rtol=1e-6)
    assert load_pretrained(str(path), limit=1).words == ("cat",)


@pytest.mark.parametrize("name", ["v.bin", "v.bin.gz"])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_binary_files(tmp_path, name, ending):
    data = b"2 2\n"
    for word, vector in (("héllo", [3, 4]), ("#x", [0, 1])):
        data += word.encode() + b" " + np.array(vector, "<f4").tobytes() + ending
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    space = load_pretrained(str(path))
    assert space.words == ("héllo", "#x")
    np.testing.assert_allclose(space.vectors, np.array([[0.6, 0.8], [0, 1]]), rtol=1e-6)


def test_files_that_gensim_writes_are_read(tmp_path):
    from gensim.models import KeyedVectors

    vectors = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    keyed = KeyedVectors(5)
    keyed.add_vectors([f"w{n}" for n in range(20)], vectors)
    for name, binary in (("v.txt", False), ("v.bin", True)):
        keyed.save_word2vec_format(str(tmp_path / name), binary=binary)
        space = load_pretrained(str(tmp_path / name))
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        order = [int(word[1:]) for word in space.words]
        np.testing.assert_allclose(space.vectors, unit[order], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("v.txt", b"", "found no word vectors"),
        ("v.txt", b"cat 1 2\ndog 1\n", "line 2: found 1 numbers, expected a word and 2 numbers"),
        ("v.txt", b"cat 1 2\ndog 1 2 3\n", "line 2: found 3 numbers, expected 2"),
        ("v.txt", b"cat 1 2\n\ndog 1 2\n", "line 2: found 0 numbers"),
        ("v.txt", b"cat 1 2\ndog 1 two\n", "line 2: found text where a number belongs"),
        ("v.txt", b"cat 1 2\ndog 1 nan\n", "line 2: found NaN"),
        ("v.txt", b"cat 1 2\n\xff\xfe 1 2\n", "line 2: found bytes that are not UTF-8"),
        ("v.txt.gz", b"not gzip", "cannot be read as word vectors"),
        (
            "v.txt.gz",
            gzip.compress(b"cat 1 2\n" * 9, mtime=0)[:-6],
            "cannot be read as word vectors",
        ),
        ("v.bin", b"cat 1 2\n", "line 1: found b'cat 1 2"),
        ("v.bin", b"2 99999\n", "line 1: found width 99999, expected 1 to 4096"),
        ("v.bin", b"2 2\ncat 12345678", "word 2 of 2: found no end of the word"),
        ("v.bin", b"1 2\ncat 1234", "word 1 of 1: found the end of the file"),
    ],
)
def test_bad_files_are_refused_with_their_place(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_pretrained(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt"):
        load_pretrained(str(tmp_path / "none.txt"))
