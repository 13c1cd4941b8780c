"""Sums of grades against sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashlens.evaluation.usefulness.figures import (
    AnsweredTag,
    score_answers,
    score_groups,
    sum_grades,
    weighted_kappa,
)
from hashlens.evaluation.usefulness.panel import Panel, read_panel
from tests.evaluation.usefulness.panels import write_panel

MANY = {
    "id": "p2",
    "lang": "fr",
    "good": ["a1", "a2", "a3"],
    "fair": ["b1"],
    "bad": ["c1", "!d1"],
}
ANSWERS = {
    "p1": [AnsweredTag(tag, "spelled") for tag in ("LEMON_CAKES", "sister", "wedding", "new")],
    "p2": [AnsweredTag(tag, "words") for tag in ("a1", "a2", "a3", "b1", "c1", "other")],
}


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    return read_panel(write_panel(tmp_path, {}, MANY))


def test_grades_of_one_post_are_summed() -> None:
    #                                        posts n use useful harm none graded sum 4+ any harm
    assert sum_grades([2, 1, 0, -1, None]) == [1, 5, 1, 2, 1, 1, 4, 2, False, True]
    assert sum_grades([2, 2, 1, 1]) == [1, 4, 2, 4, 0, 0, 4, 6, True, False]
    assert sum_grades([]) == [1, 0, 0, 0, 0, 0, 0, 0, False, False]


def test_shares_are_of_the_hashtags_answered(panel: Panel) -> None:
    found = score_answers(panel.posts, ANSWERS, panel.grades)
    assert found["posts"] == 2
    assert found["mean_answered"] == 5
    assert found["would_use"] == pytest.approx(4 / 10)  # lemoncake; a1, a2, a3
    assert found["useful"] == pytest.approx(6 / 10)  # sister, b1 as well
    assert found["harmful"] == pytest.approx(1 / 10)
    assert found["ungraded"] == pytest.approx(2 / 10)  # new, other: never useful
    assert found["mean_grade"] == pytest.approx((2 + 1 - 1 + 6 + 1 + 0) / 8)
    assert found["posts_four_useful"] == 1 / 2
    assert found["posts_any_harmful"] == 1 / 2


def test_intervals_are_over_posts(panel: Panel) -> None:
    spans = score_answers(panel.posts, ANSWERS, panel.grades)["intervals"]
    # A resample of two posts is p1 twice, p2 twice, or both.
    assert spans["useful"] == pytest.approx([2 / 4, 4 / 6])
    assert spans["harmful"] == pytest.approx([0, 1 / 4])


def test_a_post_that_a_system_was_not_asked_about_does_not_count(panel: Panel) -> None:
    found = score_answers(panel.posts, {"p1": []}, panel.grades)
    assert (found["posts"], found["mean_answered"]) == (1, 0)
    assert found["useful"] is None
    assert score_answers(panel.posts, {}, panel.grades)["mean_answered"] is None


def test_groups_are_kinds_languages_and_main_channels(panel: Panel) -> None:
    found = score_groups(panel.posts, ANSWERS, panel.grades)
    assert {name: set(rows) for name, rows in found.items()} == {
        "kind": {"caption"},
        "language": {"en", "fr"},
        "channel": {"spelled", "words"},
    }
    assert found["language"]["fr"]["would_use"] == pytest.approx(3 / 6)
    assert found["channel"]["spelled"]["would_use"] == pytest.approx(1 / 4)
    assert found["channel"]["spelled"]["posts"] == 1


def test_weighted_kappa_by_hand() -> None:
    assert weighted_kappa([(2, 2), (0, 0), (-1, -1)]) == 1
    # Observed: 1 / 4. By chance, rows 0, 1, 2, 2 against 0, 1, 2, 1: (6 + 2 + 6 + 6) / 16.
    pairs = [(0, 0), (1, 1), (2, 2), (2, 1)]
    assert weighted_kappa(pairs) == pytest.approx(1 - (1 / 4) / (20 / 16))
    assert weighted_kappa([(2, 0), (0, 2)]) == pytest.approx(-1)
    assert weighted_kappa([(1, 1)]) is None
    assert weighted_kappa([]) is None
