"""The ranker on made-up examples in which one column decides, so that the truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.errors import IndexCorruptError
from hashlens.retriever.ranking.ranker import RANKER_FILE, Ranker, confidence_features
from hashlens.retriever.recommendation import Candidates
from hashlens.retriever.training.examples import TrainingExamples, drop_channels
from hashlens.retriever.training.fit import MAX_STEPS, fit_isotonic, fit_to_examples, save_ranker
from hashlens.retriever.training.models import train_order

COLUMNS = ("telling: score", "noise: score", "noise: other", "query: ease")
EACH = 15  # candidates of a question


def examples(questions: int, seed: int) -> tuple[TrainingExamples, np.ndarray]:
    """Return questions, and each candidate's true probability, which rises with one column alone.

    Some questions are easier than others, and say so.
    """
    draw = np.random.default_rng(seed)
    rows = questions * EACH
    telling = draw.normal(size=rows)
    ease = np.repeat(draw.normal(size=questions), EACH)
    chance = 1 / (1 + np.exp(-(2 * telling + ease - 3)))
    scores = np.column_stack([telling, draw.normal(size=(rows, 2)), ease]).astype(np.float32)
    scores[draw.random(rows) < 0.3, 1] = np.nan
    right = draw.random(rows) < chance
    queries = np.repeat(np.arange(questions), EACH)
    found = Candidates(queries, np.tile(np.arange(EACH), questions), COLUMNS, scores)
    return TrainingExamples(found, right, np.arange(questions) % 3), chance


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return fit_to_examples(examples(3000, 1)[0], RankingConfig())


@pytest.fixture(scope="module")
def unseen() -> tuple[TrainingExamples, np.ndarray]:
    return examples(600, 2)


def shown(candidates: Candidates, chances: np.ndarray, most: int) -> np.ndarray:
    """Return the row of the likeliest candidate of each question."""
    by_query = np.argsort(-chances.reshape(-1, EACH), axis=1)[:, :most]
    rows = by_query + np.arange(len(by_query))[:, None] * EACH
    assert (candidates.queries[rows] == np.arange(len(by_query))[:, None]).all()
    return np.asarray(rows.ravel())


def test_the_order_is_nearly_that_of_the_truth(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray]
) -> None:
    asked, truth = unseen
    found = ranker.probabilities(asked.candidates)
    # Of pairs of one question, how many stand in the order of their true chances.
    ours, theirs = found.reshape(-1, EACH), truth.reshape(-1, EACH)
    higher = theirs[:, :, None] > theirs[:, None, :] + 0.05
    agree = (ours[:, :, None] > ours[:, None, :])[higher].mean()
    assert agree > 0.95
    # The best by our order are as often right as the best by the true one, within two errors.
    best, ideal = (asked.right[shown(asked.candidates, p, 1)].mean() for p in (found, truth))
    assert best > ideal - 2 * np.sqrt(0.25 / len(ours))


def test_stated_probabilities_are_the_true_ones(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray]
) -> None:
    asked, truth = unseen
    found = ranker.probabilities(asked.candidates)
    rows = shown(asked.candidates, found, 5)
    stated, right = found[rows], asked.right[rows]
    bins = np.minimum((stated * 10).astype(int), 9)
    for number in range(10):
        inside = bins == number
        if inside.sum() >= 100:
            chance = stated[inside].mean()
            error = 3 * np.sqrt(chance * (1 - chance) / inside.sum())
            assert right[inside].mean() == pytest.approx(chance, abs=error + 0.05)
    assert stated.mean() == pytest.approx(right.mean(), abs=0.03)
    assert np.abs(stated - truth[rows]).mean() < 0.1


def test_probabilities_fall_as_scores_do_within_a_question(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray]
) -> None:
    candidates = unseen[0].candidates
    features = ranker.features(candidates)
    scores = (ranker.pairwise.scores(features) + ranker.pointwise.scores(features)).reshape(
        -1, EACH
    )
    chances = ranker.probabilities(candidates).reshape(-1, EACH)
    ranking = np.argsort(-scores, axis=1)
    assert (np.diff(np.take_along_axis(chances, ranking, axis=1), axis=1) <= 0).all()
    assert ((chances > 0) & (chances <= 1)).all()
    assert (np.diff(np.take_along_axis(chances, ranking, axis=1), axis=1) == 0).mean() < 0.05


def test_a_question_is_answered_alike_alone_and_among_others(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray]
) -> None:
    candidates = unseen[0].candidates
    together = ranker.probabilities(candidates)
    for query in (0, 7, 599):
        rows = candidates.queries == query
        alone = Candidates(
            np.zeros(EACH, np.int64), candidates.tag_ids[rows], COLUMNS, candidates.scores[rows]
        )
        np.testing.assert_array_equal(ranker.probabilities(alone), together[rows])


def test_sureness_is_that_worked_by_hand() -> None:
    scores = np.array([1, 4, 2, 7, 3, 0, 5, 1.5], np.float32)
    queries = np.array([0, 0, 0, 0, 0, 0, 0, 2])
    told = np.arange(8, dtype=np.float32)[:, None]
    candidates = Candidates(queries, np.arange(8), ("query: words",), told)
    best_five = (7 + 5 + 4 + 3 + 2) / 5
    expected = [[s, s - 7, 7, best_five, 7, n] for n, s in enumerate(scores[:7].tolist())]
    expected.append([1.5, 0, 1.5, 1.5, 1, 7])
    np.testing.assert_allclose(confidence_features(candidates, scores), expected, rtol=1e-6)


@pytest.mark.parametrize("many", [False, True])
def test_votes_never_speak_against_a_hashtag_where_lessons_are_few(many: bool) -> None:
    asked, _ = examples(300, 4)
    scores = asked.candidates.scores * np.array([-1, 1, 1, 1], np.float32)
    columns = ("image neighbours: sum", *COLUMNS[1:])
    misled = replace(asked, candidates=replace(asked.candidates, columns=columns, scores=scores))
    better, odds = train_order(misled, many, RankingConfig())
    fewer, more = scores.copy(), scores.copy()
    fewer[:, 0], more[:, 0] = -3, 3
    for forest in (better, odds):
        risen = forest.scores(more) - forest.scores(fewer)
        assert (risen < -0.1).all() if many else (risen >= 0).all()


def test_nothing_said_is_nothing_scored(ranker: Ranker) -> None:
    nobody = np.zeros(0, np.int64)
    empty = Candidates(nobody, nobody, COLUMNS, np.zeros((0, len(COLUMNS)), np.float32))
    assert ranker.probabilities(empty).shape == (0,)
    assert ranker.shares(empty)[1].shape == (0, 2)


def test_columns_are_found_by_name_and_are_silent_where_missing(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray]
) -> None:
    given = unseen[0].candidates
    turned = replace(given, columns=COLUMNS[::-1], scores=given.scores[:, ::-1].copy())
    np.testing.assert_array_equal(ranker.features(turned), given.scores)
    more = replace(
        given, columns=("new: x", *COLUMNS), scores=np.pad(given.scores, ((0, 0), (1, 0)))
    )
    np.testing.assert_array_equal(ranker.features(more), given.scores)
    stated = ranker.probabilities(given)
    np.testing.assert_array_equal(ranker.probabilities(turned), stated)
    facts = replace(more, columns=("query: new", *COLUMNS))
    np.testing.assert_array_equal(ranker.probabilities(facts), stated)
    uneasy = replace(given, columns=COLUMNS[:3], scores=given.scores[:, :3].copy())
    assert ((ranker.probabilities(uneasy) > 0) & (ranker.probabilities(uneasy) <= 1)).all()
    less = replace(given, columns=COLUMNS[1:], scores=given.scores[:, 1:].copy())
    found = ranker.features(less)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_array_equal(found[:, 1:], given.scores[:, 1:])


def test_lessons_without_a_channel_are_silent_there() -> None:
    asked = examples(5, 3)[0]
    left = drop_channels(asked, "noise").candidates.scores
    assert np.isnan(left[:, 1:3]).all()
    np.testing.assert_array_equal(left[:, [0, 3]], asked.candidates.scores[:, [0, 3]])
    assert not np.isnan(asked.candidates.scores[:, 2]).any()


def test_shares_go_to_the_channel_that_decides(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray]
) -> None:
    candidates = unseen[0].candidates
    rows = shown(candidates, ranker.probabilities(candidates), 1)
    best = Candidates(rows, rows, COLUMNS, candidates.scores[rows])
    channels, shares = ranker.shares(best)
    assert channels == ("telling", "noise")  # what is told of the query speaks for none
    assert (shares >= 0).all()
    assert shares[:, 0].mean() > 0.8
    # They are the positive sums of what the trees' contributions give to each channel's columns.
    told = ranker.pairwise.contributions(best.scores) + ranker.pointwise.contributions(best.scores)
    gains = np.maximum(np.column_stack([told[:, 0], told[:, 1] + told[:, 2]]), 0)
    spoken = gains.sum(axis=1) > 0
    assert spoken.mean() > 0.9
    np.testing.assert_allclose(shares[spoken].sum(axis=1), 1, rtol=1e-5)
    expected = gains[spoken] / gains[spoken].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares[spoken], expected, atol=1e-5)
    assert not shares[~spoken].any()
    # What says nothing is no reason, though its silence may lift the score.
    scores = best.scores.copy()
    scores[:, 1:3] = np.nan
    assert ranker.pairwise.contributions(scores)[:, 1:3].max() > 0
    assert not ranker.shares(replace(best, scores=scores))[1][:, 1].any()


def test_a_saved_ranker_states_the_same(
    ranker: Ranker, unseen: tuple[TrainingExamples, np.ndarray], tmp_path: Path
) -> None:
    save_ranker(ranker, tmp_path / "ranker")
    again = Ranker.open(tmp_path / "ranker")
    assert again.columns == ranker.columns
    assert again.facts == ranker.facts == {"questions": 3000, "right": ranker.facts["right"]}
    candidates = unseen[0].candidates
    np.testing.assert_array_equal(again.probabilities(candidates), ranker.probabilities(candidates))


def test_fitting_again_gives_the_same_ranker() -> None:
    few = examples(300, 4)[0]
    one, two = (fit_to_examples(few, RankingConfig()) for _ in range(2))
    for name in ("pairwise", "pointwise", "calibration"):
        assert getattr(one, name).text == getattr(two, name).text
    np.testing.assert_array_equal(one.steps, two.steps)


def test_questions_of_one_fold_are_calibrated_too() -> None:
    asked = replace(examples(900, 5)[0], folds=np.zeros(900, np.int64))
    unseen, _ = examples(400, 6)
    found = fit_to_examples(asked, RankingConfig()).probabilities(unseen.candidates)
    rows = shown(unseen.candidates, found, 5)
    assert found[rows].mean() == pytest.approx(unseen.right[rows].mean(), abs=0.05)


def test_steps_of_probability_worked_by_hand() -> None:
    stated = np.array([0.4, 0.1, 0.4, 0.2, 0.2, 0.3, 0.9, 0.7, 0.8])
    right = np.array([1, 0, 0, 1, 0, 0, 1, 1, 1], bool)
    # 0.2 came true once in two, 0.3 never, 0.4 once in two: falling, 0.2 and 0.3 become a third.
    assert fit_isotonic(stated, right) == pytest.approx(
        np.array([[0.1, 0.2, 0.3, 0.4, 0.7, 0.9], [0, 1 / 3, 1 / 3, 1 / 2, 1, 1]])
    )
    assert fit_isotonic(np.array([0.3]), np.array([True])).tolist() == [[0.3], [1.0]]


@pytest.mark.parametrize("rows", [1, 2, 7, 5_000])
def test_steps_of_probability_are_scikit_learns(rows: int) -> None:
    judge = pytest.importorskip("sklearn.isotonic").IsotonicRegression(y_min=0, y_max=1)
    rng = np.random.default_rng(rows)
    stated = rng.random(rows).round(3)
    right = rng.random(rows) < stated**2
    judge.fit(stated, right)
    kept = np.unique(np.linspace(0, len(judge.X_thresholds_) - 1, MAX_STEPS).round().astype(int))
    expected = np.stack([judge.X_thresholds_[kept], judge.y_thresholds_[kept]])
    assert fit_isotonic(stated, right) == pytest.approx(expected, abs=1e-12)


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a list": lambda _: [1, 2],
    "no columns": lambda values: {k: v for k, v in values.items() if k != "columns"},
    "no steps": lambda values: values | {"steps": []},
    "steps without a step": lambda values: values | {"steps": [[], []]},
    "steps of unequal length": lambda values: values | {"steps": [[0, 1], [0]]},
    "steps that fall": lambda values: values | {"steps": [[0, 1], [1, 0]]},
    "steps that are no numbers": lambda values: values | {"steps": [["a"], ["b"]]},
    "infinite steps": lambda values: values | {"steps": [[0, float("inf")], [0, 1]]},
    "steps past all numbers": lambda values: values | {"steps": [[0, 10**400], [0, 1]]},
    "columns without names": lambda values: values | {"columns": [1, 2, 3, 4]},
    "facts that are none": lambda values: values | {"facts": 3},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table_is_refused(damage: str, ranker: Ranker, tmp_path: Path) -> None:
    save_ranker(ranker, tmp_path / "ranker")
    path = tmp_path / "ranker" / RANKER_FILE
    path.write_text(json.dumps(DAMAGE[damage](json.loads(path.read_text()))))
    with pytest.raises(IndexCorruptError, match=RANKER_FILE):
        Ranker.open(tmp_path / "ranker")


def test_damaged_files_are_refused(ranker: Ranker, tmp_path: Path) -> None:
    with pytest.raises(IndexCorruptError, match=RANKER_FILE):
        Ranker.open(tmp_path)
    save_ranker(ranker, tmp_path / "ranker")
    path = tmp_path / "ranker" / RANKER_FILE
    whole = path.read_bytes()
    for bad in (b"", whole[:40], b"\xff\xfe{}", b"[" * 100_000):
        path.write_bytes(bad)
        with pytest.raises(IndexCorruptError, match=RANKER_FILE):
            Ranker.open(tmp_path / "ranker")


def test_trees_of_other_columns_are_refused(ranker: Ranker, tmp_path: Path) -> None:
    save_ranker(replace(ranker, columns=COLUMNS[:2]), tmp_path / "ranker")
    found = Ranker.open(tmp_path / "ranker")
    with pytest.raises(IndexCorruptError, match="found 4 features, expected 2"):
        found.probabilities(examples(2, 7)[0].candidates)
