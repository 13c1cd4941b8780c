"""Limits of networks, and the hashtags that are their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from hashlens.cli import app
from hashlens.indexer.errors import ConfigError
from hashlens.indexer.text.hashtags import key
from hashlens.retriever.selection.platforms import (
    Platform,
    find_platform,
    foreign_to,
    load_platforms,
)


@pytest.mark.parametrize(
    ("name", "limit", "recommended", "since"),
    [
        ("instagram", 5, 5, "2025-12"),
        ("tiktok", 5, 5, "2025-09"),
        ("youtube", 15, 3, None),
        ("x", None, 2, None),
        ("linkedin", None, 5, None),
        ("threads", 1, 1, "2023-12"),
        ("pinterest", 20, 5, None),
        ("facebook", None, 3, None),
    ],
)
def test_limits_are_those_on_record(
    name: str, limit: int | None, recommended: int, since: str | None
) -> None:
    found = find_platform(name)
    assert (found.limit, found.recommended, found.since) == (limit, recommended, since)
    assert found.note


def test_an_unknown_platform_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'instagrm', expected one of .*did you mean instagram"):
        find_platform("instagrm")
    assert find_platform(" TikTok ") is load_platforms()["tiktok"]


@pytest.mark.parametrize(("limit", "recommended"), [(5, 6), (None, 0), (5, 0)])
def test_a_recommendation_that_cannot_be_is_refused(limit: int | None, recommended: int) -> None:
    with pytest.raises(ConfigError, match=f"found {recommended} recommended, expected 1"):
        Platform("new", recommended, "", limit)


@pytest.mark.parametrize("name", load_platforms())
def test_hashtags_in_the_file_are_written_as_keys(name: str) -> None:
    found = find_platform(name)
    texts = [*found.own, *found.starts, *found.holds, *found.words]
    assert [key(text) for text in texts] == texts
    assert all(found.owns(text) for text in (*found.own, *found.holds))


OWNERS = {
    "instagram": "instagram instagood instapic igers igersitalia catsofinstagram ig_world igtv",
    "tiktok": "fyp foryou foryoupage tiktok tiktokindia fypシ゚viral",
    "youtube": "youtube youtuber youtubeshorts",
    "x": "twitter twitterers",
    "linkedin": "linkedin linkedintips",
    "pinterest": "pinterest pinterestinspired",
    "facebook": "facebook fb",
}
# Words that look like a network's and are not: a garment, a coffee, a kind of art, a dance.
NOBODYS = "shorts threads instant instantcoffee installation instalación x reel explore viral love"


@pytest.mark.parametrize("home", load_platforms())
def test_each_network_loses_the_others_hashtags_and_keeps_its_own(home: str) -> None:
    foreign = foreign_to(find_platform(home))
    for owner, tags in OWNERS.items():
        assert {tag for tag in tags.split() if foreign(tag)} == (
            set(tags.split()) if owner != home else set()
        )
    assert [tag for tag in NOBODYS.split() if foreign(tag)] == []


def test_reels_are_of_two_networks() -> None:
    keeping = {name for name in load_platforms() if not foreign_to(find_platform(name))("reels")}
    assert keeping == {"instagram", "facebook"}


@pytest.mark.parametrize("command", ["recommend", "batch"])
def test_the_help_names_every_platform(command: str) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    (option,) = [p for p in commands[command].params if p.name == "platform"]
    assert [name for name in load_platforms() if name not in option.help] == []


def test_the_documents_have_the_same_limits() -> None:
    rows = {
        cells[0]: (cells[1].split(" ")[0], cells[2])
        for line in (Path(__file__).parents[3] / "docs" / "selection.md").read_text().splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split("|")])[0] in load_platforms()
    }
    told = {name: (str(p.limit or ""), str(p.recommended)) for name, p in load_platforms().items()}
    assert rows == told
