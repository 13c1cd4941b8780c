"""The words inside a hashtag, against brute force and on the pretrained vocabulary."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.text.segmenter import Segmenter, vocabulary_counts

SMALL = {"a": 30, "ab": 9, "abc": 4, "b": 12, "bc": 7, "c": 3, "cab": 2, "bca": 1}


@pytest.fixture(scope="module")
def ranked() -> list[str]:
    """Pretrained words, the most frequent first."""
    return list(load_pretrained().words)


@pytest.fixture(scope="module")
def pretrained(ranked: list[str]) -> Segmenter:
    return Segmenter(vocabulary_counts({}, ranked))


def cuts(run: str) -> Iterator[tuple[str, ...]]:
    """Every way to cut a run of letters."""
    if not run:
        yield ()
    for end in range(1, len(run) + 1):
        for rest in cuts(run[end:]):
            yield (run[:end], *rest)


def log_probability(words: tuple[str, ...]) -> float:
    """Norvig's score: counts over their sum N, and 10 / (N 10^length) for a word never seen.

    In the second, N is a million at least.
    """
    total = sum(SMALL.values())
    return sum(
        math.log(SMALL[w] / total) if w in SMALL else math.log(10 / (1e6 * 10 ** len(w)))
        for w in words
    )


@given(st.text("abcd", min_size=3, max_size=9))
def test_the_cut_is_the_likeliest_of_all(run: str) -> None:
    best = max(map(log_probability, cuts(run)))
    found = Segmenter(SMALL).segment(run)
    assert "".join(found) == run
    assert log_probability(found) == pytest.approx(best)


@pytest.mark.parametrize(
    "words",
    [
        "golden retriever", "sunset lovers", "photo of the day", "throwback thursday",
        "street photography", "love yourself", "new york city", "food porn", "insta good",
        "pic of the day", "cats of instagram", "dogs of instagram", "black and white",
        "beautiful girls", "good morning", "nature lovers", "insta travel", "makeup artist",
        "travel photography", "like for like", "follow for follow back", "no filter",
        "architecture photography", "home sweet home", "happy birthday", "best friends",
        "healthy food", "wedding dress", "adopt dont shop", "los angeles", "golden hour",
        "wanderlust", "sunday", "chinchilla", "selfie", "sunglasses", "throwback",
    ],
)  # fmt: skip
def test_real_hashtags_on_pretrained_words(pretrained: Segmenter, words: str) -> None:
    assert pretrained.segment(words.replace(" ", "")) == tuple(words.split())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nail_art", ("nail", "art")),
        ("summer2016", ("summer", "2016")),
        ("24hours", ("24", "hours")),
        ("goldenhour❤", ("golden", "hour", "❤")),
        ("東京タワー", ("東京タワー",)),
        ("ภาษาไทย", ("ภาษาไทย",)),
        ("путешествие", ("путешествие",)),
        ("हिन्दी", ("हिन्दी",)),
        ("・", ("・",)),
        ("gordinha", ("gordinha",)),
    ],
)
def test_borders_and_other_scripts(pretrained: Segmenter, key: str, words: tuple[str, ...]) -> None:
    assert pretrained.segment(key) == words


def test_own_words_are_known_beside_the_pretrained(ranked: list[str]) -> None:
    own = {"vanlife": 40, "хорошее": 9, "утро": 9, "the": 500, "th": 400}
    segmenter = Segmenter(vocabulary_counts(own, ranked))
    assert segmenter.segment("vanlifeeurope") == ("vanlife", "europe")
    assert segmenter.segment("хорошееутро") == ("хорошее", "утро")
    assert Segmenter(vocabulary_counts({}, ranked)).segment("vanlife") == ("van", "life")


def test_counts_are_blended_by_zipf() -> None:
    ranked = ["the", "of", "day", "x1", "zq"]
    counts = vocabulary_counts({"day": 3, "sunny": 1, "foggy": 2}, ranked)
    # C / rank with C = 1e9; own words take half of that mass, 3/5 and 2/5 of it; `sunny` stands
    # once and is not pretrained.
    mass = 1e9 * (1 + 1 / 2 + 1 / 3 + 1 / 5) / 2
    assert counts == {
        "the": 1_000_000_000,
        "of": 500_000_000,
        "day": round(1e9 / 3 + mass * 3 / 5),
        "zq": 200_000_000,
        "foggy": round(mass * 2 / 5),
    }


def test_short_words_must_be_frequent() -> None:
    filler = [
        f"filler{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}{'x' * (n // 676)}" for n in range(2000)
    ]
    counts = vocabulary_counts({}, ["a", "of", *filler, "th", "e", "xyz"])
    assert {"a", "of", "xyz"} <= counts.keys()
    assert not {"th", "e"} & counts.keys()


def test_without_any_counts_letters_stay_together() -> None:
    assert Segmenter({}).segment("sunset") == ("sunset",)
    assert vocabulary_counts({}, []) == {}


def test_a_hundred_thousand_hashtags_take_seconds(pretrained: Segmenter) -> None:
    keys = ["goldenretriever", "photooftheday", "followforfollowback", "gordinha", "igersmilano"]
    began = time.process_time()
    for _ in range(400):
        for key in keys:
            pretrained.segment(key)
    # 2,000 hashtags: a fiftieth of 10 s, with room for a slow machine.
    assert time.process_time() - began < 1.0
