"""The quality of answers for an account whose own posts are added to an index.

The first posts of an account are added, and its later posts are the queries. Training and test
posts have the same author on purpose, since people add their own posts. The index must not know
these accounts otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashlens.evaluation.methods.base import Ranking
from hashlens.evaluation.methods.hashlens import run_queries, write_posts
from hashlens.evaluation.metrics.ranking import KS, MAIN_METRICS, evaluate
from hashlens.evaluation.tasks.inputs import caption_words, draw_key
from hashlens.evaluation.tasks.near_duplicates import find_near_duplicates
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.fit import fit_ranker

ADDED = (0, 1, 3, 6, 12)  # numbers of an account's first posts that are added
MIN_LATER_POSTS = 4  # of an account
MAX_ACCOUNTS = 40

Account = tuple[list[Post], list[Post]]  # first posts, later posts


def measure_accounts(
    posts: Sequence[Post], starter: Path, full: Path, place: Path
) -> list[dict[str, Any]]:
    """Return P@5 and nDCG@10 of accounts' later captions, by number of added posts.

    `joined` is an index for each account, started from aggregates. `named` and `unnamed` are one
    index of others' posts to which the posts of all accounts are added; queries of `named` have an
    author.

    Args:
        posts: of accounts that the indexes do not know.
        starter: index of aggregates.
        full: index of others' posts.
        place: an existing folder.
    """
    accounts = _select_accounts(posts)
    answers = [post.hashtags for _, later in accounts for post in later]
    rows = []
    for number in ADDED:
        row: dict[str, Any] = {"own_posts": number, "accounts": len(accounts)}
        row["queries"] = len(answers)
        shared = full
        if number and accounts:
            shared = place / f"shared-{number}"
            extend_index([p for first, _ in accounts for p in first[:number]], full, shared)
        recommender = Recommender.open(shared)
        rankings: dict[str, list[Ranking]] = {"joined": [], "named": [], "unnamed": []}
        for account, (first, later) in enumerate(accounts):
            own = starter
            if number:
                own = place / f"own-{number}-{account}"
                extend_index(first[:number], starter, own)
            queries = [Query(caption=post.caption) for post in later]
            rankings["joined"] += run_queries(Recommender.open(own), queries, max(KS))[0]
            rankings["named"] += run_queries(recommender, queries, max(KS), first[0].author)[0]
            rankings["unnamed"] += run_queries(recommender, queries, max(KS))[0]
        for name, answered in rankings.items():
            means = evaluate(answered, answers, KS).means() if answers else {}
            row[name] = {metric: round(means[metric], 4) for metric in MAIN_METRICS if answers}
        rows.append(row)
    return rows


def extend_index(posts: Sequence[Post], source: Path, index: Path) -> Path:
    """Write a copy of the index `source` with posts added, and return the posts' folder."""
    folder = index.with_name(f"{index.name}-posts")
    write_posts(posts, folder)
    with copy_index(index, source):
        update([folder], index, fit_ranker=fit_ranker)
    return folder


def _select_accounts(posts: Sequence[Post]) -> list[Account]:
    """Return accounts with their first posts, and the later ones with new captions.

    Of accounts that copy one another only one is used.
    """
    copies: dict[str, set[str]] = defaultdict(set)
    captions = [caption_words(post.caption) for post in posts]
    for one, other in find_near_duplicates(captions).tolist():
        left, right = posts[one].author, posts[other].author
        if left and right and left != right:
            copies[left].add(right)
            copies[right].add(left)
    by_author: dict[str, list[Post]] = defaultdict(list)
    for post, words in zip(posts, captions, strict=True):
        if post.author and post.taken_at and post.hashtags and words:
            by_author[post.author].append(post)
    accounts: dict[str, Account] = {}
    for author in sorted(by_author, key=draw_key):
        ordered = sorted(by_author[author], key=lambda post: (post.taken_at, post.post_id))
        first, rest = ordered[: max(ADDED)], ordered[max(ADDED) :]
        seen = {frozenset(caption_words(post.caption)) for post in first}
        later = [post for post in rest if frozenset(caption_words(post.caption)) not in seen]
        if len(later) >= MIN_LATER_POSTS and copies[author].isdisjoint(accounts):
            accounts[author] = (first, later)
    return list(accounts.values())[:MAX_ACCOUNTS]
