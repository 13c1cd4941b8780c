"""Turns posts into columns of the store's tables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.indexer.posts.dedup import mark
from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Ids, Post

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# An update learns from given topics, not from guessed ones.
STORED = """
    with tagged_by as (
        select post_key, list(key order by position) as keys, list(form order by position) as forms
        from post_hashtags join hashtags using (tag_id) group by post_key)
    select post_id, image, caption, coalesce(t.keys, []), coalesce(t.forms, []), author,
        epoch_us(taken_at), if(topic_source = 'given', topic, null), content_hash, origin, picture
    from posts left join tagged_by t using (post_key) order by post_key"""
COPIES = """
    select post_id, image, caption, hashtags, forms, author, epoch_us(taken_at), topic,
        content_hash, origin, picture
    from copies"""

# NumPy has neither times with a zone nor lists, so these columns are converted on insertion. A list
# comes as lines, since hashtags and words have no line break; the last line is followed by nothing.
_TIMED = "taken_at at time zone 'UTC' as taken_at"
_LISTED = "string_split({0}, chr(10))[:-2] as {0}"
ADDED = {
    "posts": (_TIMED,),
    "copies": (_TIMED, *map(_LISTED.format, ("hashtags", "forms"))),
    "hashtag_parts": (_LISTED.format("words"),),
}


def post_of(row: Sequence[Any]) -> Post:
    """Return the post of a row of `STORED` or `COPIES`."""
    post_id, image, caption, hashtags, forms, author, taken_at, *rest = row
    return Post(
        post_id,
        Path(image) if image else None,
        caption,
        tuple(hashtags),
        tuple(forms),
        author,
        None if taken_at is None else _EPOCH + timedelta(microseconds=taken_at),
        *rest,
    )


def row_of(post: Post) -> tuple[Any, ...]:
    """Return the row of a post, as `post_of` takes it, with values of JSON."""
    return (
        post.post_id,
        str(post.image) if post.image else None,
        post.caption,
        post.hashtags,
        post.forms,
        post.author,
        _since(post.taken_at),
        post.topic,
        post.content_hash,
        post.origin,
        post.picture,
    )


def post_columns(
    posts: Sequence[Post],
    words: Sequence[Sequence[str]],
    topics: Sequence[tuple[str | None, str | None]],
    keys: Ids,
) -> dict[str, Any]:
    """Return columns of the table `posts`, from keys int64 (n,) and (topic, its source) of each."""
    return {
        "post_key": keys,
        "topic": [topic for topic, _ in topics],
        "topic_source": [source for _, source in topics],
        "owner": [post.author and fold_author(post.author) for post in posts],
        **_shared_columns(posts, words),
    }


def copy_columns(posts: Sequence[Post], first: int) -> dict[str, Any]:
    """Return columns of the table `copies`, numbered from `first`."""
    return {
        "number": np.arange(first, first + len(posts), dtype=np.int64),
        "topic": [post.topic for post in posts],
        "hashtags": [_lines(post.hashtags) for post in posts],
        "forms": [_lines(post.forms) for post in posts],
        **_shared_columns(posts, [tokens(post.caption) for post in posts]),
    }


def _shared_columns(posts: Sequence[Post], words: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        "post_id": [post.post_id for post in posts],
        "author": [post.author for post in posts],
        "taken_at": np.array([_since(post.taken_at) for post in posts], "datetime64[us]"),
        "caption": [post.caption for post in posts],
        "image": [str(post.image) if post.image else None for post in posts],
        "content_hash": [post.content_hash for post in posts],
        "origin": [post.origin for post in posts],
        "picture": [post.picture for post in posts],
        "signature": list(map(mark, posts, words)),
    }


def tag_columns(posts: Sequence[Post], keys: Ids) -> dict[str, Any]:
    """Return each post's hashtags, one a row: post's key, hashtag, form, place, row number."""
    lengths = np.array([len(post.hashtags) for post in posts], dtype=np.int64)
    ends = np.cumsum(lengths)
    position = np.arange(lengths.sum(), dtype=np.int64)
    return {
        "post_key": np.repeat(keys, lengths),
        "term": [tag for post in posts for tag in post.hashtags],
        "form": [form for post in posts for form in post.forms],
        "place": position - np.repeat(ends - lengths, lengths),
        "position": position,
    }


def word_columns(words: Sequence[Sequence[str]], keys: Ids) -> dict[str, Any]:
    """Return each post's distinct words, one a row: post's key, word, row number."""
    unique = [list(dict.fromkeys(row)) for row in words]
    lengths = np.array([len(row) for row in unique], dtype=np.int64)
    return {
        "post_key": np.repeat(keys, lengths),
        "term": [word for row in unique for word in row],
        "position": np.arange(lengths.sum(), dtype=np.int64),
    }


def part_columns(parts: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """Return columns of the table `hashtag_parts`: ids of hashtags, and their words."""
    return {
        "tag_id": np.fromiter(parts, np.int64, len(parts)),
        "words": [_lines(words) for words in parts.values()],
    }


def question_columns(posts: Sequence[Post]) -> dict[str, Any]:
    """Return columns by which posts are found in an index: place, id, content hash, picture."""
    return {
        "place": np.arange(len(posts), dtype=np.int64),
        "post_id": [post.post_id for post in posts],
        "content_hash": [post.content_hash for post in posts],
        "image": [str(post.image) if post.image else None for post in posts],
    }


def _lines(items: Iterable[str]) -> str:
    return "".join(f"{item}\n" for item in items)


def _since(time: datetime | None) -> int | None:
    """Return microseconds since 1970; a time without a zone counts as UTC."""
    return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // _MICROSECOND if time else None
