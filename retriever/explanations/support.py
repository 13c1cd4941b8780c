"""What stands behind a recommended hashtag: posts for each channel, and a sentence why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hashlens.indexer.errors import HashlensError
from hashlens.retriever.candidates.image_classes import ShownClasses
from hashlens.retriever.candidates.near_posts import (
    NearPosts,
    search_captions,
    search_images,
    search_seeds,
    search_words,
)
from hashlens.retriever.explanations.reasons import ExplainContext, Support
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import PAIR_BASE
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.recommendation import Evidence, Recommendation, ScoredTag

PINNED = (Evidence("pinned", 1.0),)
POSTS = 3  # posts named for each channel of a hashtag

Ask = Callable[[IndexReader, QueryBatch], NearPosts]
Supports = dict[int, dict[str, Support]]  # by query and the hashtag's key
# Query and hashtag's key, keys of the nearest posts that hold it, how many do, and of how many.
_Held = tuple[tuple[int, str], list[int], int, int]


def _seeds(index: IndexReader, batch: QueryBatch) -> NearPosts:
    return search_seeds(index, batch)[0]


# The posts that a channel asked; counts over all posts are shown by the nearest of them.
_ASKED: dict[str, Ask] = {
    "image neighbours": search_images,
    "caption neighbours": search_captions,
    "word neighbours": search_words,
    "word counts": search_words,
    "seed neighbours": _seeds,
    "co-occurrence": _seeds,
}


def add_explanations(
    index: IndexReader, batch: QueryBatch, answers: Sequence[Recommendation | HashlensError]
) -> list[Recommendation | HashlensError]:
    """The same answers with reasons, their evidence naming up to three posts a channel."""
    shown = {q: a for q, a in enumerate(answers) if not isinstance(a, HashlensError)}
    chosen = [(query, tag.tag) for query, answer in shown.items() for tag in answer.tags]
    seeds = {seed for query in shown for seed in batch.queries[query].seeds}
    ids = index.tag_ids(list({key for _, key in chosen} | seeds))
    words = index.word_ids({word for query in shown for word in batch.words[query]})
    near = {ask: _nearest(index, ask(index, batch), chosen, ids) for ask in {*_ASKED.values()}}
    # One question to the store for all: each costs more than a channel does.
    names = index.post_ids({post for found in near.values() for some in found for post in some[1]})
    found = {ask: _named(some, names) for ask, some in near.items()}
    seen = ShownClasses.of(batch)
    told: list[Recommendation | HashlensError] = list(answers)
    for query, answer in shown.items():
        case = ExplainContext(
            index,
            batch,
            query,
            {k: ids[k] for k in _keys(answer, batch.queries[query].seeds) if k in ids},
            [tag.tag for tag in answer.tags if tag.evidence != PINNED],
            {words[word]: word for word in batch.words[query] if word in words},
            {channel: found[ask].get(query, {}) for channel, ask in _ASKED.items()},
            seen,
        )
        told[query] = replace(answer, tags=tuple(_told(tag, case) for tag in answer.tags))
    return told


def _keys(answer: Recommendation, seeds: Sequence[str]) -> list[str]:
    return [*(tag.tag for tag in answer.tags), *seeds]


def _told(tag: ScoredTag, case: ExplainContext) -> ScoredTag:
    evidence = tuple(
        replace(part, posts=case.supports[part.channel][tag.tag].posts)
        if tag.tag in case.supports.get(part.channel, {})
        else part
        for part in tag.evidence
    )
    return replace(tag, evidence=evidence, reason=case.sentence(tag))


def _nearest(
    index: IndexReader, near: NearPosts, chosen: Sequence[tuple[int, str]], ids: dict[str, int]
) -> list[_Held]:
    """The posts near each query that hold its chosen hashtags."""
    wanted = {query * PAIR_BASE + ids[key]: (query, key) for query, key in chosen if key in ids}
    asked = np.bincount(near.queries).tolist()
    places, tags, _ = index.counts.post_tags.rows(near.posts)
    pairs = near.queries[places] * PAIR_BASE + tags
    rows = np.flatnonzero(np.isin(pairs, list(wanted)))
    rows = rows[np.argsort(-near.similarity[places[rows]], kind="stable")]
    posts: dict[int, list[int]] = {}
    for pair, post in zip(pairs[rows].tolist(), near.posts[places[rows]].tolist(), strict=True):
        posts.setdefault(pair, []).append(post)
    return [
        (wanted[pair], some[:POSTS], len(some), asked[wanted[pair][0]])
        for pair, some in posts.items()
    ]


def _named(found: Sequence[_Held], names: dict[int, str]) -> Supports:
    supports: Supports = {}
    for (query, key), posts, held, asked in found:
        support = Support(tuple(names[post] for post in posts), held, asked)
        supports.setdefault(query, {})[key] = support
    return supports
