"""The gain of a channel, on posts for which only one channel has the answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from hashlens.evaluation.benchmark.ablation import run_ablation
from hashlens.evaluation.tasks.inputs import Inputs, make_queries
from hashlens.indexer.config import RankingConfig
from hashlens.indexer.types import Post
from tests.support import tiny_index

FIRST, SECOND = ("ash", "bel", "cor", "dun", "elm", "far"), ("ing", "er", "ol")
THIRD = ("ford", "wick", "ton", "ham", "by", "dale")
TOWNS = ["".join(parts) for parts in product(FIRST, SECOND, THIRD)]


def post(number: int, town: str) -> Post:
    """Return a post of a new author, with the town of its caption as a hashtag."""
    tags = (town, "walk")
    return Post(f"p{number}", caption=f"off to {town} today", hashtags=tags, forms=tags,
                author=f"a{number}", content_hash=str(number))  # fmt: skip


def test_unseen_hashtags_are_lost_without_the_spelling_channel() -> None:
    # Each town occurs once, so no right town is in the index.
    learned = [post(number, town) for number, town in enumerate(TOWNS[:80])]
    unseen = [post(100 + number, town) for number, town in enumerate(TOWNS[80:])]
    questions = {"caption": make_queries(unseen, Inputs.parse("caption"), seed=1)}
    config = replace(tiny_index.SMALL, ranking=RankingConfig(folds=3, fewest=1))
    found = run_ablation(learned, questions, seed=1, config=config)["caption"]
    # Two of five places can be right: #walk, and the town, which no post of the index has.
    assert found["metrics"]["P@5"] == pytest.approx(0.4)
    gains = {name: part["gain"]["P@5"]["diff"] for name, part in found["channels"].items()}
    assert gains["spelled"] == pytest.approx(0.2)
    assert gains["linear"] == pytest.approx(0)
    assert all(part["ms"] < 1000 for part in found["channels"].values())
