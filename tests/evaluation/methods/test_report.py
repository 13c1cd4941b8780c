"""The methods of the course report on planted posts, and their features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hashlens.evaluation.methods import feature_learning
from hashlens.evaluation.methods.base import Features, Method, VectorTable
from hashlens.evaluation.methods.embeddings import NearestHashtags, NearestInTopic, posts_by_topic
from hashlens.evaluation.methods.feature_learning import encode_pictures, learn_features
from hashlens.evaluation.methods.method_registry import METHODS
from hashlens.evaluation.methods.topic_models import ImageLabels, ImageTopic, Lda
from hashlens.indexer.config import VECTOR_PRESETS, VectorConfig
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.images.encoder import EncodedImages, open_encoder
from hashlens.indexer.topics.model import load_topics
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from tests.support.vector_oracle import mean

SEA = ("sea", "wave", "beach", "surf", "sand", "coast")
CITY = ("street", "tower", "metro", "taxi", "roof", "bridge")
SMALL = VectorConfig("word2vec", 16, 5, 40, 2, skip_gram=False, hashtags_as_text=True)
REPORT: list[Callable[[], Method]] = [
    lambda: NearestHashtags("word2vec", SMALL),
    lambda: NearestInTopic("word2vec+topics", SMALL),
    lambda: Lda(topics=2),
    ImageTopic,
    ImageLabels,
]


def post(name: str, tags: tuple[str, ...], caption: str = "", image: str = "") -> Post:
    path = Path(image) if image else None
    return Post(name, image=path, caption=caption, hashtags=tags, forms=tags)


def planted(count: int = 60) -> list[Post]:
    """Return posts of four hashtags and two caption words, all of the sea or all of the city."""
    draw = np.random.default_rng(5)
    posts = []
    for row in range(count):
        terms = draw.permutation((SEA, CITY)[row % 2]).tolist()
        posts.append(post(str(row), tuple(terms[:4]), f"my{terms[4]} my{terms[5]}"))
    return [*posts, post("brand", ("onlyhere", "sea"), "mysea")]


def recommended(method: Method, query: Query, k: int = 9) -> list[str]:
    return [tag for tag, _ in method.recommend([query], k)[0]]


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (SMALL, 60),
        (replace(SMALL, method="glove", epochs=20), 400),
        (replace(SMALL, method="pretrained+word2vec"), 60),
        (replace(SMALL, hashtags_as_text=False, window=0, skip_gram=True), 60),
    ],
    ids=["word2vec", "glove", "pretrained+word2vec", "signed"],
)
def test_nearest_hashtags_are_those_of_the_same_cluster(config: VectorConfig, count: int) -> None:
    posts = planted(count)
    method = NearestHashtags("any", config)
    method.fit(posts)
    for own in (SEA, CITY):
        by_seeds = recommended(method, Query(seeds=own[:2]), k=4)
        assert set(by_seeds) == set(own[2:])
        by_words = recommended(method, Query(caption=f"my{own[0]} my{own[1]}"), k=6)
        assert set(by_words) == set(own)
    assert recommended(method, Query(seeds=("unheard",), caption="unheard of")) == []
    again = NearestHashtags("any", config)
    again.fit(posts)
    query = Query(caption="mysea", seeds=("roof",))
    assert again.recommend([query], 9) == method.recommend([query], 9)


def test_the_score_is_the_cosine_to_the_mean_of_the_query() -> None:
    method = NearestHashtags("word2vec", SMALL)
    method.fit(planted())
    space = method._space.words
    centre = mean(space, ["mysea", "wave"])
    query = Query(caption="MySea!", seeds=("wave",))
    ranking = method.recommend([query], 3)[0]
    for tag, score in ranking:
        assert score == pytest.approx(float(centre @ mean(space, [tag])), abs=1e-5)


def by_topic() -> tuple[list[Post], Features]:
    """Return posts in which x goes with y at the `sea` and with z in the `city`."""
    posts, probs = [], []
    for row in range(120):
        sea = row % 2 == 0
        pair = ("x", "y", "y2") if sea else ("x", "z", "z2")
        other = ("w", "w2") if sea else ("v", "v2")
        posts.append(post(str(row), pair if row % 6 < 2 else other, image=f"{row}.png"))
        probs.append([1.0, 0.0] if sea else [0.0, 1.0])
    posts.append(post("unsure", ("q", "w"), image="unsure.png"))
    probs.append([0.5, 0.5])
    queries = {
        Query(image=Path("sea.png"), seeds=("x",)): [0.8, 0.2],
        Query(image=Path("city.png"), seeds=("x",)): [0.2, 0.8],
        Query(image=Path("sea.png")): [0.7, 0.3],
        Query(image=Path("city.png")): [0.3, 0.7],
    }
    return posts, Features(
        topics=("sea", "city"),
        post_topics=VectorTable(tuple(p.post_id for p in posts), np.array(probs, np.float32)),
        query_topics=VectorTable(tuple(queries), np.array(list(queries.values()), np.float32)),
    )


def test_the_topic_of_the_query_chooses_the_space() -> None:
    posts, features = by_topic()
    method = NearestInTopic("glove+topics", replace(SMALL, method="glove", epochs=20))
    method.fit(posts, features=features)
    sea, city, only_sea, only_city = features.query_topics.keys if features.query_topics else ()
    assert set(recommended(method, sea, 2)) == {"y", "y2"}
    assert set(recommended(method, city, 2)) == {"z", "z2"}
    # Without text or seeds: the topic's most used, by share; the unsure post has no topic.
    assert recommended(method, only_sea, 2) == ["w", "w2"]
    assert recommended(method, only_city, 2) == ["v", "v2"]
    assert recommended(method, Query(seeds=("x",))) == []
    rare = NearestInTopic("rare", replace(SMALL, min_count=1000))  # no word occurs so often
    rare.fit(posts, features=features)
    assert recommended(rare, sea, 2) == ["w", "w2"]


def test_a_post_has_its_likeliest_topic_if_that_is_likely_enough() -> None:
    posts = [post(name, ("a",)) for name in "pqrs"]
    probs = np.array([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3], [0.01, 0, 0.99]], np.float32)
    features = Features(topics=("a", "b", "c"), post_topics=VectorTable(("p", "q", "s"), probs))
    assert posts_by_topic(posts, features) == {0: [0], 2: [3]}
    assert posts_by_topic(posts, None) == {}


def test_image_only_reads_the_topic_of_the_picture_alone() -> None:
    posts, features = by_topic()
    method = ImageTopic()
    method.fit(posts, features=features)
    query = Query(image=Path("city.png"), caption="sand, sea and waves", seeds=("v",))
    ranking = method.recommend([query], 2)[0]
    # Of 60 posts of the city, 40 have v and v2, 20 have x, z and z2.
    assert [tag for tag, _ in ranking] == ["v2", "x"]
    assert [score for _, score in ranking] == pytest.approx([40 / 60, 20 / 60])
    assert recommended(method, Query(caption="no picture")) == []


def test_lda_separates_planted_topics() -> None:
    method = Lda(topics=2, passes=10)
    method.fit(planted(200))
    for own in (SEA, CITY):
        assert set(recommended(method, Query(seeds=own[:2]), 4)) == set(own[2:])
        assert set(recommended(method, Query(caption=f"my{own[0]} my{own[3]}"), 6)) == set(own)
    both = [Query(seeds=("sea",)), Query(caption="myroof")]
    alone = [method.recommend([query], 5)[0] for query in both]
    assert method.recommend(both, 5) == alone  # queries are independent
    shares = dict(method.recommend([Query(seeds=("sea",))], 99)[0])
    assert 0 < sum(shares.values()) < 1  # of a distribution over words and hashtags


def test_the_multi_label_head_learns_planted_pictures() -> None:
    draw = np.random.default_rng(2)
    centres = np.eye(3, 8)
    rows = draw.integers(0, 3, 300)
    vectors = centres[rows] + draw.normal(0, 0.1, (300, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    names = ("cat", "dog", "sun")
    posts = [
        post(str(n), (names[row], "all") + ("few",) * (n < 4), image=f"{n}.png")
        for n, row in enumerate(rows)
    ]
    asked = tuple(Path(f"{name}.jpg") for name in names)
    paths = (*(p.image for p in posts if p.image), *asked)
    features = Features(
        pictures=VectorTable(paths, np.vstack([vectors, centres]).astype(np.float32))
    )
    method = ImageLabels(epochs=50, rate=0.05)
    method.fit(posts, features=features)
    for path, name in zip(asked, names, strict=True):
        ranking = dict(method.recommend([Query(image=path)], 9)[0])
        assert list(ranking)[:2] == ["all", name]
        assert ranking["all"] > 0.95
        assert ranking[name] > 0.8
        assert max(ranking[other] for other in names if other != name) < 0.2
        assert "few" not in ranking
    again = ImageLabels(epochs=50, rate=0.05)
    again.fit(posts, features=features)
    query = [Query(image=asked[0], seeds=("all",))]
    assert again.recommend(query, 9) == method.recommend(query, 9)
    assert "all" not in dict(method.recommend(query, 9)[0])


@pytest.mark.parametrize("make", REPORT)
def test_scores_strictly_decrease_without_seeds_or_brands(make: Callable[[], Method]) -> None:
    posts, features = by_topic()
    extended = [*posts, post("brand", ("onlyhere", "x"), "sandy", image="0.png")]
    vectors = np.random.default_rng(0).normal(size=(122, 4)).astype(np.float32)
    paths = (*(p.image for p in posts if p.image), Path("sea.png"))
    given = replace(features, pictures=VectorTable(paths, vectors))
    method = make()
    method.fit(extended, features=given)
    ranking = method.recommend([Query(image=Path("sea.png"), seeds=("x",))], 9)[0]
    assert ranking
    assert not {"x", "onlyhere"} & {tag for tag, _ in ranking}
    assert all(above > below > 0 for (_, above), (_, below) in pairwise(ranking))


@pytest.mark.parametrize("make", REPORT)
def test_answers_are_empty_without_posts_or_features(make: Callable[[], Method]) -> None:
    method = make()
    method.fit([])
    query = Query(Path("x.png"), "soft dog", ("cat",))
    assert method.recommend([query], 5) == [[]]
    assert method.recommend([], 5) == []
    with pytest.raises(ConfigError, match="k: found 0, expected 1 or more"):
        method.recommend([query], 0)


def test_every_method_of_the_registry_has_its_name() -> None:
    assert {name: make().name for name, make in METHODS.items()} == {name: name for name in METHODS}
    report = {"word2vec", "glove", "pretrained+word2vec", "hierarchical", "image-only", "lda"}
    assert METHODS.keys() >= report | {"image-only-multilabel", "hashlens", "popularity", "ease"}
    method = METHODS["word2vec"]()
    assert isinstance(method, NearestHashtags)
    assert method._config == VECTOR_PRESETS["report-word2vec"]


def test_features_keep_picture_vectors_by_content(
    sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = sorted(p for p in sample_folder.rglob("*") if p.suffix in {".jpg", ".png"})[:3]
    twin, broken = tmp_path / "twin.png", tmp_path / "broken.png"
    twin.write_bytes(pictures[0].read_bytes())
    broken.write_bytes(b"no picture")
    paths = [*pictures, twin, broken, tmp_path / "missing.png", None]
    encoder = open_encoder(feature_learning.ENCODER)
    alone = encoder.encode(pictures).vectors
    fresh = encode_pictures(paths, encoder, tmp_path / "cache")
    assert fresh.keys == (*pictures, twin)
    np.testing.assert_array_equal(fresh.values, np.vstack([alone, alone[:1]]))

    encoded: list[Path] = []
    encode = type(encoder).encode

    def record_paths(self: object, paths: list[Path]) -> EncodedImages:
        encoded.extend(paths)
        return encode(encoder, paths)

    monkeypatch.setattr(type(encoder), "encode", record_paths)
    kept = encode_pictures(paths, encoder, tmp_path / "cache")
    assert encoded == [broken]  # an unreadable file is tried again
    np.testing.assert_array_equal(kept.values, fresh.values)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = encode_pictures(pictures, encoder, tmp_path / "cache")
    np.testing.assert_array_equal(again.values, alone)
    with pytest.raises(InputError, match=r"cannot be written.*name another folder"):
        encode_pictures(pictures[:1], encoder, broken / "cache")


def test_topics_of_features_come_from_labels_hashtags_or_text() -> None:
    table = load_topics()
    first, second = table.names[:2]
    mine, yours = table.hashtags[0], table.hashtags[1]
    posts = [
        replace(post(f"a{n}", ("plain",), "zorp zorp blick"), topic=first) for n in range(20)
    ] + [post(f"b{n}", (yours[0], "other"), "quam quam frell") for n in range(20)]
    posts.append(post("text", ("unknown",), "zorp blick"))
    posts.append(post("both", (mine[0], yours[0]), "1234xyz"))
    queries = [Query(caption="a frell quam"), Query(caption="zzzxqq"), Query(seeds=(yours[0],))]
    found = learn_features(posts, queries)
    assert found.topics == table.names
    assert found.pictures is None
    assert found.post_topics is not None
    assert found.query_topics is not None
    of_post = dict(zip(found.post_topics.keys, found.post_topics.values, strict=True))
    assert of_post["a0"].tolist() == [float(name == first) for name in table.names]
    assert of_post["b0"].tolist() == [float(name == second) for name in table.names]
    assert of_post["text"].argmax() == 0
    assert of_post["text"].max() > 0.5
    assert found.query_topics.keys == (queries[0], queries[2])  # the other has no known word
    assert found.query_topics.values.argmax(axis=1).tolist() == [1, 1]
    assert learn_features(posts[-2:-1], queries).post_topics is None
