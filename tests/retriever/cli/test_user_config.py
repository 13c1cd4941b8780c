"""A person's own defaults: where the file is found, what it may say, and what wins over it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hashlens.indexer.errors import ConfigError, HashlensError
from hashlens.retriever.cli.options import SelectionArguments
from hashlens.retriever.cli.user_config import NAME, NAMED, UserConfig
from tests.retriever.cli.test_cli import run

WHOLE = """
index = "built"
platform = "X"
author = "jane_doe"
k = 4
diversity = 0.25
generic = 1
mix = "broad:1,niche:2"
block = ["#Monday", "rivals.txt"]
pin = ["#MyBrand"]
[sets]
travel = ["#Wanderlust", "onmyway"]
food = ["#foodie"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty present folder, and an empty folder of the user's own."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv(NAMED)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    return here


def written(path: Path, text: str = WHOLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (path.parent / "rivals.txt").write_text("theirs // never\n")
    return path


def test_a_file_says_what_stands_in_it(tmp_path: Path) -> None:
    found = UserConfig.open(written(tmp_path / "x" / NAME))
    assert found.index == tmp_path / "x" / "built"
    assert (found.platform, found.k, found.diversity, found.generic) == ("x", 4, 0.25, 1)
    assert found.author == "jane_doe"
    assert found.block == ("#Monday", str(tmp_path / "x" / "rivals.txt"))
    assert found.pin == ("mybrand",)
    assert found.sets == {"travel": ("wanderlust", "onmyway"), "food": ("foodie",)}
    assert found.defaults["mix"] == "broad:1,niche:2"
    assert UserConfig().defaults == {}


def test_the_named_file_is_taken_then_the_present_folders_then_the_persons(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert UserConfig.find() == UserConfig()
    written(tmp_path / "own" / "hashlens" / NAME, "k = 1")
    assert UserConfig.find().k == 1
    written(folder / NAME, "k = 2")
    assert UserConfig.find().k == 2
    monkeypatch.setenv(NAMED, str(written(tmp_path / "other.toml", "k = 3")))
    assert UserConfig.find().k == 3
    monkeypatch.setenv(NAMED, str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        UserConfig.find()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("platfrom = 'x'", "'platfrom', expected some of index, platform, .*mean platform"),
        ("author = ['a']", r"author: found \['a'\], expected a text"),
        ("platform = 'myspace'", "platform: .*myspace.*linkedin"),
        ("k = 0", "k: .*found 0"),
        ("k = 2.5", "k: .*2.5, expected a whole number"),
        ("k = true", "k: .*True"),
        ("diversity = 2", "diversity: found 2, expected 0 to 1"),
        ("generic = 'much'", "generic: found 'much', expected a number"),
        ("mix = 'broad'", "mix: .*broad:1"),
        ("mix = 'huge:1'", "mix: .*huge"),
        ("index = 3", "index: found 3, expected a text"),
        ("block = 'monday'", "block: found 'monday', expected a list"),
        ("block = ['gone.txt']", "block: .*gone.txt"),
        ("pin = ['not a tag']", "pin: .*not a tag"),
        ("sets = ['a']", "sets: .*expected a table"),
        ("[sets]\ntravel = ['a b']", "sets: .*a b"),
        ("k = ", "no TOML"),
    ],
)
def test_what_cannot_be_is_named_with_its_file_and_key(folder: Path, text: str, said: str) -> None:
    file = written(folder / "x.toml", text)
    with pytest.raises(ConfigError, match=rf"(?s){file}: .*{said}") as caught:
        UserConfig.open(file)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / NAME).write_bytes(b"k = 3 # \xff")
    with pytest.raises(ConfigError, match=NAME):
        UserConfig.find()


# ---- lists are added to, and what is said now wins


def chosen(
    block: list[str] | None = None, pin: list[str] | None = None, sets: list[str] | None = None
) -> tuple[tuple[str, ...], frozenset[str]]:
    config = UserConfig(
        block=("theirs", "monday"), pin=("ours",), sets={"travel": ("wander", "ours", "monday")}
    )
    found = SelectionArguments(k=9, block=block, pin=pin, sets=sets).to_selection(config)
    return found.pinned, found.blocked


def test_pins_and_sets_of_now_come_before_those_of_the_file() -> None:
    assert chosen() == (("ours",), frozenset({"theirs", "monday"}))
    pinned, blocked = chosen(pin=["#now"], sets=["travel"], block=["more"])
    assert pinned == ("now", "wander", "ours", "monday")
    assert blocked == {"theirs", "more"}  # #monday is asked for now


def test_what_is_blocked_now_is_not_pinned_by_the_file() -> None:
    assert chosen(block=["ours"]) == ((), frozenset({"theirs", "monday", "ours"}))
    with pytest.raises(ConfigError, match="both blocked and pinned"):
        chosen(block=["a"], pin=["a"])


def test_a_set_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"'tarvel', expected one of travel; did you mean travel"):
        chosen(sets=["tarvel"])
    with pytest.raises(HashlensError, match=r"--set: .*\[sets\], in no hashlens\.toml"):
        SelectionArguments(sets=["travel"]).to_selection(UserConfig())


# ---- on the command line


def test_the_file_gives_defaults_that_the_command_line_replaces(
    folder: Path, sample_index: Path
) -> None:
    text = f"index = '{sample_index}'\nk = 2\npin = ['ours']\n[sets]\nmine = ['setone']\n"
    written(folder / NAME, text)
    asked = ("recommend", "--caption", "coffee", "--plain")
    _, out, _ = run(*asked)
    assert len(out.split()) == 2
    assert out.split()[0] == "#ours"
    _, out, _ = run(*asked, "-k", "4", "--set", "mine")
    assert out.split()[:2] == ["#setone", "#ours"]
    assert len(out.split()) == 4
    (folder / "rows.jsonl").write_text(json.dumps({"caption": "coffee"}) + "\n")
    assert run("batch", "rows.jsonl", "--out", "a.jsonl", "--set", "mine")[0] == 0
    keys = [tag["tag"] for tag in json.loads((folder / "a.jsonl").read_text())["tags"]]
    assert keys == ["setone", "ours"]
    assert run("inspect")[0] == 0
    code, _, err = run(*asked, "--index", "gone")
    assert code == 4
    assert "gone" in err


def test_who_one_is_reaches_what_answers_and_nothing_else(
    folder: Path, sample_index: Path, tmp_path: Path
) -> None:
    written(folder / NAME, f"index = '{sample_index}'\nauthor = 'nobody_here'\n")
    asked = ("recommend", "--caption", "coffee", "--plain")
    code, _, err = run(*asked)
    assert code == 0
    assert "'nobody_here'" in err
    assert "a01" not in run(*asked, "--author", "a01")[2]
    (folder / "rows.jsonl").write_text(json.dumps({"caption": "coffee"}) + "\n")
    assert "'nobody_here'" in run("batch", "rows.jsonl", "--out", "a.jsonl")[2]
    shutil.copytree(sample_index, folder / "mine")
    written(folder / NAME, "index = 'mine'\nauthor = 'a01'\n")
    code, _, err = run("forget")  # who one is, is not whom one forgets
    assert code == 2
    assert "neither or both" in err
    assert "posts forgotten" in run("forget", "--author", "a01")[1]


def test_config_tells_the_file_and_what_it_says(folder: Path, tmp_path: Path) -> None:
    _, out, _ = run("config")
    assert "hashlens.toml" in out
    assert str(tmp_path / "own" / "hashlens") in out
    assert NAMED in out
    assert json.loads(run("config", "--json")[1])["file"] is None
    written(folder / NAME)
    _, out, _ = run("config")
    for part in ("hashlens.toml", "broad:1,niche:2", "#mybrand", "set travel", "#wanderlust"):
        assert part in out
    told = json.loads(run("config", "--json")[1])
    assert told["sets"]["travel"] == ["wanderlust", "onmyway"]
    assert told["index"] == "built"


def test_a_broken_file_is_one_line_and_stops_only_what_would_read_it(folder: Path) -> None:
    written(folder / NAME, "kk = 3")
    for words in (["config"], ["recommend", "--caption", "x"], ["inspect"]):
        code, _, err = run(*words)
        assert code == 1
        assert len(err.strip().splitlines()) == 1
        assert "'kk'" in err
    assert run("encoders")[0] == 0
    assert run("--help")[0] == 0


def test_which_file_answers_is_told(folder: Path, sample_index: Path) -> None:
    written(folder / NAME, f"index = '{sample_index}'\n")
    asked = ("recommend", "--caption", "coffee")
    said = [
        f"hashlens: defaults are from {folder / NAME}",
        f"hashlens: answered from {sample_index}",
    ]
    assert run(*asked, "--plain")[2].splitlines() == said
    assert json.loads(run(*asked, "--json")[1])["index"] == str(sample_index)
    written(folder / NAME, "diversity = 0.1\n")
    assert NAME not in run("inspect", "--index", sample_index)[2]  # it reads no such default


def test_a_command_that_writes_tells_which_file_named_the_index(
    folder: Path, sample_index: Path
) -> None:
    mine = shutil.copytree(sample_index, folder / "mine")
    written(folder / NAME, f"index = '{mine}'\n")
    (folder / "posts.jsonl").write_text(json.dumps({"id": "1", "caption": "a #b"}) + "\n")
    (folder / "ids.txt").write_text("none\n")
    said = f"hashlens: the index is {folder / mine}, by {folder / NAME}\n"
    for words in (["update", "--delete", "ids.txt"], ["compact", "--keep", "1"], ["rollback"]):
        assert said in run(*words)[2]
    for words in (["build", "gone.jsonl"], ["forget", "--post", "none"]):
        assert said in run(*words)[2]
    assert said not in run("compact", "--index", mine)[2]


@pytest.mark.parametrize("place", ["absolute", "above", "link"])
def test_a_file_of_the_present_folder_leads_no_writer_elsewhere(
    place: str, folder: Path, sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shutil.copytree(sample_index, tmp_path / "mine")
    (folder / "link").symlink_to(mine)
    named = {"absolute": str(mine), "above": "../mine", "link": "link"}[place]
    file = written(folder / NAME, f"index = '{named}'\n")
    (folder / "posts.jsonl").write_text(json.dumps({"id": "1", "caption": "a #b"}) + "\n")
    before = sorted(mine.iterdir())
    for words in (
        ["build", "posts.jsonl"],
        ["update", "posts.jsonl"],
        ["forget", "--post", "none"],
        ["compact", "--keep", "1"],
        ["rollback"],
    ):
        code, _, err = run(*words)
        assert code == 2
        assert "expected --index with a command that writes" in err
    assert sorted(mine.iterdir()) == before
    assert run("recommend", "--caption", "coffee")[0] == 0  # to ask is no harm
    monkeypatch.setenv(NAMED, str(file))  # who names the file trusts it
    assert "the index is" in run("forget", "--post", "none")[2]


def test_a_deep_file_is_one_line(folder: Path) -> None:
    (folder / NAME).write_text("block = " + "[" * 20_000 + "]" * 20_000)
    code, out, err = run("recommend", "--caption", "x")
    assert (code, out) == (1, "")
    assert err.startswith(f"hashlens: {NAME}: found no TOML in UTF-8 (")
    assert len(err.splitlines()) == 1
