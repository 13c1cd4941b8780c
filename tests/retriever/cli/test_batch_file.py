"""Answers to many rows: both forms, and runs that are stopped and go on."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hashlens.indexer.generations import generation
from hashlens.indexer.text.escaping import csv_cell
from hashlens.retriever.cli.batch_file import About, AnswersFile, answers_file
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.retriever.cli.test_cli import run

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
    monkeypatch: pytest.MonkeyPatch, after: int, *words: str | Path, stdin: bytes = b""
) -> tuple[int, str, str]:
    """A run that is interrupted before it writes the row after so many."""
    write = AnswersFile.write

    def once(self: AnswersFile, row_id: str, answer: Any) -> None:
        if self.answered + self.failed == after:
            raise KeyboardInterrupt
        write(self, row_id, answer)

    with monkeypatch.context() as patch:
        patch.setattr(AnswersFile, "write", once)
        return run("batch", *words, stdin=stdin)


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


@pytest.mark.parametrize("change", ["caption", "seeds", "picture", "now a picture", "now an error"])
def test_rows_that_changed_under_their_ids_are_not_taken_over(
    sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (40, 40), "green").save(picture)
    row: dict[str, Any] = {"id": "a", "caption": "coffee", "seeds": ["cake"], "image": "a.png"}
    rows = written(tmp_path / "rows.jsonl", [row, ROWS[4]])
    words = (rows, "--out", tmp_path / "a.jsonl", "--index", sample_index)
    stopped(monkeypatch, 1, *words)
    if change == "picture":
        Image.new("RGB", (400, 300), "red").save(picture)
    else:
        other: dict[str, dict[str, Any]] = {
            "caption": {"caption": "tea"},
            "seeds": {"seeds": ["tea"]},
            "now a picture": {"image": None},
            "now an error": {"image": "gone.png"},
        }
        written(rows, [row | other[change], ROWS[4]])
    code, _, err = run("batch", *words, "--resume")
    assert code == 1
    assert err.strip().splitlines()[1:] == [
        "hashlens: --resume: found other content in row 1 ('a'), expected it as before: "
        "the rows have changed; leave --resume out to answer them all"
    ]


TAMPERED = [
    "[]",
    '"text"',
    "{}",
    '{"asked": "", "id": 3, "error": ""}',
    '{"asked": "", "id": "a", "error": {}}',
    '{"asked": "", "id": "a"}',
    '{"asked": "", "id": "a", "tags": {}}',
    '{"asked": "", "id": "a", "tags": [1]}',
    '{"asked": "", "id": "a", "tags": [{"display": "#a"}]}',
    '{"asked": "", "id": "a", "tags": [{"display": "#a", "probability": "1"}]}',
    '{"asked": "", "id": "a", "tags": [{"display": "#a", "probability": 1e999}]}',
    '{"asked": "", "id": "a", "tags": [{"display": 1, "probability": 1}]}',
    "[" * 100_000,
    "\ufffe not JSON",
    '{"asked": "", "id": "a", "tags": [{"display": "#a", "probability": 1' + "0" * 5_000 + "}]}",
]


@pytest.mark.parametrize("line", TAMPERED, ids=range(len(TAMPERED)))
def test_a_tampered_partial_file_is_one_line(
    sample_index: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    words = (rows, "--out", tmp_path / "a.csv", "--index", sample_index)
    stopped(monkeypatch, 1, *words)
    partial = tmp_path / "a.csv.partial"
    head = partial.read_text().split("\n")[0]
    partial.write_bytes(f"{head}\n{line}\n".encode())
    code, _, err = run("batch", *words, "--resume")
    assert code == 1
    (said,) = err.strip().splitlines()
    assert "a.csv.partial: cannot be read" in said
    assert "leave --resume out" in said


def test_bytes_that_are_no_text_in_a_partial_file_are_one_line(
    sample_index: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (rows, "--out", tmp_path / "a.csv", "--index", sample_index)
    stopped(monkeypatch, 1, *words)
    partial = tmp_path / "a.csv.partial"
    partial.write_bytes(partial.read_bytes() + b'{"id": "\xff\xfe"}\n')
    code, _, err = run("batch", *words, "--resume")
    assert (code, len(err.strip().splitlines())) == (1, 1)


# ---- one run at a time, and nothing left by a refused one


def test_two_runs_into_one_file_are_refused(sample_index: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    about = About(1, "", "")
    words = ("batch", rows, "--out", out, "--index", sample_index)
    with ExitStack() as first:
        first.enter_context(answers_file(out, about, resume=False))
        for more in ((), ("--resume",)):
            code, _, err = run(*words, *more)
            assert code == 5
            assert err.strip().splitlines() == [
                f"hashlens: {out}.partial: another run is writing its answers there; wait until "
                "it ends, or name another file with --out"
            ]
    assert out.read_bytes() == b""  # the first run's, of no rows
    assert run(*words)[0] == 3
    assert [answer["id"] for answer in lines(out)] == [row["id"] for row in ROWS]


def test_two_processes_into_one_file_never_mix(sample_index: Path, tmp_path: Path) -> None:
    rows = written(tmp_path / "rows.jsonl", [{"id": f"r{n}", "caption": "cake"} for n in range(30)])
    out = tmp_path / "a.jsonl"
    words = ["batch", rows, "--out", out, "--index", sample_index]
    program = "import sys; from hashlens.cli import app; app(sys.argv[1:])"
    call = [sys.executable, "-c", program, *map(str, words)]
    runs = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(each.communicate()[1], each.returncode) for each in runs]
    assert {code for _, code in ends} <= {0, 5}
    assert [code for _, code in ends].count(0) >= 1
    assert not any("Traceback" in said for said, _ in ends)
    assert [answer["id"] for answer in lines(out)] == [f"r{n}" for n in range(30)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "rows.jsonl"]


@pytest.mark.parametrize(
    ("source", "code"),
    [("missing.jsonl", 1), ("wrong.csv", 1), ("empty", 1)],
)
def test_a_refused_call_leaves_nothing(
    sample_index: Path, tmp_path: Path, source: str, code: int
) -> None:
    (tmp_path / "wrong.csv").write_text("colour\nred\n")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "a.jsonl"
    found, _, err = run("batch", tmp_path / source, "--out", out, "--index", sample_index)
    assert found == code
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refused_call_keeps_what_an_earlier_run_left(
    sample_index: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--out", tmp_path / "a.jsonl", "--index", sample_index)
    stopped(monkeypatch, 3, rows, *words)
    partial = tmp_path / "a.jsonl.partial"
    before = partial.read_bytes()
    assert run("batch", tmp_path / "misspelt.jsonl", *words)[0] == 1
    assert partial.read_bytes() == before
    assert "3 answers taken over" in run("batch", rows, *words, "--resume")[2]


@pytest.mark.parametrize("name", ["a.jsonl.partial", "a.jsonl.whole"])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_answers_are_never_written_through_a_link(
    sample_index: Path, rows: Path, tmp_path: Path, name: str, kind: str
) -> None:
    theirs, place = tmp_path / "theirs.txt", tmp_path / name
    theirs.write_text("precious")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(theirs if kind == "link" else tmp_path / "nowhere")
    out = tmp_path / "a.jsonl"
    code, _, err = run("batch", rows, "--out", out, "--index", sample_index)
    if name.endswith(".partial") or kind == "folder":
        assert code == 1
        assert err.strip().count("\n") == 0
        assert not out.exists()
    else:
        assert code == 3
        assert len(lines(out)) == len(ROWS)
    assert theirs.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_in_the_place_of_the_answers_is_refused_at_once(
    sample_index: Path, rows: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").mkdir()
    code, _, err = run("batch", rows, "--out", tmp_path / "a.csv", "--index", sample_index)
    assert code == 2
    assert "found a folder, expected a file to write" in err


# ---- rows of all kinds


def answered(index: Path, tmp_path: Path, source: Path) -> list[dict[str, Any]]:
    out = tmp_path / "answered.jsonl"
    run("batch", source, "--out", out, "--index", index)
    return lines(out)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_one_bad_row_stops_no_batch(sample_index: Path, tmp_path: Path, ending: str) -> None:
    bad: list[Any] = [
        {"id": "\ud800z", "caption": "snow"},
        {"id": "b", "caption": "snow \udfff"},
        {"id": "c", "image": "\ud800.png"},
        {"id": "d", "seeds": ["\ud800", "#"]},
        {"id": ["e"], "caption": "snow"},
        {"id": True, "caption": "snow"},
        {"id": {}, "caption": "snow"},
        {"id": "h", "caption": 3},
        {"id": "i", "seeds": {"a": 1}},
        {"id": "j", "image": {"a": 1}},
        {"id": "k", "image": "x" * 5_000},
        {"id": "l", "image": "a\0b"},
        {"id": "m", "caption": "snow " * 2_001},
        {"id": "n", "caption": "#" + " #".join(f"t{n}" for n in range(101))},
        {"id": "o"},
        [],
        {"id": "last", "caption": "coffee and cake"},
    ]
    rows, out = tmp_path / "rows.jsonl", tmp_path / f"a.{ending}"
    rows.write_text("{broken\n" + "".join(json.dumps(row) + "\n" for row in bad))
    code, _, err = run("batch", rows, "--out", out, "--index", sample_index)
    assert code == 3
    wanted = ["1", "\ufffdz", *"bcd", "6", "7", "8", *"hijklmno", "17", "last"]
    good = ["\ufffdz", "b", "last"]
    if ending == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
    else:
        table = lines(out)
    assert [row["id"] for row in table] == wanted
    assert [row["id"] for row in table if not row.get("error")] == good
    assert f"3 answered, {len(wanted) - 3} failed" in err


def test_rows_without_an_id_have_their_number_and_ids_never_collide(
    sample_index: Path, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [
        {"caption": "cake"},
        {"id": None, "caption": "cake"},
        {"id": "", "caption": "cake"},
        {"id": 1.0, "caption": "cake"},
        {"id": "3", "caption": "cake"},
        {"id": "rows.jsonl:3", "caption": "cake"},
        {"id": 7, "caption": "cake"},
        {"id": 7.5, "caption": "cake"},
    ]
    found = answered(sample_index, tmp_path, written(tmp_path / "rows.jsonl", rows))
    ids = [row["id"] for row in found]
    assert ids == ["rows.jsonl:1", "2", "rows.jsonl:3#", "1", "3", "rows.jsonl:3", "7", "8"]


def test_rows_of_several_tables_have_ids_of_their_own(sample_index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        written(folder / name / "posts.jsonl", [{"caption": "cake"}, {"caption": "tea"}])
    ids = [row["id"] for row in answered(sample_index, tmp_path, folder)]
    assert ids == [f"{name}/posts.jsonl:{n}" for name in ("one", "two") for n in (1, 2)]


def test_hashtags_of_a_caption_are_seeds_as_in_recommend(
    sample_index: Path, tmp_path: Path
) -> None:
    caption = "a walk #sunset #Travel"
    rows: list[dict[str, Any]] = [
        {"id": "a", "caption": caption},
        {"id": "b", "caption": caption, "hashtags": ["cat"]},
    ]
    found = answered(sample_index, tmp_path, written(tmp_path / "rows.jsonl", rows))
    recommended = Recommender.open(sample_index).recommend(caption=caption)
    tags = [tag.tag for tag in recommended.tags]
    assert not {"sunset", "travel"} & set(tags)
    assert [[tag["tag"] for tag in row["tags"]] for row in found] == [tags, tags]


def test_a_row_may_name_its_picture_by_an_absolute_path(sample_index: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "a.png"
    Image.new("RGB", (60, 40), "green").save(picture)
    os.mkfifo(tmp_path / "pipe.png")
    names = [str(picture), "../pictures/a.png", "/nowhere/b.png", str(tmp_path / "pipe.png"), "/"]
    (tmp_path / "rows").mkdir()
    rows = written(
        tmp_path / "rows" / "rows.jsonl",
        [{"id": str(n), "image": name} for n, name in enumerate([*names, "/dev/zero"])],
    )
    found = answered(sample_index, tmp_path, rows)
    assert found[0]["tags"]
    assert found[1]["tags"] == found[0]["tags"]
    assert found[2]["error"].startswith("image '/nowhere/b.png': found no such picture")
    assert ["found no such picture" in row.get("error", "") for row in found] == [False] * 2 + [
        True
    ] * 4


# ---- stdin and stdout


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_rows_come_from_stdin_and_answers_go_to_stdout(
    sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    Image.new("RGB", (60, 40), "green").save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    rows = [{"id": "a", "caption": "coffee"}, {"id": "b", "image": "a.png"}, {"id": "c\x9b"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if form == "csv":
        text = "id,caption,image\na,coffee,\nb,,a.png\nc\x9b,,\n"
    program = "import sys; from hashlens.cli import app; app(sys.argv[1:])"
    call = [sys.executable, "-c", program, "batch", "-", "--out", "-", "--index"]
    call.append(str(sample_index))
    done = subprocess.run(call, input=text.encode(), capture_output=True)
    assert done.returncode == 3, done.stderr
    assert b"stdout: 2 answered, 1 failed" in done.stderr
    assert done.stdout.isascii()
    found = list(map(json.loads, done.stdout.decode().splitlines()))
    assert [row["id"] for row in found] == ["a", "b", "c\x9b"]
    assert [bool(row.get("tags")) for row in found] == [True, True, False]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_stdin_into_a_file_can_be_resumed(
    sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    words = ("-", "--out", tmp_path / "a.jsonl", "--index", sample_index)
    assert stopped(monkeypatch, 2, *words, stdin=content)[0] == 130
    _, _, err = run("batch", *words, "--resume", stdin=content)
    assert "2 answers taken over" in err
    assert [answer["id"] for answer in lines(tmp_path / "a.jsonl")] == [row["id"] for row in ROWS]


def test_stdin_that_is_closed_is_one_line(sample_index: Path, tmp_path: Path) -> None:
    program = "import sys; from hashlens.cli import app; app(sys.argv[1:])"
    words = ["batch", "-", "--out", "-", "--index", str(sample_index)]
    call = f"exec {sys.executable} -c '{program}' {' '.join(words)} <&-"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "hashlens: -: found stdin closed, expected rows there: JSON, CSV or Parquet"
    ]


def test_answers_on_stdout_cannot_be_resumed(sample_index: Path, rows: Path) -> None:
    code, out, err = run("batch", rows, "--out", "-", "--resume", "--index", sample_index)
    assert (code, out) == (2, "")
    assert "found --resume with --out -" in err


# ---- spreadsheets


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-12", "-12"),
        ("+4.5", "+4.5"),
        ("a=b", "a=b"),
        ("", ""),
        ("#snow", "#snow"),
    ],
)
def test_a_cell_that_begins_a_formula_is_quoted(cell: str, written: str) -> None:
    assert csv_cell(cell) == written


def test_no_cell_of_the_table_begins_a_formula(sample_index: Path, tmp_path: Path) -> None:
    ids = ["=1+1", "@a", "+x", "-y", "-5"]
    rows = written(tmp_path / "rows.jsonl", [{"id": i, "caption": "cake"} for i in ids])
    run("batch", rows, "--out", tmp_path / "a.csv", "--index", sample_index)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        found = [row["id"] for row in csv.DictReader(file)]
    assert found == ["'=1+1", "'@a", "'+x", "'-y", "-5"]
