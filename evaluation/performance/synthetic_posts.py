"""Synthetic posts in any number, resampled from real ones, to measure speed.

Each is a real post drawn at random. Some of its words and hashtags are replaced by others, drawn by
their frequency, and some by new ones, so that the vocabulary grows with the posts (Heaps 1978).
They cost as much time as real posts; the quality of answers has no meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.indexer.types import Post

CHANGED_SHARE = 0.2  # of words and hashtags that are replaced
NEW_SHARE = 0.01  # of words and hashtags that are replaced by new ones
SEED = 1
_BLOCK_POSTS = 10_000  # with the same random numbers


def synthesise(posts: Sequence[Post], size: int, *, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Yield rows of `size` posts without pictures, in the form that `hashlens build` reads.

    When an author's posts are drawn again, they get another author. So authors grow with the posts,
    and none has more posts than the real one.

    Args:
        posts: each has a caption or hashtags.
        size: number of rows.
        seed: of the draws; the same seed gives the same rows.
    """
    words = [post.caption.split(" ") for post in posts]
    word_pool = [word for text in words for word in text if word]
    tag_pool = [tag for post in posts for tag in post.forms]
    draws = np.random.default_rng(seed)
    order = np.zeros(0, np.int64)
    for number in range(size):
        position, copy = number % len(posts), number // len(posts)
        if not position:
            order = draws.permutation(len(posts))
        if not number % _BLOCK_POSTS:
            noise = _Noise(draws)
        row = int(order[position])
        post = posts[row]
        yield {
            "id": f"s{seed}-{number}",
            "caption": " ".join(noise.replace_terms(words[row], word_pool, f"q{number}")),
            "hashtags": noise.replace_terms(post.forms, tag_pool, f"q{number}"),
            "author": f"{post.author}-{copy}" if post.author else None,
        }


def write_synthetic_posts(
    posts: Sequence[Post], size: int, folder: Path, *, seed: int = SEED
) -> None:
    """Write synthetic posts into a new folder."""
    folder.mkdir(parents=True)
    with (folder / "posts.jsonl").open("w", encoding="utf-8") as lines:
        for row in synthesise(posts, size, seed=seed):
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Noise:
    """Random numbers drawn in bulk, used in turn and then again from the beginning."""

    def __init__(self, draws: np.random.Generator) -> None:
        self._numbers = draws.random(_BLOCK_POSTS * 20).tolist()
        self._next = 0

    def replace_terms(self, terms: Sequence[str], pool: Sequence[str], new: str) -> list[str]:
        """Return terms, some replaced by terms of the pool, some by new ones."""
        numbers, at = self._numbers, self._next
        if at + 2 * len(terms) >= len(numbers):
            at = 0
        self._next = at + 2 * len(terms)
        result = []
        for place, term in enumerate(terms):
            chance = numbers[at + 2 * place]
            if chance < NEW_SHARE:
                term = f"{new}x{place}"
            elif chance < CHANGED_SHARE:
                term = pool[int(numbers[at + 2 * place + 1] * len(pool))]
            result.append(term)
        return result
