"""Channels on a tiny index of known posts: every score is worked out by hand or by a plain loop."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.storage.count_matrices import EASE_PENALTY
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.topics.prompts import TextReader
from hashlens.indexer.types import Embeddings
from hashlens.retriever.candidates import channels
from hashlens.retriever.candidates.channels import CHANNELS, SEED_INDEPENDENCE, SMOOTHING_POSTS
from hashlens.retriever.candidates.generate import COMPANIONS, generate_candidates
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import prepare
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommendation import Query
from tests.support import tiny_index as tiny
from tests.support.channel_queries import asked, close, says
from tests.support.vector_oracle import mean

POSTS, AUTHORS = 8, 6  # of `tiny.ROWS`


def test_pictures_vote_by_cosine_and_author(tiny_index: IndexReader) -> None:
    # Cosines 1 and 0.8 of ann's two, 0.6 of bob's; to the fourth power.
    found = says(
        tiny_index, "image neighbours", Query(Path("x.png")), seen=tiny.PICTURES[:1].copy()
    )
    bob = 0.6**4
    assert found == {
        "dog": pytest.approx([1 + bob, 1, 1, 2], rel=1e-3),
        "park": pytest.approx([1, 1 / (1 + bob), 1, 1], rel=1e-3),
        "beach": pytest.approx([bob, bob / (1 + bob), 0.6, 1], rel=1e-3),
    }
    assert says(tiny_index, "image neighbours", Query(caption="walk")) == {}


def test_captions_vote_by_what_they_mean(tiny_index: IndexReader) -> None:
    # Two posts of this very caption, by two authors, are as near as can be.
    found = says(tiny_index, "caption neighbours", Query(caption="sleepy kitten"))
    assert found["sleepykitten"][2] == pytest.approx(1, abs=1e-2)
    assert found["kitten"][0] >= 1.95
    assert found["kitten"][0] > found["home"][0]
    assert says(tiny_index, "caption neighbours", Query(seeds=("dog",))) == {}


def test_captions_vote_by_the_words_they_share(tiny_index: IndexReader) -> None:
    # `again` is in one post, of ann's: the others do not share it.
    found = says(tiny_index, "word neighbours", Query(caption="again"))
    assert found == close(dog=[1, 1, 1, 1], park=[1, 1, 1, 1])
    # `long` and `my` are each in one post of two words: both posts are as near.
    found = says(tiny_index, "word neighbours", Query(caption="my long"))
    half = [1, 0.5, 1, 1]
    assert found == close(dog=half, beach=half, kitten=half, home=half)


def test_seeds_ask_the_posts_that_share_them(tiny_index: IndexReader) -> None:
    dog, park, beach = (math.log(1 + POSTS / uses) for uses in (3, 2, 1))
    near = dog / math.sqrt(dog**2 + beach**2)  # of bob's post; ann's is nearer
    ann = dog / math.sqrt(dog**2 + park**2)
    both = ann**2 + near**2
    found = says(tiny_index, "seed neighbours", Query(seeds=("dog",)))
    silent = pytest.approx(math.nan, nan_ok=True)
    assert {tag: values[:4] for tag, values in found.items()} == close(
        dog=[both, 1, ann, 2],
        park=[ann**2, ann**2 / both, ann, 1],
        beach=[near**2, near**2 / both, near, 1],
    )
    assert [values[4] for values in found.values()] == [silent] * 3
    # Two posts hold #dog and #park together, and both hold each of them.
    found = says(tiny_index, "seed neighbours", Query(seeds=("dog", "park")))
    two = {tag: values[4] for tag, values in found.items()}
    assert two == {
        "dog": pytest.approx((2 - 0.5) / (2 + 1)),
        "park": pytest.approx((2 - 0.5) / (2 + 1)),
        "beach": silent,
    }


def likelihood(uses: int, *beside: int) -> float:
    """Log of each seed's smoothed chance beside a hashtag of so many posts, by posts of both.

    Over what the same seeds have beside none; a second seed counts by `INDEPENDENT`.
    """
    usual = uses / POSTS
    odds = math.prod(
        (posts + SMOOTHING_POSTS * usual) / (SMOOTHING_POSTS * usual) for posts in beside
    )
    return math.log(odds) + math.log(usual) * (len(beside) - SEED_INDEPENDENCE * (len(beside) - 1))


def test_cooccurrence_tells_of_each_seed_and_of_all(tiny_index: IndexReader) -> None:
    # #dog: 3 posts of 2 authors; with #park 2 posts of one, with #beach one of one.
    found = says(tiny_index, "co-occurrence", Query(seeds=("dog",)))
    park = [0.5 / 4, 1.5 / 5, 1.5 / 5, 1.5 / 5, 2 / math.sqrt(3 * 2), math.log(0.3 * 8 / 2)]
    beach = [0.5 / 4, 0.5 / 5, 0.5 / 5, 0.5 / 5, 1 / math.sqrt(3 * 1), math.log(0.1 * 8 / 1)]
    assert found == close(
        park=[*park, likelihood(2, 2)],
        beach=[*beach, likelihood(1, 1)],
    )
    # #kitten: 3 posts of 3 authors; with #home 2 of 2. #mybrand: one post, with #home.
    found = says(
        tiny_index, "co-occurrence", Query(seeds=("dog",)), Query(seeds=("kitten", "mybrand"))
    )
    assert found == close(
        home=[
            1.5 / 5 + 0.5 / 3,
            1.5 / 5 + 0.5 / 3,
            1.5 / 5,
            0.5 / 3,
            2 / 3 + 1 / math.sqrt(3),
            (math.log(0.3 * 8 / 3) + math.log(0.5 / 3 * 8 / 3)) / 2,
            likelihood(3, 2, 1),
        ],
        # It never stood with #mybrand.
        sleepykitten=[
            *(0.1, 0.1, 0.1, 0, 1 / math.sqrt(3 * 2), math.log(0.1 * 8 / 2)),
            likelihood(2, 1, 0),
        ],
    )
    assert says(tiny_index, "co-occurrence", Query(caption="dog")) == {}


def test_the_linear_model_adds_its_weights(tiny_index: IndexReader) -> None:
    # #dog (3 posts) and #park (2) stand together twice and with no other of the five: their part
    # of the Gram matrix is [[3 + l, 2], [2, 2 + l]], whose inverse is [[2 + l, -2], [-2, 3 + l]]
    # over the determinant; a weight is -P_ij / P_jj.
    dog_to_park, park_to_dog = 2 / (3 + EASE_PENALTY), 2 / (2 + EASE_PENALTY)
    nothing = {"home": [0.0], "kitten": [0.0], "sleepykitten": [0.0]}
    found = says(tiny_index, "linear", Query(seeds=("dog",)))
    assert found == close(park=[dog_to_park], **nothing)
    found = says(tiny_index, "linear", Query(seeds=("dog", "park")))
    assert found == close(park=[dog_to_park], dog=[park_to_dog], **nothing)
    assert says(tiny_index, "linear", Query(seeds=("beach",))) == {}  # a single post


def test_word_counts_weigh_words_by_rarity(tiny_index: IndexReader) -> None:
    idf = math.log1p(POSTS / 4)  # four posts hold `walk`, of three authors
    with_walk = {"dog": 2, "park": 1, "beach": 1, "home": 1, "mybrand": 1}
    expected = {tag: [idf**2 * (n - 0.7) / (3 + 5), 0, 0] for tag, n in with_walk.items()}
    found = says(tiny_index, "word counts", Query(caption="Walk, walk! And unheard."))
    assert found == close(**expected)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    """40 authors write `und`; three of them also `surf`, with hashtags of their own."""
    rows: list[tiny.Row] = [
        (f"a{n}", "und surf" if n < 3 else "und", ["surf", "sea"] if n < 3 else ["city"])
        for n in range(40)
    ]
    index = tiny.reader(rows, tmp_path_factory.mktemp("wide"))
    yield index
    index.store.close()


def test_a_rare_word_lifts_its_hashtags(wide: IndexReader) -> None:
    surf = (3 - 0.7) / (3 + 5)  # all three authors who say it
    lifted = [math.log1p(40 / 3) ** 2 * surf, math.log(surf / (3 / 40)), surf]
    assert says(wide, "word counts", Query(caption="surf")) == close(surf=lifted, sea=lifted)
    # What everybody says neither lifts nor speaks alone.
    everybody = says(wide, "word counts", Query(caption="und"))
    assert everybody["surf"] == pytest.approx(
        [math.log1p(1) ** 2 * (3 - 0.7) / (40 + 5), 0, 0], rel=1e-4
    )


def test_a_large_index_needs_more_authors_for_a_word_with_a_hashtag(
    wide: IndexReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty authors count as a large index here; three of them share `surf` with #surf."""
    for large, least, is_found in ((41, 4, True), (40, 4, False), (40, 3, True)):
        monkeypatch.setattr(channels, "LARGE_INDEX", large)
        monkeypatch.setattr(channels, "MIN_SUPPORTERS", least)
        assert bool(says(wide, "word counts", Query(caption="surf"))) == is_found


def test_common_words_tell_the_language(wide: IndexReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MIN_COMMON_SHARE", 0.5)
    found = says(wide, "language", Query(caption="und surf"))
    assert found == close(surf=[(3 - 0.7) / 45], sea=[(3 - 0.7) / 45], city=[(37 - 0.7) / 45])
    assert says(wide, "language", Query(caption="surf")) == {}
    monkeypatch.setattr(channels, "MIN_COMMON_SHARE", 0.05)  # now both are
    both = ((3 - 0.7) / 45 + (3 - 0.7) / 8) / 2
    found = says(wide, "language", Query(caption="und surf"))
    assert found == close(surf=[both], sea=[both], city=[(37 - 0.7) / 45 / 2])


def test_words_spell_hashtags(tiny_index: IndexReader) -> None:
    found = says(tiny_index, "spelled", Query(caption="My Home"))
    unseen = math.log1p(POSTS)  # `my` and `home` are each in one post
    assert found == close(home=[unseen, unseen, 1, 2, 0.5, 1], my=[unseen, unseen, 1, 1, 0, 1])


def test_words_are_found_inside_hashtags(tiny_index: IndexReader) -> None:
    idf = math.log1p(POSTS / 3)  # `sleepy` and `kitten`: three posts each
    found = says(tiny_index, "words inside", Query(caption="kitten"))
    assert found == close(sleepykitten=[idf / 2, 1 / 2])
    found = says(tiny_index, "words inside", Query(caption="sleepy little kitten"))
    assert found == close(sleepykitten=[idf, 1])
    assert says(tiny_index, "words inside", Query(caption="walk")) == {}


@pytest.mark.parametrize(
    ("channel", "query"),
    [
        ("caption vectors", Query(caption="walk with the kitten")),
        ("seed vectors", Query(seeds=("dog", "home"))),
    ],
)
def test_hashtags_around_a_vector_are_those_of_brute_force(
    tiny_index: IndexReader, channel: str, query: Query
) -> None:
    batch = asked(tiny_index, query)
    terms = tokens(query.caption) or [f"#{seed}" for seed in query.seeds]
    probs = dict(zip(batch.topics.topics, batch.topics.probs[0].tolist(), strict=True))
    top = sorted(probs.values())[-channels.MAX_TOPICS]
    likely = {t: p for t, p in probs.items() if p >= max(channels.MIN_TOPIC_PROBABILITY, top)}
    weights = likely | {"all": max(1 - sum(likely.values()), 0.25)}
    expected: dict[str, float] = defaultdict(float)
    for topic, weight in weights.items():
        space = tiny_index.space(topic)
        if space is None:
            continue
        held = [term for term in terms if term in space]
        centre = mean(space, held, [batch.idf.get(term, batch.unseen_idf) for term in held])
        for tag, posts in tiny_index.store.rows("select key, posts from hashtag_counts"):
            if f"#{tag}" in space:
                cosine = float(mean(space, [f"#{tag}"]) @ centre)
                if cosine > 0:
                    expected[tag] += weight * (cosine + channels.LOG_POSTS_WEIGHT * math.log(posts))
    found = says(tiny_index, channel, query)
    assert expected
    assert {tag: score for tag, (score,) in found.items()} == pytest.approx(expected, abs=1e-2)


def test_topics_bring_their_own_hashtags(tiny_index: IndexReader) -> None:
    batch = asked(tiny_index, Query(caption="my kitten"))
    authors: dict[str, dict[str, int]] = defaultdict(dict)
    for topic, tag, number in tiny_index.store.rows(
        "select topic, key, authors from hashtag_topics join hashtags using (tag_id)"
    ):
        authors[topic][tag] = number
    expected: dict[str, float] = defaultdict(float)
    for topic, prob in zip(batch.topics.topics, batch.topics.probs[0].tolist(), strict=True):
        for tag, number in authors[topic].items():
            expected[tag] += prob * number / sum(authors[topic].values())
    assert expected
    found = says(tiny_index, "topic", Query(caption="my kitten"))
    assert {tag: score for tag, (score,) in found.items()} == pytest.approx(expected, rel=1e-4)


def as_pictures(texts: Sequence[str]) -> np.ndarray:
    """Texts of `dog` along the first axis, of `kitten` near it, all others along the last."""
    axes = {"dog": [1, 0, 0], "kitten": [0.96, 0.28, 0]}
    rows = [next((axes[w] for w in axes if w in text.split(".")[0]), [0, 0, 1]) for text in texts]
    return np.array(rows, np.float32)


def test_pictures_find_hashtags_by_their_words(
    tiny_index: IndexReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tiny.corpus(tiny.ROWS, tiny.PICTURES)
    index = IndexReader(tiny.generation(corpus, tmp_path, reader=TextReader(as_pictures)))
    monkeypatch.setattr(channels, "MAX_NEAREST", 3)
    # Cosines 0.8 of dog and 0.96 * 0.8 + 0.28 * 0.6 of the two of kitten: the third is 0.
    seen = np.array([[0.8, 0.6, 0]], np.float32)
    found = says(index, "picture words", Query(Path("x.png")), seen=seen)
    dog = math.exp(100 * (0.8 - 0.936))
    kitten = pytest.approx([0.936, 1 / (2 + dog)], rel=1e-4)
    assert found == {
        "dog": pytest.approx([0.8, dog / (2 + dog)], rel=1e-4),
        "kitten": kitten,
        "sleepykitten": kitten,
    }
    assert says(index, "picture words", Query(caption="dog")) == {}
    # Unpictured queries before it change nothing.
    batch = prepare(
        index,
        [Query(caption="walk"), Query(Path("x.png"))],
        Embeddings(np.array([1]), seen),
    )
    assert tiny.said(index, channels.picture_words(index, batch), 1) == found
    # An encoder of pictures alone says nothing, and its candidates are as they were.
    assert says(tiny_index, "picture words", Query(Path("x.png")), seen=seen) == {}
    batch = asked(tiny_index, Query(Path("x.png")), seen=seen)
    whole, without = (
        generate_candidates(tiny_index, batch),
        generate_candidates(tiny_index, batch, without=["picture words"]),
    )
    assert np.array_equal(whole.tag_ids, without.tag_ids)
    mine = [column.startswith("picture words") for column in whole.columns]
    assert np.isnan(whole.scores[:, mine]).all()
    ranker = Ranker.shipped()
    assert np.array_equal(ranker.probabilities(whole), ranker.probabilities(without))


def test_companions_go_with_the_best_guesses(tiny_index: IndexReader) -> None:
    # `unheard` spells a new hashtag, `beach` a known one: it stood once with #dog.
    batch = asked(tiny_index, Query(caption="unheard beach"))
    others = [*(name for name in CHANNELS if name != "spelled")]
    found = generate_candidates(tiny_index, batch, without=others)
    column = found.columns.index(f"{COMPANIONS}: score")
    said = dict(zip(found.tag_ids.tolist(), found.scores[:, column].tolist(), strict=True))
    ids = tiny_index.tag_ids(["dog", "home"])
    # Its share of the rarest word is 1; #beach has one author, who used #dog with it.
    assert said[ids["dog"]] == pytest.approx(1 * (1 - 0.5) / (1 + 3))
    assert math.isnan(said[ids["home"]])
