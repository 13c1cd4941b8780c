"""How an index serves one account, whose own posts join what it knows of others.

An account's first posts join, and its later ones are asked about: who asks is who was learned from,
on purpose, since that is what people do with posts of their own. The index must not have learned
from these accounts otherwise.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.metrics import KS, evaluate
from evaluation.product import asked, write_posts
from evaluation.tasks import caption_words
from indexer.begin import begun
from indexer.schema import Post, Query
from indexer.update import update
from retriever.fitting import fit_ranker
from retriever.recommend import Recommender

JOINED = (0, 1, 3, 6, 12)  # posts of an account that join, its first ones
ASKED = 4  # later posts that an account needs
ACCOUNTS = 40  # at most, drawn by hash


def account_quality(posts: Sequence[Post], starter: Path, place: Path) -> list[dict[str, Any]]:
    """P@5 and nDCG@10 of later captions of accounts, by how many of their posts have joined.

    Args:
        posts: of accounts that the index did not learn from.
        starter: index that is begun from.
        place: an existing folder.
    """
    accounts = _accounts(posts)
    found = []
    for number in JOINED:
        rankings, answers = [], []
        for account, (first, later) in enumerate(accounts):
            index = starter
            if number:
                index, own = (place / f"{what}-{number}-{account}" for what in ("joined", "first"))
                write_posts(first[:number], own)
                join(own, starter, index)
            queries = [Query(caption=post.caption) for post in later]
            rankings += asked(Recommender.open(index), queries, max(KS))[0]
            answers += [post.hashtags for post in later]
        means = evaluate(rankings, answers, KS).means() if answers else {}
        row = {"own_posts": number, "accounts": len(accounts), "queries": len(answers)}
        found.append(row | {name: round(value, 4) for name, value in means.items()})
    return found


def join(posts: Path, starter: Path, index: Path) -> None:
    """Begin an index from another one, with posts that join what it knows."""
    with begun(index, starter):
        update([posts], index, fit_ranker=fit_ranker)


def _accounts(posts: Sequence[Post]) -> list[tuple[list[Post], list[Post]]]:
    """Of each account its first posts, and the later ones whose captions are none of the first."""
    by: dict[str, list[Post]] = defaultdict(list)
    for post in posts:
        if post.author and post.taken_at and post.hashtags and caption_words(post.caption):
            by[post.author].append(post)
    found = []
    for author in sorted(by, key=lambda name: hashlib.sha256(name.encode()).digest()):
        ordered = sorted(by[author], key=lambda post: (post.taken_at, post.post_id))
        first, rest = ordered[: max(JOINED)], ordered[max(JOINED) :]
        said = {frozenset(caption_words(post.caption)) for post in first}
        later = [post for post in rest if frozenset(caption_words(post.caption)) not in said]
        if len(later) >= ASKED:
            found.append((first, later))
    return found[:ACCOUNTS]
