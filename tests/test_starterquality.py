"""How much aggregates keep: what is taken out of an answer that another index could not give."""

from __future__ import annotations

from evaluation.starterquality import _sayable
from indexer.schema import Query
from retriever.reading import IndexReader
from retriever.recommend import Recommender


def test_an_answer_keeps_what_the_other_index_knows_or_the_caption_spells(
    tiny_index: IndexReader,
) -> None:
    other = Recommender(tiny_index)
    answer = [("dog", 0.5), ("rare", 0.4), ("petersburg", 0.3), ("kitten", 0.2)]
    spelt = _sayable(answer, Query(caption="Off to Petersburg", seeds=("park",)), other)
    assert spelt == [answer[0], *answer[2:]]
    assert _sayable(answer, Query(seeds=("park",)), other) == [answer[0], answer[3]]
