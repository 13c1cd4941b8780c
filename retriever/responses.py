"""Builds recommendations from ranked and selected candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.tiers import tier_of
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommendation import (
    PINNED,
    Candidates,
    Evidence,
    Recommendation,
    ScoredTag,
)
from hashlens.retriever.selection.selection import Selection

MIN_SHARE = 0.005  # of a channel that counts as evidence
HABITS = "habits"  # the channel of an author's own posts


def find_evidence(
    ranker: Ranker, candidates: Candidates, rows: Ids, prior_shares: Floats
) -> list[tuple[Evidence, ...]]:
    """Return the channels' shares of some candidates, the largest first.

    Args:
        ranker: whose scores are explained.
        candidates: of a batch.
        rows: of the candidates, int64 (r,).
        prior_shares: share of the author's own posts in each candidate, float32 (c,).
    """
    channels, shares = ranker.shares(candidates.rows(rows))
    own = prior_shares[rows]
    channels = (*channels, HABITS)
    shares = np.column_stack([shares * (1 - own[:, None]), own])
    orders = np.argsort(-shares, axis=1, kind="stable")
    return [
        tuple(Evidence(channels[c], float(row[c])) for c in order if row[c] >= MIN_SHARE)
        for row, order in zip(shares, orders, strict=True)
    ]


def write_answers(
    index: IndexReader,
    batch: QueryBatch,
    candidates: Candidates,
    probabilities: Floats,
    chosen: Sequence[Ids],
    selection: Selection,
    pinned: Mapping[str, int],
    evidence: Sequence[tuple[Evidence, ...]] | None,
) -> list[Recommendation]:
    """Return the answer to each query of a batch.

    Args:
        index: to read names, counts and topics from.
        batch: the queries.
        candidates: of the batch.
        probabilities: of the candidates, float32 (c,).
        chosen: rows of the candidates to show, for each query.
        selection: adds pinned hashtags and notes.
        pinned: ids of the pinned hashtags that the index knows.
        evidence: of the chosen rows, one after the other; None for none.
    """
    rows = np.concatenate(chosen)
    shown = _scored_tags(index, batch, candidates, probabilities, rows, evidence)
    answers = []
    for number, span in enumerate(candidates.spans(len(batch))):
        query = batch.queries[number]
        existing = selection.count_existing(query.seeds)
        scores: dict[int, float] = {}
        if pinned:
            ids, likely = candidates.tag_ids[span].tolist(), probabilities[span].tolist()
            scores = dict(zip(ids, likely, strict=True))
        pins = selection.shown_pins(existing)
        tags = (
            *_pinned_tags(index, pins, pinned, scores),
            *(next(shown) for _ in chosen[number]),
        )
        notes = selection.notes_on(existing)
        likeliest = float(probabilities[span].max(initial=0))
        if not (notes or tags) and likeliest < selection.min_probability:
            notes = (
                f"no hashtag is as likely as asked for, {selection.min_probability:g}; the "
                f"likeliest has {likeliest:.2g}",
            )
        probs = batch.topics.probs[number]
        order = np.argsort(-probs, kind="stable")
        topics = tuple((index.topic_names[topic], float(probs[topic])) for topic in order)
        answers.append(Recommendation(tags, topics, query.inputs, notes))
    return answers


def _scored_tags(
    index: IndexReader,
    batch: QueryBatch,
    candidates: Candidates,
    probabilities: Floats,
    rows: Ids,
    evidence: Sequence[tuple[Evidence, ...]] | None,
) -> Iterator[ScoredTag]:
    """Yield the hashtags of some candidates, one after the other."""
    tag_ids = candidates.tag_ids[rows]
    names = index.names(np.unique(tag_ids[tag_ids < index.hashtag_count]).tolist())
    coined = zip(batch.spelt.coined, batch.spelt.displays, strict=True)
    names |= dict(enumerate(coined, start=index.hashtag_count))
    posts = index.posts_of(tag_ids).tolist()
    for place, (row, tag) in enumerate(zip(rows.tolist(), tag_ids.tolist(), strict=True)):
        yield ScoredTag(
            *names[tag],
            probability=float(probabilities[row]),
            tier=tier_of(posts[place], index.tier_floors),
            evidence=evidence[place] if evidence else (),
            is_new=index.first_new_hashtag <= tag < index.hashtag_count,
        )


def _pinned_tags(
    index: IndexReader, pins: Sequence[str], known: Mapping[str, int], scores: Mapping[int, float]
) -> Iterator[ScoredTag]:
    """Yield the pinned hashtags, with probability 0 for those that are no candidates."""
    names = index.names(known.values()) if pins else {}
    for key in pins:
        tag = known.get(key, -1)
        posts = int(index.tag_posts[tag]) if tag >= 0 else 0
        yield ScoredTag(
            *names.get(tag, (key, key)),
            probability=scores.get(tag, 0.0),
            tier=tier_of(posts, index.tier_floors),
            evidence=PINNED,
            is_new=tag >= index.first_new_hashtag,
        )
