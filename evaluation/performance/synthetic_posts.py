"""Synthetic posts in any number, resampled from real ones, to measure speed.

Each is a real post drawn at random. Some of its words and hashtags are replaced by others, drawn by
their frequency. Some are replaced by new ones, so that the vocabulary grows with the posts (Heaps
1978). They cost as much time as real posts; the quality of answers has no meaning.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hashlens.indexer.types import Post

CHANGED_SHARE = 0.2  # of words and hashtags that are replaced
NEW_SHARE = 0.01  # of words and hashtags that are replaced by new ones
SEED = 1


def synthesise(posts: Sequence[Post], size: int, *, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Yield rows of `size` posts without pictures, in the form that `hashlens build` reads.

    When an author's posts are drawn again, they get another author. So authors grow with the posts,
    and none has more posts than the real one.

    Args:
        posts: each has a caption or hashtags.
        size: number of rows.
        seed: of the draws; the same seed gives the same rows.
    """
    draw = random.Random(seed)  # noqa: S311 (nothing is kept secret)
    words = [post.caption.split(" ") for post in posts]
    word_pool = [word for text in words for word in text if word]
    tag_pool = [tag for post in posts for tag in post.forms]

    def replace_terms(terms: Sequence[str], pool: Sequence[str], new: str) -> list[str]:
        result = []
        for place, term in enumerate(terms):
            chance = draw.random()
            if chance < NEW_SHARE:
                term = f"{new}x{place}"
            elif chance < CHANGED_SHARE:
                term = draw.choice(pool)
            result.append(term)
        return result

    order = list(range(len(posts)))
    for number in range(size):
        position, copy = number % len(posts), number // len(posts)
        if not position:
            draw.shuffle(order)
        row = order[position]
        post = posts[row]
        yield {
            "id": f"s{seed}-{number}",
            "caption": " ".join(replace_terms(words[row], word_pool or [""], f"q{number}")),
            "hashtags": replace_terms(post.forms, tag_pool, f"q{number}"),
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
