"""Answers to many rows: both forms, and runs that are stopped and go on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer import generation
from indexer.schema import Query
from retriever.batchfile import AnswersFile
from retriever.recommend import Recommender
from tests.test_cli import run

ROWS: list[dict[str, Any]] = [
    {"id": "a", "caption": "coffee and cake"},
    {"id": "b", "image": "missing.jpg"},
    {"id": "c\u2028d", "seeds": ["travel"]},
    {"id": 'with "quotes", and\ncommas', "caption": "a walk at sunset"},
    {"id": "e", "caption": "our new baby"},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.jsonl", ROWS)


def written(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().rstrip("\n").split("\n")]


def test_csv_and_jsonl_tell_the_same(sample_index: Path, rows: Path, tmp_path: Path) -> None:
    for name in ("answers.jsonl", "answers.CSV"):
        assert run("batch", rows, "--out", tmp_path / name, "--index", sample_index)[0] == 3
    answers = lines(tmp_path / "answers.jsonl")
    with (tmp_path / "answers.CSV").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["id", "hashtags", "probabilities", "error"]
    assert [row["id"] for row in table] == [row["id"] for row in ROWS]
    for row, answer in zip(table, answers, strict=True):
        assert row["error"] == answer.get("error", "")
        assert row["hashtags"].split() == [t["display"] for t in answer.get("tags", [])]
        assert [float(p) for p in row["probabilities"].split()] == [
            pytest.approx(t["probability"], rel=1e-4) for t in answer.get("tags", [])
        ]
    assert table[0]["hashtags"]
    assert "missing.jpg" in table[1]["error"]


@pytest.mark.parametrize("name", ["answers.txt", "answers", "answers.csv.gz"])
def test_another_ending_is_refused(
    sample_index: Path, rows: Path, tmp_path: Path, name: str
) -> None:
    code, _, err = run("batch", rows, "--out", tmp_path / name, "--index", sample_index)
    assert code == 2
    assert ".csv or .jsonl" in err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_folder_that_is_not_there_is_one_line(
    sample_index: Path, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no" / "answers.csv"
    code, _, err = run("batch", rows, "--out", out, "--index", sample_index)
    assert code == 1
    assert "cannot be written" in err


# ---- stopped, and going on


def stopped(
    monkeypatch: pytest.MonkeyPatch, after: int, *words: str | Path
) -> tuple[int, str, str]:
    """A run that is interrupted before it writes the row after so many."""
    write = AnswersFile.write

    def once(self: AnswersFile, row_id: str, answer: Any) -> None:
        if self.answered + self.failed == after:
            raise KeyboardInterrupt
        write(self, row_id, answer)

    with monkeypatch.context() as patch:
        patch.setattr(AnswersFile, "write", once)
        return run("batch", *words)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Captions and seeds that a recommender is asked about, as they are asked."""
    found: list[str] = []
    stream = Recommender.stream

    def seen(self: Recommender, rows: Iterator[tuple[str, Any]], **more: Any) -> Any:
        def noted() -> Iterator[tuple[str, Any]]:
            for row_id, query in rows:
                found.append(row_id)
                assert isinstance(query, Query) or "missing" in str(query)
                yield row_id, query

        return stream(self, noted(), **more)

    monkeypatch.setattr(Recommender, "stream", seen)
    return found


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(
    sample_index: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[str],
    ending: str,
    after: int,
) -> None:
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"answers.{ending}"
    run("batch", rows, "--out", whole, "--index", sample_index)
    words = (rows, "--out", out, "--index", sample_index)
    code, _, err = stopped(monkeypatch, after, *words)
    assert code == 130
    assert "--resume" in err
    assert not out.exists()
    asked.clear()
    code, _, err = run("batch", *words, "--resume")
    assert code == 3  # the row that failed may be among those taken over
    assert "4 answered, 1 failed" in err
    assert (f"{after} answers taken over" in err) == (after > 0)
    assert asked == [row["id"] for row in ROWS[after:]]
    assert out.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {rows.name, whole.name, out.name}


def test_a_line_cut_short_is_answered_again(
    sample_index: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.jsonl"
    words = (rows, "--out", out, "--index", sample_index)
    stopped(monkeypatch, 3, *words)
    partial = tmp_path / "answers.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-7])
    _, _, err = run("batch", *words, "--resume")
    assert "2 answers taken over" in err
    assert [answer["id"] for answer in lines(out)] == [row["id"] for row in ROWS]


def test_without_resume_all_rows_are_answered_anew(
    sample_index: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[str],
) -> None:
    words = (rows, "--out", tmp_path / "answers.csv", "--index", sample_index)
    stopped(monkeypatch, 3, *words)
    asked.clear()
    run("batch", *words)
    assert len(asked) == len(ROWS)
    asked.clear()
    run("batch", *words, "--resume")  # nothing was left
    assert len(asked) == len(ROWS)


@pytest.mark.parametrize("change", ["options", "rows", "fewer rows", "generation", "damage"])
def test_answers_of_another_kind_are_not_mixed(
    sample_index: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    words: tuple[str | Path, ...] = (rows, "--out", tmp_path / "a.jsonl", "--index", sample_index)
    stopped(monkeypatch, 2, *words)
    partial = tmp_path / "a.jsonl.partial"
    if change == "options":
        words = (*words, "--block", "coffee")
    elif change == "rows":
        written(rows, [ROWS[0], ROWS[4], *ROWS])
    elif change == "fewer rows":
        written(rows, ROWS[:1])
    elif change == "damage":
        head, *rest = partial.read_text().split("\n")
        partial.write_text("\n".join([head, "{}", *rest]))
    else:
        opened = generation.open_current(sample_index)
        head = partial.read_text()
        assert f'"generation": {opened.number}' in head
        partial.write_text(head.replace('"generation": 1', '"generation": 2', 1))
    before = partial.read_bytes()
    code, _, err = run("batch", *words, "--resume")
    assert code == 1
    assert "leave --resume out" in err
    assert partial.read_bytes() == before
