"""Posts near a query and their votes, against formulas worked out post by post."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Embeddings
from hashlens.retriever.candidates import near_posts
from hashlens.retriever.candidates.near_posts import (
    NearPosts,
    search_captions,
    search_images,
    search_seeds,
    search_words,
    vote_hashtags,
)
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import PAIR_BASE
from hashlens.retriever.query.batch import prepare
from hashlens.retriever.recommendation import Query
from tests.support import tiny_index as tiny
from tests.support.vector_oracle import mean

AUTHORS = [author for author, _, _ in tiny.ROWS]
WORDS = [set(tokens(caption)) for _, caption, _ in tiny.ROWS]
TAGS = [list(tags) for *_, tags in tiny.ROWS]
POSTS = len(tiny.ROWS)

some_words = st.lists(st.sampled_from([*sorted(set().union(*WORDS)), "unheard"]), min_size=1)
some_tags = st.lists(st.sampled_from(sorted({t for tags in TAGS for t in tags})), unique=True)


def told(near: NearPosts, query: int = 0) -> dict[int, float]:
    rows = zip(near.queries.tolist(), near.posts.tolist(), near.similarity.tolist(), strict=True)
    return {post: similarity for number, post, similarity in rows if number == query}


def weighed(words: set[str]) -> dict[int, float]:
    """Return shares of the best post's idf weights, over the root of its number of words."""
    scores: dict[int, float] = defaultdict(float)
    for post, held in enumerate(WORDS):
        for word in words & held:
            df = sum(word in other for other in WORDS)
            scores[post] += math.log(1 + POSTS / df) ** 2 / math.sqrt(len(held))
    return {post: score / max(scores.values()) for post, score in scores.items()}


def cosines(seeds: set[str]) -> dict[int, float]:
    """Return cosines of hashtags' idf weights between seeds and posts."""
    uses = {tag: sum(tag in tags for tags in TAGS) for tags in TAGS for tag in tags}
    idf = {tag: math.log(1 + POSTS / number) for tag, number in uses.items()}
    asked = math.sqrt(sum(idf[seed] ** 2 for seed in seeds))
    found = {}
    for post, tags in enumerate(TAGS):
        if shared := seeds & set(tags):
            length = math.sqrt(sum(idf[tag] ** 2 for tag in tags))
            found[post] = sum(idf[tag] ** 2 for tag in shared) / (asked * length)
    return found


@settings(max_examples=25)
@given(st.lists(some_words, min_size=1, max_size=3))
def test_posts_near_by_words_have_their_weights(
    tiny_index: IndexReader, captions: list[list[str]]
) -> None:
    batch = prepare(tiny_index, [Query(caption=" ".join(words)) for words in captions], None)
    near = search_words(tiny_index, batch)
    for query, words in enumerate(captions):
        assert told(near, query) == pytest.approx(weighed(set(words)), rel=1e-5)


@settings(max_examples=25)
@given(st.lists(some_tags.filter(bool), min_size=1, max_size=3))
def test_posts_near_by_seeds_have_the_cosine_of_their_weights(
    tiny_index: IndexReader, asked: list[list[str]]
) -> None:
    batch = prepare(tiny_index, [Query(seeds=tuple(seeds)) for seeds in asked], None)
    near, several = search_seeds(tiny_index, batch)
    for query, seeds in enumerate(asked):
        assert told(near, query) == pytest.approx(cosines(set(seeds)), rel=1e-5)
        shared = {post: len(set(seeds) & set(tags)) for post, tags in enumerate(TAGS)}
        mine = several.queries == query
        counted = zip(several.ids[mine].tolist(), several.values[mine, 0].tolist(), strict=True)
        assert dict(counted) == {post: n for post, n in shared.items() if n > 1}


def test_common_words_are_left_out_where_rarer_ones_have_posts_enough(
    tiny_index: IndexReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `home` has one post, `kitten` three, `walk` four.
    asked = {1: {"home"}, 3: {"home"}, 4: {"home", "kitten"}, 8: {"home", "kitten", "walk"}}
    for most, words in asked.items():
        monkeypatch.setattr(near_posts, "MAX_POSTINGS", most)
        batch = prepare(tiny_index, [Query(caption="walk kitten home")], None)
        assert told(search_words(tiny_index, batch)) == pytest.approx(weighed(words), rel=1e-5)
    monkeypatch.setattr(near_posts, "MAX_POSTINGS", 1)  # the rarest is read however many it has
    batch = prepare(tiny_index, [Query(caption="walk"), Query(caption="kitten walk")], None)
    near = search_words(tiny_index, batch)
    assert told(near, 0) == pytest.approx(weighed({"walk"}), rel=1e-5)
    assert told(near, 1) == pytest.approx(weighed({"kitten"}), rel=1e-5)


def test_only_the_nearest_posts_vote(
    tiny_index: IndexReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_posts, "MAX_NEIGHBOURS", 2)
    queries = [Query(caption="walk home in the park", seeds=("dog", "park")), Query(caption="walk")]
    batch = prepare(tiny_index, queries, None)
    ranked = sorted(weighed({"walk", "home", "in", "the", "park"}).items(), key=lambda x: -x[1])
    near = search_words(tiny_index, batch)
    assert told(near) == pytest.approx(dict(ranked[:2]), rel=1e-5)
    assert len(told(near, 1)) == 2
    assert set(told(search_seeds(tiny_index, batch)[0])) == {0, 1}


def test_posts_near_by_picture_are_those_of_their_cosines(tiny_index: IndexReader) -> None:
    queries = [Query(caption="x"), Query(Path("a.png")), Query(Path("b.png"))]
    seen = Embeddings(np.array([1, 2]), np.array([[1, 0, 0], [0, 0, -1]], np.float32))
    near = search_images(tiny_index, prepare(tiny_index, queries, seen))
    assert told(near, 0) == {}
    # The fourth picture stands at a right angle to the first, and opposite to the second.
    assert told(near, 1) == pytest.approx({0: 1, 1: 0.8, 2: 0.6}, abs=1e-3)
    assert told(near, 2) == {}


def test_posts_near_by_caption_are_those_of_brute_force(tiny_index: IndexReader) -> None:
    batch = prepare(tiny_index, [Query(caption="my sleepy kitten"), Query(seeds=("dog",))], None)
    space = tiny_index.space("all")
    assert space is not None
    idf = {
        word: math.log(1 + POSTS / sum(word in w for w in WORDS)) for word in set().union(*WORDS)
    }

    def vector(text: str) -> np.ndarray:
        return mean(space, tokens(text), [idf[word] for word in tokens(text)])

    asked = vector("my sleepy kitten")
    expected = {post: float(vector(row[1]) @ asked) for post, row in enumerate(tiny.ROWS)}
    near = search_captions(tiny_index, batch)
    assert told(near) == pytest.approx({p: c for p, c in expected.items() if c > 0}, abs=1e-2)
    assert told(near, 1) == {}


def test_an_authors_many_posts_vote_once_by_the_nearest(tiny_index: IndexReader) -> None:
    near = NearPosts(
        np.array([0, 0, 0, 0, 3]),
        np.array([0, 1, 2, 5, 7]),
        np.array([0.5, 0.8, 0.6, 0.1, 1], np.float32),
    )
    votes = vote_hashtags(tiny_index, near, power=2)
    everyone = 0.8**2 + 0.6**2 + 0.1**2  # ann by her nearer post, bob, dan
    assert tiny.said(tiny_index, votes) == {
        "dog": pytest.approx([0.64 + 0.36, 1 / everyone, 0.8, 2], rel=1e-5),
        "park": pytest.approx([0.64, 0.64 / everyone, 0.8, 1], rel=1e-5),
        "beach": pytest.approx([0.36, 0.36 / everyone, 0.6, 1], rel=1e-5),
        "home": pytest.approx([0.01, 0.01 / everyone, 0.1, 1], rel=1e-5),
        "mybrand": pytest.approx([0.01, 0.01 / everyone, 0.1, 1], rel=1e-5),
    }
    assert tiny.said(tiny_index, votes, 3) == {"sleepykitten": [1, 1, 1, 1]}


neighbourhoods = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(0, POSTS - 1)), st.floats(1 / 16, 1, width=32)
)


@settings(max_examples=40)
@given(neighbourhoods, st.sampled_from([1, 2, 4]))
def test_votes_are_those_of_a_plain_loop(
    tiny_index: IndexReader, near: dict[tuple[int, int], float], power: int
) -> None:
    ballots: dict[tuple[int, str], dict[str | None, float]] = defaultdict(dict)
    voters: dict[int, dict[str | None, float]] = defaultdict(dict)
    for (query, post), similarity in near.items():
        author = AUTHORS[post]
        voters[query][author] = max(voters[query].get(author, 0), similarity)
        for tag in TAGS[post]:
            mine = ballots[query, tag]
            mine[author] = max(mine.get(author, 0), similarity)
    pairs = np.array(sorted(near), np.int64).reshape(-1, 2)
    given_near = NearPosts(
        pairs[:, 0].copy(),
        pairs[:, 1].copy(),
        np.array([near[pair] for pair in sorted(near)], np.float32),
    )
    votes = vote_hashtags(tiny_index, given_near, power)
    assert votes.values.shape == (len(ballots), 4)
    assert (np.diff(votes.queries * PAIR_BASE + votes.ids) > 0).all()
    for query in range(3):
        everyone = sum(similarity**power for similarity in voters[query].values())
        expected = {}
        for (asked, tag), mine in ballots.items():
            if asked == query:
                total = sum(similarity**power for similarity in mine.values())
                row = [total, total / everyone, max(mine.values()), len(mine)]
                expected[tag] = pytest.approx(row, rel=1e-4)
        assert tiny.said(tiny_index, votes, query) == expected


def test_posts_without_a_known_author_vote_for_themselves(tmp_path: Path) -> None:
    rows: list[tiny.Row] = [(None, "one", ["sea"]), (None, "two", ["sea"]), ("ann", "x", ["sea"])]
    index = tiny.reader(rows, tmp_path)
    near = NearPosts(np.zeros(3, np.int64), np.arange(3), np.array([0.5, 0.4, 0.2], np.float32))
    found = tiny.said(index, vote_hashtags(index, near, power=1))
    assert found == {"sea": pytest.approx([1.1, 1, 0.5, 3], rel=1e-6)}
