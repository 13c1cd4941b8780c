"""Around an answer: where to begin, what was meant, stdin, the clipboard and completion."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from hashlens.cli import app
from hashlens.retriever.cli import options
from hashlens.retriever.index import default
from tests.retriever.cli.test_cli import RUNNER, run


def test_a_caption_is_read_from_stdin(sample_index: Path) -> None:
    asked = ["recommend", "--index", str(sample_index), "--json", "--caption"]
    given = RUNNER.invoke(app, [*asked, "une tasse de café #coffee"])
    read = RUNNER.invoke(app, [*asked, "-"], input="une tasse de café #coffee\n".encode())
    assert read.exit_code == 0
    assert json.loads(read.stdout) == json.loads(given.stdout)
    nothing = RUNNER.invoke(app, [*asked, "-"], input="")
    assert nothing.exit_code == 2
    assert "nothing to go by" in nothing.stderr


def test_hashtags_go_to_the_clipboard_where_there_is_one(
    sample_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyperclip

    asked = ("recommend", "--caption", "coffee", "--index", sample_index, "--plain")
    copied: list[str] = []
    monkeypatch.setattr(pyperclip, "copy", copied.append)
    code, out, err = run(*asked, "--copy")
    assert code == 0
    assert copied == [out.strip()]
    assert "5 hashtags" in err

    def refused(text: str) -> None:
        raise pyperclip.PyperclipException("no program")

    monkeypatch.setattr(pyperclip, "copy", refused)
    code, again, err = run(*asked, "--copy")
    assert code == 1
    assert again == out
    assert "xclip" in err
    assert len(err.strip().splitlines()) == 1


def test_the_program_alone_says_where_to_begin() -> None:
    code, out, _ = run()
    assert code == 0
    steps = [line.strip() for line in out.splitlines() if line.startswith("  hashlens")]
    assert [step.split()[1] for step in steps] == ["recommend", "build", "recommend"]
    assert "--help" in out
    code, out, _ = run("--help")
    assert code == 0
    assert "recommend" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recomend"], "Did you mean 'recommend'?"),
        (["recommend", "--captoin", "x"], "--caption"),
        (["batch", "rows.csv", "--ot", "x.csv"], "--out"),
        (["recommend", "--json", "--plain", "--caption", "x"], "one of the two"),
    ],
)
def test_what_was_meant_is_suggested(words: list[str], said: str) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert said in " ".join(err.split())


def test_without_an_index_the_three_commands_to_try_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(default, "bundled_index", lambda: tmp_path / "none")
    for words in (["recommend", "--caption", "x"], ["inspect"], ["verify"], ["history"]):
        code, _, err = run(*words)
        assert code == 4
        assert len(err.strip().splitlines()) == 1
        assert all(f"hashlens {name}" in err for name in ("build", "recommend"))


def test_shells_complete_commands_platforms_and_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[sets]\ntravel = ['a']\nfood = ['b']\n")
    monkeypatch.setenv("HASHLENS_CONFIG", str(own))

    def completed(*words: str) -> list[str]:
        asked = {
            "_HASHLENS_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["hashlens", *words]),
        }
        asked["COMP_CWORD"] = str(len(words))
        return RUNNER.invoke(app, [], env=asked, prog_name="hashlens").stdout.split()

    assert completed("rec") == ["recommend"]
    assert completed("recommend", "--platform", "in") == ["instagram"]
    assert completed("batch", "x", "--set", "t") == ["travel"]
    assert completed("build", "x", "--vectors", "report-g") == ["report-glove"]
    own.write_text("[sets")
    assert completed("recommend", "--set", "t") == []


@pytest.mark.parametrize(
    "seeds",
    [["cat", "dog"], ["cat, dog"], ["#cat #dog"], ["cat,dog,"], [" cat ; #dog"], ["cat、dog"]],
)
def test_several_seeds_may_stand_in_one_option(sample_index: Path, seeds: list[str]) -> None:
    assert options.seeds_from(seeds) in (["cat", "dog"], ["#cat", "#dog"], ["cat", " dog"]) or [
        seed.strip() for seed in options.seeds_from(seeds)
    ] in (["cat", "#dog"], ["cat", "dog"])
    words = [word for seed in seeds for word in ("--seed", seed)]
    code, out, _ = run("recommend", *words, "--index", sample_index, "--json")
    assert code == 0
    assert (
        json.loads(out)["tags"]
        == json.loads(
            run("recommend", "--seed", "cat", "--seed", "dog", "--index", sample_index, "--json")[1]
        )["tags"]
    )


def test_nothing_between_commas_is_no_seed() -> None:
    assert options.seeds_from([", "]) == ["", " "]  # told as a hashtag that is none
    assert options.seeds_from(None) == []


def test_the_version_is_told(sample_index: Path) -> None:
    expected = version("hashlens")
    assert run("--version") == (0, f"hashlens {expected}\n", "")
    assert json.loads(run("inspect", "--index", sample_index, "--json")[1])["version"] == expected
    asked = ("recommend", "--caption", "coffee", "--index", sample_index, "--json")
    assert json.loads(run(*asked)[1])["version"] == expected
    manifest = json.loads((sample_index / "gen-000001" / "manifest.json").read_text())
    assert manifest["libraries"]["hashlens"] == expected
