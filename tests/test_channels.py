"""Channels on a tiny index of known posts: every score is worked out by hand or by a plain loop."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.counts import EASE_PENALTY
from indexer.hashtags import tokens
from indexer.prompts import TextReader
from indexer.schema import Candidates, Embeddings, Query
from retriever import channels
from retriever.channels import CHANNELS, OF_POSTS, VOTES
from retriever.gather import COMPANIONS, EVERYWHERE, GUESSING, gather, split
from retriever.prepare import QueryBatch, prepare
from retriever.ranker import Ranker
from retriever.reading import IndexReader
from tests import tiny

POSTS, AUTHORS = 8, 6  # of `tiny.ROWS`


def asked(index: IndexReader, *queries: Query, seen: np.ndarray | None = None) -> QueryBatch:
    """Queries made ready; `seen` are the vectors of the first ones' pictures."""
    images = None if seen is None else Embeddings(np.arange(len(seen)), seen)
    return prepare(index, queries, images)


def says(
    index: IndexReader, channel: str, *queries: Query, seen: np.ndarray | None = None
) -> dict[str, list[float]]:
    """What a channel says to the last of the queries, by hashtag."""
    batch, kind = asked(index, *queries, seen=seen), CHANNELS[channel]
    found = kind.ask(index, batch)
    assert found.values.shape == (len(found), len(kind.columns))
    assert found.values.dtype == np.float32
    assert (np.diff(found.keys) > 0).all()
    return tiny.said(index, found, len(queries) - 1, batch.spelt.coined)


def offered(index: IndexReader, *queries: Query) -> list[set[str]]:
    """Hashtags that are candidates of each query."""
    return [set(rows) for rows in gathered(index, *queries)]


def gathered(
    index: IndexReader, *queries: Query, seen: np.ndarray | None = None
) -> list[dict[str, list[float]]]:
    """Columns of the candidates of each query, by hashtag."""
    batch = asked(index, *queries, seen=seen)
    found = gather(index, batch)
    names = dict(index.store.rows("select tag_id, key from hashtags"))
    names |= dict(enumerate(batch.spelt.coined, start=index.tags))
    return [
        {names[tag]: found.scores[row].tolist() for row, tag in enumerate_span(found, span)}
        for span in split(found, len(queries))
    ]


def enumerate_span(found: Candidates, span: slice) -> Iterator[tuple[int, int]]:
    return ((row, int(found.tag_ids[row])) for row in range(span.start, span.stop))


def close(**rows: list[float]) -> dict[str, object]:
    return {tag: pytest.approx(values, rel=1e-4, abs=1e-6) for tag, values in rows.items()}


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


def test_cooccurrence_tells_of_each_seed_and_of_all(tiny_index: IndexReader) -> None:
    # #dog: 3 posts of 2 authors; with #park 2 posts of one, with #beach one of one.
    found = says(tiny_index, "co-occurrence", Query(seeds=("dog",)))
    assert found == close(
        park=[0.5 / 4, 1.5 / 5, 1.5 / 5, 1.5 / 5, 2 / math.sqrt(3 * 2), math.log(0.3 * 8 / 2)],
        beach=[0.5 / 4, 0.5 / 5, 0.5 / 5, 0.5 / 5, 1 / math.sqrt(3 * 1), math.log(0.1 * 8 / 1)],
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
        ],
        # It never stood with #mybrand.
        sleepykitten=[0.1, 0.1, 0.1, 0, 1 / math.sqrt(3 * 2), math.log(0.1 * 8 / 2)],
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


def test_common_words_tell_the_language(wide: IndexReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "COMMON", 0.5)
    found = says(wide, "language", Query(caption="und surf"))
    assert found == close(surf=[(3 - 0.7) / 45], sea=[(3 - 0.7) / 45], city=[(37 - 0.7) / 45])
    assert says(wide, "language", Query(caption="surf")) == {}
    monkeypatch.setattr(channels, "COMMON", 0.05)  # now both are
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
    top = sorted(probs.values())[-channels.MOST_TOPICS]
    likely = {t: p for t, p in probs.items() if p >= max(channels.LIKELY, top)}
    weights = likely | {"all": max(1 - sum(likely.values()), 0.25)}
    expected: dict[str, float] = defaultdict(float)
    for topic, weight in weights.items():
        space = tiny_index.space(topic)
        if space is None:
            continue
        held = [term for term in terms if term in space]
        mean = space.mean(held, [batch.idf.get(term, batch.unseen_idf) for term in held])
        for tag, posts in tiny_index.store.rows("select key, posts from hashtag_counts"):
            if f"#{tag}" in space:
                cosine = float(space.mean([f"#{tag}"]) @ mean)
                if cosine > 0:
                    expected[tag] += weight * (cosine + channels.PRIOR * math.log(posts))
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
    monkeypatch.setattr(channels, "AROUND", 3)
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
    whole, without = gather(tiny_index, batch), gather(tiny_index, batch, without=["picture words"])
    assert np.array_equal(whole.tag_ids, without.tag_ids)
    mine = [column.startswith("picture words") for column in whole.columns]
    assert np.isnan(whole.scores[:, mine]).all()
    ranker = Ranker.shipped()
    assert np.array_equal(ranker.probabilities(whole), ranker.probabilities(without))


def test_companions_go_with_the_best_guesses(tiny_index: IndexReader) -> None:
    # `unheard` spells a new hashtag, `beach` a known one: it stood once with #dog.
    batch = asked(tiny_index, Query(caption="unheard beach"))
    others = [*(name for name in CHANNELS if name != "spelled")]
    found = gather(tiny_index, batch, without=others)
    column = found.columns.index(f"{COMPANIONS}: score")
    said = dict(zip(found.tag_ids.tolist(), found.scores[:, column].tolist(), strict=True))
    ids = tiny_index.tag_ids(["dog", "home"])
    # Its share of the rarest word is 1; #beach has one author, who used #dog with it.
    assert said[ids["dog"]] == pytest.approx(1 * (1 - 0.5) / (1 + 3))
    assert math.isnan(said[ids["home"]])


def test_every_channel_can_be_left_out(tiny_index: IndexReader) -> None:
    batch = asked(tiny_index, Query(caption="walk home", seeds=("dog",)))
    whole = gather(tiny_index, batch)
    names = {name: kind.columns for name, kind in CHANNELS.items()} | {COMPANIONS: ("score",)}
    for name, columns in names.items():
        left = gather(tiny_index, batch, without=[name]).columns
        assert set(whole.columns) - set(left) == {f"{name}: {column}" for column in columns}
    # Without any, the most used hashtags are left; #park, #beach and #mybrand are one author's.
    nothing = gather(tiny_index, batch, without=list(CHANNELS))
    assert EVERYWHERE >= 6
    named = tiny_index.names(nothing.tag_ids.tolist()).values()
    assert {"home", "kitten", "sleepykitten"} <= {key for key, _ in named}
    assert set(GUESSING) <= set(CHANNELS)


def test_columns_are_named_by_channel(tiny_index: IndexReader) -> None:
    found = gather(tiny_index, asked(tiny_index, Query(caption="walk")))
    named = [f"{name}: {c}" for name, kind in CHANNELS.items() for c in kind.columns]
    assert list(found.columns[: len(named)]) == named
    assert len(set(found.columns)) == len(found.columns)


def test_seeds_are_never_offered(tiny_index: IndexReader) -> None:
    with_seed, without = offered(
        tiny_index, Query(caption="walk home", seeds=("dog",)), Query(caption="walk home")
    )
    assert "dog" in without
    assert "dog" not in with_seed
    # Nor where the caption, or an unknown seed's own words, spell them.
    (found,) = offered(
        tiny_index, Query(caption="dog unheard", seeds=("dog", "unheard", "wordless"))
    )
    assert not {"dog", "unheard", "wordless"} & found
    spelling, seeding = offered(
        tiny_index, Query(caption="unheard"), Query(caption="walk", seeds=("unheard",))
    )
    assert "unheard" in spelling
    assert "unheard" not in seeding


def test_one_authors_hashtag_is_offered_only_where_the_caption_spells_it(
    tiny_index: IndexReader,
) -> None:
    brands = {"park", "beach", "mybrand"}
    unspelled, spelling, other = offered(
        tiny_index,
        Query(caption="walk home", seeds=("dog",)),
        Query(caption="mybrand walk in the park"),
        Query(caption="mybrands"),
    )
    assert not brands & unspelled
    assert brands & spelling == {"mybrand", "park"}
    assert not brands & other


def test_hashtags_on_the_block_list_are_never_offered(tmp_path: Path) -> None:
    rows: list[tiny.Row] = [(f"a{n}", "walk ad", ["ad", "dog", "likeforlike"]) for n in range(4)]
    index = tiny.reader(rows, tmp_path)
    known = index.tag_ids(["ad", "dog", "likeforlike"])
    assert {key: bool(index.offered[tag]) for key, tag in known.items()} == {
        "ad": False,
        "dog": True,
        "likeforlike": False,
    }
    asking = Query(caption="walk ad likeforlike followforfollow"), Query(seeds=("dog", "ad"))
    for found in offered(index, *asking):
        assert not {"ad", "likeforlike", "followforfollow"} & found
    assert "dog" in offered(index, *asking)[0]


def test_an_index_of_one_author_offers_that_authors_hashtags(tmp_path: Path) -> None:
    rows: list[tiny.Row] = [("ann", "walk", ["dog", "park"]), ("ann", "again", ["dog"])]
    index = tiny.reader(rows, tmp_path)
    assert offered(index, Query(seeds=("dog",))) == [{"park"}]


def test_an_index_without_hashtags_has_no_candidates(tmp_path: Path) -> None:
    index = tiny.reader([("ann", "walk", []), ("bob", "home again", [])], tmp_path)
    assert offered(index, Query(caption="Walk to Petersburg", seeds=("dog",))) == [set()]


def test_an_index_of_hashtags_without_vectors_answers(tmp_path: Path) -> None:
    from dataclasses import replace

    rare = replace(tiny.SMALL, vectors=replace(tiny.SMALL.vectors, min_count=9))
    rows: list[tiny.Row] = [("ann", "walk " * 9, ["dog"]), ("bob", "walk", ["dog", "cat"])]
    index = IndexReader(tiny.generation(tiny.corpus(rows), tmp_path, rare))
    assert index.hashtags("all") is None
    assert offered(index, Query(caption="walk", seeds=("cat",))) == [{"dog", "walk"}]


PICTURE = np.array([[0.8, 0.6, 0]], np.float32)
QUERIES = (
    Query(caption="Off to Petersburg with a sleepy kitten"),
    Query(caption="walk in the park", seeds=("dog", "unheard")),
    Query(seeds=("kitten", "mybrand")),
    Query(caption="petersburg, zzzz 東京"),
    Query(caption="🌞"),
)


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(QUERIES) - 1), min_size=1, max_size=5), st.booleans())
def test_a_query_is_answered_alike_alone_and_among_others(
    tiny_index: IndexReader, numbers: list[int], pictured: bool
) -> None:
    queries = [QUERIES[number] for number in numbers]
    seen = None
    if pictured:
        queries, seen = [Query(Path("x.png"), "a walk"), *queries], PICTURE
    together = gathered(tiny_index, *queries, seen=seen)
    for place, (query, found) in enumerate(zip(queries, together, strict=True)):
        (alone,) = gathered(tiny_index, query, seen=seen if place == 0 else None)
        assert list(map(len, (found, alone))) == [len(alone)] * 2
        for tag, columns in alone.items():
            assert found[tag] == pytest.approx(columns, rel=1e-4, abs=1e-5, nan_ok=True)


def test_channels_of_posts_are_those_in_which_posts_vote() -> None:
    voting = [name for name, kind in CHANNELS.items() if kind.columns[: len(VOTES)] == VOTES]
    assert list(OF_POSTS) == voting
