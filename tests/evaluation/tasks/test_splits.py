"""Splits: posts that stay together, the random draw, and the JSON form."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.evaluation.tasks.splits import Split, split
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Post

START = datetime(2024, 1, 1, tzinfo=UTC)


def a_post(
    number: int,
    caption: str = "",
    tags: tuple[str, ...] = ("a",),
    author: str | None = None,
    day: int | None = None,
    image: Path | None = None,
) -> Post:
    taken_at = None if day is None else START + timedelta(days=day)
    return Post(f"p{number:04d}", image, caption, tags, tags, author, taken_at)


def make_posts(count: int, authors: int = 0) -> list[Post]:
    return [
        a_post(place, author=f"a{place % authors}" if authors else None, day=place)
        for place in range(count)
    ]


def are_near_duplicates(one: Post, other: Post) -> bool:
    """Apply the near-duplicate rule without pictures, for captions of lower-case ASCII words."""
    words, others = one.caption.split(), other.caption.split()
    same_caption = len(words) >= 3 and words == others
    same_tags = len(one.hashtags) >= 4 and set(one.hashtags) == set(other.hashtags)
    nearly = share_most_words(set(words), set(others)) or share_most_words(
        {*one.hashtags}, {*other.hashtags}
    )
    return same_caption or same_tags or nearly


def share_most_words(one: set[str], other: set[str]) -> bool:
    return min(len(one), len(other)) >= 5 and len(one & other) >= 0.7 * len(one | other)


posts_lists = st.lists(
    st.builds(
        lambda caption, tags, author, day: (caption, tuple(tags), author, day),
        st.sampled_from(
            [
                "",
                "one two",
                "one two three",
                "four five six",
                "a b c d",
                "c d e f",
                "a b c d e f",
                "f a b c d e x y",
            ]
        ),
        st.lists(st.sampled_from("vwxyz"), min_size=1, max_size=5, unique=True),
        st.sampled_from([None, "ann", "bob", "cat", "dan", "eve"]),
        st.one_of(st.none(), st.integers(0, 9)),
    ),
    min_size=6,
    max_size=25,
).map(lambda rows: [a_post(number, *row) for number, row in enumerate(rows)])


@settings(max_examples=150, deadline=None)
@given(posts_lists, st.sampled_from(["author", "time", "post", "auto"]), st.integers(0, 3))
def test_near_duplicates_share_a_part_and_order_does_not_matter(
    posts: list[Post], rule: str, seed: int
) -> None:
    try:
        made = split(posts, rule=rule, seed=seed)
    except InputError as error:
        assert "stay together" in str(error) or "found no" in str(error)  # noqa: PT017
        return
    assert sorted(made.train + made.test) == [post.post_id for post in posts]
    train, test = made.select(posts)
    assert not [(a, b) for a in train for b in test if are_near_duplicates(a, b)]
    if made.rule == "author":
        assert not {post.author for post in train} & {post.author for post in test} - {None}
    shuffled = random.Random(seed).sample(posts, len(posts))
    assert split(shuffled, rule=rule, seed=seed) == made


@settings(max_examples=100, deadline=None)
@given(posts_lists)
def test_no_training_post_is_later_than_the_tested_groups(posts: list[Post]) -> None:
    try:
        train, test = split(posts, rule="time").select(posts)
    except InputError:
        return
    together = [{post.post_id} for post in posts]
    for one, other in combinations(posts, 2):
        if are_near_duplicates(one, other):
            first = next(group for group in together if one.post_id in group)
            second = next(group for group in together if other.post_id in group)
            if first is not second:
                first |= second
                together.remove(second)
    times = {post.post_id: post.taken_at for post in posts}
    tested = {post.post_id for post in test}
    known = [[times[name] for name in group if times[name]] for group in together if group & tested]
    earliest = min(max(moment for moment in group if moment) for group in known)
    assert all(post.taken_at is None or post.taken_at <= earliest for post in train)


def test_the_latest_posts_are_tested() -> None:
    made = split(random.Random(1).sample(make_posts(20), 20), rule="time", test_share=0.25)
    assert made.test == tuple(f"p{number:04d}" for number in range(15, 20))
    assert made.rule == "time"


def test_a_near_duplicate_goes_with_the_latest_and_posts_without_a_time_train() -> None:
    posts = [
        a_post(0, "same few words", day=0),
        a_post(1, day=1),
        a_post(2, day=2),
        a_post(3, "Same, few WORDS!! 🌊", day=3),
        *(a_post(number) for number in range(4, 10)),
    ]
    assert split(posts, rule="time").test == ("p0000", "p0003")
    # A share beyond the posts with a time tests those only.
    assert split(posts, rule="time", test_share=0.9).test == ("p0000", "p0001", "p0002", "p0003")


def test_equally_late_posts_are_drawn_by_the_seed() -> None:
    posts = [a_post(number, day=0) for number in range(40)]
    drawn = [split(posts, rule="time", seed=seed).test for seed in (1, 2)]
    assert [len(test) for test in drawn] == [8, 8]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(("share", "expected"), [(0.2, 20), (0.29, 29), (0.5, 50), (0.999, 99)])
def test_posts_are_drawn_to_the_share(share: float, expected: int) -> None:
    made = split(make_posts(100), rule="post", test_share=share)
    assert len(made.test) == expected


def test_each_post_is_tested_about_as_often_as_the_share_says() -> None:
    posts = make_posts(30)
    times = dict.fromkeys((post.post_id for post in posts), 0)
    for seed in range(400):
        for name in split(posts, rule="post", seed=seed).test:
            times[name] += 1
    # Binomial(400, .2) has mean 80 and standard deviation 8.
    assert 80 - 4 * 8 < min(times.values()) < 80 < max(times.values()) < 80 + 4 * 8


def test_a_group_too_large_for_the_test_trains_and_the_smallest_is_tested_if_none_fits() -> None:
    big = [a_post(number, author="big") for number in range(70)]
    small = [a_post(100 + number, author=f"s{number // 3}") for number in range(30)]
    for seed in range(5):
        made = split(big + small, rule="author", seed=seed)
        assert len(made.test) == 18
        assert not {post.post_id for post in big} & set(made.test)
    rest = [a_post(100 + number, author="other") for number in range(40)]
    assert set(split(big + rest, rule="author").test) == {post.post_id for post in rest}


def test_posts_without_an_author_are_separate_under_author() -> None:
    posts = [a_post(number, author="one" if number < 5 else None) for number in range(10)]
    made = split(posts, rule="author")
    assert len(made.test) == 2
    assert set(made.test) <= {f"p{number:04d}" for number in range(5, 10)}


@pytest.mark.parametrize(
    ("posts", "expected"),
    [
        (make_posts(10, authors=5), "author"),
        (make_posts(10, authors=1), "time"),
        (make_posts(10), "time"),
        ([a_post(number) for number in range(10)], "post"),
        ([a_post(number, author="ab"[number % 2]) for number in range(5)]
         + [a_post(number, day=1) for number in range(5, 10)], "author"),
        ([a_post(number, author="ab"[number % 2]) for number in range(4)]
         + [a_post(number, day=1) for number in range(4, 10)], "time"),
        ([a_post(number, day=1) for number in range(4)]
         + [a_post(number) for number in range(4, 10)], "post"),
    ],
)  # fmt: skip
def test_auto_takes_author_then_time_then_post(posts: list[Post], expected: str) -> None:
    assert split(posts).rule == expected


def are_ever_separated(one: Post, other: Post) -> bool:
    """Return whether two posts of twelve are in different parts for any of 40 seeds."""
    posts = [one, other, *(a_post(number, day=number) for number in range(100, 110))]
    tests = [split(posts, rule="post", test_share=0.5, seed=seed).test for seed in range(40)]
    return any((one.post_id in test) != (other.post_id in test) for test in tests)


FOUR = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (a_post(1, "Sunny days ahead"), a_post(2, "sunny DAYS, ahead! ☀️ @you"), True),
        (a_post(1, "Sunny days"), a_post(2, "sunny days"), False),
        (a_post(1, "Sunny days ahead"), a_post(2, "sunny days behind"), False),
        (a_post(1, tags=FOUR), a_post(2, tags=FOUR[::-1]), True),
        (a_post(1, tags=FOUR[:3]), a_post(2, tags=FOUR[:3]), False),
        (a_post(1, tags=FOUR), a_post(2, tags=(*FOUR, "e")), False),
        (a_post(1, "Left to right: us!"), a_post(2, "RT @you: left to right: us!"), False),
        (
            a_post(1, "Left to right: all of us!"),
            a_post(2, "RT @you: left to right: all of us!"),
            True,
        ),
        (a_post(1, tags=(*FOUR, "e")), a_post(2, tags=(*FOUR, "e", "f")), True),
        (a_post(1, tags=(*FOUR, "e")), a_post(2, tags=(*FOUR, "f", "g")), False),
    ],
)
def test_near_duplicates_stay_together(one: Post, other: Post, together: bool) -> None:
    assert are_ever_separated(one, other) != together


def test_the_same_picture_keeps_posts_together_and_another_parts_equal_hashtags(
    tmp_path: Path,
) -> None:
    pictures = [tmp_path / f"{name}.jpg" for name in ("first", "copy", "other", "longer")]
    for picture, content in zip(pictures, (b"12345", b"12345", b"54321", b"123456"), strict=True):
        picture.write_bytes(content)
    first, copy, other, longer = pictures
    assert not are_ever_separated(
        a_post(1, tags=("a",), image=first), a_post(2, tags=("b",), image=copy)
    )
    assert are_ever_separated(a_post(1, tags=FOUR, image=first), a_post(2, tags=FOUR, image=other))
    assert are_ever_separated(a_post(1, tags=FOUR, image=first), a_post(2, tags=FOUR, image=longer))
    assert are_ever_separated(a_post(1, tags=FOUR, image=first), a_post(2, tags=FOUR))
    five = (*FOUR, "e")
    assert are_ever_separated(
        a_post(1, tags=five, image=first), a_post(2, tags=(*five, "f"), image=other)
    )


def test_near_duplicates_are_transitive() -> None:
    chain = [
        a_post(1, "one two three"),
        a_post(2, "one two three", tags=FOUR),
        a_post(3, "else", tags=FOUR),
    ]
    assert not are_ever_separated(chain[0], chain[1])
    posts = [*chain, *(a_post(number) for number in range(100, 106))]
    for seed in range(30):
        made = split(posts, rule="post", test_share=0.5, seed=seed)
        assert len({post.post_id in made.test for post in chain}) == 1


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    posts = [*make_posts(5), a_post(9, image=tmp_path / "gone.jpg")]
    with pytest.raises(InputError, match=r"cannot read the picture .*gone\.jpg: No such file"):
        split(posts)


@pytest.mark.parametrize(
    ("posts", "rule", "message"),
    [
        ([], "auto", "split by post: found 0 posts that must all stay together"),
        (make_posts(1), "post", "found 1 posts that must all stay together"),
        ([a_post(1, "one two three"), a_post(2, "one two three")], "post", "found 2 posts that"),
        (make_posts(9, authors=1), "author", "split by author: found 9 posts that must all stay"),
        (make_posts(9), "author", "split by author: found no author in 9 posts"),
        ([a_post(1), a_post(2)], "time", "split by time: found no taken_at in 2 posts"),
        ([a_post(1), a_post(1)], "post", "found two posts of id 'p0001'"),
    ],
)
def test_posts_that_cannot_be_split_are_refused(posts: list[Post], rule: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(posts, rule=rule)


def test_unknown_rules_and_shares_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 'user', expected one of author, time, post, auto"):
        split(make_posts(9), rule="user")
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="test share"):
            split(make_posts(9), test_share=share)


def test_a_split_is_written_as_json() -> None:
    made = split([*make_posts(9, authors=4), Post("süß 🌊", caption="x")], seed=5)
    values = json.loads(made.to_json())
    assert (values["format"], values["rule"], values["seed"]) == (1, made.rule, 5)
    assert (tuple(values["train"]), tuple(values["test"])) == (made.train, made.test)
    assert "süß 🌊" in made.to_json()


def test_a_post_in_both_parts_and_an_empty_part_are_refused() -> None:
    with pytest.raises(InputError, match="found post 'b' in both parts"):
        Split(("a", "b"), ("b",), 1, "post")
    with pytest.raises(InputError, match="found an empty part"):
        Split(("a",), (), 1, "post")


def test_parts_are_the_posts_of_the_split() -> None:
    posts = make_posts(10)
    made = split(posts, rule="post")
    train, test = made.select([*posts[::-1], a_post(99)])
    assert tuple(post.post_id for post in train) == made.train
    assert tuple(post.post_id for post in test) == made.test
    with pytest.raises(InputError, match=r"found no post 'p0000' \(1 missing\)"):
        made.select(posts[1:])


def test_sets_of_real_posts_are_split_to_the_share(posts_folder: Path) -> None:
    posts = list(read_posts([posts_folder / "tweets_images"], rejections=[]))
    made = split(posts)
    assert made.rule == "post"
    assert len(made.test) == round(0.2 * len(posts))
