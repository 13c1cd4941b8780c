"""Which posts stand behind a recommended hashtag, for each channel that rests on posts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from indexer.errors import HashlensError
from indexer.schema import Recommendation, ScoredTag
from retriever.entries import WIDTH
from retriever.neighbours import Near, near_captions, near_images, near_seeds, near_words
from retriever.prepare import QueryBatch
from retriever.reading import IndexReader

POSTS = 3  # posts named for each channel of a hashtag

Supports = dict[tuple[int, str], tuple[str, ...]]  # posts by (query, hashtag key)


def _seeds(index: IndexReader, batch: QueryBatch) -> Near:
    return near_seeds(index, batch)[0]


# The posts that a channel asked; counts over all posts are shown by the nearest of them.
_ASKED: dict[str, Callable[[IndexReader, QueryBatch], Near]] = {
    "image neighbours": near_images,
    "caption neighbours": near_captions,
    "word neighbours": near_words,
    "word counts": near_words,
    "seed neighbours": _seeds,
    "co-occurrence": _seeds,
}


def explained(
    index: IndexReader, batch: QueryBatch, answers: Sequence[Recommendation | HashlensError]
) -> list[Recommendation | HashlensError]:
    """The same answers, their evidence naming up to three posts a channel, nearest first."""
    chosen = [
        (query, tag.tag)
        for query, answer in enumerate(answers)
        if not isinstance(answer, HashlensError)
        for tag in answer.tags
    ]
    found = {ask: _nearest(index, ask(index, batch), chosen) for ask in set(_ASKED.values())}
    return [
        answer
        if isinstance(answer, HashlensError)
        else replace(answer, tags=tuple(_supported(tag, query, found) for tag in answer.tags))
        for query, answer in enumerate(answers)
    ]


def _supported(
    tag: ScoredTag,
    query: int,
    found: dict[Callable[[IndexReader, QueryBatch], Near], Supports],
) -> ScoredTag:
    evidence = tuple(
        replace(part, posts=found[_ASKED[part.channel]].get((query, tag.tag), ()))
        if part.channel in _ASKED
        else part
        for part in tag.evidence
    )
    return replace(tag, evidence=evidence)


def _nearest(index: IndexReader, near: Near, chosen: Sequence[tuple[int, str]]) -> Supports:
    """The nearest posts that hold each chosen hashtag, by (query, key)."""
    ids = index.tag_ids([key for _, key in chosen])
    wanted = {query * WIDTH + ids[key]: (query, key) for query, key in chosen if key in ids}
    places, tags, _ = index.counts.post_tags.rows(near.posts)
    pairs = near.queries[places] * WIDTH + tags
    rows = np.flatnonzero(np.isin(pairs, list(wanted)))
    rows = rows[np.argsort(-near.similarity[places[rows]], kind="stable")]
    posts: dict[int, list[int]] = {}
    for pair, post in zip(pairs[rows].tolist(), near.posts[places[rows]].tolist(), strict=True):
        if len(posts.setdefault(pair, [])) < POSTS:
            posts[pair].append(post)
    names = index.post_ids([post for some in posts.values() for post in some])
    return {wanted[pair]: tuple(names[post] for post in some) for pair, some in posts.items()}
