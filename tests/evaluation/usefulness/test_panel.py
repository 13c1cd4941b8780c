"""A panel is read whole, or refused in one line that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hashlens.evaluation.usefulness.matching import fold_hashtag
from hashlens.evaluation.usefulness.panel import Panel, is_test, panel_default, read_panel
from hashlens.indexer.errors import InputError
from tests.evaluation.usefulness.panels import write_panel

BAD_POSTS: list[tuple[dict[str, Any], str]] = [
    ({"good": ["lemons"]}, "posts.jsonl:1: found #lemon in two lists, expected it in one"),
    ({"fair": ["BAKING"]}, "found #BAKING in two lists"),
    ({"kind": "photo", "caption": "", "image": "no.jpg"}, "found no picture no.jpg, expected"),
    ({"kind": "photo", "caption": "", "image": "../x.jpg"}, "found no picture ../x.jpg"),
    ({"kind": "seeds"}, "found a field 'caption', kind seeds expects none"),
    ({"kind": "caption+seeds"}, "found no field 'seeds', kind caption.seeds expects one"),
    ({"kind": "film"}, "found kind 'film', expected one of caption, seeds, photo"),
    ({"id": 7}, "found id 7, expected a text"),
    ({"good": "cake"}, "found good 'cake', expected a list of hashtags"),
    ({"likes": 7}, "found field 'likes', expected those of FORMAT.md"),
]
BAD_GRADES: list[tuple[dict[str, Any], str]] = [
    ({"id": "p1", "tag": "cake", "grade": 3}, "grades.jsonl:1: found grade 3, expected a whole"),
    ({"id": "p1", "tag": "cake", "grade": -2}, "found grade -2"),
    ({"id": "p1", "tag": "cake", "grade": None}, "found grade null"),
    ({"id": "p1", "tag": "cake", "grade": True}, "found grade true"),
    ({"id": "p9", "tag": "cake", "grade": 1}, "found id 'p9', expected the id of a post"),
    ({"id": "p1", "grade": 1}, "found tag None, expected a text"),
]


@pytest.mark.parametrize(("change", "message"), BAD_POSTS)
def test_a_wrong_post_is_refused_in_one_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_panel(write_panel(tmp_path, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("row", "message"), BAD_GRADES)
def test_a_wrong_grade_is_refused_in_one_line(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_panel(write_panel(tmp_path, {}, grades=[row]))


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"posts\.jsonl:2: found id 'p1' twice"):
        read_panel(write_panel(tmp_path, {}, {}))


@pytest.mark.parametrize("line", [b"not json", b"[1]", b'{"id":' + b"9" * 5000 + b"}", b"\xff"])
def test_a_line_that_is_no_json_object_is_refused(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_bytes(line + b"\n")
    with pytest.raises(InputError, match=r"posts\.jsonl"):
        read_panel(tmp_path)


def test_a_missing_or_empty_file_of_posts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_panel(tmp_path)
    (tmp_path / "posts.jsonl").write_text("\n")
    with pytest.raises(InputError, match="found no posts"):
        read_panel(tmp_path)


def test_lists_and_grades_are_one_table_and_the_lower_of_two_grades_counts(tmp_path: Path) -> None:
    rows = [
        {"id": "p1", "tag": "Cakes", "grade": 2},
        {"id": "p1", "tag": "bakings", "grade": 1},  # a list says 2
        {"id": "p1", "tag": "cake", "grade": 0},
        {"id": "p1", "tag": "sister", "grade": 1},  # as the list says
    ]
    panel = read_panel(write_panel(tmp_path, {}, grades=rows))
    said = {tag: panel.grades["p1", fold_hashtag(tag)] for tag in ("cake", "baking", "sister")}
    assert said == {"cake": 0, "baking": 1, "sister": 1}
    assert [panel.grades["p1", tag] for tag in ("lemoncake", "lemon", "wedding")] == [2, 0, -1]
    assert [str(each) for each in panel.disagreements] == [
        "post p1: #bakings is graded 2 and 1",
        "post p1: #cake is graded 2 and 0",
    ]


def test_second_gradings_are_paired_and_change_no_grade(tmp_path: Path) -> None:
    second = [
        {"id": "p1", "tag": "sisters", "grade": 2},
        {"id": "p1", "tag": "unknown", "grade": 2},
    ]
    panel = read_panel(write_panel(tmp_path, {}, second=second))
    assert panel.grading_pairs == [(1, 2)]
    assert panel.grades["p1", "sister"] == 1
    assert not panel.disagreements


@pytest.fixture(scope="module")
def shipped() -> Panel:
    return read_panel(panel_default())


def test_the_test_part_is_a_third_by_hash_of_the_id(shipped: Panel) -> None:
    steering, test = shipped.part("steering"), shipped.part("test")
    assert [*steering, *test] == sorted(shipped.posts, key=lambda post: is_test(post.post_id))
    assert 0.28 < len(test) / len(shipped.posts) < 0.38
    # These must never change sides: figures of the test part would no longer be untouched.
    sides = [is_test(post_id) for post_id in ("o001", "o002", "o003", "e001", "l001")]
    assert sides == [False, True, True, False, False]


def test_the_panel_that_ships_has_the_posts_that_were_promised(shipped: Panel) -> None:
    assert len(shipped.posts) >= 400
    assert sum(post.image is not None for post in shipped.posts) >= 40
    languages = [post.lang for post in shipped.posts]
    assert sum(languages.count(lang) >= 10 for lang in set(languages)) >= 15
    assert not shipped.disagreements


@pytest.mark.parametrize(
    ("name", "least", "most"), [("good", 8, 16), ("fair", 4, 10), ("bad", 3, 8)]
)
def test_each_post_that_ships_has_as_many_hashtags_as_its_form_asks_for(
    name: str, least: int, most: int
) -> None:
    text = (panel_default() / "posts.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["id"] for row in rows if not least <= len(row[name]) <= most] == []


def test_every_picture_that_ships_has_a_source_and_a_post(shipped: Panel) -> None:
    folder = panel_default() / "pictures"
    pictures = {path.name for path in folder.iterdir()} - {"SOURCES.md"}
    lines = (folder / "SOURCES.md").read_text(encoding="utf-8").splitlines()
    assert {line.split("|")[1].strip() for line in lines if ".jpg |" in line} == pictures
    assert {post.image.name for post in shipped.posts if post.image} == pictures
