"""Ranked candidates into the answers that people get: chosen, named, and with their evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hashlens.indexer.types import Candidates, Evidence, Floats, Ids, Recommendation, ScoredTag
from hashlens.retriever.candidates.generate import split
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.index.tiers import tier
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.selection.selector import Shortlist

TOLD = 0.005  # smallest share that is told
HABITS = "habits"  # what a person's own posts say, as evidence names it


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """Writes the answers to a batch, as a selection wants them."""

    index: IndexReader
    ranker: Ranker
    shortlist: Shortlist
    selection: Selection

    def write(
        self, batch: QueryBatch, candidates: Candidates, *, evidence: bool
    ) -> list[Recommendation]:
        """Answers in order; `evidence` adds each channel's share, without its posts."""
        chances, habitual = self._chances(batch, candidates)
        spans = split(candidates, len(batch))
        counts = [self.selection.count_of_post(query.seeds) for query in batch.queries]
        rows = [
            span.start
            + self.shortlist.choose(
                candidates.tag_ids[span], chances[span], self.selection, batch.spelt.coined, has
            )
            for span, has in zip(spans, counts, strict=True)
        ]
        shown = np.concatenate(rows)
        told = self._evidence(candidates, shown, habitual[shown]) if evidence else None
        tags = self._tags(batch, candidates, chances, shown, told or [()] * len(shown))
        return [
            self._answer(batch, number, candidates, chances, spans[number], tags, len(chosen), has)
            for number, (chosen, has) in enumerate(zip(rows, counts, strict=True))
        ]

    def _chances(self, batch: QueryBatch, candidates: Candidates) -> tuple[Floats, Floats]:
        """How likely each candidate is, and what share of that is habit, float32 (c,) each."""
        chances = self.ranker.probabilities(candidates)
        if batch.habits is None:
            return chances, np.zeros(len(chances), np.float32)
        return batch.habits.corrected(candidates.tag_ids, chances)

    def _answer(
        self,
        batch: QueryBatch,
        number: int,
        candidates: Candidates,
        chances: Floats,
        span: slice,
        tags: Iterator[ScoredTag],
        count: int,
        has: int,
    ) -> Recommendation:
        spoken = dict(zip(candidates.tag_ids[span].tolist(), chances[span].tolist(), strict=True))
        shown = (
            *self._pinned(spoken, self.selection.shown_pins(has)),
            *(next(tags) for _ in range(count)),
        )
        return Recommendation(
            tags=shown,
            topics=_ranked(self.index.topic_names, batch.topics.probs[number]),
            inputs=batch.queries[number].inputs,
            notes=self.selection.notes_on(has) or (() if shown else self._unlikely(chances[span])),
        )

    def _tags(
        self,
        batch: QueryBatch,
        candidates: Candidates,
        chances: Floats,
        rows: Ids,
        told: Sequence[tuple[Evidence, ...]],
    ) -> Iterator[ScoredTag]:
        """The chosen rows' hashtags, one after the other, each with what is told of it."""
        tag_ids = candidates.tag_ids[rows]
        names = self.index.names(np.unique(tag_ids[tag_ids < self.index.tags]).tolist())
        fresh = zip(batch.spelt.coined, batch.spelt.displays, strict=True)
        names |= dict(enumerate(fresh, start=self.index.tags))
        posts = self.index.posts_of(tag_ids).tolist()
        for place, row in enumerate(rows):
            yield ScoredTag(
                *names[int(tag_ids[place])],
                probability=float(chances[row]),
                tier=tier(posts[place], self.index.tier_floors),
                evidence=told[place],
                young=self.index.first_young <= int(tag_ids[place]) < self.index.tags,
            )

    def _evidence(
        self, candidates: Candidates, rows: Ids, habitual: Floats
    ) -> list[tuple[Evidence, ...]]:
        """Of each row the channels that spoke for it, the largest share first."""
        chosen = Candidates(
            candidates.queries[rows],
            candidates.tag_ids[rows],
            candidates.columns,
            candidates.scores[rows],
        )
        channels, shares = self.ranker.shares(chosen)
        channels = (*channels, HABITS)
        shares = np.column_stack([shares * (1 - habitual[:, None]), habitual])
        orders = np.argsort(-shares, axis=1, kind="stable")
        return [
            tuple(Evidence(channels[c], float(row[c])) for c in order if row[c] >= TOLD)
            for row, order in zip(shares, orders, strict=True)
        ]

    def _pinned(self, spoken: dict[int, float], pins: Sequence[str]) -> Iterator[ScoredTag]:
        """The pinned hashtags, with probability 0 where nothing spoke for one."""
        if not pins:
            return
        known = self.shortlist.pinned(self.selection)
        names = self.index.names(known.values())
        for key in pins:
            tag = known.get(key, -1)
            posts = int(self.index.tag_posts[tag]) if tag >= 0 else 0
            yield ScoredTag(
                *names.get(tag, (key, key)),
                probability=spoken.get(tag, 0.0),
                tier=tier(posts, self.index.tier_floors),
                evidence=(Evidence("pinned", 1.0),),
                young=tag >= self.index.first_young,
            )

    def _unlikely(self, chances: Floats) -> tuple[str, ...]:
        """Why nothing is shown."""
        wanted, likeliest = self.selection.min_probability, float(chances.max(initial=0))
        if likeliest >= wanted:
            return ()
        return (
            f"no hashtag is as likely as asked for, {wanted:g}; the likeliest has {likeliest:.2g}",
        )


def _ranked(names: tuple[str, ...], probs: Floats) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probs, kind="stable")
    return tuple((names[topic], float(probs[topic])) for topic in order)
