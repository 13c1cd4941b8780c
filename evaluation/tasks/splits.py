"""Leak-free splits of posts into a training part and a test part.

Near-duplicates are always in the same part. Two posts are near-duplicates if they have

- the same caption, or nearly the same, as a post and its retweet do
  (`hashlens.evaluation.tasks.near_duplicates`). The same caption has the same words, three at
  least, without case, emoji, links and mentions; or
- the same picture, byte for byte; or
- no picture, and the same set of four hashtags or more, or nearly the same. Many independent
  authors write the same shorter lists, such as `#love` alone.

The relation is transitive: a near-duplicate of a near-duplicate stays in the same part, too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise

import numpy as np

from hashlens.evaluation.tasks.inputs import MIN_WORDS, caption_words, draw_key
from hashlens.evaluation.tasks.near_duplicates import find_near_duplicates
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.generations.filesystem import read_entry
from hashlens.indexer.types import Ids, Post

RULES = ("author", "time", "post")
MIN_HASHTAGS = 4  # of a set that identifies near-duplicates

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Split:
    """Sorted post ids of the two parts; `rule` is the one applied, never `auto`."""

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

    def select(self, posts: Sequence[Post]) -> tuple[list[Post], list[Post]]:
        """Return the training posts and the test posts, each in the order of the split.

        Raises:
            InputError: a post of the split is missing from `posts`.
        """
        by_id = {post.post_id: post for post in posts}
        missing = [name for name in (*self.train, *self.test) if name not in by_id]
        if missing:
            raise InputError(
                f"split: found no post {missing[0]!r} ({len(missing):,} missing), expected the "
                "posts that were split; give the same posts, or split these anew"
            )
        return [by_id[name] for name in self.train], [by_id[name] for name in self.test]

    def to_json(self) -> str:
        """Return the split as JSON text."""
        values = {"format": _FORMAT, "rule": self.rule, "seed": self.seed}
        values |= {"train": self.train, "test": self.test}
        return json.dumps(values, ensure_ascii=False, indent=0)


def split(
    posts: Sequence[Post], *, rule: str = "auto", test_share: float = 0.2, seed: int = 1
) -> Split:
    """Split posts so that the training part reveals nothing about the test part.

    The order of the posts does not matter. Near-duplicates (see the module) stay together.

    Args:
        posts: their pictures must still be readable.
        rule: `author` keeps all posts of an author in one part. `time` tests the latest posts; a
            group of near-duplicates counts as its latest post, and posts without a time train.
            `post` draws posts at random. `auto` is the first that the posts allow: `author` if half
            of them have one of several authors, `time` if half have a time, else `post`.
        test_share: share of the posts that are tested, in (0, 1). Groups that would exceed it
            train, but at least one group is tested.
        seed: of the random draw; with `time` it decides among equally late posts.

    Raises:
        ConfigError: the rule is unknown or the share is out of range.
        InputError: the posts cannot be separated, two have the same id, no post has the field of
            the rule, or a picture cannot be read.
    """
    if rule not in (*RULES, "auto"):
        raise ConfigError(f"split: found {rule!r}, expected one of {', '.join(RULES)}, auto")
    if not 0 < test_share < 1:
        raise ConfigError(f"split: found a test share of {test_share}, expected between 0 and 1")
    ordered = sorted(posts, key=lambda post: post.post_id)
    for before, post in pairwise(ordered):
        if before.post_id == post.post_id:
            raise InputError(f"split: found two posts of id {post.post_id!r}, expected one each")
    rule = _choose_rule(ordered) if rule == "auto" else rule
    field = {"author": "author", "time": "taken_at"}.get(rule)
    if field and all(getattr(post, field) is None for post in ordered):
        raise InputError(
            f"split by {rule}: found no {field} in {len(ordered):,} posts; split by another rule"
        )
    groups = _group_posts(ordered, by_author=rule == "author")
    if len(ordered) < 2 or not groups.any():
        raise InputError(
            f"split by {rule}: found {len(ordered):,} posts that must all stay together, "
            "expected two or more that may be parted; give more posts or split by another rule"
        )
    tested = np.isin(groups, _select_test_groups(ordered, groups, rule, test_share, seed))
    ids = np.array([post.post_id for post in ordered], dtype=object)
    return Split(tuple(ids[~tested]), tuple(ids[tested]), seed, rule)


def _choose_rule(posts: Sequence[Post]) -> str:
    """Return the rule that `auto` stands for."""
    authors = [post.author for post in posts if post.author is not None]
    if 2 * len(authors) >= len(posts) and len(set(authors)) > 1:
        return "author"
    timed = sum(post.taken_at is not None for post in posts)
    return "time" if 0 < len(posts) <= 2 * timed else "post"


def _group_posts(posts: Sequence[Post], *, by_author: bool) -> Ids:
    """Return group numbers from 0, int64 (n,); posts of one group must stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    captions = [caption_words(post.caption) for post in posts]
    lists = [() if post.image else post.hashtags for post in posts]
    # A graph: each post is a node, and so is each property that posts may share.
    nodes: dict[Hashable, int] = {}
    edges = [
        (position, len(posts) + nodes.setdefault(key, len(nodes)))
        for position, key in _shared_keys(posts, captions, by_author=by_author)
    ]
    ends = np.concatenate(
        [
            np.array(edges, np.int64).reshape(-1, 2),
            find_near_duplicates(captions),
            find_near_duplicates(lists),
        ]
    )
    size = len(posts) + len(nodes)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), (size, size))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[: len(posts)], return_inverse=True)[1].astype(np.int64)


def _shared_keys(
    posts: Sequence[Post], captions: Sequence[Sequence[str]], *, by_author: bool
) -> Iterator[tuple[int, Hashable]]:
    """Yield positions of posts with keys; posts with an equal key must stay together."""
    try:
        sizes = [post.image.stat().st_size if post.image else None for post in posts]
        counts = Counter(sizes)
        for position, (post, words, size) in enumerate(zip(posts, captions, sizes, strict=True)):
            if by_author and post.author is not None:
                yield position, ("author", post.author)
            if len(words) >= MIN_WORDS:
                yield position, ("caption", tuple(words))
            if post.image:
                # Only files of equal size can be equal, so only those are read.
                digest = read_entry(post.image)["sha256"] if counts[size] > 1 else ""
                yield position, ("picture", size, digest)
            elif len(post.hashtags) >= MIN_HASHTAGS:
                yield position, ("hashtags", frozenset(post.hashtags))
    except OSError as error:
        raise InputError(
            f"split: cannot read the picture {error.filename}: {error.strerror}; "
            "put it back, or leave its post out"
        ) from error


def _select_test_groups(
    posts: Sequence[Post], groups: Ids, rule: str, share: float, seed: int
) -> list[int]:
    """Return some groups, but not all, with about `share` of the posts."""
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    keys = [draw_key(seed, posts[row].post_id) for row in first.tolist()]
    order = sorted(range(len(sizes)), key=keys.__getitem__)
    room = min(round(share * len(posts)), len(posts) - 1)
    if rule == "time":
        latest: dict[int, float] = {}
        for post, group in zip(posts, groups.tolist(), strict=True):
            if post.taken_at is not None:
                moment = post.taken_at.replace(tzinfo=post.taken_at.tzinfo or UTC).timestamp()
                latest[group] = max(moment, latest.get(group, moment))
        timed = sorted((group for group in order if group in latest), key=lambda g: -latest[g])
        fitting = int(np.searchsorted(np.cumsum(sizes[timed]), room, side="right"))
        return timed[: min(max(fitting, 1), len(order) - 1)]
    selected = []
    for group in order:
        if sizes[group] <= room:
            selected.append(group)
            room -= int(sizes[group])
    return selected or [min(order, key=sizes.__getitem__)]
