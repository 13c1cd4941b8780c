"""The command from end to end, and the file of answers to grade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hashlens.cli import app
from hashlens.evaluation.usefulness.baselines import LONGEST_WORDS, answer_longest_words
from hashlens.evaluation.usefulness.figures import AnsweredTag
from hashlens.evaluation.usefulness.matching import fold_hashtag
from hashlens.evaluation.usefulness.panel import is_test, panel_default, read_panel
from hashlens.evaluation.usefulness.study import PRODUCT, list_ungraded, measure_usefulness
from hashlens.indexer.errors import InputError, OutputError
from hashlens.retriever.index.default import bundled_index
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.evaluation.usefulness.panels import write_lines, write_panel

SEEDS = {"id": "p2", "kind": "seeds", "caption": "", "seeds": ["coffee", "barista"]}


@pytest.fixture
def panel_folder(tmp_path: Path) -> Path:
    return write_panel(tmp_path / "panel", {}, SEEDS)


def test_the_product_is_asked_by_its_default_options(panel_folder: Path) -> None:
    found = measure_usefulness(read_panel(panel_folder), bundled_index(), baselines=False)
    assert list(found["systems"]) == [PRODUCT]
    answer = Recommender.open(bundled_index()).recommend(caption="Lemon cake for my sister")
    graded = {"lemoncake": 2, "baking": 2, "sister": 1, "lemon": 0, "wedding": -1}
    grades = [graded.get(fold_hashtag(tag.tag)) for tag in answer.tags]
    by_kind = found["groups"]["kind"]["caption"]
    assert by_kind["mean_answered"] == len(grades) > 0
    assert by_kind["ungraded"] == pytest.approx(grades.count(None) / len(grades))
    assert by_kind["useful"] == pytest.approx(sum((g or 0) > 0 for g in grades) / len(grades))


def test_each_baseline_answers_the_posts_that_have_its_input(
    panel_folder: Path, sample_folder: Path
) -> None:
    panel = read_panel(panel_folder)
    found = measure_usefulness(panel, bundled_index(), sources=[sample_folder])["systems"]
    assert {name: row["posts"] for name, row in found.items()} == {
        PRODUCT: 2,
        LONGEST_WORDS: 1,
        "popularity": 2,
        "topic-top-five": 2,
        "word-counts": 1,
        "cooccurrence": 1,
        "tfidf-knn": 1,
    }
    assert found["popularity"]["mean_answered"] == 5
    assert found["cooccurrence"]["mean_answered"] > 0
    assert found["word-counts"]["mean_answered"] > 0


def test_the_longest_words_come_first_without_seeds() -> None:
    query = Query(caption="one three fifteen seven eleven three", seeds=("eleven",))
    assert answer_longest_words(query) == ["fifteen", "three", "seven", "one"]


def test_ungraded_answers_are_merged_and_do_not_tell_the_system(panel_folder: Path) -> None:
    panel = read_panel(panel_folder)
    one = {"p1": [AnsweredTag("cakes"), AnsweredTag("lemon")], "p2": [AnsweredTag("latte")]}
    other = {"p1": [AnsweredTag("yum"), AnsweredTag("cake")], "p2": []}
    found = list_ungraded(panel.posts, [one, other], panel.grades)
    assert sorted((i, fold_hashtag(tag)) for i, tag in found) == [
        ("p1", "cake"),
        ("p1", "yum"),
        ("p2", "latte"),
    ]
    assert [post_id for post_id, _ in found] == ["p1", "p1", "p2"]
    texts = {"p1": [AnsweredTag(word) for word in ("w", "x", "y", "z")]}
    back = {"p1": texts["p1"][::-1]}
    assert list_ungraded(panel.posts, [texts], {}) == list_ungraded(panel.posts, [back], {})


def test_answers_are_graded_by_filling_in_the_file(panel_folder: Path, tmp_path: Path) -> None:
    to_grade = tmp_path / "to-grade.jsonl"
    arguments = ["usefulness", str(panel_folder), "--index", str(bundled_index()), "--json"]
    before = CliRunner().invoke(app, [*arguments, "--ungraded", str(to_grade)])
    assert before.exit_code == 0
    rows = [json.loads(line) for line in to_grade.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == json.loads(before.stdout)["ungraded"] > 5
    assert rows[0]["post"]["caption"] == "Lemon cake for my sister"
    assert {row["grade"] for row in rows} == {None}
    write_lines(panel_folder / "grades.jsonl", [row | {"grade": 1} for row in rows])
    after = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert after["ungraded"] == 0
    assert all(row["ungraded"] == 0 for row in after["systems"].values())


def test_the_table_shows_the_figures_that_json_has(panel_folder: Path) -> None:
    arguments = ["usefulness", str(panel_folder), "--index", str(bundled_index()), "--no-baselines"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    row = next(line for line in shown.stdout.splitlines() if line.strip().startswith(PRODUCT))
    figures = found["systems"][PRODUCT]
    markdown = CliRunner().invoke(app, [*arguments, "--markdown"]).stdout
    assert f"| {PRODUCT} | 2 | {figures['would_use']:.3f} [" in markdown
    assert f"{figures['would_use']:.3f}" in row
    assert f"{figures['mean_answered']:.2f}" in row


def test_wrong_calls_are_refused_in_one_line(panel_folder: Path, tmp_path: Path) -> None:
    panel = read_panel(panel_folder)
    with pytest.raises(OutputError, match="cannot be written"):
        measure_usefulness(panel, bundled_index(), ungraded=tmp_path / "none" / "file")
    (panel_folder / "posts.jsonl").write_text("", encoding="utf-8")
    refused = CliRunner().invoke(app, ["usefulness", str(panel_folder)])
    assert refused.exit_code == 1
    assert "found no posts" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_part_without_posts_is_refused(tmp_path: Path) -> None:
    panel = read_panel(write_panel(tmp_path, {}))
    empty = "steering" if is_test("p1") else "test"
    with pytest.raises(InputError, match=f"found no posts in part {empty}"):
        measure_usefulness(panel, bundled_index(), part=empty)


def test_every_post_of_the_panel_that_ships_is_answered() -> None:
    posts = read_panel(panel_default()).posts
    answers = Recommender.open(bundled_index()).recommend_many([post.query for post in posts])
    assert not [answer for answer in answers if isinstance(answer, Exception)]
