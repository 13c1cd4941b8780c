"""Reciprocal rank fusion and selection, against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.schema import Candidates
from retriever.ranker import fuse
from retriever.selection import best, tier, tier_floors

SILENT = np.nan


def candidates(rows: list[list[float]]) -> Candidates:
    names = tuple(f"c{n}" for n in range(len(rows[0])))
    return Candidates(np.arange(len(rows)), names, np.array(rows, dtype=np.float32))


def test_fusion_adds_reciprocal_ranks() -> None:
    scores, shares = fuse(candidates([[9, SILENT], [5, 2], [1, 3]]))
    both = 2 / 6
    assert scores == pytest.approx(
        [(1 / 6) / both, (1 / 7 + 1 / 7) / both, (1 / 8 + 1 / 6) / both], rel=1e-6
    )
    assert shares[0] == pytest.approx([1, 0])
    assert shares[2] == pytest.approx([(1 / 8) / (1 / 8 + 1 / 6), (1 / 6) / (1 / 8 + 1 / 6)])


def test_channels_weigh_what_the_table_says() -> None:
    told = Candidates(
        np.arange(2), ("co-occurrence", "topic"), np.array([[2, SILENT], [SILENT, 2]], np.float32)
    )
    scores, _ = fuse(told)
    assert scores == pytest.approx([6 / 6.1, 0.1 / 6.1])


def test_the_topic_of_a_picture_alone_weighs_more() -> None:
    names = ("image neighbours", "topic")
    told = Candidates(np.arange(2), names, np.array([[2, SILENT], [SILENT, 2]], np.float32))
    assert fuse(told)[0] == pytest.approx([3 / 7, 4 / 7])


def test_equal_scores_share_a_place() -> None:
    scores, _ = fuse(candidates([[4], [4], [1]]))
    assert scores == pytest.approx([1, 1, (1 / 8) * 6])


def test_first_in_every_channel_that_spoke_scores_one() -> None:
    scores, _ = fuse(candidates([[3, 7, SILENT], [2, 6, SILENT]]))
    assert scores[0] == pytest.approx(1)


def test_nothing_said_is_nothing_scored() -> None:
    empty = Candidates(np.zeros(0, np.int64), ("a",), np.zeros((0, 1), np.float32))
    scores, shares = fuse(empty)
    assert scores.shape == (0,)
    assert shares.shape == (0, 1)


def test_ties_go_to_the_hashtag_of_more_posts_then_to_the_older() -> None:
    places = best(
        np.array([1, 1, 1, 2], np.float32), np.array([3, 5, 5, 1]), np.array([7, 9, 8, 6]), 3
    )
    assert places.tolist() == [3, 2, 1]


def test_tiers_follow_quantiles_of_the_index() -> None:
    floors = tier_floors(np.arange(1, 1001))
    assert tier(1000, floors) == "broad"
    assert tier(950, floors) == "medium"
    assert tier(5, floors) == "niche"
