"""Sums of grades over answers, with bootstrap intervals over posts, and agreement of gradings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.metrics.intervals import LEVEL
from hashlens.evaluation.usefulness.matching import fold_hashtag
from hashlens.evaluation.usefulness.panel import GREATEST, LEAST, Key, PanelPost

RESAMPLES = 2000
SEED = 1  # of the bootstrap
MANY_USEFUL = 4  # useful hashtags of a post that serves a person well

# Each figure is the sum of one column over posts, divided by the sum of another.
COLUMNS: tuple[str, ...] = ("posts", "answered", "use", "useful", "harmful", "ungraded")
COLUMNS += ("graded", "grade_sum", "has_many_useful", "has_harmful")
FIGURES: dict[str, tuple[str, str]] = {
    "would_use": ("use", "answered"),
    "useful": ("useful", "answered"),
    "harmful": ("harmful", "answered"),
    "ungraded": ("ungraded", "answered"),
    "mean_answered": ("answered", "posts"),
    "posts_four_useful": ("has_many_useful", "posts"),
    "posts_any_harmful": ("has_harmful", "posts"),
    "mean_grade": ("grade_sum", "graded"),
}


@dataclass(frozen=True, slots=True)
class AnsweredTag:
    """A hashtag that a system answered, and its main channel if the system names one."""

    tag: str
    channel: str = ""


Answers = Mapping[str, Sequence[AnsweredTag]]  # by id of the post; a post without input is absent
Table = dict[str, Any]


def sum_grades(grades: Sequence[int | None]) -> list[float]:
    """Return the columns of `COLUMNS` for one post, of its answers' grades; None is ungraded."""
    known = [grade for grade in grades if grade is not None]
    useful, harmful = sum(grade > 0 for grade in known), known.count(LEAST)
    sums = (1, len(grades), known.count(GREATEST), useful, harmful, len(grades) - len(known))
    return [*sums, len(known), sum(known), useful >= MANY_USEFUL, harmful > 0]


def score_answers(
    posts: Sequence[PanelPost],
    answers: Answers,
    grades: Mapping[Key, int],
    resamples: int = RESAMPLES,
) -> Table:
    """Score a system's answers.

    Args:
        posts: those to score; posts that the answers lack are left out.
        answers: of the system.
        grades: by post and folded hashtag.
        resamples: draws of the bootstrap.

    Returns:
        `posts`, and for each of `FIGURES` its value and `[low, high]` under `intervals`. A figure
        without anything to divide by is None. An ungraded answer counts as answered, never as
        useful; the mean grade is over graded answers alone.
    """
    rows = [
        sum_grades(
            [grades.get((post.post_id, fold_hashtag(each.tag))) for each in answers[post.post_id]]
        )
        for post in posts
        if post.post_id in answers
    ]
    sums = np.array(rows, np.float64).reshape(len(rows), len(COLUMNS))
    figures = _divide(sums.sum(axis=0, keepdims=True))
    table: Table = {"posts": len(rows)}
    table |= {name: None if np.isnan(value) else float(value) for name, (value,) in figures.items()}
    table["intervals"] = dict.fromkeys(FIGURES)
    if rows:
        shares = np.full(len(rows), 1 / len(rows))
        draws = np.random.default_rng(SEED).multinomial(len(rows), shares, resamples)
        for name, values in _divide(draws.astype(np.float64) @ sums).items():
            if len(known := values[~np.isnan(values)]):
                bounds = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
                table["intervals"][name] = bounds.tolist()
    return table


def _divide(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return each figure of every row of sums, float64 (rows, columns); NaN for 0 / 0."""
    column = dict(zip(COLUMNS, sums.T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: column[over] / column[under] for name, (over, under) in FIGURES.items()}


def score_groups(posts: Sequence[PanelPost], answers: Answers, grades: Mapping[Key, int]) -> Table:
    """Score a system's answers by kind and language of post, and by main channel of the answer."""
    found: Table = {}
    for name, field in (("kind", "kind"), ("language", "lang")):
        grouped: dict[str, list[PanelPost]] = {}
        for post in sorted(posts, key=attrgetter(field)):
            grouped.setdefault(getattr(post, field), []).append(post)
        found[name] = {
            group: score_answers(members, answers, grades) for group, members in grouped.items()
        }
    channels = {each.channel for tags in answers.values() for each in tags if each.channel}
    found["channel"] = {}
    for channel in sorted(channels):
        ours = {
            post_id: [each for each in tags if each.channel == channel]
            for post_id, tags in answers.items()
        }
        asked = {post_id: tags for post_id, tags in ours.items() if tags}
        found["channel"][channel] = score_answers(posts, asked, grades)
    return found


def weighted_kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Return Cohen's kappa of two gradings with quadratic weights, None if it is not defined.

    Cohen, "Weighted kappa" (1968): 1 is full agreement, 0 that of chance.
    """
    if not pairs:
        return None
    first, second = np.array(pairs, np.float64).T
    observed = np.mean((first - second) ** 2)
    expected = np.mean((first[:, None] - second[None, :]) ** 2)
    return float(1 - observed / expected) if expected else None
