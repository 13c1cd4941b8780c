"""How an index serves an account whose own posts join what it knows of others.

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

from hashlens.evaluation.methods.base import Ranking
from hashlens.evaluation.methods.hashlens import asked, write_posts
from hashlens.evaluation.metrics.ranking import KS, evaluate
from hashlens.evaluation.tasks.inputs import caption_words
from hashlens.evaluation.tasks.near_duplicates import nearly_same
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.fit import fit_ranker

JOINED = (0, 1, 3, 6, 12)  # posts of an account that join, its first ones
ASKED = 4  # later posts that an account needs
ACCOUNTS = 40  # at most, drawn by hash
SHOWN = ("P@5", "nDCG@10")

Account = tuple[list[Post], list[Post]]  # its first posts, and its later ones


def account_quality(
    posts: Sequence[Post], starter: Path, full: Path, place: Path
) -> list[dict[str, Any]]:
    """P@5 and nDCG@10 of later captions of accounts, by how many of their posts have joined.

    `joined` is an index for each account, begun from aggregates; `named` and `unnamed` one index of
    others' posts that all accounts' join, which is told who asks, or not.

    Args:
        posts: of accounts that the indexes did not learn from.
        starter: index of aggregates.
        full: index of others' posts.
        place: an existing folder.
    """
    accounts = _accounts(posts)
    answers = [post.hashtags for _, later in accounts for post in later]
    found = []
    for number in JOINED:
        row: dict[str, Any] = {"own_posts": number, "accounts": len(accounts)}
        row["queries"] = len(answers)
        for name, rankings in _asked_by(accounts, number, starter, full, place).items():
            means = evaluate(rankings, answers, KS).means() if answers else {}
            row[name] = {metric: round(means[metric], 4) for metric in SHOWN if answers}
        found.append(row)
    return found


def _asked_by(
    accounts: Sequence[Account], number: int, starter: Path, full: Path, place: Path
) -> dict[str, list[Ranking]]:
    """What each kind of index says to all accounts' later captions."""
    beside = full
    if number and accounts:
        beside, own = (place / f"{what}-{number}" for what in ("beside", "firsts"))
        write_posts([post for first, _ in accounts for post in first[:number]], own)
        join(own, full, beside)
    others = Recommender.open(beside)
    rankings: dict[str, list[Ranking]] = {"joined": [], "named": [], "unnamed": []}
    for account, (first, later) in enumerate(accounts):
        index = starter
        if number:
            index, own = (place / f"{what}-{number}-{account}" for what in ("joined", "first"))
            write_posts(first[:number], own)
            join(own, starter, index)
        queries = [Query(caption=post.caption) for post in later]
        rankings["joined"] += asked(Recommender.open(index), queries, max(KS))[0]
        rankings["named"] += asked(others, queries, max(KS), first[0].author)[0]
        rankings["unnamed"] += asked(others, queries, max(KS))[0]
    return rankings


def join(posts: Path, starter: Path, index: Path) -> None:
    """Begin an index from another one, with posts that join what it knows."""
    with copy_index(index, starter):
        update([posts], index, fit_ranker=fit_ranker)


def _accounts(posts: Sequence[Post]) -> list[Account]:
    """Of each account its first posts, and the later ones whose captions are none of the first.

    Of accounts that copy one another only one is taken.
    """
    copied = _copied(posts)
    by: dict[str, list[Post]] = defaultdict(list)
    for post in posts:
        if post.author and post.taken_at and post.hashtags and caption_words(post.caption):
            by[post.author].append(post)
    found: dict[str, Account] = {}
    for author in sorted(by, key=lambda name: hashlib.sha256(name.encode()).digest()):
        ordered = sorted(by[author], key=lambda post: (post.taken_at, post.post_id))
        first, rest = ordered[: max(JOINED)], ordered[max(JOINED) :]
        said = {frozenset(caption_words(post.caption)) for post in first}
        later = [post for post in rest if frozenset(caption_words(post.caption)) not in said]
        if len(later) >= ASKED and copied[author].isdisjoint(found):
            found[author] = (first, later)
    return list(found.values())[:ACCOUNTS]


def _copied(posts: Sequence[Post]) -> dict[str, set[str]]:
    """Of each author those with nearly the same captions."""
    found: dict[str, set[str]] = defaultdict(set)
    for one, other in nearly_same([caption_words(post.caption) for post in posts]).tolist():
        left, right = posts[one].author, posts[other].author
        if left and right and left != right:
            found[left].add(right)
            found[right].add(left)
    return found
