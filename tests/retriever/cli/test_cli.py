"""The command line, run as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashlens.cli import app

RUNNER = CliRunner()


def run(*words: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    result = RUNNER.invoke(app, [str(word) for word in words], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten good posts and three that cannot be used."""
    lines = [
        json.dumps({"id": f"p{n}", "author": f"a{n % 4}", "caption": f"walk {n} #dog #park"})
        for n in range(10)
    ]
    lines += ["{broken", json.dumps({"id": "p1", "caption": "again"}), json.dumps({"id": "none"})]
    path = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_build_reports_each_rejected_post_and_exits_with_3(posts: Path, tmp_path: Path) -> None:
    code, out, err = run("build", posts, "--index", tmp_path / "index", "--json")
    assert code == 3
    report = json.loads(out)
    assert report["counts"]["posts"] == 10
    assert [r["line"] for r in report["rejections"]] == [11, 12, 13]
    assert "posts.jsonl:11" in err


def test_recommend_prints_a_table_json_or_plain(sample_index: Path) -> None:
    asked = ("recommend", "--caption", "coffee for breakfast", "--index", sample_index)
    code, table, _ = run(*asked)
    assert code == 0
    assert "hashtag" in table
    code, out, _ = run(*asked, "--json")
    answer = json.loads(out)
    assert answer["format"] == 1
    assert set(answer["tags"][0]) == {
        *("tag", "display", "probability", "tier", "reason", "evidence")
    }
    assert answer["tags"][0]["reason"].startswith("because ")
    code, out, _ = run(*asked, "--plain")
    assert out.split() == [tag["display"] for tag in answer["tags"]]


def test_hashtags_in_the_caption_count_as_seeds(sample_index: Path) -> None:
    _, out, _ = run("recommend", "--caption", "mm #coffee", "--index", sample_index, "--json")
    answer = json.loads(out)
    assert answer["inputs"] == ["caption", "seeds"]
    assert "coffee" not in [tag["tag"] for tag in answer["tags"]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["recommend"], 2, "--caption"),
        (["recommend", "--seed", "not a tag"], 1, "not a tag"),
        (["recommend", "--image", "no-such.jpg"], 1, "no-such.jpg"),
        (["recommend", "--caption", "x", "--index", "no-such-index"], 4, "no-such-index"),
        (["recommend", "--caption", "x", "-k", "0"], 2, "-k"),
        (["recommend", "--caption", "x", "--min-probability", "2"], 2, "--min-probability"),
        (["recommend", "--caption", "x", "--platform", "myspace"], 2, "linkedin"),
        (["recommend", "--caption", "x", "--mix", "many"], 2, "broad:1,medium:2,niche:2"),
        (["recommend", "--caption", "x", "--block", "gone.txt"], 1, "gone.txt"),
        (["recommend", "--caption", "x", "--pin", "a", "--pin", "b", "-k", "1"], 2, "-k"),
        (["inspect", "--index", "no-such-index"], 4, "no-such-index"),
        (["build", "no-such.jsonl"], 1, "no-such.jsonl"),
        (["build", "no-such.jsonl", "--column", "caption"], 2, "caption=text"),
        (["build", "no-such.jsonl", "--rule", "none"], 2, "none"),
        (["build", "no-such.jsonl", "--reader", "none"], 2, "none"),
        (["build", "no-such.jsonl", "--encoder", "none"], 2, "none"),
        (["build", "no-such.jsonl", "--vectors", "none"], 2, "none"),
        (["batch", "no-such.jsonl", "--out", "x.txt"], 2, ".txt"),
        (["evaluate", "no-such.jsonl", "--inputs", "none"], 2, "none"),
        (["benchmark", "no-such.jsonl", "--out", "x", "--split", "none"], 2, "none"),
        (["forget"], 2, "neither or both"),
        (["forget", "--author", "a", "--post", "b"], 2, "neither or both"),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str],
    code: int,
    said: str,
    sample_index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "recommend" and "--index" not in words:
        words = [*words, "--index", str(sample_index)]
    found, _, err = run(*words)
    assert found == code
    assert said in err
    if code != 2:
        assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "index" / "CURRENT").exists()


def asked(index: Path, *words: str | Path) -> dict[str, Any]:
    """The answer to one caption, with these options."""
    code, out, err = run("recommend", "--caption", "coffee", "--index", index, "--json", *words)
    assert code == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer | {"keys": [tag["tag"] for tag in answer["tags"]], "said": err}


def test_what_is_shown_can_be_chosen(sample_index: Path, tmp_path: Path) -> None:
    first, second, third, *_ = asked(sample_index)["keys"]
    unwanted = tmp_path / "unwanted.txt"
    unwanted.write_text(f"#{first.upper()} // never again\n")
    found = asked(
        sample_index, "--block", unwanted, "--pin", "#Neverseen", "--pin", third, "-k", "3"
    )
    assert found["keys"] == ["neverseen", third, second]
    assert found["tags"][0]["probability"] == 0
    assert found["tags"][0]["evidence"] == [{"channel": "pinned", "share": 1.0, "posts": []}]
    found = asked(sample_index, "--mix", "niche:4", "--diversity", "0.5", "--generic", "1")
    assert [tag["tier"] for tag in found["tags"]].count("niche") >= 4


def test_a_platform_caps_what_is_shown_and_says_so(sample_index: Path) -> None:
    assert len(asked(sample_index)["keys"]) == 5
    assert len(asked(sample_index, "--platform", "x")["keys"]) == 2
    found = asked(sample_index, "--platform", "threads", "-k", "4")
    assert len(found["keys"]) == 1
    (note,) = found["notes"]
    assert "threads takes 1 a post since 2023-12" in note
    assert note in found["said"]


def test_an_empty_answer_is_an_answer(sample_index: Path, tmp_path: Path) -> None:
    found = asked(sample_index, "--min-probability", "1", "--block", "coffee")
    assert found["keys"] == []
    assert "the likeliest has" in found["notes"][0]
    rows, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    rows.write_text(json.dumps({"id": "a", "caption": "coffee"}) + "\n")
    options = ("--min-probability", "1", "--block", "coffee", "--platform", "threads", "-k", "2")
    code, _, err = run("batch", rows, "--out", out, "--index", sample_index, *options)
    assert code == 0
    assert "threads takes 1" in err
    (answer,) = map(json.loads, out.read_text().splitlines())
    assert answer["tags"] == []
    assert answer["notes"] == found["notes"]


def test_batch_takes_the_same_options(sample_index: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    rows.write_text(json.dumps({"caption": "coffee"}) + "\n")
    options = ("--pin", "ours", "--block", "coffee", "--platform", "x")
    run("batch", rows, "--out", out, "--index", sample_index, *options)
    (answer,) = map(json.loads, out.read_text().splitlines())
    assert [tag["tag"] for tag in answer["tags"]] == asked(sample_index, *options)["keys"]
    assert answer["tags"][0] == {"tag": "ours", "display": "#ours", "probability": 0.0}


def test_batch_answers_in_order_and_goes_on_after_a_failure(
    sample_index: Path, tmp_path: Path
) -> None:
    rows = [
        {"id": "a", "caption": "coffee and cake"},
        {"id": "b", "image": "missing.jpg"},
        {"id": "c", "seeds": ["travel"]},
        {"id": "d", "caption": "coffee and cake #sunset", "hashtags": ["sunset"]},
    ]
    asked, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = run("batch", asked, "--out", out, "--index", sample_index)
    assert code == 3
    assert "1 failed" in err
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [answer["id"] for answer in answers] == list("abcd")
    assert "missing.jpg" in answers[1]["error"]
    assert "tags" not in answers[1]
    said = ("--caption", "coffee and cake #sunset", "--index", sample_index, "--json")
    alone = json.loads(run("recommend", *said)[1])
    tags = [tag["tag"] for tag in answers[3]["tags"]]
    assert tags == [tag["tag"] for tag in alone["tags"]]
    assert tags != [tag["tag"] for tag in answers[0]["tags"]]
    assert set(answers[0]) == {"id", "tags", "topics"}


def test_batch_answers_a_folder_of_pictures(
    sample_index: Path, sample_folder: Path, tmp_path: Path
) -> None:
    pictures = next(sample_folder.rglob("cat.png")).parent
    out = tmp_path / "answers.jsonl"
    code, _, _ = run("batch", pictures, "--out", out, "--index", sample_index)
    assert code == 0
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert ids == sorted(p.name for p in pictures.iterdir() if p.suffix in {".png", ".jpg"})


def test_inspect_and_encoders_tell_the_same_to_people_and_programs(sample_index: Path) -> None:
    _, out, _ = run("inspect", "--index", sample_index, "--json")
    summary = json.loads(out)
    assert summary["encoder"] == "efficientnet-lite0"
    assert len(summary["topics"]) == 10
    _, text, _ = run("inspect", "--index", sample_index)
    assert "efficientnet-lite0" in text
    _, out, _ = run("encoders", "--json")
    assert {e["name"] for e in json.loads(out)["encoders"]} >= {"resnet50", "efficientnet-lite0"}


def test_a_caption_query_never_loads_heavy_libraries(sample_index: Path) -> None:
    program = (
        "import sys; from hashlens.cli import app\n"
        "try: app(['recommend', '--caption', 'dog in the park', '--index', sys.argv[1]])\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'torchvision', 'gensim', 'sklearn', 'scipy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(sample_index)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("count", "end", "code"), [(10_000, "\n", 0), (10_001, "", 1)])
def test_a_caption_from_stdin_is_bounded(
    sample_index: Path, count: int, end: str, code: int
) -> None:
    words = ["recommend", "--caption", "-", "--plain", "--index", str(sample_index)]
    result = RUNNER.invoke(app, words, input="walk " * (count // 5) + "x" * (count % 5) + end)
    assert result.exit_code == code
    assert ("found more than 10,000 characters" in result.stderr) == bool(code)
