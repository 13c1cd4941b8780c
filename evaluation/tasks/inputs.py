"""Queries made from posts: the inputs that a method sees, and the hashtags that it must find."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

MIN_WORDS = 3  # of a caption that is used as a query or identifies near-duplicates
FORM = "image, caption, seeds:N, or several of them joined by commas, such as caption,seeds:2"
SEED_RULE = (
    "a post's hashtags are sorted by the SHA-256 of run seed, post id and hashtag, one a line; "
    "the first N are given as seeds, the others must be predicted"
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The parts of a post that make its query: picture, caption, number of seed hashtags."""

    image: bool = False
    caption: bool = False
    seeds: int = 0

    def __post_init__(self) -> None:
        if self.seeds < 0 or not (self.image or self.caption or self.seeds):
            raise ConfigError(f"inputs: found none, expected {FORM}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the inputs written as text, such as `caption,seeds:2`; order does not matter.

        Raises:
            ConfigError: a part is unknown or repeated, or asks for no seeds.
        """
        values: dict[str, int] = {}
        for part in (part.strip() for part in text.split(",")):
            name, _, number = part.partition(":")
            if name in values:
                raise ConfigError(f"inputs: found {name} twice in {text!r}, expected it once")
            if part in ("image", "caption"):
                values[name] = 1
            elif name != "seeds":
                raise ConfigError(f"inputs: found {part!r}, expected {FORM}")
            elif number.isascii() and number.isdigit() and int(number) > 0:
                values[name] = int(number)
            else:
                raise ConfigError(
                    f"inputs: found {part!r}, expected seeds:N with N of 1 or more, such as seeds:2"
                )
        return cls("image" in values, "caption" in values, values.get("seeds", 0))

    def __str__(self) -> str:
        flags = [name for name in ("image", "caption") if getattr(self, name)]
        return ",".join(flags + ([f"seeds:{self.seeds}"] if self.seeds else []))

    def lacking_in(self, post: Post) -> str:
        """Return the reason why a post makes no query, or an empty string."""
        if len(post.hashtags) <= self.seeds:
            more = f" beside {self.seeds} given as seeds" if self.seeds else ""
            return f"no hashtag to predict{more}"
        if self.image and post.image is None:
            return "no picture"
        if self.caption and len(caption_words(post.caption)) < MIN_WORDS:
            return f"fewer than {MIN_WORDS} caption words"
        return ""


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Queries, the hashtags (keys) that answer each, and the posts they come from.

    `queries`, `answers` and `post_ids` are aligned and keep the order of the posts. `left_out`
    counts the unusable posts by reason, each under the first reason that holds.
    """

    queries: tuple[Query, ...]
    answers: tuple[tuple[str, ...], ...]
    post_ids: tuple[str, ...]
    left_out: Mapping[str, int]


def make_queries(posts: Sequence[Post], inputs: Inputs, *, seed: int) -> QuerySet:
    """Return a query and its answers for each post that has the inputs.

    Seeds follow `SEED_RULE`. The order of hashtags and the other posts do not matter, and the seeds
    of `seeds:1` are among those of `seeds:2`.

    Args:
        posts: sources of the queries.
        inputs: parts of a post that a query holds. A post is left out if it lacks one of them, has
            fewer than `MIN_WORDS` caption words, or has no hashtag beside its seeds.
        seed: of the run; another seed draws other seed hashtags.

    Raises:
        InputError: no post has all inputs; the message counts the reasons.
    """
    reasons = [inputs.lacking_in(post) for post in posts]
    left_out = Counter(reason for reason in reasons if reason)
    usable = [post for post, reason in zip(posts, reasons, strict=True) if not reason]
    if not usable:
        lacking = "; ".join(f"{count:,} have {reason}" for reason, count in left_out.items())
        raise InputError(
            f"inputs {inputs}: found none of {len(posts):,} posts that has them"
            + (f" ({lacking})" if lacking else "")
            + ", expected one or more; ask by other inputs or give other posts"
        )
    seeds = [draw_seeds(post, inputs.seeds, seed) for post in usable]
    return QuerySet(
        tuple(
            Query(post.image if inputs.image else None, post.caption if inputs.caption else "", own)
            for post, own in zip(usable, seeds, strict=True)
        ),
        tuple(
            tuple(tag for tag in post.hashtags if tag not in own)
            for post, own in zip(usable, seeds, strict=True)
        ),
        tuple(post.post_id for post in usable),
        MappingProxyType(dict(left_out)),
    )


def draw_key(*parts: object) -> bytes:
    """Return a sort key that puts items in random order, the same in every run."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).digest()


def draw_seeds(post: Post, count: int, seed: int) -> tuple[str, ...]:
    """Return `count` hashtags (keys) of a post, drawn by `SEED_RULE`."""
    return tuple(sorted(post.hashtags, key=lambda tag: draw_key(seed, post.post_id, tag))[:count])


def caption_words(caption: str) -> list[str]:
    """Return the folded words of a caption that contain a letter; emoji are dropped."""
    return [word for word in tokens(caption) if any(map(str.isalpha, word))]
