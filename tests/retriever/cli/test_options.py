"""Every option of every command, in each of its modes: it changes what happens, or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hashlens.cli import app
from hashlens.indexer.errors import HashlensError
from hashlens.indexer.pipeline.build import BuildReport
from hashlens.indexer.pipeline.compact import CompactReport
from hashlens.indexer.pipeline.forget import ForgetReport
from hashlens.indexer.pipeline.update import UpdateReport
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from tests.retriever.cli.test_cli import run
from tests.support import tiny_index as tiny

COMMANDS: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]
COUNTS = {"posts": 2}
BUILT = BuildReport(1, COUNTS, {}, None, 0, (), (), 1.0)
UPDATED = UpdateReport(2, 1, 0, 0, 0, (), 0, 0, 0, True, COUNTS, (), (), 1.0)
FORGOT = ForgetReport(2, 1, (), COUNTS, (), 1.0)
COMPACTED = CompactReport(2, 1, 0, 5, 4, 1.0)
JUDGED = {"queries": 1, "inputs": "caption", "metrics": {"P@1": 0.5}, "intervals": {"P@1": [0, 1]}}
SCORED = {"index": "i", "part": "all", "posts": 1, "systems": {}, "groups": {}, "kappa": None}
SCORED |= {"ungraded": 0, "graded_twice": 0, "disagreements": []}

# Where each command hands over to the library, and what comes back from there.
BORDERS: dict[str, Any] = {
    "hashlens.indexer.pipeline.build.build": BUILT,
    "hashlens.indexer.pipeline.update.update": UPDATED,
    "hashlens.indexer.pipeline.forget.forget": FORGOT,
    "hashlens.indexer.pipeline.compact.compact": COMPACTED,
    "hashlens.indexer.sample.gather_sample": Path("sample"),
    "hashlens.indexer.images.catalog.encoder_infos": [],
    "hashlens.evaluation.benchmark.scoring.evaluate_index": JUDGED,
    "hashlens.evaluation.benchmark.run.run_benchmark": {"tasks": []},
    "hashlens.evaluation.usefulness.study.measure_usefulness": SCORED,
    "hashlens.retriever.server.app.create_app": None,
    "hashlens.retriever.server.app.serve": None,
}
# Calls that work, by command: an option is tried beside each of them.
MODES: dict[str, list[str]] = {
    "build": ["posts.jsonl", "|", "posts.jsonl --from-starter", "|", "posts.jsonl --engine ray"],
    "update": ["posts.jsonl", "|", "--delete ids.txt", "|", "posts.jsonl --no-retrain"],
    "forget": ["--author a", "|", "--post p1"],
    "recommend": ["--caption walk", "|", "--caption walk --json", "|", "--caption walk --plain"],
    "batch": ["rows.jsonl --out answers.jsonl", "|", "rows.jsonl --out answers.csv"],
    "serve": [""],
    "inspect": [""],
    "config": [""],
    "evaluate": ["posts.jsonl"],
    "benchmark": ["posts.jsonl --out report --inputs caption", "|", "public --out report"],
    "usefulness": ["", "|", "--json", "|", "--no-baselines"],
    "verify": [""],
    "history": [""],
    "rollback": ["--to 2"],
    "compact": [""],
    "encoders": [""],
    "sample": ["folder"],
}
# A value that differs from the default, by option; flags need none.
VALUES = {
    "--encoder": "resnet50",
    "--weights": "weights.pth",
    "--topics": "topics.toml",
    "--vectors": "report-glove",
    "--pretrained": "words.txt",
    "--rule": "x",
    "--reader": "tables",
    "--column": "caption=text",
    "--keep": "1",
    "--workers": "1",
    "--engine": "ray",
    "--address": "auto",
    "--delete": "ids.txt",
    "--author": "ann",
    "--post": "p2",
    "--image": "cat.png",
    "--caption": "sleepy",
    "--seed": "7",
    "-k": "2",
    "--min-probability": "0.9",
    "--diversity": "0.9",
    "--generic": "0.9",
    "--mix": "niche:1",
    "--block": "dog",
    "--pin": "mine",
    "--set": "saved",
    "--platform": "threads",
    "--out": "other.jsonl",
    "--host": "::1",
    "--port": "9",
    "--api-key": "secret",
    "--inputs": "seeds:1",
    "--methods": "popularity",
    "--split": "post",
    "--limit": "9",
    "--to": "1",
    "--part": "test",
    "--posts": "posts.jsonl",
    "--ungraded": "to-grade.jsonl",
}
# What --json already holds, and defaults that only their opposite changes.
IMPLIED = {
    ("usefulness", "", "--baselines"),
    ("usefulness", "--json", "--baselines"),
    ("recommend", "--caption walk --json", "--explain"),
    ("build", "posts.jsonl", "--first-comment"),
    ("build", "posts.jsonl --engine ray", "--first-comment"),
}


def modes() -> Iterator[tuple[str, str, str]]:
    for name, command in COMMANDS.items():
        for mode in " ".join(MODES[name]).split(" | "):
            for parameter in command.params:
                flags = [*parameter.opts, *parameter.secondary_opts]
                for option in flags if parameter.is_flag_like else [max(flags, key=len)]:
                    if option.startswith("-") and option not in mode.split():
                        yield name, mode.strip(), option


def _tried() -> list[tuple[str, str, str]]:
    for command in COMMANDS.values():
        for parameter in command.params:
            parameter.is_flag_like = bool(getattr(parameter, "is_flag", False))
    skipped = {"--help", "--index", "--no-retrain"}
    return [each for each in modes() if each[2] not in skipped and each not in IMPLIED]


class Calls(list[str]):
    """What a command asked of the library."""

    def record(self, name: str, *values: Any, **more: Any) -> None:
        left = {"progress", "fit_ranker", "on_message"}
        self.append(repr((name, values, {k: v for k, v in more.items() if k not in left})))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of a command, whose library answers without work, but for queries."""
    asked = Calls()
    record = asked.record

    def border(name: str, result: Any) -> Callable[..., Any]:
        def called(*values: Any, **more: Any) -> Any:
            shown = [value for value in values if not callable(value)]
            record(name, *shown, **more)
            return result

        return called

    for name, result in BORDERS.items():
        monkeypatch.setattr(name, border(name, result))
    opened, answered = Recommender.open.__func__, Recommender.recommend_batch  # type: ignore[attr-defined]

    def open_recorded(cls: Any, index: Any = None, weights: Any = None, check: bool = False) -> Any:
        record("open", index, weights, check)
        return opened(cls, index, None, check=check)

    def answer_recorded(self: Any, queries: Any, selection: Selection, **more: Any) -> Any:
        record("recommend", list(queries), selection, **more)
        if queries[0].image:
            raise HashlensError("asked for a picture")
        return answered(self, queries, selection, **more)

    streamed = Recommender.stream

    def stream_recorded(self: Any, rows: Any, *, selection: Selection, **more: Any) -> Any:
        record("stream", selection, **more)
        return streamed(self, rows, selection=selection, **more)

    monkeypatch.setattr(Recommender, "stream", stream_recorded)
    monkeypatch.setattr(Recommender, "open", classmethod(open_recorded))
    monkeypatch.setattr(Recommender, "recommend_batch", answer_recorded)
    monkeypatch.setattr("pyperclip.copy", lambda text: record("copy", text))
    monkeypatch.setattr(
        "hashlens.indexer.distributed.ray_engine.ray_engine",
        lambda address: Entered(record, address),
    )
    monkeypatch.setattr(
        "hashlens.indexer.pipeline.bootstrap.copy_index", lambda *values: Entered(record, *values)
    )
    return asked


@pytest.fixture
def outcome(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, ...]]:
    """Runs a call on a small index: its status, what it printed, and what the library was asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HASHLENS_CONFIG", str(tmp_path / "own.toml"))
    tiny.published(tmp_path / "index")
    (tmp_path / "own.toml").write_text("[sets]\nsaved = ['saved']\n")
    for file in ("posts.jsonl", "rows.jsonl"):
        (tmp_path / file).write_text(json.dumps({"caption": "walk"}) + "\n")
    for file in ("weights.pth", "topics.toml", "words.txt", "ids.txt", "cat.png"):
        (tmp_path / file).write_text("x\n")
    (tmp_path / "public" / "harrison").mkdir(parents=True)
    (tmp_path / "public" / "harrison" / "posts.jsonl").write_text("{}\n")

    def found(*words: str) -> tuple[Any, ...]:
        calls.clear()
        for out in ("answers.jsonl", "answers.csv"):
            (tmp_path / out).unlink(missing_ok=True)
        return (*run(*words), tuple(calls), sorted(p.name for p in tmp_path.iterdir()))

    return found


class Entered:
    """A context that is entered with these values."""

    def __init__(self, record: Callable[..., None], *values: Any) -> None:
        record("entered", *values)

    def __enter__(self) -> str:
        return "engine"

    def __exit__(self, *_: object) -> None:
        pass


def test_plain_answers_compute_no_evidence(outcome: Callable[..., tuple[Any, ...]]) -> None:
    for more, has_evidence in (("--plain", False), ("--copy", True), ("--json", True)):
        found = outcome("recommend", "--caption", "walk", "--index", "index", more)
        assert found[0] == 0, found
        (asked,) = (call for call in found[3] if call.startswith("('recommend'"))
        assert f"'evidence': {has_evidence}" in asked


def test_the_modes_are_of_all_commands() -> None:
    assert set(MODES) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_used_or_refused_in_each_mode(
    name: str, outcome: Callable[..., tuple[Any, ...]]
) -> None:
    ignored = []
    for command, mode, option in _tried():
        if command != name:
            continue
        words = [name, *mode.split()]
        plain = outcome(*words)
        assert plain[0] == 0, plain
        value = [] if option not in VALUES else [VALUES[option]]
        with_option = outcome(*words, option, *value)
        is_refused = with_option[0] == 2 and option.lstrip("-") in with_option[2]
        if with_option == plain or (with_option[0] == 2 and not is_refused):
            ignored.append((mode, option, with_option))
    assert not ignored, ignored
