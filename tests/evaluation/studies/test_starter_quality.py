"""The share of quality that aggregates keep."""

from __future__ import annotations

import pytest

from hashlens.evaluation.studies.starter_quality import average_tasks, keep_known
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender


def test_an_answer_keeps_hashtags_that_the_other_index_knows_or_the_caption_spells(
    tiny_index: IndexReader,
) -> None:
    other = Recommender(tiny_index)
    answer = [("dog", 0.5), ("rare", 0.4), ("petersburg", 0.3), ("kitten", 0.2)]
    spelt = keep_known(answer, Query(caption="Off to Petersburg", seeds=("park",)), other)
    assert spelt == [answer[0], *answer[2:]]
    assert keep_known(answer, Query(seeds=("park",)), other) == [answer[0], answer[3]]


def test_queries_of_all_folders_have_the_same_weight() -> None:
    def task(queries: int, full: float, starter: float) -> dict[str, object]:
        means_by_index = {"full": full, "starter": starter, "full, less rare": full}
        scores = {
            index: {"queries": queries, "P@5": mean / 2, "nDCG@10": mean}
            for index, mean in means_by_index.items()
        }
        return scores | {"kept": starter / full}

    tasks = {
        "one: caption": task(300, 0.2, 0.1),
        "two: caption": task(100, 0.4, 0.4),
        "two: seeds:2": task(100, 0.5, 0.4),
        "two: caption,seeds:2": task(50, 0.6, 0.3),
    }
    found = average_tasks(tasks)
    assert found.keys() == {"caption", "seeds:2", "caption,seeds:2"}
    assert found["caption"]["full"] == pytest.approx(
        {"queries": 400, "P@5": 0.125, "nDCG@10": 0.25}
    )
    assert found["caption"]["starter"]["nDCG@10"] == pytest.approx((0.3 + 0.4) / 4)
    assert found["caption"]["kept"] == pytest.approx(0.7)
    assert found["seeds:2"]["kept"] == pytest.approx(0.8)
