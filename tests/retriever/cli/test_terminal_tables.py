"""Tables as people see them: in 80 columns, in colour on a terminal and nowhere else."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hashlens.retriever.cli import output as printed
from hashlens.retriever.cli.progress_bar import progress_bar
from hashlens.retriever.cli.terminal_tables import TIER_STYLES, answer_table, bar, reasons_table
from hashlens.retriever.explanations.reasons import PHRASES
from hashlens.retriever.recommendation import Evidence, Recommendation, ScoredTag
from hashlens.retriever.recommender import Recommender
from tests.retriever.cli.test_cli import run


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0, "    "), (0.001, "▏   "), (0.25, "█   "), (0.28, "█▏  "), (0.5, "██  "), (1, "████")],
)
def test_a_bar_has_eight_steps_a_cell_and_one_width(probability: float, expected: str) -> None:
    assert bar(probability, 4) == expected


def answer_of(*tags: ScoredTag) -> Recommendation:
    return Recommendation(tags, (("pets", 0.81), ("selfie", 0.15)), ("caption",))


def drawn(answer: Recommendation, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(answer_table(answer))
    console.print(reasons_table(answer))
    return console.export_text().splitlines()


LONGEST = sorted(PHRASES, key=lambda channel: -len(PHRASES[channel]))
EVIDENCE = tuple(Evidence(channel, 0.3 - place / 10) for place, channel in enumerate(LONGEST[:2]))
SHORT = ScoredTag("cat", "Cat", 0.87, "medium", EVIDENCE, "because your caption spells it")


def test_one_hashtag_is_one_line_of_80_columns() -> None:
    lines = drawn(answer_of(SHORT, ScoredTag("catsoflondon", "catsoflondon", 0.004, "niche")))
    assert lines[0].rstrip() == "topics: pets 81%, selfie 15%"
    (row,) = [line for line in lines if "#Cat" in line and "87%" in line]
    assert "████████▊   87%" in row
    assert all(PHRASES[part.channel] in row for part in EVIDENCE)
    assert any("#catsoflondon" in line and "▏" in line and "<1%" in line for line in lines)
    assert any("because your caption spells it" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_off_however_long(width: int) -> None:
    long = ScoredTag("x" * 150, "x" * 150, 0.5, "niche", EVIDENCE, f"because {'of it ' * 40}")
    lines = drawn(answer_of(SHORT, long), width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).count("x") - sum("exp" in line for line in lines) == 300
    assert "".join(lines).split().count("of") >= 40
    assert "".join(lines).split().count("it") >= 40


def test_strangers_texts_are_neither_markup_nor_terminal_codes() -> None:
    bad = ScoredTag("a", "[red]a\x1b[31m", 0.5, "niche", (), "because p[b]\x1b[0m")
    text = "\n".join(drawn(answer_of(bad)))
    assert "\x1b" not in text
    assert "[red]a" in text
    assert "p[b]" in text


def shown(monkeypatch: pytest.MonkeyPatch, out: io.StringIO, **variables: str) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color", "COLUMNS": "80"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", out)
    printed.print_table(answer_table(answer_of(SHORT)))
    return out.getvalue()


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = shown(monkeypatch, Terminal())
    assert "\x1b[" in coloured
    assert len(set(TIER_STYLES.values())) == 3
    piped = shown(monkeypatch, io.StringIO())
    plain = shown(monkeypatch, Terminal(), NO_COLOR="1")
    for text in (piped, plain):
        assert "\x1b" not in text
        assert "#Cat" in text
        assert not any(line.endswith(" ") for line in text.splitlines())
    assert max(map(len, plain.splitlines())) <= 80


def test_progress_tells_rate_and_time_left_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = Console(file=out, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr("hashlens.retriever.cli.progress_bar.Console", lambda stderr: terminal)
    with progress_bar() as progress:
        progress.stage("Answering", 100_000, done=40_000)
        for _ in range(3):
            progress.advance(20)
    last = [line for line in re.split(r"[\r\n]", out.getvalue()) if "Answering" in line][-1]
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    assert "40060/100000" in line
    assert re.search(r"[\d,.]+/s", line)
    assert "left" in line
    assert len(line) <= 80


def test_explain_puts_a_sentence_under_the_table(sample_index: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    caption = "coffee and breakfast in my favourite cafe"
    asked = ("recommend", "--caption", caption, "--index", sample_index)
    _, plain, _ = run(*asked)
    _, out, _ = run(*asked, "--explain")
    assert out.startswith(plain.rstrip("\n"))
    answer = Recommender.open(sample_index).recommend(caption=caption, explain=True)
    for tag in answer.tags:
        assert tag.reason.split(": ")[0] in out
    assert "because" not in plain.replace("because of", "")


@pytest.mark.parametrize("width", [60, 70, 80])
@pytest.mark.parametrize("letters", [5, 15, 20, 28, 35])
@pytest.mark.parametrize("tier", ["broad", "niche", "medium"])
def test_a_hashtag_is_whole_in_60_columns(width: int, letters: int, tier: str) -> None:
    name = "catsoflondonandeverywhereelseonearth"[:letters]
    tag = ScoredTag(name, name, 0.5, tier, EVIDENCE, "because your caption spells it " * 3)
    lines = drawn(answer_of(SHORT, tag), width)
    assert max(map(len, lines)) <= width
    assert sum(f"#{name} " in f"{line} " for line in lines) == 2
    assert sum(" 50%" in line for line in lines) == 1


def test_topics_that_nothing_tells_apart_are_not_shown() -> None:
    even = tuple((f"topic{number}", 0.1) for number in range(10))
    lines = drawn(Recommendation((SHORT,), even, ("seeds",)))
    assert not any("topic" in line for line in lines)
    assert drawn(Recommendation((SHORT,), (("a", 0.2), ("b", 0.1)), ("seeds",)))[0].startswith(
        "topics: a 20%, b 10%"
    )
