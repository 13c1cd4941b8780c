"""Posts and their words on their way into an index: on disk and as numbers, and as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Post

words = st.lists(st.lists(st.sampled_from(["sea", "sky", "", "海", "a b"]), max_size=5), max_size=9)


@given(words, words)
def test_texts_are_the_lists_that_were_given(texts: list[list[str]], more: list[list[str]]) -> None:
    found = TokenLists.of(texts)
    assert [*found] == texts == found[:]
    assert [found[place] for place in range(len(texts))] == texts
    assert [found[-1 - place] for place in range(len(texts))] == texts[::-1]
    assert found[1:7:2] == texts[1:7:2]
    assert found[5:2] == []
    assert found.lengths.tolist() == [len(text) for text in texts]
    assert sorted(set(found.words)) == sorted({word for text in texts for word in text})
    rows = np.array([n for n in range(len(texts)) if n % 3], np.int64)
    assert [*found.at(rows)] == [texts[row] for row in rows]
    more = (more + [[]] * len(texts))[: len(texts)]
    both = found.concat_each(TokenLists.of(more), "#")
    assert [*both] == [
        [*text, *(f"#{word}" for word in other)] for text, other in zip(texts, more, strict=True)
    ]


def test_a_text_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        TokenLists.of([["a"]])[1]


EAST = datetime(2020, 2, 29, 23, 59, 59, 123456, UTC)
POSTS = [
    Post("a", Path("pics/ä.jpg"), "two\nlines 🐶", ("dog", "café"), ("Dog", "Café"), "ann", EAST),
    Post("b", None, "words only", topic="pets", content_hash="h", origin="o"),
    Post("c", Path("\udcff.jpg"), picture="sha"),  # a name that is not UTF-8
    Post("d", None, "", ("x",), ("X",), author="ann", taken_at=EAST - timedelta(days=9000)),
]


def test_posts_come_back_as_they_were() -> None:
    found = Posts.of(iter(POSTS))
    assert [*found] == POSTS == found[:]
    assert found[-1] == POSTS[-1]
    assert [*found.hashtags] == [["dog", "café"], [], [], ["x"]]
    assert found.authors.tolist() == ["ann", None, None, "ann"]
    assert found.topics.tolist() == [None, "pets", None, None]
    assert found.pictured.tolist() == [True, False, True, False]
    with pytest.raises(IndexError):
        found[4]


def test_some_posts_outlive_all_of_them() -> None:
    some = Posts.of(POSTS).at(np.array([1, 3]))
    assert [*some] == [POSTS[1], POSTS[3]]
    assert [*some.hashtags] == [[], ["x"]]
    assert some.authors.tolist() == [None, "ann"]
    assert [*some.at(np.array([1]))] == [POSTS[3]]
    assert not Posts.of(())
    assert [*Posts.of(()).at(np.zeros(0, np.int64))] == []


def test_nothing_is_left_in_the_folder_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = Posts.of(POSTS)
    assert [*tmp_path.iterdir()] == []
    assert len(found) == 4
