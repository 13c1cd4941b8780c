"""Posts made from real ones, as many as are wanted: for measuring speed at sizes nobody gave us.

Each is a real post drawn at random, its words and hashtags partly exchanged for others drawn as
often as they are used, some for new ones, so that vocabulary grows with the posts as it does in
the world (Heaps 1978). Their costs are those of real posts; their quality says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.indexer.types import Post

CHANGED = 0.2  # share of words and hashtags that are exchanged
COINED = 0.01  # share of them that are new
SEED = 1
_BLOCK = 10_000  # posts drawn at once

Row = dict[str, Any]


def synthesised(posts: Sequence[Post], size: int, *, seed: int = SEED) -> Iterator[Row]:
    """Rows of `size` posts without pictures, in the form that `hashlens build` reads.

    An author's posts drawn again are another author's: authors grow with the posts, and none has
    more of them than the real one.

    Args:
        posts: with a caption or hashtags each.
        size: rows wanted.
        seed: of the draws; the same gives the same rows.
    """
    words = [post.caption.split(" ") for post in posts]
    spoken = _pool(words)
    used = _pool([post.forms for post in posts])
    draws = np.random.default_rng(seed)
    order = np.zeros(0, np.int64)
    for number in range(size):
        place, copy = number % len(posts), number // len(posts)
        if not place:
            order = draws.permutation(len(posts))
        if not number % _BLOCK:
            noise = _Noise(draws)
        post, drawn = posts[order[place]], int(order[place])
        yield {
            "id": f"s{seed}-{number}",
            "caption": " ".join(noise.over(words[drawn], spoken, f"q{number}")),
            "hashtags": noise.over(post.forms, used, f"q{number}"),
            "author": f"{post.author}-{copy}" if post.author else None,
        }


def write_synthesised(
    posts: Sequence[Post], size: int, folder: Path, *, seed: int = SEED, first: int = 0
) -> None:
    """Write such posts into a new folder, without the `first` of them."""
    folder.mkdir(parents=True)
    with (folder / "posts.jsonl").open("w", encoding="utf-8") as lines:
        for number, row in enumerate(synthesised(posts, size, seed=seed)):
            if number >= first:
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Noise:
    """Random numbers drawn in bulk, used up one by one and then from the beginning."""

    def __init__(self, draws: np.random.Generator) -> None:
        self._numbers = draws.random(_BLOCK * 20).tolist()
        self._next = 0

    def over(self, terms: Sequence[str], pool: Sequence[str], coined: str) -> list[str]:
        """Terms, some exchanged for others of the pool, some for new ones."""
        numbers, at = self._numbers, self._next
        if at + 2 * len(terms) >= len(numbers):
            at = 0
        self._next = at + 2 * len(terms)
        found = []
        for place, term in enumerate(terms):
            chance = numbers[at + 2 * place]
            if chance < COINED:
                term = f"{coined}x{place}"
            elif chance < CHANGED:
                term = pool[int(numbers[at + 2 * place + 1] * len(pool))]
            found.append(term)
        return found


def _pool(texts: Sequence[Sequence[str]]) -> list[str]:
    """All terms of texts, each as often as it is used."""
    return [term for text in texts for term in text if term]
