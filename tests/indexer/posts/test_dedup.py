"""Reposts: what counts as one, and that an index keeps the first and counts the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.posts.dedup import first_of_each, signature
from hashlens.indexer.storage.store import Store
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Post
from tests.indexer.pipeline.random_updates import built, updated

SAID = "The best day of my life!"


def signed(caption: str, tags: str = "dog", picture: str | None = None) -> str | None:
    keys = tuple(tags.split())
    image = Path("x.png") if picture else None
    post = Post("p", image, caption, keys, keys, picture=picture)
    return signature(post, tokens(caption))


@pytest.mark.parametrize(
    "other",
    [
        "the BEST day of my life",
        "@ann The best day, of my life 2024",
        "The best day of my life! https://x.com/a",
        "  The best\nday of my  life… ",
    ],
)
def test_case_marks_mentions_links_and_numbers_make_no_difference(other: str) -> None:
    assert signed(other) == signed(SAID) is not None


def test_other_words_order_or_hashtags_make_another_post() -> None:
    found = {signed(SAID), signed("My life of the best day"), signed(f"{SAID} ever")}
    found |= {signed(SAID, "dog cat"), signed(SAID, "cat")}
    assert len(found) == 5
    assert signed(SAID, "dog cat") == signed(SAID, "cat dog")


def test_few_words_are_a_repost_only_with_the_same_picture() -> None:
    assert signed("good morning") is None
    assert signed("", "dog cat love food") is None
    assert signed("good morning", picture="a") == signed("Good morning!", picture="a")
    assert signed("good morning", picture="a") != signed("good morning", picture="b")
    assert signed(SAID, picture="a") == signed(SAID, picture="b")


def test_the_first_of_each_is_kept() -> None:
    marks = [(found, None) for found in ("a", None, "b", "a", None, "c")]
    assert first_of_each(marks, held=[("c", None)]) == ([0, 1, 2, 4], [3, 5])


@pytest.mark.parametrize("author", ["ann", None])
def test_a_daily_series_of_one_author_is_as_many_posts(author: str | None, tmp_path: Path) -> None:
    said = "Day {} of my drawing challenge with ink"
    series = [row(f"d{day}", author, said.format(day)) for day in range(1, 41)]
    index = built(series, tmp_path)
    assert held(index) == ([f"d{day}" for day in range(1, 41)], [])
    again = [row("e7", author and f"@{author.upper()}", said.format(7) + "!")]
    report = updated([*again, row("d41", author, said.format(41))], index)
    assert (report.added, report.copies) == (2, 1)
    assert held(index) == ([f"d{day}" for day in range(1, 42)], ["e7"])
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        assert store.rows("select posts from hashtag_counts") == [(41,)]


def test_a_post_of_somebody_elses_series_is_a_repost(tmp_path: Path) -> None:
    said = "day {} of my drawing challenge with ink"
    rows = [row("a1", "ann", said.format(1)), row("a2", "ann", said.format(2))]
    rows += [row("b2", "bob", said.format(2)), row("b3", "bob", said.format(3))]
    index = built(rows, tmp_path)
    assert held(index) == (["a1", "a2"], ["b2", "b3"])
    updated([], index, ["a1"])
    assert held(index) == (["a2"], ["b2", "b3"])
    updated([], index, ["a2"])
    assert held(index) == (["b2", "b3"], [])


def row(name: str, author: str | None, caption: str = SAID) -> dict[str, object]:
    return {"id": name, "author": author, "caption": caption, "hashtags": ["dog"]}


def held(index: Path) -> tuple[list[str], list[str]]:
    """Ids of posts and of reposts."""
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        return (
            [name for (name,) in store.rows("select post_id from posts order by post_key")],
            [post.post_id for post in store.copies()],
        )


def test_reposts_are_kept_once_and_counted_however_they_arrive(tmp_path: Path) -> None:
    rows = [row("a", "ann"), row("b", "bob", f"{SAID} @ann"), row("c", "cat", "something else")]
    index = built(rows, tmp_path)
    assert held(index) == (["a", "c"], ["b"])
    assert open_current(index).manifest.counts["copies"] == 1
    report = updated([row("d", "dan", f"{SAID}!!"), *rows], index)
    assert (report.added, report.unchanged, report.copies) == (1, 3, 1)
    assert held(index) == (["a", "c"], ["b", "d"])
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        assert store.rows("select posts, authors from hashtag_counts") == [(2, 2)]


def test_a_repost_takes_the_place_of_a_post_that_is_deleted_or_changed(tmp_path: Path) -> None:
    rows = [row("a", "ann"), row("b", "bob", f"{SAID} @ann"), row("c", "cat", f"{SAID} @bob")]
    index = built(rows, tmp_path)
    updated([], index, ["a"])
    assert held(index) == (["b"], ["c"])
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        assert store.rows("select author, caption from posts") == [("bob", f"{SAID} @ann")]
    updated([row("b", "bob", "now it is something quite different")], index)
    assert held(index) == (["c", "b"], [])
    updated([row("b", "bob", f"{SAID} again @ann".replace(" again", ""))], index)
    assert held(index) == (["c"], ["b"])
    report = updated([], index, ["b"])
    assert (report.deleted, held(index)) == (1, (["c"], []))
