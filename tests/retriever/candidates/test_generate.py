"""Candidates of a query from all channels, and the hashtags that never are candidates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.retriever.candidates.channels import CHANNELS, POST_CHANNELS, VOTE_COLUMNS
from hashlens.retriever.candidates.generate import (
    COMPANIONS,
    GUESS_CHANNELS,
    POPULAR,
    generate_candidates,
)
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query
from tests.support import tiny_index as tiny
from tests.support.channel_queries import asked, gathered, offered


def test_every_channel_can_be_left_out(tiny_index: IndexReader) -> None:
    batch = asked(tiny_index, Query(caption="walk home", seeds=("dog",)))
    whole = generate_candidates(tiny_index, batch)
    names = {name: kind.columns for name, kind in CHANNELS.items()} | {COMPANIONS: ("score",)}
    for name, columns in names.items():
        left = generate_candidates(tiny_index, batch, without=[name]).columns
        assert set(whole.columns) - set(left) == {f"{name}: {column}" for column in columns}
    # Without any, the most used hashtags are left; #park, #beach and #mybrand are one author's.
    nothing = generate_candidates(tiny_index, batch, without=list(CHANNELS))
    assert POPULAR >= 6
    named = tiny_index.names(nothing.tag_ids.tolist()).values()
    assert {"home", "kitten", "sleepykitten"} <= {key for key, _ in named}
    assert set(GUESS_CHANNELS) <= set(CHANNELS)


def test_columns_are_named_by_channel(tiny_index: IndexReader) -> None:
    found = generate_candidates(tiny_index, asked(tiny_index, Query(caption="walk")))
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
    assert index.hashtag_index("all") is None
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
    voting = [
        name for name, kind in CHANNELS.items() if kind.columns[: len(VOTE_COLUMNS)] == VOTE_COLUMNS
    ]
    assert list(POST_CHANNELS) == voting
