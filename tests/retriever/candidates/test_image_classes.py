"""Hashtags by the names of what a picture shows: every column by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.config import ALL_TOPICS, data_path
from hashlens.indexer.images.imagenet import class_titles, keys_of_classes
from hashlens.indexer.text.hashtags import key
from hashlens.indexer.types import Embeddings, Floats
from hashlens.retriever.candidates.candidate_features import FEATURE_COLUMNS, candidate_features
from hashlens.retriever.candidates.channels import (
    AUTHOR_DISCOUNT,
    LOG_POSTS_WEIGHT,
    picture_classes,
    topic_top,
)
from hashlens.retriever.candidates.image_classes import (
    MAX_SHOWN,
    MIN_PENALTY,
    MIN_PROBABILITY,
    MIN_SHOWN,
    ShownClasses,
    class_penalty,
)
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import ScoredPairs
from hashlens.retriever.query.batch import QueryBatch, prepare
from hashlens.retriever.recommendation import Query
from tests.support import tiny_index as tiny

PICTURE = Path("0.png")
PARK_BENCH, MOBILE_HOME, HOT_DOG, SLED_DOG = 703, 660, 934, 537


def asked(index: IndexReader, *pictures: dict[int, float]) -> QueryBatch:
    """A query without a picture, then one for each of some."""
    classes = np.zeros((len(pictures), 1000), np.float32)
    for row, shown in enumerate(pictures):
        classes[row, list(shown)] = list(shown.values())
    images = Embeddings(np.arange(1, 1 + len(pictures)), _vectors(len(pictures)))
    return prepare(
        index, [Query(caption="walk")] + [Query(PICTURE) for _ in pictures], images, classes
    )


def _vectors(number: int) -> Floats:
    return np.repeat(tiny.PICTURES[:1], number, axis=0)


def test_the_words_are_of_classes_that_there_are() -> None:
    names = class_titles()
    header, *lines = data_path("classes.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "words\tclasses"
    for line in lines:
        words, classes = line.split("\t")
        assert all(key(word) == word for word in words.split())
        for part in classes.split(", "):
            ends = [names.index(name) for name in part.split(" .. ")]
            assert ends == sorted(set(ends))
    assert [names[n] for n in (PARK_BENCH, HOT_DOG, SLED_DOG)] == [
        "park bench",
        "hot dog",
        "dog sled",
    ]


def test_only_likely_classes_speak(tiny_index: IndexReader) -> None:
    many = {n: 0.03 + n / 1000 for n in range(MAX_SHOWN + 3)}
    batch = asked(tiny_index, many, {PARK_BENCH: 0.9, HOT_DOG: MIN_SHOWN / 2}, {})
    shown = ShownClasses.of(batch)
    assert shown is not None
    assert np.bincount(shown.queries, minlength=4).tolist() == [0, MAX_SHOWN, 1, 0]
    assert shown.chances[shown.queries == 1].min() == pytest.approx(0.03 + 3 / 1000)
    assert [shown.names[kind] for kind in shown.kinds[shown.queries == 2]] == [("park", "bench")]


def test_names_speak_as_loudly_as_their_classes_are_likely(tiny_index: IndexReader) -> None:
    batch = asked(tiny_index, {PARK_BENCH: 0.5, HOT_DOG: 0.3, SLED_DOG: 0.1}, {HOT_DOG: 1.0})
    found = picture_classes(tiny_index, batch)
    assert tiny.said(tiny_index, found, 0) == {}
    first, second = (tiny.said(tiny_index, found, query) for query in (1, 2))
    # A bench says park, a sled dog; a hot dog is food.
    assert first["park"][2] == pytest.approx(0.5)
    assert first["dog"][2] == pytest.approx(0.1)
    # What it does not show is told, too, and is no reason for anything else.
    assert second["dog"][2] == first["home"][2] == 0
    assert np.isnan(second["dog"][1])
    assert np.isnan(second["dog"][4])
    # One class of a thousand is as likely as another, but some hashtags are called by many.
    often = {tag: sum(tag in keys for keys in keys_of_classes()) / 1000 for tag in ("park", "dog")}
    assert first["park"][3] == pytest.approx(np.log(0.5 / often["park"]))
    assert first["dog"][3] == pytest.approx(np.log(0.1 / often["dog"]))
    assert second["dog"][3] == pytest.approx(np.log(MIN_PROBABILITY / often["dog"]))
    # `park` is said by one author, beside #dog and #park; the other words by none.
    assert (
        first["park"][1] == first["dog"][1] == pytest.approx(0.5 * (1 - AUTHOR_DISCOUNT) / (1 + 5))
    )
    # #park is of one author, who has #dog, too. A tenth of dogs is less than chance: no reason.
    assert first["dog"][4] == pytest.approx(0.5 * 0.5 / (1 + 2))
    assert np.isnan(first["beach"][4])
    sure = asked(tiny_index, {SLED_DOG: 0.3, PARK_BENCH: 0.01})
    told = tiny.said(tiny_index, picture_classes(tiny_index, sure), 1)
    assert told["park"][4] == told["beach"][4] == pytest.approx(0.3 * 0.5 / (2 + 2))


def test_what_a_picture_does_not_show_is_less_of_its_topic(tiny_index: IndexReader) -> None:
    batch = asked(tiny_index, {PARK_BENCH: 0.9}, {SLED_DOG: 0.06, HOT_DOG: 0.9})
    ids = tiny_index.tag_ids(["dog", "park", "sleepykitten"])
    dog, park, strange = (ids[tag] for tag in ("dog", "park", "sleepykitten"))
    pairs = np.repeat([0, 1, 2], 3), np.tile([dog, park, strange], 3)
    half = 0.06 / (sum("dog" in keys for keys in keys_of_classes()) / 1000)
    assert MIN_PENALTY < half < 1
    expected = [1, 1, 1, MIN_PENALTY, 1, 1, half, MIN_PENALTY, 1]
    assert class_penalty(tiny_index, batch, *pairs).tolist() == pytest.approx(expected)
    # So it is with the topics' own hashtags, and with what is known of any.
    bare = replace(batch, images=None, classes=None, cache={})
    for said, alone in (
        (topic_top(tiny_index, batch), topic_top(tiny_index, bare)),
        (_prior(tiny_index, batch), _prior(tiny_index, bare)),
    ):
        ours, theirs = (tiny.said(tiny_index, each, 1) for each in (said, alone))
        assert ours["dog"][0] == pytest.approx(MIN_PENALTY * theirs["dog"][0])
        assert ours["sleepykitten"] == pytest.approx(theirs["sleepykitten"])


def _prior(index: IndexReader, batch: QueryBatch) -> ScoredPairs:
    tags = np.array(sorted(index.tag_ids(["dog", "park", "sleepykitten"]).values()))
    facts = candidate_features(index, batch, np.ones(len(tags), np.int64), tags)
    prior = facts[:, [FEATURE_COLUMNS.index("topic fit: prior")]]
    return ScoredPairs(np.ones(len(tags), np.int64), tags, np.ascontiguousarray(prior))


def test_hashtags_around_the_names_are_those_of_brute_force(tiny_index: IndexReader) -> None:
    batch = asked(tiny_index, {PARK_BENCH: 0.5, MOBILE_HOME: 0.3})
    said = tiny.said(tiny_index, picture_classes(tiny_index, batch), 1)
    names = [("mobile", "home", "camping", "outdoors"), ("park", "bench")]
    _, idf = tiny_index.idf({word for name in names for word in name})
    vectors = tiny_index.text_vectors(ALL_TOPICS, names, idf)
    assert vectors.ids.tolist() == [0, 1]
    posts = dict(tiny_index.store.rows("select key, posts from hashtag_counts"))
    ids = tiny_index.tag_ids(list(posts))
    hashtags = tiny_index.hashtag_index(ALL_TOPICS)
    assert hashtags is not None
    checked = 0
    for tag, number in ids.items():
        if number not in hashtags.ids:
            continue
        cosines = vectors.vectors @ hashtags.reconstruct(np.array([number]))[0]
        parts = [
            chance * (cosine + LOG_POSTS_WEIGHT * np.log(posts[tag]))
            for chance, cosine in zip((0.3, 0.5), cosines, strict=True)
            if cosine > 0
        ]
        assert (tag in said and not np.isnan(said[tag][0])) == bool(parts)
        if parts:
            assert said[tag][0] == pytest.approx(sum(parts), abs=1e-5)
            checked += 1
    assert checked


def test_a_picture_of_an_encoder_without_classes_is_silent(tiny_index: IndexReader) -> None:
    batch = prepare(tiny_index, [Query(PICTURE)], Embeddings(np.arange(1), _vectors(1)), None)
    assert ShownClasses.of(batch) is None
    assert not len(picture_classes(tiny_index, batch))
