"""Topics of pictures: the head, the encoder's classes, pictures of no topic, what is saved."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hashlens.evaluation.benchmark.topic_accuracy import (
    LabelledPictures,
    fit_image_topics,
    leave_collections_out,
)
from hashlens.indexer.config import TopicConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import IndexCorruptError, ShapeError
from hashlens.indexer.topics.cross_validation import log_loss
from hashlens.indexer.topics.image_model import (
    MIN_PROBABILITY,
    ClassPrior,
    Head,
    ImageTopicModel,
    OutOfTopicDetector,
    ZeroShot,
)
from hashlens.indexer.topics.image_training import DEFAULT_NOVELTY, PRIOR_NOVELTIES
from hashlens.indexer.topics.imagenet_topics import class_prior, classes_by_words
from hashlens.indexer.topics.model import TopicModel, TopicTable
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, Post

TABLE = TopicTable(("pets", "food", "art"), (("dog",), ("pizza",), ("paint",)))
SPACE = WordSpace(
    ("dog", "cat", "beagle", "pizza", "food", "oven", "paint", "paintbrush", "easel"),
    np.repeat(np.eye(3, dtype=np.float32), 3, axis=0),
    np.zeros(9, np.int64),
)
TENCH, BEAGLE, TABBY, PAINTBRUSH, PIZZA = 0, 162, 281, 696, 963  # places among ImageNet's classes


def pictures(topics: np.ndarray, spread: float, seed: int, width: int = 8) -> np.ndarray:
    """Unit vectors (n, width) around one axis a topic."""
    noise = np.random.default_rng(seed).normal(size=(len(topics), width))
    vectors = np.eye(width)[topics] + spread * noise
    rows: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    return rows


def called(places: np.ndarray | list[int]) -> np.ndarray:
    """Class probabilities (n, 1000) of an encoder that is sure of one class a picture."""
    classes = np.full((len(places), 1000), 1e-6, np.float32)
    classes[np.arange(len(places)), places] += 0.999
    return classes


def fitted(
    topics: np.ndarray,
    vectors: np.ndarray,
    classes: np.ndarray | None,
    table: TopicTable = TABLE,
    space: WordSpace | None = SPACE,
    texts: np.ndarray | None = None,
) -> TopicModel:
    return fit_topics(
        table,
        tokens=[[] for _ in topics],
        labels=[table.names[topic] for topic in topics],
        groups=[None] * len(topics),
        images=Embeddings(np.arange(len(topics)), vectors),
        config=TopicConfig(),
        pretrained=space,
        classes=classes,
        texts=texts,
    )


def usual(topics: np.ndarray) -> np.ndarray:
    """Classes of the pictures that teach: beagles, pizzas, paintbrushes."""
    return called(np.array([BEAGLE, PIZZA, PAINTBRUSH])[topics])


@pytest.fixture(scope="module")
def model() -> TopicModel:
    """Of pets it saw beagles alone."""
    topics = np.arange(300) % 3
    return fitted(topics, pictures(topics, 0.2, seed=1), usual(topics))


def test_pictures_unlike_those_that_taught_are_known_by_their_classes(model: TopicModel) -> None:
    as_art = pictures(np.full(20, 2), 0.1, seed=3)
    assert (model.from_images(as_art).probs.argmax(axis=1) == 2).all()
    tabbies = model.from_images(as_art, called([TABBY] * 20)).probs
    assert (tabbies.argmax(axis=1) == 0).all()


def test_classes_do_not_overrule_the_head_where_it_knows_them(model: TopicModel) -> None:
    topics = np.arange(60) % 3
    misled = usual((topics + 1) % 3)
    probs = model.from_images(pictures(topics, 0.1, seed=4), misled).probs
    assert (probs.argmax(axis=1) == topics).all()


def test_a_topic_without_any_picture_is_known_by_its_words() -> None:
    topics = np.arange(200) % 2
    model = fitted(topics, pictures(topics, 0.2, seed=5), usual(topics))
    art = pictures(np.full(20, 5), 0.2, seed=6)
    assert (model.from_images(art, usual(np.full(20, 2))).probs.argmax(axis=1) == 2).all()
    known = np.arange(40) % 2
    probs = model.from_images(pictures(known, 0.2, seed=7), usual(known)).probs
    assert (probs.argmax(axis=1) == known).mean() > 0.95


def test_a_picture_of_no_topic_spreads_them(model: TopicModel) -> None:
    topics = np.arange(300) % 3
    own = model.from_images(pictures(topics, 0.2, seed=8), usual(topics)).probs.max(axis=1)
    strange = pictures(np.full(300, 6), 0.2, seed=9)
    fish = model.from_images(strange, called([TENCH] * 300)).probs.max(axis=1)
    assert np.median(own) > 0.9
    assert np.median(fish) < 0.5
    assert np.median(model.from_images(strange).probs.max(axis=1)) < 0.5


def test_probabilities_hold_on_pictures_it_has_not_seen() -> None:
    topics = np.random.default_rng(10).integers(0, 3, 900)
    model = fitted(topics, pictures(topics, 0.45, seed=11), usual(topics))
    truths = np.random.default_rng(12).integers(0, 3, 3000)
    probs = model.from_images(pictures(truths, 0.45, seed=13), usual(truths)).probs
    right, sure = probs.argmax(axis=1) == truths, probs.max(axis=1)
    bins = np.array_split(np.argsort(sure), 10)
    error = sum(abs(sure[b].mean() - right[b].mean()) * len(b) for b in bins) / len(sure)
    assert 0.75 < right.mean() < 0.99
    assert error < 0.05


def test_fifty_topics_of_any_name_are_told() -> None:
    names = tuple(f"t{number}" for number in range(50))
    table = TopicTable(names, tuple((f"tag{number}",) for number in range(50)))
    topics = np.arange(500) % 50
    vectors, classes = pictures(topics, 0.05, 14, width=64), called(topics * 7)
    model = fitted(topics, vectors, classes, table, None)
    probs = model.from_images(pictures(topics, 0.05, 15, width=64), classes).probs
    assert (probs.argmax(axis=1) == topics).mean() > 0.98
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_classes_go_by_their_words_where_no_picture_showed_them() -> None:
    words = classes_by_words(TABLE, SPACE)
    assert words.shape == (1000, 3)
    named = words[[BEAGLE, TABBY, PIZZA, PAINTBRUSH]]
    assert named.argmax(axis=1).tolist() == [0, 0, 1, 2]
    assert named.max(axis=1).min() > 0.99
    assert words[TENCH] == pytest.approx(1 / 3)
    assert classes_by_words(TABLE, None) == pytest.approx(1 / 3)


def test_nothing_is_said_against_a_topic_without_known_words() -> None:
    table = TopicTable(("pets", "zzz", "art"), (("dog",), ("qqq",), ("paint",)))
    cat = classes_by_words(table, SPACE)[TABBY]
    # Likeness to pets and art is 1 and -1/2, of which the unknown topic has the mean.
    parts = [math.exp(10), math.exp(2.5), math.exp(-5)]
    assert cat == pytest.approx([part / sum(parts) for part in parts], rel=1e-4)


def test_words_weigh_as_one_picture_and_as_ten_where_there_is_none() -> None:
    words = np.array([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]], np.float32)
    classes = np.array([[1, 0], [1, 0], [0.5, 0.5]], np.float32)
    opinion = class_prior(classes, np.array([0, 0, 1]), words)
    assert opinion.new == pytest.approx([1 / 3.5, 1 / 1.5])
    assert opinion.topics[0] == pytest.approx(np.array([2.5, 0.75, 2.5]) / 5.75)
    assert opinion.topics[1] == pytest.approx(np.array([0.2, 0.9, 4]) / 5.1)


def test_opinions_join_by_how_new_the_classes_are() -> None:
    opinion = ClassPrior(
        np.array([[0.8, 0.2], [0.5, 0.5]], np.float32), np.array([0.5, 0], np.float32)
    )
    own = np.array([[0.1, 0.9]], np.float32)
    found = opinion.logits(own, np.array([[1, 0]], np.float32))[0]
    expected = [0.25 * math.log(0.1) + math.log(0.8), 0.25 * math.log(0.9) + math.log(0.2)]
    assert found == pytest.approx(expected, rel=1e-5)
    known = opinion.logits(own, np.array([[0, 1]], np.float32))[0]
    assert known == pytest.approx(np.log(own[0]), rel=1e-5)


def test_texts_alone_tell_topics_where_no_picture_taught_any() -> None:
    texts = np.eye(3, 8, dtype=np.float32)
    model = fitted(np.zeros(0, np.int64), np.zeros((0, 8), np.float32), None, texts=texts)
    assert model.has_image_model
    seen = pictures(np.arange(9) % 3, 0.3, seed=21)
    seen[:, :3] *= 0.05  # so that none is sure
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    raised = np.exp(100 * (seen @ texts.T).astype(np.float64))
    expected = (1 - MIN_PROBABILITY) * raised / raised.sum(
        axis=1, keepdims=True
    ) + MIN_PROBABILITY / 3
    assert np.abs(model.from_images(seen).probs - expected).max() < 1e-4
    assert expected.max(axis=1).min() < 0.999
    even = model.without_classes.from_images(seen).probs
    assert even == pytest.approx(1 / 3)


def test_texts_know_a_topic_that_no_picture_taught() -> None:
    topics = np.arange(200) % 2
    texts = np.eye(3, 8, dtype=np.float32)
    model = fitted(topics, pictures(topics, 0.2, seed=22), None, texts=texts)
    truths = np.arange(90) % 3
    seen = pictures(truths, 0.2, seed=23)
    assert (model.from_images(seen).probs.argmax(axis=1) == truths).mean() > 0.95
    assert not (model.without_classes.from_images(seen).probs.argmax(axis=1) == 2).any()


def opinion_of(model: TopicModel) -> ClassPrior:
    assert model.image
    assert model.image.zero_shot
    assert model.image.classes
    return model.image.classes


def test_pictures_decide_what_texts_weigh() -> None:
    topics = np.arange(300) % 3
    good, bad = np.eye(3, 8, dtype=np.float32), np.eye(8, dtype=np.float32)[[5, 6, 7]]
    vectors = pictures(topics, 0.4, seed=24)
    # Texts that point nowhere get no say, those that are right do.
    weights = [
        opinion_of(fitted(labels, vectors, None, texts=texts)).new
        for labels, texts in ((topics, bad), (topics, good))
    ]
    assert all(
        (new == new[0]).all() and np.isclose(PRIOR_NOVELTIES, new[0]).any() for new in weights
    )
    assert weights[0][0] == 0 < weights[1][0]
    truths = np.random.default_rng(26).integers(0, 3, 3000)
    unseen = pictures(truths, 0.4, seed=27)
    joined, alone = (
        log_loss(fitted(topics, vectors, None, texts=texts).from_images(unseen).probs, truths)
        for texts in (good, None)
    )
    assert joined < alone
    few = fitted(topics[:20], vectors[:20], None, texts=good)
    assert (opinion_of(few).new == DEFAULT_NOVELTY).all()
    assert opinion_of(few).temperature == pytest.approx(
        (1 - DEFAULT_NOVELTY) ** 2 + 4 * DEFAULT_NOVELTY**2
    )


def test_the_scale_of_texts_fits_pictures() -> None:
    """A softmax of known scale drew the topics: it is found again."""
    texts = np.eye(3, 8, dtype=np.float32)
    vectors = pictures(np.zeros(4000, np.int64) + 7, 0.5, seed=28)
    raised = np.exp(12 * (vectors @ texts.T).astype(np.float64))
    raised /= raised.sum(axis=1, keepdims=True)
    draws = np.random.default_rng(29).random((4000, 1))
    topics = (draws > raised.cumsum(axis=1)[:, :2]).sum(axis=1)
    model = fitted(topics, vectors, None, texts=texts)
    assert model.image
    assert model.image.zero_shot
    assert model.image.zero_shot.scale == pytest.approx(12, rel=0.1)


def test_log_loss_weighs_topics_evenly() -> None:
    probs = np.array([[0.5, 0.5], [0.25, 0.75], [1, 0]], np.float32)
    found = log_loss(probs, np.array([0, 0, 1]))
    expected = ((math.log(2) + math.log(4)) / 2 + math.log(1e9)) / 2
    assert found == pytest.approx(expected)


def test_a_picture_is_outside_by_the_energy_of_its_logits() -> None:
    outside = OutOfTopicDetector(middle=math.log(2), width=0.5)
    logits = np.array([[0, 0], [1, 1], [-np.inf, 99]], np.float32)
    assert outside.shares(logits)[:, 0] == pytest.approx([0.5, 1 / (1 + math.e**2), 0], abs=1e-6)


def test_what_is_saved_answers_the_same_on_numpy_alone(model: TopicModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    vectors, classes = pictures(np.arange(30) % 3, 0.4, seed=16), called(np.arange(30) * 30)
    probs = TopicModel.open(tmp_path).from_images(vectors, classes).probs
    assert np.array_equal(probs, model.from_images(vectors, classes).probs)
    save_file({"vectors": vectors, "classes": classes, "probs": probs}, tmp_path / "asked")
    program = (
        "import sys; from pathlib import Path\n"
        "from hashlens.indexer.topics.model import TopicModel\n"
        "from safetensors.numpy import load_file\n"
        "asked = load_file(sys.argv[1] + '/asked')\n"
        "model = TopicModel.open(Path(sys.argv[1]))\n"
        "found = model.from_images(asked['vectors'], asked['classes']).probs\n"
        "assert abs(found - asked['probs']).max() < 1e-6\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'open_clip', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_pictures_and_classes_of_another_shape_are_refused(model: TopicModel) -> None:
    vectors = pictures(np.arange(3), 0.1, seed=17)
    with pytest.raises(ShapeError, match=r"classes \(3, 999\), expected \(3, 1000\)"):
        model.from_images(vectors, np.zeros((3, 999), np.float32))
    with pytest.raises(ShapeError, match=r"classes \(2, 1000\)"):
        model.from_images(vectors, np.zeros((2, 1000), np.float32))


def test_texts_that_are_saved_answer_the_same(tmp_path: Path) -> None:
    topics = np.arange(300) % 3
    model = fitted(topics, pictures(topics, 0.5, seed=30), None, texts=np.eye(3, 8, dtype="f4"))
    model.save(tmp_path)
    seen = pictures(topics, 0.5, seed=31)
    again = TopicModel.open(tmp_path)
    assert np.array_equal(again.from_images(seen).probs, model.from_images(seen).probs)
    assert opinion_of(again).new[0] > 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("texts", np.zeros((4, 2), np.float32)),
        ("texts", np.zeros((3, 3), np.float32)),
        ("texts", -1),
        ("classes.new", np.zeros(4, np.float32)),
        ("classes.topics", np.zeros((4, 2), np.float32)),
        ("classes", 0),
        ("classes", "x"),
        ("outside", float("nan")),
        ("outside_width", 0),
    ],
)
def test_unfit_opinions_are_refused(name: str, wrong: object, tmp_path: Path) -> None:
    head = Head(np.eye(3, 2, dtype=np.float32), np.zeros(3, np.float32))
    classes = ClassPrior(np.full((3, 3), 1 / 3, np.float32), np.ones(3, np.float32))
    texts = ZeroShot(np.eye(3, 2, dtype=np.float32))
    judge = ImageTopicModel(head, OutOfTopicDetector(0, 1), classes, texts)
    TopicModel(TABLE, judge, None, {}, np.zeros(0, np.float32)).save(tmp_path)
    assert TopicModel.open(tmp_path).has_image_model
    if isinstance(wrong, np.ndarray):
        tensors = load_file(tmp_path / "heads.safetensors")
        save_file(tensors | {name: wrong}, tmp_path / "heads.safetensors")
    else:
        saved = json.loads((tmp_path / "topics.json").read_text())
        (tmp_path / "topics.json").write_text(json.dumps(saved | {name: wrong}))
    with pytest.raises(IndexCorruptError, match=name):
        TopicModel.open(tmp_path)


def test_each_collection_is_left_out_where_its_topic_has_others() -> None:
    topics = np.array([0] * 40 + [1] * 20 + [2] * 20)
    origins = ["dogs"] * 20 + ["cats"] * 20 + ["menus"] * 20 + [None] * 20
    posts = tuple(
        Post(f"p{n}", hashtags=("x",), forms=("x",), topic=TABLE.names[topic], origin=origin)
        for n, (topic, origin) in enumerate(zip(topics, origins, strict=True))
    )
    # Cats are drawn as art is: the head alone cannot know them from dogs.
    vectors = pictures(np.where(np.array(origins) == "cats", 2, topics), 0.1, seed=18)
    classes = usual(topics)
    classes[20:40] = called([TABBY] * 20)
    learn = partial(fit_image_topics, table=TABLE, words=SPACE, seed=1)
    found = leave_collections_out(
        LabelledPictures(posts, topics, vectors, classes), TABLE.names, learn
    )
    cats, dogs = found["origins"]
    assert (cats["origin"], dogs["origin"], cats["topic"], cats["queries"]) == (
        *("cats", "dogs", "pets", 20),
    )
    assert (cats["accuracy"], cats["head_accuracy"], cats["said"]) == (1, 0, [20, 0, 0])
    assert found["errors"] == 20 - dogs["said"][0]
    assert found["head_errors"] == 20 + round(20 * (1 - dogs["head_accuracy"]))
