"""Leak-free splits of posts into a training and a test part, saved so that a run can be repeated.

Near-duplicates never stand on both sides. Two posts are near-duplicates where they have

- the same caption: its words without case, emoji, links and mentions, three at least; or nearly
  the same, as a post and its retweet have (`hashlens.evaluation.tasks.near_duplicates`); or
- the same picture, byte for byte; or
- neither of them a picture, and the same set of four hashtags or more, or nearly the same. Shorter
  lists, such as `#love` alone, are written anew every day by people who never saw each other's.

Likeness passes on: what is like a near-duplicate of a post stays with that post too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.tasks.inputs import MIN_WORDS, caption_words
from hashlens.evaluation.tasks.near_duplicates import nearly_same
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.types import Ids, Post

RULES = ("author", "time", "post")
MIN_HASHTAGS = 4  # of a set that tells posts apart

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Split:
    """Post ids of the two parts, each sorted; `rule` is the one followed, never `auto`."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    rule: str

    def __post_init__(self) -> None:
        both = set(self.train) & set(self.test)
        if both:
            raise InputError(f"split: found post {min(both)!r} in both parts, expected it in one")
        if not (self.train and self.test):
            raise InputError("split: found an empty part, expected posts in both")

    def parts(self, posts: Sequence[Post]) -> tuple[list[Post], list[Post]]:
        """The training and the test posts, in the order of the split; other posts are left out.

        Raises:
            InputError: a post of the split is not among them.
        """
        by_id = {post.post_id: post for post in posts}
        missing = [name for name in (*self.train, *self.test) if name not in by_id]
        if missing:
            raise InputError(
                f"split: found no post {missing[0]!r} ({len(missing):,} missing), expected the "
                "posts that were split; give the same posts, or split these anew"
            )
        return [by_id[name] for name in self.train], [by_id[name] for name in self.test]

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        values = {"format": _FORMAT, "rule": self.rule, "seed": self.seed}
        values |= {"train": self.train, "test": self.test}
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_text(json.dumps(values, ensure_ascii=False, indent=0), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            raise InputError(f"cannot write the split to {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, or is no split of this format.
        """
        try:
            return cls(*_fields(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, InputError) as error:
            raise InputError(
                f"cannot read a split from {path}: {error}; name a file that a benchmark saved"
            ) from error


def _fields(found: Any) -> tuple[tuple[str, ...], tuple[str, ...], int, str]:  # noqa: ANN401 (any JSON value)
    """Train, test, seed and rule of a split, from any JSON value."""
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise InputError(f"expected a JSON object of format {_FORMAT}")
    seed, rule = found.get("seed"), found.get("rule")
    train, test = _texts(found.get("train")), _texts(found.get("test"))
    if not (train and test and type(seed) is int and rule in RULES):
        raise InputError(
            "expected lists of post ids as train and test, a number as seed, "
            f"and as rule one of {', '.join(RULES)}"
        )
    return train, test, seed, rule


def _texts(found: Any) -> tuple[str, ...]:  # noqa: ANN401 (any JSON value)
    """The texts of a list of nothing else; empty for any other value."""
    texts = isinstance(found, list) and all(isinstance(each, str) for each in found)
    return tuple(found) if texts else ()


def split(
    posts: Sequence[Post], *, rule: str = "auto", test_share: float = 0.2, seed: int = 1
) -> Split:
    """Split posts so that nothing of the test part is known from training.

    The order of the posts does not matter, and near-duplicates (see the module) stay together.

    Args:
        posts: with pictures that can still be read.
        rule: `author` keeps authors whole on one side. `time` puts the latest posts to the test;
            near-duplicates go by the latest of them, and posts without a time train. `post`
            draws posts. `auto` is `author` where half the posts have one and there are two or
            more, else `time` where half the posts have one, else `post`.
        test_share: of the posts, in (0, 1). Less is tested where what must stay together does
            not fit, but never nothing.
        seed: decides what is drawn, and which of equally late posts are tested.

    Raises:
        ConfigError: the rule is unknown or the share out of range.
        InputError: there are too few posts that may be parted, two have one id, the rule needs
            what no post has, or a picture cannot be read.
    """
    if rule not in (*RULES, "auto"):
        raise ConfigError(f"split: found {rule!r}, expected one of {', '.join(RULES)}, auto")
    if not 0 < test_share < 1:
        raise ConfigError(f"split: found a test share of {test_share}, expected between 0 and 1")
    ordered = sorted(posts, key=lambda post: post.post_id)
    chosen = _choose(ordered) if rule == "auto" else rule
    _check(ordered, chosen)
    groups = _groups(ordered, by_author=chosen == "author")
    if len(ordered) < 2 or not groups.any():
        raise InputError(
            f"split by {chosen}: found {len(ordered):,} posts that must all stay together, "
            "expected two or more that may be parted; give more posts or split by another rule"
        )
    tested = _tested(ordered, groups, chosen, test_share, seed)
    in_test = np.isin(groups, tested)
    ids = np.array([post.post_id for post in ordered], dtype=object)
    return Split(tuple(ids[~in_test]), tuple(ids[in_test]), seed, chosen)


def _choose(posts: Sequence[Post]) -> str:
    """The rule that `auto` stands for."""
    authors = [post.author for post in posts if post.author is not None]
    if 2 * len(authors) >= len(posts) and len(set(authors)) > 1:
        return "author"
    timed = sum(post.taken_at is not None for post in posts)
    return "time" if 0 < len(posts) <= 2 * timed else "post"


def _check(posts: Sequence[Post], rule: str) -> None:
    for before, post in pairwise(posts):
        if before.post_id == post.post_id:
            raise InputError(f"split: found two posts of id {post.post_id!r}, expected one each")
    field = {"author": "author", "time": "taken_at"}.get(rule)
    if field and all(getattr(post, field) is None for post in posts):
        raise InputError(
            f"split by {rule}: found no {field} in {len(posts):,} posts; split by another rule"
        )


def _groups(posts: Sequence[Post], *, by_author: bool) -> Ids:
    """Numbers from 0, int64 (n,), alike for posts that must stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes: dict[Hashable, int] = {}
    captions = [caption_words(post.caption) for post in posts]
    lists = [() if post.image else post.hashtags for post in posts]
    told = zip(posts, captions, _pictures(posts), strict=True)
    ends = [
        (place, len(posts) + nodes.setdefault(mark, len(nodes)))
        for place, (post, words, picture) in enumerate(told)
        for mark in _marks(post, words, picture, by_author=by_author)
    ]
    same = np.array(ends, np.int64).reshape(-1, 2)
    edges = np.concatenate([same, nearly_same(captions), nearly_same(lists)])
    size = len(posts) + len(nodes)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), (size, size))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[: len(posts)], return_inverse=True)[1].astype(np.int64)


def _marks(
    post: Post, words: Sequence[str], picture: Hashable, *, by_author: bool
) -> Iterator[Hashable]:
    """What a post shares with those that it must stay with."""
    if by_author and post.author is not None:
        yield "author", post.author
    if len(words) >= MIN_WORDS:
        yield "caption", tuple(words)
    if picture is not None:
        yield "picture", picture
    elif len(post.hashtags) >= MIN_HASHTAGS:
        yield "hashtags", frozenset(post.hashtags)


def _pictures(posts: Sequence[Post]) -> list[Hashable]:
    """What tells each post's picture from others, None without one."""
    try:
        sizes = [post.image.stat().st_size if post.image else None for post in posts]
        # A picture of a size that no other has is like no other; only the rest need be read.
        shared = Counter(sizes)
        return [
            (size, _digest(post.image)) if post.image and shared[size] > 1 else size
            for post, size in zip(posts, sizes, strict=True)
        ]
    except OSError as error:
        raise InputError(
            f"split: cannot read the picture {error.filename}: {error.strerror}; "
            "put it back, or leave its post out"
        ) from error


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _tested(posts: Sequence[Post], groups: Ids, rule: str, share: float, seed: int) -> list[int]:
    """Groups that are tested, some but not all, of about `share` of the posts."""
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    draws = [hashlib.sha256(f"{seed}\n{posts[place].post_id}".encode()).digest() for place in first]
    order = sorted(range(len(sizes)), key=draws.__getitem__)
    room = min(round(share * len(posts)), len(posts) - 1)
    if rule == "time":
        return _latest(order, sizes, _times(posts, groups), room)
    return _fitting(order, sizes, room)


def _fitting(order: Sequence[int], sizes: Ids, room: int) -> list[int]:
    """Groups in their order, each where it still fits; the smallest where none does."""
    taken = []
    for group in order:
        if sizes[group] <= room:
            taken.append(group)
            room -= int(sizes[group])
    return taken or [min(order, key=sizes.__getitem__)]


def _latest(order: Sequence[int], sizes: Ids, times: NDArray[np.float64], room: int) -> list[int]:
    """The latest groups, as many as fit: no training post is later than any group of them."""
    by_time = sorted(
        (group for group in order if np.isfinite(times[group])), key=lambda g: -times[g]
    )
    fit = int(np.searchsorted(np.cumsum(sizes[by_time]), room, side="right"))
    return by_time[: min(max(fit, 1), len(order) - 1)]


def _times(posts: Sequence[Post], groups: Ids) -> NDArray[np.float64]:
    """Seconds since 1970 of each group's latest post, float64; -inf where none has a time."""
    times = np.full(int(groups.max()) + 1, -np.inf)
    for post, group in zip(posts, groups, strict=True):
        if post.taken_at is not None:
            moment = post.taken_at.replace(tzinfo=post.taken_at.tzinfo or UTC)
            times[group] = max(times[group], moment.timestamp())
    return times
