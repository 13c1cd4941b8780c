"""The selected candidates, against lists worked out by hand and a plain sort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.cli.options import SelectionArguments
from hashlens.retriever.cli.user_config import UserConfig
from hashlens.retriever.index.blocklist import (
    blocked_keys,
    generic_keys,
    read_blocked,
    unshipped_keys,
)
from hashlens.retriever.index.tiers import TIERS, tier_floors, tier_of
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.platforms import find_platform
from hashlens.retriever.selection.selection import (
    MAX_DIVERSE,
    Choices,
    Selection,
    choose_places,
)

FLOORS = {"broad": 100.0, "medium": 10.0, "niche": 1.0}
INSTAGRAM = find_platform("instagram")


def strangers(tag_ids: Ids) -> Floats:
    return np.eye(len(tag_ids), dtype=np.float32)


def choices(probabilities: list[float], **more: Any) -> Choices:
    count = len(probabilities)
    posts = np.array(more.pop("posts", [1] * count), np.int64)
    more = {
        name: np.array(value, bool) if name in {"barred", "generic"} else value
        for name, value in more.items()
    }
    return Choices(np.arange(count), np.array(probabilities, np.float32), posts, **more)


def chosen(told: Choices, selection: Selection, like: Any = strangers) -> list[int]:
    places: list[int] = choose_places(told, selection, FLOORS, like).tolist()
    return places


def chosen_by(*options: Any, **more: Any) -> Selection:
    """Return the selection of options of the command line."""
    return SelectionArguments(*options, **more).to_selection(UserConfig())


@pytest.fixture(scope="module")
def recommender(sample_index: Path) -> Recommender:
    return Recommender.open(sample_index)


# ---- order, number, least probability


def test_the_likeliest_come_first_then_those_of_more_posts_then_the_older() -> None:
    told = choices([0.2, 0.5, 0.2, 0.2, 0.9], posts=[3, 1, 7, 3, 1])
    assert chosen(told, Selection()) == [4, 1, 2, 0, 3]
    assert chosen(told, Selection(k=3)) == [4, 1, 2]


def test_places_stay_empty_rather_than_be_filled_with_the_unlikely() -> None:
    told = choices([0.2, 0.5, 0.4, 0.9])
    assert chosen(told, Selection(min_probability=0.5)) == [3, 1]
    assert chosen(told, Selection(min_probability=0.95)) == []
    assert chosen(choices([]), Selection(diversity=0.5, mix=(("niche", 2),))) == []


def test_barred_ones_leave_their_place_to_the_next() -> None:
    told = choices([0.9, 0.8, 0.7], barred=[True, False, False])
    assert chosen(told, Selection(k=2)) == [1, 2]


def test_generic_ones_lose_a_share_of_their_weight() -> None:
    told = choices([0.9, 0.5, 0.3], generic=[True, False, False])
    assert chosen(told, Selection()) == [0, 1, 2]
    assert chosen(told, Selection(generic=0.4)) == [0, 1, 2]  # 0.54
    assert chosen(told, Selection(generic=0.5)) == [1, 0, 2]  # 0.45
    assert chosen(told, Selection(generic=1)) == [1, 2, 0]


# ---- diversity


def alike(pairs: dict[tuple[int, int], float]) -> Any:
    def told(tag_ids: Ids) -> Floats:
        found = np.eye(len(tag_ids), dtype=np.float32)
        for (a, b), value in pairs.items():
            rows, columns = np.flatnonzero(tag_ids == a), np.flatnonzero(tag_ids == b)
            found[np.ix_(rows, columns)] = value
            found[np.ix_(columns, rows)] = value
        return found

    return told


def test_a_near_synonym_waits_for_what_adds_more() -> None:
    told, like = choices([0.9, 0.8, 0.5]), alike({(0, 1): 0.9})
    # 0.8 (1 - 0.4 · 0.9) = 0.512, and with 0.5: 0.44, against 0.5.
    assert chosen(told, Selection(k=3, diversity=0.4), like) == [0, 1, 2]
    assert chosen(told, Selection(k=3, diversity=0.5), like) == [0, 2, 1]
    assert chosen(told, Selection(k=2, diversity=0.5), like) == [0, 2]


def test_the_nearest_of_those_before_counts_not_their_sum() -> None:
    told = choices([0.9, 0.8, 0.7, 0.6])
    like = alike({(0, 2): 0.4, (1, 2): 0.4, (0, 3): 0.2, (1, 3): 0.0})
    # 0.7 (1 - 0.4) = 0.42 against 0.6 (1 - 0.2) = 0.48.
    assert chosen(told, Selection(diversity=1), like) == [0, 1, 3, 2]


def test_a_double_of_a_pinned_hashtag_waits_too() -> None:
    told = choices([0.9, 0.8, 0.5], barred=[True, False, False], pinned=(0,))
    selection = Selection(k=3, diversity=1, pinned=("zero",))
    assert chosen(told, selection, alike({(0, 1): 0.9})) == [2, 1]


def test_diversity_reorders_the_best_and_leaves_the_rest_as_they_are() -> None:
    count = MAX_DIVERSE + 10
    told = choices(np.linspace(1, 0.5, count).tolist())
    order = chosen(told, Selection(k=count, diversity=1), alike({(0, 1): 1.0}))
    assert order == [0, *range(2, MAX_DIVERSE), 1, *range(MAX_DIVERSE, count)]


# ---- tiers


MIXED: dict[str, Any] = {
    "probabilities": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
    "posts": [500, 400, 300, 50, 40, 5, 4],  # three broad, two medium, two niche
}


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ((), [0, 1, 2, 3, 4]),
        ((("broad", 1), ("medium", 2), ("niche", 2)), [0, 3, 4, 5, 6]),
        ((("niche", 1),), [0, 1, 2, 3, 5]),
        ((("medium", 4),), [0, 1, 2, 3, 4]),  # two there are; the likeliest fill the rest
        ((("niche", 4), ("medium", 1)), [0, 1, 3, 5, 6]),
        ((("broad", 0), ("niche", 0)), [0, 1, 2, 3, 4]),
    ],
)
def test_tiers_get_their_places_and_the_likeliest_the_rest(
    mix: tuple[tuple[str, int], ...], expected: list[int]
) -> None:
    assert chosen(choices(**MIXED), Selection(mix=mix)) == expected


def test_many_tiers_are_told_as_one_is() -> None:
    posts = np.arange(200)
    for floors in (FLOORS, tier_floors(posts[50:]), tier_floors(posts[:0])):
        mix = tuple((name, 1) for _, name in TIERS)
        told = choices(np.linspace(1, 0.1, 200).tolist(), posts=posts.tolist())
        tiers = [tier_of(int(number), floors) for number in posts]
        firsts = {tiers.index(name) for name in tiers}
        shown = choose_places(told, Selection(k=3, mix=mix), floors, strangers).tolist()
        assert firsts <= set(shown)


def test_pinned_hashtags_fill_places_of_their_tier() -> None:
    told = choices(**MIXED, pinned_tiers=("niche", "broad"))
    selection = Selection(pinned=("a", "b"), mix=(("niche", 2), ("broad", 1), ("medium", 2)))
    assert chosen(told, selection) == [3, 4, 5]


def test_a_mix_takes_the_diverse_of_each_tier() -> None:
    selection = Selection(k=3, mix=(("medium", 1), ("niche", 1)), diversity=1)
    like = alike({(0, 3): 1.0, (0, 1): 1.0})
    # Both 1 and 3 are doubles of 0: 2 comes second, 4 is the first medium one, 5 the first niche.
    assert chosen(choices(**MIXED), selection, like) == [0, 4, 5]


# ---- properties


@st.composite
def any_choices(draw: st.DrawFn) -> Choices:
    count = draw(st.integers(0, 60))
    rows = st.lists(st.booleans(), min_size=count, max_size=count)
    steps = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    posts = draw(st.lists(st.integers(1, 200), min_size=count, max_size=count))
    return choices([step / 8 for step in steps], posts=posts, barred=draw(rows), generic=draw(rows))


def seeded(tag_ids: Ids) -> Floats:
    """Return a random but fixed similarity of any two."""
    told = np.cos(np.add.outer(tag_ids, tag_ids) * 1.7) ** 2
    np.fill_diagonal(told, 1)
    return told.astype(np.float32)


@given(any_choices(), st.integers(1, 70), st.integers(0, 8))
def test_without_strengths_it_is_a_plain_sort(told: Choices, k: int, eighths: int) -> None:
    selection = Selection(k=k, min_probability=eighths / 8, diversity=0, generic=0)
    assert told.barred is not None
    allowed = ~told.barred & (told.probabilities >= eighths / 8)
    plain = sorted(
        np.flatnonzero(allowed).tolist(),
        key=lambda n: (-told.probabilities[n], -told.posts[n], told.tag_ids[n]),
    )
    assert chosen(told, selection, seeded) == plain[:k]


@given(
    any_choices(),
    st.integers(3, 70),
    st.floats(0, 1),
    st.floats(0, 1),
    st.tuples(st.integers(0, 1), st.integers(0, 2)),
)
def test_whatever_the_strengths_as_many_allowed_ones_are_shown_each_once(
    told: Choices, k: int, diversity: float, generic: float, mix: tuple[int, int]
) -> None:
    pairs = (("medium", mix[0]), ("niche", mix[1]))
    selection = Selection(
        k=k, min_probability=0.25, diversity=diversity, generic=generic, mix=pairs
    )
    found = chosen(told, selection, seeded)
    assert told.barred is not None
    allowed = np.flatnonzero(~told.barred & (told.probabilities >= 0.25)).tolist()
    assert len(found) == len(set(found)) == min(k, len(allowed))
    assert set(found) <= set(allowed)
    low = [n for n in allowed if told.posts[n] < 10]
    assert len(set(found) & set(low)) >= min(mix[1], len(low))


# ---- what may be asked


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"k": 0}, "k: found 0"),
        ({"min_probability": 1.5}, "min_probability: found 1.5, expected 0 to 1"),
        ({"diversity": -0.1}, "diversity: found -0.1"),
        ({"generic": float("nan")}, "generic: found nan"),
        ({"mix": (("large", 1),)}, "found large"),
        ({"mix": (("niche", 1), ("niche", 2))}, "each once"),
        ({"mix": (("niche", 4), ("broad", 2))}, "5 hashtags together at most"),
        ({"mix": (("niche", -1),)}, "expected 0 or more"),
        ({"pinned": ("a", "a")}, "5 different ones"),
        ({"pinned": ("a", "b"), "k": 1}, "found 2 hashtags, expected 1"),
        ({"pinned": ("a", "b"), "platform": find_platform("threads")}, "expected 1"),
        ({"pinned": ("a",), "blocked": frozenset({"a"})}, "#a both blocked and pinned"),
    ],
)
def test_what_cannot_be_is_refused(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Selection(**wanted)


@pytest.mark.parametrize(
    ("k", "name", "places", "noted"),
    [
        (None, None, 5, False),
        (12, None, 12, False),
        (None, "instagram", 5, False),
        (12, "instagram", 5, True),
        (3, "instagram", 3, False),
        (None, "x", 2, False),
        (12, "x", 12, False),  # advised only
        (None, "youtube", 3, False),
        (16, "youtube", 15, True),
    ],
)
def test_a_platform_caps_and_advises(
    k: int | None, name: str | None, places: int, noted: bool
) -> None:
    selection = chosen_by(k, platform=name)
    assert selection.places == places
    assert bool(selection.notes) == noted
    if noted:
        assert f"takes {places} a post" in selection.notes[0]
        assert f"not {k}" in selection.notes[0]


@pytest.mark.parametrize(
    ("name", "k", "has", "pinned", "shown", "note"),
    [
        (None, None, 3, (), 5, None),
        ("instagram", None, 3, (), 2, "instagram takes 5 a post since 2025-12, and this one has 3: "
         "2 more are shown"),
        ("instagram", 1, 3, (), 1, None),
        ("instagram", 4, 4, (), 1, "and this one has 4: 1 more is shown"),
        ("instagram", None, 5, (), 0, "and this one has 5: none is added"),
        ("instagram", None, 7, (), 0, "and this one has 7: take 2 away"),
        ("instagram", None, 3, ("ours",), 2, "2 more are shown"),
        ("instagram", None, 4, ("ours", "yours"), 1, "1 more is shown"),
        ("youtube", None, 1, (), 2, "guides advise 3 a post on youtube, and this one has 1: "
         "2 more are shown; ask for more with -k"),
        ("youtube", 14, 4, (), 11, "youtube takes 15 a post, and this one has 4: 11 more"),
        ("x", 4, 3, (), 4, None),  # advised only, and asked for more
        ("x", None, 3, (), 0, "guides advise 2 a post on x, and this one has 3: none is added"),
    ],
)  # fmt: skip
def test_a_platform_counts_the_hashtags_that_a_post_already_has(
    recommender: Recommender,
    name: str | None,
    k: int | None,
    has: int,
    pinned: tuple[str, ...],
    shown: int,
    note: str | None,
) -> None:
    seeds = ("cat", "dog", "pets", "kitten", "love", "nature", "travel")[:has]
    selection = Selection(k=k, platform=find_platform(name) if name else None, pinned=pinned)
    answer = recommender.recommend(Query(seeds=seeds), selection=selection)
    assert len(answer.tags) == shown
    assert [tag.tag for tag in answer.tags][: len(pinned)] == list(pinned)[:shown]
    found = [text for text in answer.notes if " a post" in text]
    assert len(found) == (note is not None)
    assert not note or note in found[0]


def test_a_pinned_seed_counts_once(recommender: Recommender) -> None:
    selection = Selection(platform=INSTAGRAM, pinned=("cat",))
    answer = recommender.recommend(Query(seeds=("cat", "dog", "pets")), selection=selection)
    assert answer.tags[0].tag == "cat"
    assert len(answer.tags) == 3


def test_hashtags_of_the_caption_count_as_seeds_do(recommender: Recommender) -> None:
    selection = Selection(platform=INSTAGRAM)
    answer = recommender.recommend(caption="Naps #cat #kitten #pets", selection=selection)
    assert len(answer.tags) == 2


def test_options_become_a_selection(tmp_path: Path) -> None:
    listed = tmp_path / "unwanted.txt"
    listed.write_text("#Monday\n\n// our rivals\nacme  // not theirs\n", encoding="utf-8-sig")
    found = chosen_by(
        *(7, 0.2, 0.3, 0.4, "Niche:2, broad:1", [str(listed), "#Coffee"], ["#Tea", "tea"]),
        platform="Instagram",
    )
    assert found == Selection(
        k=7,
        min_probability=0.2,
        diversity=0.3,
        generic=0.4,
        mix=(("niche", 2), ("broad", 1)),
        blocked=frozenset({"monday", "acme", "coffee"}),
        pinned=("tea",),
        platform=INSTAGRAM,
    )


def test_a_file_is_read_and_its_name_with_a_sign_is_a_hashtag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats").write_text("dog\n")
    assert read_blocked(["cats", "#cats"]) == {"dog", "cats"}
    (tmp_path / "bad").write_text("dog\ntwo words\n")
    with pytest.raises(InputError, match="bad:2: found no hashtag, expected one a line"):
        read_blocked(["bad"])
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="bytes: cannot be read as UTF-8"):
        read_blocked(["bytes"])
    with pytest.raises(InputError, match=r"no file 'gone\.txt'"):
        read_blocked(["gone.txt"])


@pytest.mark.parametrize("text", ["niche", "niche:two", "niche:1:2", "5"])
def test_a_mix_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="broad:1,medium:2,niche:2"):
        chosen_by(mix=text)


def test_the_lists_that_ship_are_apart() -> None:
    assert {"like4like", "sponsored"} <= blocked_keys()
    assert {"love", "instagood", "photooftheday", "picoftheday", "instadaily"} <= generic_keys()
    assert not blocked_keys() & (generic_keys() | unshipped_keys())


# ---- on an index


CAPTION = Query(caption="coffee and breakfast in my favourite cafe")


def keys(recommender: Recommender, query: Query = CAPTION, **wanted: Any) -> list[str]:
    return [t.tag for t in recommender.recommend(query, selection=Selection(**wanted)).tags]


def test_blocked_and_pinned_on_an_index(recommender: Recommender) -> None:
    first, second, third, *_ = keys(recommender)
    assert keys(recommender, k=2, blocked=frozenset({first})) == [second, third]
    wanted = Selection(k=4, pinned=("neverseen", third), blocked=frozenset({"neverheard"}))
    answer = recommender.recommend(CAPTION, selection=wanted)
    assert [t.tag for t in answer.tags] == ["neverseen", third, first, second]
    plain = {t.tag: t.probability for t in recommender.recommend(CAPTION).tags}
    assert [t.probability for t in answer.tags] == [
        pytest.approx(p) for p in (0, plain[third], plain[first], plain[second])
    ]
    assert answer.tags[0].tier == "niche"
    assert [[e.channel for e in t.evidence] for t in answer.tags[:2]] == [["pinned"]] * 2
    assert "pinned" not in [e.channel for t in answer.tags[2:] for e in t.evidence]


def test_a_seed_and_a_blocked_hashtag_of_ours_may_be_pinned(recommender: Recommender) -> None:
    query = Query(seeds=("coffee",))
    assert keys(recommender, query, pinned=("coffee", "ad"))[:2] == ["coffee", "ad"]


def test_nothing_likely_enough_is_told_and_nothing_is_shown(recommender: Recommender) -> None:
    answer = recommender.recommend(CAPTION, selection=Selection(min_probability=1))
    likeliest = recommender.recommend(CAPTION, 1).tags[0].probability
    assert likeliest < 1
    assert answer.tags == ()
    assert answer.notes == (
        f"no hashtag is as likely as asked for, 1; the likeliest has {likeliest:.2g}",
    )
    some = recommender.recommend(CAPTION, selection=Selection(min_probability=likeliest))
    assert len(some.tags) >= 1
    assert some.notes == ()


def test_another_networks_hashtags_are_left_out(recommender: Recommender) -> None:
    query = Query(seeds=("cat", "dog"))
    everywhere = keys(recommender, query, k=1000)
    theirs = [key for key in everywhere if "instagram" in key]
    assert theirs
    on_pinterest = [key for key in everywhere if not INSTAGRAM.owns(key)]
    # The two seeds count among the hashtags that each network takes, 20 and 5.
    assert keys(recommender, query, k=20, platform=find_platform("pinterest")) == on_pinterest[:18]
    assert keys(recommender, query, k=1000, platform=INSTAGRAM) == everywhere[:3]


def test_diversity_lowers_redundancy_on_an_index(recommender: Recommender) -> None:
    queries = [Query(seeds=(seed,)) for seed in ("cat", "dog", "coffee", "travel")]
    plain = [recommender.redundancy(keys(recommender, query)) for query in queries]
    diverse = [recommender.redundancy(keys(recommender, q, diversity=1.0)) for q in queries]
    assert 0 <= np.mean(diverse) < np.mean(plain) < 1
    assert recommender.redundancy(["cat", "neverseen"]) == 0


def test_generic_hashtags_keep_their_probability_and_go_down(recommender: Recommender) -> None:
    query = Query(seeds=("selfie", "cat", "travel"))
    plain = recommender.recommend(query, 1000).tags
    demoted = recommender.recommend(query, selection=Selection(k=1000, generic=1)).tags
    special = [tag for tag in plain if tag.tag not in generic_keys()]
    assert len(special) < len(plain)
    assert [t.tag for t in demoted[: len(special)]] == [t.tag for t in special]
    assert {t.tag: t.probability for t in demoted} == {t.tag: t.probability for t in plain}
