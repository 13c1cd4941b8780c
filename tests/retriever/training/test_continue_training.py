"""Continued training: on examples of another truth, of the same one, and of none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hashlens.indexer.config import RankingConfig
from hashlens.retriever.candidates.channels import POST_CHANNELS
from hashlens.retriever.ranking.ranker import Ranker, cascade_scores
from hashlens.retriever.recommendation import Candidates
from hashlens.retriever.training.examples import TrainingExamples, concat_examples
from hashlens.retriever.training.fit import fit_to_examples
from tests.retriever.ranking.test_ranker import COLUMNS, EACH, examples

CONFIG = RankingConfig()


def turned(questions: int, seed: int) -> TrainingExamples:
    """Return examples in which the former noise column decides."""
    found, _ = examples(questions, seed)
    scores = found.candidates.scores[:, [1, 0, 2, 3]]
    return replace(found, candidates=replace(found.candidates, scores=scores))


@pytest.fixture(scope="module")
def base() -> Ranker:
    return fit_to_examples(examples(3000, 1)[0], CONFIG)


def first_right(ranker: Ranker, asked: TrainingExamples) -> float:
    """Return the share of questions whose likeliest candidate is right."""
    found = ranker.probabilities(asked.candidates).reshape(-1, EACH)
    best = found.argmax(axis=1) + np.arange(len(found)) * EACH
    return float(asked.right[best].mean())


def test_it_learns_another_truth_from_few_and_keeps_its_trees(base: Ranker) -> None:
    few, unseen = turned(150, 3), turned(600, 4)
    tuned = fit_to_examples(few, CONFIG, base)
    assert (
        len(tuned.pairwise) - len(base.pairwise) == len(tuned.pointwise) - len(base.pointwise) > 0
    )
    features = unseen.candidates.scores
    np.testing.assert_array_equal(
        tuned.pointwise.scores(features, 0, len(base.pointwise)), base.pointwise.scores(features)
    )
    assert first_right(tuned, unseen) > first_right(base, unseen) + 0.1
    stated = tuned.probabilities(unseen.candidates)
    assert abs(stated[unseen.right].mean() - stated[~unseen.right].mean()) > 0.1


def test_where_there_is_nothing_to_learn_the_order_stays(base: Ranker) -> None:
    asked, _ = examples(200, 5)
    chance = np.random.default_rng(6).random(len(asked.right)) < asked.right.mean()
    tuned = fit_to_examples(replace(asked, right=chance), CONFIG, base)
    same = examples(300, 7)[0].candidates
    for ranker in (tuned, base):
        assert ranker.columns == COLUMNS
    one, other = (
        cascade_scores(ranker.pairwise, ranker.pointwise, same.queries, same.scores)
        for ranker in (tuned, base)
    )
    assert np.corrcoef(one, other)[0, 1] > 0.99


def test_it_reads_the_columns_that_it_knows(base: Ranker) -> None:
    few = turned(150, 3)
    found = few.candidates
    more = Candidates(
        found.queries,
        found.tag_ids,
        ("unknown: score", *found.columns),
        np.column_stack([np.ones(len(found.queries), np.float32), found.scores]),
    )
    tuned = fit_to_examples(replace(few, candidates=more), CONFIG, base)
    assert tuned.columns == COLUMNS
    assert tuned.pairwise.text == fit_to_examples(few, CONFIG, base).pairwise.text


OF_A_POST = ("spelled: score", "word neighbours: sum", "noise: other", "query: ease")


def heard(questions: int, seed: int, *, telling: int) -> TrainingExamples:
    """Return examples in which one column decides, and the posts have another."""
    found, _ = examples(questions, seed)
    places = [0, 1, 2, 3] if telling == 0 else [1, 0, 2, 3]
    candidates = found.candidates
    return replace(
        found,
        candidates=replace(candidates, columns=OF_A_POST, scores=candidates.scores[:, places]),
    )


@pytest.fixture(scope="module")
def believer() -> Ranker:
    """Return a ranker trained on both kinds of examples, which uses its posts."""
    parts = [heard(1500, seed, telling=seed % 2) for seed in (1, 2)]
    return fit_to_examples(concat_examples(parts), CONFIG)


def test_posts_speak_where_they_tell_and_are_silent_where_they_mislead(believer: Ranker) -> None:
    tell, mislead = heard(150, 3, telling=1), heard(150, 4, telling=0)
    assert fit_to_examples(tell, CONFIG, believer).excluded == ()
    quiet = fit_to_examples(mislead, CONFIG, replace(believer, excluded=POST_CHANNELS))
    others = heard(600, 5, telling=0)
    assert first_right(quiet, others) > first_right(believer, others)


def test_equals_are_decided_for_silence_and_for_fewest_trees(base: Ranker) -> None:
    tuned = fit_to_examples(examples(60, 8)[0], CONFIG, base)
    assert tuned.excluded == POST_CHANNELS  # none of the columns is of posts, so both are equal
