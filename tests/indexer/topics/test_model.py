"""Topics: the table, both heads on planted data, their calibration, and what is on disk."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hashlens.indexer.config import TopicConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import ConfigError, IndexCorruptError, ShapeError
from hashlens.indexer.topics.image_model import Head
from hashlens.indexer.topics.model import TopicModel, TopicTable, load_topics, tfidf
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, TopicProbs

TABLE = TopicTable(("pets", "food", "art"), (("dog",), ("pizza",), ("paint",)))
WORDS = {
    "pets": ["walk", "bone", "fur", "tail"],
    "food": ["oven", "cheese", "dinner", "salt"],
    "art": ["canvas", "brush", "colour", "frame"],
}


def planted(count: int = 60) -> tuple[list[list[str]], list[str | None]]:
    """Texts of two topical words, a shared one, and now and then the defining hashtag."""
    random = np.random.default_rng(0)
    tokens: list[list[str]] = []
    labels: list[str | None] = []
    for number in range(count):
        topic = TABLE.names[number % 3]
        text = [*random.choice(WORDS[topic], 2).tolist(), "today"]
        if number % 2:
            text.append(f"#{TABLE.hashtags[number % 3][0]}")
        tokens.append(text)
        labels.append(topic)
    return tokens, labels


def fitted(images: Embeddings | None = None, pretrained: WordSpace | None = None) -> TopicModel:
    tokens, labels = planted()
    groups = [None] * len(tokens)
    return fit_topics(
        TABLE,
        tokens=tokens,
        labels=labels,
        groups=groups,
        images=images,
        config=TopicConfig(),
        pretrained=pretrained,
    )


def pictures(count: int, spread: float, seed: int) -> tuple[Embeddings, np.ndarray]:
    """Pictures around one direction a topic."""
    random = np.random.default_rng(seed)
    topics = np.arange(count) % 3
    vectors = np.eye(3, 8)[topics] + spread * random.normal(size=(count, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Embeddings(np.arange(count), vectors), topics


def test_the_shipped_topics_are_ten_of_seven_hashtags() -> None:
    table = load_topics()
    assert table.names == (
        "pets",
        "jewellery",
        "travel",
        "babies",
        "selfie",
        "art",
        "food",
        "architecture",
        "nature",
        "fashion",
    )
    assert {len(tags) for tags in table.hashtags} == {7}


def test_a_post_belongs_to_the_topic_that_most_of_its_hashtags_define() -> None:
    table = TopicTable(("a", "b"), (("x", "y"), ("z",)))
    assert table.defining(["x", "y", "z"]) == "a"
    assert table.defining(["z", "other"]) == "b"
    assert table.defining(["x", "z"]) is None  # two opinions are none
    assert table.defining([]) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[topics]\na = ['x']\n", "found 1, expected two or more"),
        ("[topics]\na = ['x']\nb = []\n", "topic b"),
        ("[topics]\na = ['x']\nb = ['X']\n", "#x"),
        ("[topics]\n'../a' = ['x']\nb = ['y']\n", r"\.\./a"),
        ("[topics]\na = ['not a tag']\nb = ['y']\n", "not a tag"),
        ("[topics]\na = ['x']\nb = 'dog'\n", "topic b: found 'dog', expected a list"),
        ("[topics]\na = ['x']\nb = [3]\n", r"topic b: found \[3\], expected a list"),
        ("[topics\n", "topics.toml.*expected a TOML file"),
        ("a = 1\n", r"topics.toml: found no \[topics\]"),
        ("topics = 3\n", r"topics.toml: found no \[topics\]"),
    ],
)
def test_bad_topics_files_are_refused_clearly(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "topics.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_topics(path)
    with pytest.raises(ConfigError, match="nowhere"):
        load_topics(tmp_path / "nowhere.toml")


def test_the_text_head_learns_what_stands_beside_the_defining_hashtags() -> None:
    model = fitted()
    probs = model.from_tokens([["bone", "tail"], ["#cheese"], ["brush"], ["#dog"]]).probs
    assert probs.argmax(axis=1).tolist() == [0, 1, 2, 0]
    assert (probs[:3].max(axis=1) > 0.6).all()


def test_unknown_words_leave_all_topics_even() -> None:
    assert fitted().from_tokens([["qqq"], []]).probs == pytest.approx(np.full((2, 3), 1 / 3))


def test_pretrained_meanings_judge_words_that_no_post_holds() -> None:
    words = [w for topic in WORDS.values() for w in topic] + ["puppy", "salad"]
    axes = np.eye(3, dtype=np.float32)[[0] * 4 + [1] * 4 + [2] * 4 + [0, 1]]
    space = WordSpace(tuple(words), axes, np.zeros(len(words), np.int64))
    probs = fitted(pretrained=space).from_tokens([["puppy"], ["salad"]]).probs
    assert probs.argmax(axis=1).tolist() == [0, 1]
    assert fitted().from_tokens([["puppy"]]).probs == pytest.approx(1 / 3)


def test_the_image_head_is_right_and_calibrated_on_pictures_it_has_not_seen() -> None:
    seen, topics = pictures(900, 0.45, seed=1)
    labels: list[str | None] = [TABLE.names[t] for t in topics]
    empty: list[list[str]] = [[] for _ in labels]
    model = fit_topics(
        TABLE, tokens=empty, labels=labels, groups=[None] * 900, images=seen, config=TopicConfig()
    )
    assert model.text is None
    unseen, truths = pictures(3000, 0.45, seed=2)
    probs = model.from_images(unseen.vectors).probs
    right = probs.argmax(axis=1) == truths
    sure = probs.max(axis=1)
    bins = np.array_split(np.argsort(sure), 10)
    error = sum(abs(sure[b].mean() - right[b].mean()) * len(b) for b in bins) / len(sure)
    assert right.mean() > 0.75
    assert error < 0.05


def test_a_topic_without_examples_stays_possible() -> None:
    tokens, labels = planted()
    kept = [row for row, label in enumerate(labels) if label != "art"]
    model = fit_topics(
        TABLE,
        tokens=[tokens[row] for row in kept],
        labels=[labels[row] for row in kept],
        groups=[None] * len(kept),
        images=None,
        config=TopicConfig(),
    )
    probs = model.from_tokens([["bone"]]).probs[0]
    assert probs[0] > 0.8
    assert 0 < probs[2] < 0.05


def test_too_few_labelled_posts_leave_both_heads_silent() -> None:
    seen, _ = pictures(3, 0.1, seed=0)
    model = fit_topics(
        TABLE,
        tokens=[["a"]] * 3,
        labels=["pets", "food", None],
        groups=[None] * 3,
        images=seen,
        config=TopicConfig(),
    )
    assert not model.has_image_model
    assert model.from_images(seen.vectors).probs == pytest.approx(np.full((3, 3), 1 / 3))
    assert model.from_tokens([["a"]]).probs == pytest.approx(np.full((1, 3), 1 / 3))


def test_both_opinions_multiply() -> None:
    image = TopicProbs(TABLE.names, np.array([[0.6, 0.3, 0.1]], np.float32))
    text = TopicProbs(TABLE.names, np.array([[0.2, 0.6, 0.2]], np.float32))
    total = 0.12 + 0.18 + 0.02
    assert fitted().combine(image, text).probs[0] == pytest.approx(
        [0.12 / total, 0.18 / total, 0.02 / total]
    )


def test_tfidf_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [["a", "b", "b"], ["c", "a"], ["zzz"], ["#b", "c", "c", "c"]]
    plain = [[token.removeprefix("#") for token in text] for text in texts]
    judge = TfidfVectorizer(
        analyzer=lambda text: text, vocabulary=["a", "b", "c"], sublinear_tf=True
    )
    expected = judge.fit_transform(plain).toarray()
    rows, columns, values = tfidf(texts, judge.vocabulary_, judge.idf_.astype(np.float32))
    found = np.zeros((4, 3))
    found[rows, columns] = values
    assert found == pytest.approx(expected, abs=1e-6)
    assert values[0] == pytest.approx(
        1 / math.hypot(1, (1 + math.log(2)) * judge.idf_[1] / judge.idf_[0])
    )


def test_what_is_saved_answers_the_same(tmp_path: Path) -> None:
    seen, _ = pictures(60, 0.2, seed=3)
    model = fitted(seen)
    model.save(tmp_path / "topics")
    again = TopicModel.open(tmp_path / "topics")
    texts = [["bone", "oven"], ["#paint"], ["?"]]
    assert np.array_equal(again.from_tokens(texts).probs, model.from_tokens(texts).probs)
    assert np.array_equal(
        again.from_images(seen.vectors).probs, model.from_images(seen.vectors).probs
    )
    assert again.table == TABLE
    with pytest.raises(ShapeError, match="8"):
        again.from_images(np.zeros((1, 5), np.float32))


@pytest.mark.parametrize("name", ["heads.safetensors", "topics.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00\xff" * 40, None])
def test_damaged_files_are_named(name: str, damage: bytes | None, tmp_path: Path) -> None:
    fitted().save(tmp_path / "topics")
    path = tmp_path / "topics" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(IndexCorruptError, match="topics"):
        TopicModel.open(tmp_path / "topics")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("text.weights", np.full((3, 2), np.nan, np.float32)),
        ("text.weights", np.zeros((3, 9), np.float32)),
        ("text.bias", np.full(3, -np.inf, np.float32)),
        ("idf", np.ones((2, 1), np.float32)),
        ("idf", np.ones(2, np.float64)),
    ],
)
def test_unfit_arrays_are_refused(name: str, wrong: np.ndarray, tmp_path: Path) -> None:
    head = Head(np.eye(3, 2, dtype=np.float32), np.zeros(3, np.float32))
    idf = np.ones(2, np.float32)
    TopicModel(TABLE, None, head, {"bone": 0, "oven": 1}, idf).save(tmp_path)
    assert TopicModel.open(tmp_path).from_tokens([["bone"]]).probs.argmax() == 0
    tensors = {"text.weights": head.weights, "text.bias": head.bias, "idf": idf}
    save_file(tensors | {name: wrong}, tmp_path / "heads.safetensors")
    with pytest.raises(IndexCorruptError, match=name):
        TopicModel.open(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '{"topics": [], "vocabulary": []}',
        '{"topics": {"a": ["x"], "b": 3}, "vocabulary": []}',
        '{"topics": {"pets": ["x"], "food": ["y"], "art": ["z"]}, "vocabulary": ["p", "p"]}',
        "[" * 100_000,
    ],
)
def test_unfit_tables_are_refused(text: str, tmp_path: Path) -> None:
    TopicModel(TABLE, None, None, {"p": 0, "q": 1}, np.ones(2, np.float32)).save(tmp_path)
    (tmp_path / "topics.json").write_text(text)
    with pytest.raises(IndexCorruptError):
        TopicModel.open(tmp_path)


def test_texts_without_hashtags_are_cooled_by_their_own_temperature() -> None:
    head = Head(np.array([[2], [0], [0]], np.float32), np.zeros(3, np.float32))
    model = TopicModel(TABLE, None, head, {"bone": 0}, np.ones(1, np.float32), plain=2.0)
    plain, tagged = model.from_tokens([["bone"], ["#bone"]]).probs[:, 0]
    assert plain == pytest.approx(0.99 * math.e / (math.e + 2) + 0.01 / 3)
    assert tagged == pytest.approx(0.99 * math.e**2 / (math.e**2 + 2) + 0.01 / 3)


def test_captions_that_tell_nothing_are_not_believed() -> None:
    random = np.random.default_rng(5)
    labels: list[str | None] = [TABLE.names[row % 3] for row in range(300)]
    told = [[f"#{random.choice(WORDS[str(label)])}"] for label in labels]
    chatter = [[*random.choice([f"w{n}" for n in range(40)], 3).tolist()] for _ in labels]
    model = fit_topics(
        TABLE,
        tokens=[words + tags for words, tags in zip(chatter, told, strict=True)],
        labels=labels,
        groups=[None] * 300,
        images=None,
        config=TopicConfig(),
    )
    assert model.from_tokens([["#bone"], ["#oven"], ["#brush"]]).probs.max(axis=1).min() > 0.8
    assert model.from_tokens(chatter).probs.max() < 0.5


def test_a_query_needs_numpy_alone(tmp_path: Path) -> None:
    fitted().save(tmp_path / "topics")
    program = (
        "import sys; from pathlib import Path\n"
        "from hashlens.indexer.topics.model import TopicModel\n"
        "probs = TopicModel.open(Path(sys.argv[1])).from_tokens([['bone']]).probs\n"
        "assert probs[0].argmax() == 0\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'gensim'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "topics")], check=True)
