"""Explanations of recommended hashtags: supporting posts for each channel, and a reason."""

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
from hashlens.retriever.recommendation import PINNED, Recommendation

MAX_POSTS = 3  # posts named for each channel of a hashtag

Search = Callable[[IndexReader, QueryBatch], NearPosts]


def _search_seeds(index: IndexReader, batch: QueryBatch) -> NearPosts:
    return search_seeds(index, batch)[0]


# The posts that support a channel; counts over all posts are illustrated by the nearest of them.
_SEARCHES: dict[str, Search] = {
    "image neighbours": search_images,
    "caption neighbours": search_captions,
    "word neighbours": search_words,
    "word counts": search_words,
    "seed neighbours": _search_seeds,
    "co-occurrence": _search_seeds,
}


def add_explanations(
    index: IndexReader, batch: QueryBatch, answers: Sequence[Recommendation | HashlensError]
) -> list[Recommendation | HashlensError]:
    """Return the answers with reasons, and with up to three posts for each channel."""
    shown = {q: a for q, a in enumerate(answers) if not isinstance(a, HashlensError)}
    chosen = [(query, tag.tag) for query, answer in shown.items() for tag in answer.tags]
    seeds = {seed for query in shown for seed in batch.queries[query].seeds}
    ids = index.tag_ids(list({key for _, key in chosen} | seeds))
    words = index.word_ids({word for query in shown for word in batch.words[query]})
    near = {
        search: _supporting_posts(index, search(index, batch), chosen, ids)
        for search in {*_SEARCHES.values()}
    }
    # One question to the store for all: each costs more than a channel does.
    every = {post for found in near.values() for posts, _, _ in found.values() for post in posts}
    names = index.post_ids(every)
    classes = ShownClasses.of(batch)
    explained: list[Recommendation | HashlensError] = list(answers)
    for query, answer in shown.items():
        keys = [tag.tag for tag in answer.tags]
        context = ExplainContext(
            index,
            batch,
            query,
            ids={key: ids[key] for key in (*keys, *batch.queries[query].seeds) if key in ids},
            others=[tag.tag for tag in answer.tags if tag.evidence != PINNED],
            words={words[word]: word for word in batch.words[query] if word in words},
            supports={
                channel: {
                    key: Support(tuple(names[post] for post in posts), having, searched)
                    for key in keys
                    if (query, key) in near[search]
                    for posts, having, searched in [near[search][query, key]]
                }
                for channel, search in _SEARCHES.items()
            },
            shown=classes,
        )
        tags = []
        for tag in answer.tags:
            evidence = []
            for part in tag.evidence:
                support = context.supports.get(part.channel, {}).get(tag.tag)
                evidence.append(replace(part, posts=support.posts) if support else part)
            reason = context.sentence(tag)
            tags.append(replace(tag, evidence=tuple(evidence), reason=reason))
        explained[query] = replace(answer, tags=tuple(tags))
    return explained


def _supporting_posts(
    index: IndexReader, near: NearPosts, chosen: Sequence[tuple[int, str]], ids: dict[str, int]
) -> dict[tuple[int, str], tuple[list[int], int, int]]:
    """Return the posts near each query that have its chosen hashtags.

    Returns:
        By query and hashtag: keys of the nearest posts, the number of posts that have the hashtag,
        and the number of posts searched.
    """
    wanted = {query * PAIR_BASE + ids[key]: (query, key) for query, key in chosen if key in ids}
    searched = np.bincount(near.queries).tolist()
    places, tags, _ = index.counts.post_tags.rows(near.posts)
    pairs = near.queries[places] * PAIR_BASE + tags
    rows = np.flatnonzero(np.isin(pairs, list(wanted)))
    rows = rows[np.argsort(-near.similarity[places[rows]], kind="stable")]
    posts: dict[int, list[int]] = {}
    for pair, post in zip(pairs[rows].tolist(), near.posts[places[rows]].tolist(), strict=True):
        posts.setdefault(pair, []).append(post)
    return {
        wanted[pair]: (some[:MAX_POSTS], len(some), searched[wanted[pair][0]])
        for pair, some in posts.items()
    }
