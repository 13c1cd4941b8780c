"""Reasons: every word, hashtag, post and number in a sentence is counted again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.text.hashtags import extract, strip, tokens
from hashlens.indexer.types import Embeddings, Post
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.candidates.generate import COMPANIONS
from hashlens.retriever.candidates.near_posts import search_captions, search_seeds, search_words
from hashlens.retriever.explanations.reasons import (
    MIN_COMPARED_IDF,
    MIN_COSINE,
    PHRASES,
    evidence_phrases,
)
from hashlens.retriever.explanations.support import add_explanations
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import prepare
from hashlens.retriever.recommendation import Evidence, Query, Recommendation, ScoredTag
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from tests.support import tiny_index as tiny

PICTURE = tiny.PICTURES[:1]


def reason(
    index: IndexReader,
    query: Query,
    tag: str,
    *shares: tuple[str, float],
    others: str = "",
    pinned: str = "",
) -> str:
    """Return the reason for a hashtag, given the shares of these channels."""
    images = Embeddings(np.arange(1), tiny.PICTURES[:1]) if query.image else None
    batch = prepare(index, [query], images)
    evidence = tuple(Evidence(channel, share) for channel, share in shares)
    shown = [ScoredTag(tag, tag, 0.5, "niche", evidence)]
    shown += [ScoredTag(other, other, 0.4, "niche") for other in others.split()]
    shown += [ScoredTag(p, p, 0.0, "niche", (Evidence("pinned", 1.0),)) for p in pinned.split()]
    (answer,) = add_explanations(index, batch, [Recommendation(tuple(shown), (), ())])
    assert isinstance(answer, Recommendation)
    return answer.tags[0].reason


def of_channel(index: IndexReader, channel: str, tag: str, others: str = "") -> str:
    query = Query(Path("0.png"), "my sleepy kitten, a walk at home", ("dog",))
    return reason(index, query, tag, (channel, 1.0), others=others)


@pytest.mark.parametrize(
    ("channel", "tag", "expected"),
    [
        # `kitten` stands with #kitten in posts of cat, dan and eve, `sleepy` in those of cat, eve.
        ("word counts", "kitten", "3 authors use it in posts with 'kitten', 2 with 'sleepy'"),
        ("word counts", "beach", "1 author uses it in posts with 'walk'"),
        # #dog stands with `walk` in three posts of two authors.
        ("word counts", "dog", "2 authors use it in posts with 'walk'"),
        # `home` is the rarer word: by its idf of 2.2 against 1.3 it says nearly as much.
        ("word counts", "home", "2 authors use it in posts with 'kitten', 1 with 'my'"),
        ("spelled", "kitten", "your caption spells it"),
        ("spelled", "atwalk", "it fits the rest"),
        ("words inside", "sleepykitten", "it holds your words 'sleepy' and 'kitten'"),
        ("co-occurrence", "park", "it stands beside #dog in 2 posts"),
        ("linear", "beach", "it stands beside #dog in 1 post"),
        ("co-occurrence", "home", "2 authors use it in posts of this index"),  # never beside #dog
        ("seed neighbours", "park", "2 of the 3 posts most alike by hashtags carry it: p0, p1"),
        ("image neighbours", "beach", "1 of the 3 most similar pictures carries it: p2"),
        ("image neighbours", "dog", "3 of the 3 most similar pictures carry it: p0, p1"),
        ("popularity", "dog", "2 authors use it in posts of this index"),
        ("pinned", "dog", "you pinned it"),
    ],
)
def test_a_channel_says_what_the_posts_hold(
    tiny_index: IndexReader, channel: str, tag: str, expected: str
) -> None:
    assert of_channel(tiny_index, channel, tag) == f"because {expected}"


def test_companions_are_shown_ones_that_nobody_pinned(tiny_index: IndexReader) -> None:
    said = of_channel(tiny_index, "companions", "home", others="beach kitten")
    assert said == "because it stands beside #kitten, which fits too, in 2 posts"
    assert "#" not in of_channel(tiny_index, "companions", "home", others="beach")
    said = of_channel(tiny_index, "companions", "park", others="kitten")
    assert "#dog" not in said  # given, not shown
    query, company = Query(caption="my kitten"), ("companions", 1.0)
    assert "#kitten" in reason(tiny_index, query, "home", company, others="kitten")
    assert "#kitten" not in reason(tiny_index, query, "home", company, pinned="kitten")


def test_the_strongest_kind_comes_first_and_a_weak_second_is_not_told(
    tiny_index: IndexReader,
) -> None:
    query = Query(caption="a kitten", seeds=("home",))
    strong = ("spelled", 0.5), ("co-occurrence", 0.3), ("popularity", 0.2)
    found = reason(tiny_index, query, "kitten", *strong)
    assert found == "because your caption spells it, and it stands beside #home in 2 posts"
    weak = ("spelled", 0.9), ("co-occurrence", 0.1)
    assert reason(tiny_index, query, "kitten", *weak) == "because your caption spells it"
    # Two channels of one kind are stronger together than the one that says most alone.
    both = ("spelled", 0.4), ("co-occurrence", 0.3), ("linear", 0.3)
    assert reason(tiny_index, query, "kitten", *both).startswith("because it stands beside #home")


def test_a_coined_hashtag_is_said_to_be_in_no_post(tiny_index: IndexReader) -> None:
    said = reason(tiny_index, Query(caption="Off to Petersburg"), "petersburg", ("spelled", 1.0))
    assert said == "because your caption spells it, though no post has it"


def test_a_word_that_is_understood_is_quoted_as_it_stands(tiny_index: IndexReader) -> None:
    query = Query(caption="Сплю с котёнком")
    said = reason(tiny_index, query, "kitten", ("spelled", 1.0))
    assert said == "because 'котёнком' in your caption means it"
    said = reason(tiny_index, query, "sleepykitten", ("words inside", 1.0))
    assert said == "because it holds your word 'kitten (котёнком)'"
    said = reason(tiny_index, query, "котёнок", ("spelled", 1.0))
    assert said == "because 'котёнком' in your caption means it, though no post has it"


def test_what_a_picture_shows_is_named(tiny_index: IndexReader) -> None:
    classes = np.zeros((1, 1000), np.float32)
    classes[0, [703, 934]] = 0.2, 0.7  # park bench, hot dog
    batch = prepare(tiny_index, [Query(Path("0.png"))], Embeddings(np.arange(1), PICTURE), classes)
    shown = (Evidence("picture classes", 1.0),)
    tags = tuple(ScoredTag(tag, tag, 0.5, "niche", shown) for tag in ("beach", "park"))
    (answer,) = add_explanations(tiny_index, batch, [Recommendation(tags, (), ())])
    assert isinstance(answer, Recommendation)
    # What is called so, though less likely; else the likeliest.
    assert [tag.reason for tag in answer.tags] == [
        "because the picture looks like 'hot dog' (70% sure)",
        "because the picture looks like 'park bench' (20% sure)",
    ]
    assert "looks like" not in reason(
        tiny_index, Query(Path("0.png")), "dog", ("picture classes", 1.0)
    )


def test_posts_are_counted_where_nobody_has_a_name(tmp_path: Path) -> None:
    rows = [(None, "walk in town", ["dog"]), (None, "long walk", ["dog"]), (None, "x", ["cat"])]
    index = tiny.reader(rows, tmp_path)
    assert reason(index, Query(caption="walk"), "dog", ("word counts", 1.0)) == (
        "because 2 posts with 'walk' have it"
    )
    index.store.close()


def test_channels_of_one_kind_are_told_together() -> None:
    told = evidence_phrases(
        [Evidence("linear", 0.3), Evidence("spelled", 0.4), Evidence("linear", 0.2)]
    )
    assert told == [("with your hashtags", pytest.approx(0.5)), ("in your caption", 0.4)]


def test_every_channel_has_a_phrase(sample_index: Path) -> None:
    read = {column.split(":")[0] for column in Recommender.open(sample_index).ranker.columns}
    assert {*CHANNELS, COMPANIONS, *read} - {"query"} <= set(PHRASES)


# ---- real posts, counted again in plain Python

Posts = list[Post]
CAPTIONS = (
    *("coffee and breakfast in my favourite cafe", "my cat asleep in the sun", "our baby sleeps"),
    *("a new silver ring", "hiking in the mountains", "an old house in the old town", "#sunset"),
    *("painting all day #art", "walking the dog on the beach #dog #beach", "una mañana de café"),
)


@pytest.fixture(scope="module")
def posts(sample_folder: Path, sample_index: Path) -> Posts:
    """Return the sample posts, with the index's topic for one without a topic."""
    rows = Recommender.open(sample_index).index.store.rows("select post_id, topic from posts")
    topics = dict(rows)
    read = read_posts([sample_folder], rejections=[])
    return [replace(post, topic=topics[post.post_id]) for post in read]


@dataclass(frozen=True)
class Judge:
    """Checks sentences about a caption; `near` says how the posts are most similar."""

    posts: Posts
    caption: str
    near: dict[str, dict[str, float]]

    @classmethod
    def of(cls, index: IndexReader, posts: Posts, caption: str) -> Judge:
        query = Query(None, strip(caption), tuple(extract(caption)))
        batch = prepare(index, [query], None)
        found = {
            "similar captions": search_captions(index, batch),
            "alike by words": search_words(index, batch),
            "alike by hashtags": search_seeds(index, batch)[0],
        }
        named = {kind: index.post_ids(near.posts.tolist()) for kind, near in found.items()}
        return cls(
            posts,
            caption,
            {
                kind: {
                    named[kind][post]: score
                    for post, score in zip(
                        near.posts.tolist(), near.similarity.tolist(), strict=True
                    )
                }
                for kind, near in found.items()
            },
        )


def authors(posts: Posts, tag: str) -> int:
    return len({post.author or post.post_id for post in posts if tag in post.hashtags})


def with_words(judge: Judge, tag: str, said: re.Match[str]) -> None:
    for number, word in re.findall(r"(\d+)[^'\d]* with '([^']+)'", said[0]):
        assert word in tokens(judge.caption)
        saying = [post for post in judge.posts if word in tokens(post.caption)]
        assert authors(saying, tag) == int(number)


def on_topic(judge: Judge, tag: str, said: re.Match[str]) -> None:
    assert authors([post for post in judge.posts if post.topic == said[2]], tag) == int(said[1])


def in_all(judge: Judge, tag: str, said: re.Match[str]) -> None:
    assert authors(judge.posts, tag) == int(said[1])


def beside(judge: Judge, tag: str, said: re.Match[str]) -> None:
    for other, number in re.findall(r"#(\S+?)(?:, which fits too,)? in (\d+) post", said[0]):
        assert sum({tag, other} <= set(post.hashtags) for post in judge.posts) == int(number)


def carried(judge: Judge, tag: str, said: re.Match[str]) -> None:
    """Search the nearest posts again, and count them by their own hashtags."""
    near = judge.near[said[0].partition(" most ")[2].partition(" carr")[0]]
    held = [post.post_id for post in judge.posts if tag in post.hashtags and post.post_id in near]
    assert (int(said[1]), int(said[2])) == (len(held), len(near))
    named = said[3].split(", ")
    assert set(named) <= set(held)
    nearest = sorted((near[name] for name in held), reverse=True)[: len(named)]
    assert [near[name] for name in named] == nearest


def spelt(judge: Judge, tag: str, said: re.Match[str]) -> None:
    assert tag in "".join(tokens(judge.caption))
    assert bool(said[1]) != any(tag in post.hashtags for post in judge.posts)


def held(judge: Judge, tag: str, said: re.Match[str]) -> None:
    for word in re.findall(r"'([^']+)'", said[0]):
        assert word in tokens(judge.caption)
        assert word.rstrip("s") in tag


def nearest(index: IndexReader, caption: str, tag: str) -> str:
    """Return the seed, or else the rare word, nearest to a hashtag by vector, if near enough."""
    space, (number,) = index.space("all"), index.tag_ids([tag]).values()
    assert space is not None
    seeds = index.tag_ids(extract(caption))
    likes = {f"#{seed}": index.tag_vectors[i] for seed, i in seeds.items()}
    words = [
        word
        for word, idf in index.idf(tokens(strip(caption)))[0].items()
        if idf > MIN_COMPARED_IDF and word != tag
    ]
    named = {f"'{word}'": space.vectors[space.words.index(word)] for word in words}
    for found in (likes, named):
        cosines = {name: float(v @ index.tag_vectors[number]) for name, v in found.items()}
        best = max(cosines, key=lambda name: cosines[name], default="")
        if best and cosines[best] >= MIN_COSINE:
            return best
    return ""


CLAUSES = {
    r"(\d+) authors? uses? it in posts with '.+": with_words,
    r"(\d+) authors? uses? it in posts on (\w+)": on_topic,
    r"(\d+) authors? uses? it in posts of this index": in_all,
    r"it stands beside #.+": beside,
    r"(\d+) of the (\d+) .+ carr(?:y|ies) it: (.+)": carried,
    r"your caption spells it(?P<none>, though no post has it)?": spelt,
    r"it holds your words? '.+": held,
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_what_a_sentence_claims_is_so(sample_index: Path, posts: Posts, caption: str) -> None:
    recommender = Recommender.open(sample_index)
    answer = recommender.recommend(caption=caption, k=8, explain=True)
    assert answer.tags
    judge = Judge.of(recommender.index, posts, caption)
    for tag in answer.tags:
        clauses = tag.reason.removeprefix("because ").split(", and ")
        for clause in clauses:
            if like := re.fullmatch(r"it is used much as (.+) is", clause):
                assert like[1] == nearest(recommender.index, caption, tag.tag)
                continue
            found = [(re.fullmatch(form, clause), check) for form, check in CLAUSES.items()]
            matched = [(said, check) for said, check in found if said]
            assert matched, clause
            for said, check in matched:
                check(judge, tag.tag, said)


def test_reasons_wait_until_they_are_asked_for(sample_index: Path) -> None:
    recommender = Recommender.open(sample_index)
    plain = recommender.recommend(caption="coffee")
    assert {tag.reason for tag in plain.tags} == {""}
    pinned = recommender.recommend(
        caption="coffee", selection=Selection(pinned=("ours", "coffee")), explain=True
    )
    assert [tag.reason for tag in pinned.tags[:2]] == ["because you pinned it"] * 2
    assert not any("#ours" in tag.reason or "#coffee" in tag.reason for tag in pinned.tags)
    told = recommender.recommend(caption="coffee", explain=True)
    assert [replace(tag, reason="", evidence=()) for tag in told.tags] == [
        replace(tag, reason="", evidence=()) for tag in plain.tags
    ]
