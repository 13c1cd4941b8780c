"""The inputs of queries, their right hashtags, and the posts that make no query."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.evaluation.tasks.inputs import (
    SEED_RULE,
    Inputs,
    caption_words,
    draw_seeds,
    make_queries,
)
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

tag_lists = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


def a_post(name: str, *tags: str, caption: str = "one fine day", image: Path | None = None) -> Post:
    return Post(name, image, caption, tags, tags)


@pytest.mark.parametrize(
    ("text", "expected", "written"),
    [
        ("caption,seeds:2", Inputs(caption=True, seeds=2), "caption,seeds:2"),
        ("image", Inputs(image=True), "image"),
        (" seeds:10 , image ", Inputs(image=True, seeds=10), "image,seeds:10"),
        ("seeds:1,caption,image", Inputs(True, True, 1), "image,caption,seeds:1"),
    ],
)
def test_inputs_are_read_and_written(text: str, expected: Inputs, written: str) -> None:
    assert Inputs.parse(text) == expected
    assert str(expected) == written
    assert Inputs.parse(written) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found '', expected image, caption, seeds:N"),
        ("caption,", "found '', expected image"),
        ("captions", "found 'captions', expected image"),
        ("image:2", "found 'image:2', expected image"),
        ("seeds", "found 'seeds', expected seeds:N with N of 1 or more"),
        ("seeds:0", "found 'seeds:0', expected seeds:N"),
        ("seeds:-1", "found 'seeds:-1', expected seeds:N"),
        ("seeds:²", "found 'seeds:²', expected seeds:N"),
        ("caption,caption", "found caption twice"),
        ("seeds:1,seeds:2", "found seeds twice"),
    ],
)
def test_unknown_inputs_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Inputs.parse(text)


def test_no_inputs_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="found none, expected image"):
        Inputs()


def test_seeds_are_those_with_the_lowest_hash_of_seed_post_and_hashtag() -> None:
    tags = ("sea", "sun", "sand", "sky")
    by_hash = {hashlib.sha256(f"7\np1\n{tag}".encode()).hexdigest(): tag for tag in tags}
    expected = [by_hash[digest] for digest in sorted(by_hash)]
    made = make_queries([a_post("p1", *tags)], Inputs(seeds=2), seed=7)
    assert made.queries == (Query(seeds=(expected[0], expected[1])),)
    assert set(made.answers[0]) == {expected[2], expected[3]}
    assert "SHA-256 of run seed, post id and hashtag" in SEED_RULE


@given(tag_lists, st.integers(0, 8), st.randoms())
def test_the_order_of_hashtags_does_not_matter_and_fewer_seeds_are_among_more(
    tags: list[str], count: int, random: object
) -> None:
    shuffled = list(tags)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    drawn = draw_seeds(a_post("p", *tags), count, 1)
    assert drawn == draw_seeds(a_post("p", *shuffled), count, 1)
    assert drawn == draw_seeds(a_post("p", *tags), count + 1, 1)[:count]


@given(st.lists(tag_lists, min_size=1, max_size=6), st.integers(1, 3))
def test_seeds_and_answers_divide_the_hashtags_of_each_post(
    lists: list[list[str]], count: int
) -> None:
    posts = [a_post(f"p{place}", *tags) for place, tags in enumerate(lists)]
    kept = [post for post in posts if len(post.hashtags) > count]
    if not kept:
        with pytest.raises(InputError, match="found none of"):
            make_queries(posts, Inputs(seeds=count), seed=1)
        return
    made = make_queries(posts, Inputs(seeds=count), seed=1)
    assert made.post_ids == tuple(post.post_id for post in kept)
    for post, query, answers in zip(kept, made.queries, made.answers, strict=True):
        assert len(query.seeds) == count
        assert answers == tuple(tag for tag in post.hashtags if tag not in query.seeds)
        alone = make_queries([post], Inputs(seeds=count), seed=1)
        assert (alone.queries, alone.answers) == ((query,), (answers,))


def test_another_seed_draws_other_seeds() -> None:
    posts = [a_post(f"p{place}", *"abcdefgh") for place in range(20)]
    first, second = (make_queries(posts, Inputs(seeds=2), seed=seed) for seed in (1, 2))
    assert first.queries != second.queries


def test_a_query_holds_only_the_chosen_inputs() -> None:
    picture = Path("cat.jpg")
    post = a_post("p", "cat", "pet", caption="my cat sleeps", image=picture)
    for inputs, expected in [
        (Inputs(image=True), Query(image=picture)),
        (Inputs(caption=True), Query(caption="my cat sleeps")),
        (Inputs(image=True, caption=True), Query(picture, "my cat sleeps")),
    ]:
        made = make_queries([post], inputs, seed=1)
        assert made.queries == (expected,)
        assert made.answers == (("cat", "pet"),)


def test_posts_that_lack_an_input_are_counted_by_the_first_reason() -> None:
    picture = Path("x.jpg")
    posts = [
        a_post("good", "a", "b", image=picture),
        a_post("one tag", "a", image=picture),
        a_post("no tag", caption="hm"),
        a_post("no picture", "a", "b", caption="hm"),
        a_post("short", "a", "b", caption="two words 🌊🌊", image=picture),
        a_post("also short", "a", "b", caption="", image=picture),
    ]
    made = make_queries(posts, Inputs(True, True, 1), seed=1)
    assert made.post_ids == ("good",)
    assert made.left_out == {
        "no hashtag to predict beside 1 given as seeds": 2,
        "no picture": 1,
        "fewer than 3 caption words": 2,
    }


def test_inputs_that_no_post_has_are_refused_with_reasons() -> None:
    posts = [a_post("p", "a"), a_post("q", "a", "b"), Post("r", caption="no hashtags here")]
    with pytest.raises(InputError) as caught:
        make_queries(posts, Inputs(image=True, caption=True), seed=1)
    assert str(caught.value) == (
        "inputs image,caption: found none of 3 posts that has them (2 have no picture; 1 have no "
        "hashtag to predict), expected one or more; ask by other inputs or give other posts"
    )
    with pytest.raises(InputError, match=r"found none of 0 posts that has them, expected"):
        make_queries([], Inputs(seeds=1), seed=1)


def test_caption_words_are_folded_and_hold_letters() -> None:
    assert caption_words("Sea, SUN & 🌊 @me 2024 http://a.b/c it's") == ["sea", "sun", "it's"]
    assert caption_words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
