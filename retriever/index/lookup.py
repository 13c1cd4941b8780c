"""Facts of an open index on one hashtag or one post, and completion of hashtags."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.decoding.decoder_pool import thumbnail
from hashlens.indexer.decoding.loading import is_same
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.text.hashtags import key
from hashlens.indexer.types import Ids
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.tiers import tier_of

MAX_RELATED = 8  # neighbours in each space, and hashtags used together
MAX_SIMILAR = 3  # hashtags suggested for an unknown one
MAX_EXCERPT = 280  # characters of a post's caption
THUMBNAIL_SIDE = 160  # pixels


class UnknownError(HashlensError):
    """The index does not contain what is asked for."""


def hashtag_facts(index: IndexReader, hashtag: str) -> dict[str, Any]:
    """Return a hashtag's counts, tier, authors and neighbours by topic, and companions.

    Raises:
        InputError: it is no hashtag.
        UnknownError: the index does not contain it.
    """
    name = key(hashtag)
    tag = index.tag_ids([name]).get(name)
    if tag is None:
        raise UnknownError(f"found no #{name} in this index")
    posts, authors = map(int, index.counts.hashtags[tag, :2])
    near = {topic: _neighbours(index, tag, topic) for topic in (ALL_TOPICS, *index.topic_names)}
    _, others, values = index.counts.tag_tags.rows(np.array([tag], np.int64))
    rows: Ids = np.flatnonzero(index.offered[others])
    rows = rows[np.argsort(-values[rows, 1], kind="stable")][:MAX_RELATED]
    together = dict(zip(others[rows].tolist(), values[rows, 1].astype(int).tolist(), strict=True))
    names = index.names([tag, *together, *(i for found in near.values() for i, _ in found)])
    forms = {i: {"tag": key, "display": f"#{display}"} for i, (key, display) in names.items()}
    topics = zip(index.topic_names, index.counts.topics[tag].tolist(), strict=True)
    return {
        **forms[tag],
        "posts": posts,
        "authors": authors,
        "tier": tier_of(int(index.tag_posts[tag]), index.tier_floors),
        "offered": bool(index.offered[tag]),
        "topics": [{"topic": topic, "authors": count} for topic, count in topics if count],
        "neighbours": [
            {"topic": topic, "tags": [forms[i] | {"cosine": round(c, 4)} for i, c in found]}
            for topic, found in near.items()
            if found
        ],
        "goes_with": [forms[other] | {"posts": count} for other, count in together.items()],
    }


def _neighbours(index: IndexReader, tag: int, topic: str) -> list[tuple[int, float]]:
    """Return offered hashtags around one, in one topic's space, with their cosine."""
    space = index.hashtag_index(topic)
    if space is None or tag not in space.ids:
        return []
    near = space.search(space.reconstruct(np.array([tag], np.int64)), 3 * MAX_RELATED)
    ids, scores = near.row(0)
    kept = (ids != tag) & index.offered[ids]
    return list(zip(ids[kept].tolist(), scores[kept].tolist(), strict=True))[:MAX_RELATED]


def completions(index: IndexReader, start: str, most: int = MAX_RELATED) -> list[dict[str, Any]]:
    """Return offered hashtags with a start, the most used first."""
    try:
        start = key(start)
    except InputError:  # a hashtag may start with digits alone
        start = start.strip().lstrip("#＃").casefold()
    rows = index.store.rows(
        """select tag_id, key, display, posts from hashtag_counts where starts_with(key, ?)
        order by posts desc, key limit ?""",
        [start, 4 * most],
    )
    return [
        {"tag": name, "display": f"#{display}", "posts": posts}
        for tag, name, display, posts in rows
        if index.offered[tag]
    ][:most]


def similar_hashtags(index: IndexReader, hashtags: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return offered hashtags with almost the same spelling, best first: for "did you mean".

    One scan of all hashtags serves all that are given; each one costs time, so give few.
    """
    rows = index.store.rows(
        """select given, tag_id, key from (
            select given, tag_id, key, posts, damerau_levenshtein(key, given) as edits
            from hashtag_counts, (select unnest(?::varchar[]) as given)
            where abs(length(key) - length(given)) <= 2)
        where edits <= 2
        qualify row_number() over (partition by given order by edits, posts desc, key) <= ?
        order by given, edits, posts desc, key""",
        [list(hashtags), 4 * MAX_SIMILAR],
    )
    similar: dict[str, list[str]] = {hashtag: [] for hashtag in hashtags}
    for given, tag, name in rows:
        if index.offered[tag]:
            similar[given].append(name)
    return {given: tuple(names[:MAX_SIMILAR]) for given, names in similar.items()}


def post_facts(index: IndexReader, post_id: str) -> dict[str, Any]:
    """Return caption, hashtags and topic of a post, and whether it has a picture.

    Raises:
        UnknownError: the index does not contain it.
    """
    rows = index.store.rows(
        "select post_key, caption, topic, image is not null from posts where post_id = ?", [post_id]
    )
    if not rows:
        raise UnknownError("found no such post in this index")
    post, caption, topic, pictured = rows[0]
    tags = index.store.rows(
        "select form from post_hashtags where post_key = ? order by position", [post]
    )
    return {
        "id": post_id,
        "caption": caption if len(caption) <= MAX_EXCERPT else f"{caption[:MAX_EXCERPT]}…",
        "hashtags": [f"#{form}" for (form,) in tags],
        "topic": topic,
        "picture": pictured,
    }


def post_thumbnail(index: IndexReader, post_id: str) -> bytes:
    """Return a small JPEG of a post's picture.

    Raises:
        UnknownError: there is no such post, or its picture is missing, changed or unreadable.
    """
    rows = index.store.rows("select image, picture from posts where post_id = ?", [post_id])
    image, digest = rows[0] if rows else (None, None)
    if image is not None and is_same(Path(image), digest):
        with suppress(InputError):  # an undecodable file is no picture, either
            return thumbnail(Path(image), THUMBNAIL_SIDE)
    raise UnknownError("found no picture of such a post")
