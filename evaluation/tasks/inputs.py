"""Tasks: which inputs a method is given of each post, and which hashtags it must then find."""

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

MIN_WORDS = 3  # a shorter caption says too little to be asked by, or to tell posts apart
FORM = "image, caption, seeds:N, or several of them joined by commas, such as caption,seeds:2"
SEED_RULE = (
    "a post's hashtags are sorted by the SHA-256 of run seed, post id and hashtag, one a line; "
    "the first N are given as seeds, the others must be predicted"
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What of each post a method is given: the picture, the caption, a number of seed hashtags."""

    image: bool = False
    caption: bool = False
    seeds: int = 0

    def __post_init__(self) -> None:
        if self.seeds < 0 or not (self.image or self.caption or self.seeds):
            raise ConfigError(f"inputs: found none, expected {FORM}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inputs from their written form, such as `caption,seeds:2`; order does not matter.

        Raises:
            ConfigError: a part is unknown, stands twice, or asks for no seeds.
        """
        found: dict[str, int] = {}
        for part in (part.strip() for part in text.split(",")):
            name, _, number = part.partition(":")
            if name in found:
                raise ConfigError(f"inputs: found {name} twice in {text!r}, expected it once")
            found[name] = _amount(part, name, number)
        return cls(bool(found.get("image")), bool(found.get("caption")), found.get("seeds", 0))

    @property
    def names(self) -> frozenset[str]:
        """Names of the inputs given, of `image`, `caption`, `seeds`."""
        given = {"image": self.image, "caption": self.caption, "seeds": self.seeds}
        return frozenset(name for name, value in given.items() if value)

    def __str__(self) -> str:
        order = [name for name in ("image", "caption") if name in self.names]
        return ",".join(order + ([f"seeds:{self.seeds}"] if self.seeds else []))


def _amount(part: str, name: str, number: str) -> int:
    """How much one part asks for: a number of seeds, or 1."""
    if part in ("image", "caption"):
        return 1
    if name == "seeds" and number.isascii() and number.isdigit() and int(number) > 0:
        return int(number)
    if name == "seeds":
        raise ConfigError(
            f"inputs: found {part!r}, expected seeds:N with N of 1 or more, such as seeds:2"
        )
    raise ConfigError(f"inputs: found {part!r}, expected {FORM}")


@dataclass(frozen=True, slots=True)
class Questions:
    """Queries, with the hashtags that must be found (keys) and the post each was made of.

    `queries`, `answers` and `post_ids` run in step, in the order of the posts. `left_out` counts
    by reason the posts that no query could be made of, each under the first reason that holds.
    """

    queries: tuple[Query, ...]
    answers: tuple[tuple[str, ...], ...]
    post_ids: tuple[str, ...]
    left_out: Mapping[str, int]


def make_queries(posts: Sequence[Post], inputs: Inputs, *, seed: int) -> Questions:
    """Turn posts into queries and the hashtags that they must find.

    Seeds follow `SEED_RULE`: neither the order of a post's hashtags nor the other posts decide
    which are drawn, and the seeds of `seeds:1` are among those of `seeds:2`.

    Args:
        posts: the posts to ask by.
        inputs: what of each post is given. A post is left out where it lacks a part of it, has
            fewer than `MIN_WORDS` caption words, or no hashtag to predict beside its seeds.
        seed: of the run; another one draws other seed hashtags.

    Raises:
        InputError: no post has all the inputs; the message counts what they lack.
    """
    reasons = [_lack(post, inputs) for post in posts]
    left_out = Counter(reason for reason in reasons if reason)
    kept = [post for post, reason in zip(posts, reasons, strict=True) if not reason]
    if not kept:
        lacking = "; ".join(f"{count:,} have {reason}" for reason, count in left_out.items())
        raise InputError(
            f"inputs {inputs}: found none of {len(posts):,} posts that has them"
            + (f" ({lacking})" if lacking else "")
            + ", expected one or more; ask by other inputs or give other posts"
        )
    drawn = [draw_seeds(post, inputs.seeds, seed) for post in kept]
    return Questions(
        tuple(
            Query(post.image if inputs.image else None, post.caption if inputs.caption else "", own)
            for post, own in zip(kept, drawn, strict=True)
        ),
        tuple(
            tuple(tag for tag in post.hashtags if tag not in own)
            for post, own in zip(kept, drawn, strict=True)
        ),
        tuple(post.post_id for post in kept),
        MappingProxyType(dict(left_out)),
    )


def draw_seeds(post: Post, count: int, seed: int) -> tuple[str, ...]:
    """The `count` hashtags (keys) of a post that `SEED_RULE` gives as seeds."""

    def place(tag: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{seed}\n{post.post_id}\n{tag}".encode()).digest(), tag

    return tuple(sorted(post.hashtags, key=place)[:count])


def caption_words(caption: str) -> list[str]:
    """The words of a caption, folded as `tokens` does, without emoji: those with a letter."""
    return [word for word in tokens(caption) if any(map(str.isalpha, word))]


def _lack(post: Post, inputs: Inputs) -> str:
    """Why no query can be made of a post; empty where one can."""
    if len(post.hashtags) <= inputs.seeds:
        more = f" beside {inputs.seeds} given as seeds" if inputs.seeds else ""
        return f"no hashtag to predict{more}"
    if inputs.image and post.image is None:
        return "no picture"
    if inputs.caption and len(caption_words(post.caption)) < MIN_WORDS:
        return f"fewer than {MIN_WORDS} caption words"
    return ""
