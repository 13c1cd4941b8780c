"""What an open index knows of one hashtag or one post, and hashtags that begin as one types."""

from __future__ import annotations

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

AROUND = 8  # neighbours told in each space, and hashtags told that go with it
EXCERPT = 280  # characters told of a post's caption
SIDE = 160  # pixels of a thumbnail


class UnknownError(HashlensError):
    """The index does not hold what is asked for."""


def hashtag_facts(index: IndexReader, hashtag: str) -> dict[str, Any]:
    """Counts, tier, authors by topic, neighbours by topic, and what goes with a hashtag.

    Raises:
        InputError: it is no hashtag.
        UnknownError: the index does not hold it.
    """
    name = key(hashtag)
    tag = index.tag_ids([name]).get(name)
    if tag is None:
        raise UnknownError(f"found no #{name} in this index")
    posts, authors = map(int, index.counts.hashtags[tag, :2])
    around = {topic: _neighbours(index, tag, topic) for topic in (ALL_TOPICS, *index.topic_names)}
    with_it, together = _beside(index, tag)
    names = index.names([tag, *with_it, *(i for near in around.values() for i, _ in near)])
    topics = zip(index.topic_names, index.counts.topics[tag].tolist(), strict=True)
    return {
        "tag": name,
        "display": f"#{names[tag][1]}",
        "posts": posts,
        "authors": authors,
        "tier": tier_of(int(index.tag_posts[tag]), index.tier_floors),
        "offered": bool(index.offered[tag]),
        "topics": [{"topic": topic, "authors": count} for topic, count in topics if count],
        "neighbours": [
            {"topic": topic, "tags": [_named(names, i) | {"cosine": round(c, 4)} for i, c in near]}
            for topic, near in around.items()
            if near
        ],
        "goes_with": [
            _named(names, other) | {"posts": count}
            for other, count in zip(with_it, together, strict=True)
        ],
    }


def completions(index: IndexReader, begun: str, most: int = AROUND) -> list[dict[str, Any]]:
    """Offered hashtags that begin so, the most used first."""
    rows = index.store.rows(
        """select tag_id, key, display, posts from hashtag_counts where starts_with(key, ?)
        order by posts desc, key limit ?""",
        [_folded(begun), 4 * most],
    )
    return [
        {"tag": name, "display": f"#{display}", "posts": posts}
        for tag, name, display, posts in rows
        if index.offered[tag]
    ][:most]


def post_facts(index: IndexReader, post_id: str) -> dict[str, Any]:
    """Caption, hashtags and topic of a post, and whether it has a picture.

    Raises:
        UnknownError: the index does not hold it.
    """
    rows = index.store.rows(
        "select post_key, caption, topic, image is not null from posts where post_id = ?", [post_id]
    )
    for post, caption, topic, pictured in rows:
        shown = caption if len(caption) <= EXCERPT else f"{caption[:EXCERPT]}…"
        tags = index.store.rows(
            "select form from post_hashtags where post_key = ? order by position", [post]
        )
        return {
            "id": post_id,
            "caption": shown,
            "hashtags": [f"#{form}" for (form,) in tags],
            "topic": topic,
            "picture": pictured,
        }
    raise UnknownError("found no such post in this index")


def post_thumbnail(index: IndexReader, post_id: str) -> bytes:
    """A small JPEG of a post's picture.

    Raises:
        UnknownError: there is no such post, or its picture is gone, changed or cannot be read.
    """
    rows = index.store.rows("select image, picture from posts where post_id = ?", [post_id])
    image, digest = rows[0] if rows else (None, None)
    if image is not None and is_same(Path(image), digest):
        with suppress(InputError):  # what cannot be decoded is no picture, either
            return thumbnail(Path(image), SIDE)
    raise UnknownError("found no picture of such a post")


def _folded(begun: str) -> str:
    try:
        return key(begun)
    except InputError:  # digits alone begin a hashtag, too
        return begun.strip().lstrip("#＃").casefold()


def _named(names: dict[int, tuple[str, str]], tag: int) -> dict[str, str]:
    return {"tag": names[tag][0], "display": f"#{names[tag][1]}"}


def _neighbours(index: IndexReader, tag: int, topic: str) -> list[tuple[int, float]]:
    """Offered hashtags around one, in one topic's space, with their cosine."""
    space = index.hashtag_index(topic)
    if space is None or tag not in space.ids:
        return []
    near = space.search(space.reconstruct(np.array([tag], np.int64)), 3 * AROUND)
    ids, scores = near.row(0)
    kept = (ids != tag) & index.offered[ids]
    return list(zip(ids[kept].tolist(), scores[kept].tolist(), strict=True))[:AROUND]


def _beside(index: IndexReader, tag: int) -> tuple[list[int], list[int]]:
    """Offered hashtags most often used with one, and in how many posts."""
    _, others, values = index.counts.tag_tags.rows(np.array([tag], np.int64))
    kept: Ids = np.flatnonzero(index.offered[others])
    kept = kept[np.argsort(-values[kept, 1], kind="stable")][:AROUND]
    return others[kept].tolist(), values[kept, 1].astype(int).tolist()
