"""How good an index without posts is, and how it grows: `python -m evaluation.starterquality`.

    python -m evaluation.starterquality FOLDER... [--own FOLDER] [--limit 800]

A fifth of each folder's posts is held out, whole authors where authors are known. An index is built
of the others, and its aggregates made into one that could ship. Both are asked about the posts
held out, by the inputs that each folder has; told besides is what the former keeps without hashtags
that the aggregates lack, since too few use them. Then the posts of half the authors held out, or
of another folder, are somebody's own: more and more of them join the aggregates, and make an index
of their own, and both are asked about the other half's captions. JSON goes to stdout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evaluation.method import Ranking
from evaluation.metrics import KS, evaluate
from evaluation.product import asked, write_posts
from evaluation.splits import split
from evaluation.starter import make
from evaluation.suite import usable
from evaluation.tasks import Inputs, make_queries
from indexer.begin import begun
from indexer.build import build
from indexer.errors import InputError
from indexer.schema import Post, Query
from indexer.update import update
from retriever.fitting import fit_ranker
from retriever.recommend import Recommender

SEED = 5
OWN = (0, 50, 200, 800, 2_000)  # posts of one's own
INPUTS = ("caption", "seeds:2", "caption,seeds:2", "image,caption,seeds:1")
SHOWN = ("P@5", "nDCG@10")
DEEP = 60  # places of an answer from which hashtags move up

Figures = dict[str, Any]


def starter_quality(
    folders: Sequence[Path], place: Path, limit: int | None = None, own: Path | None = None
) -> Figures:
    """Scores of a full index and of its aggregates, and of aggregates as posts join them.

    Args:
        folders: of posts.
        place: an empty folder.
        limit: questions of each folder and inputs; all where None.
        own: folder of somebody's own posts; those held out that tell most where None.
    """
    held: dict[str, list[Post]] = {}
    for folder in folders:
        posts = usable([folder], "instagram", [])
        train, test = split(posts, rule="auto", seed=SEED).parts(posts)
        write_posts(train, place / "posts" / folder.name)
        held[folder.name] = [post for post in test if post.hashtags]
    make([place / "posts"], place / "starter", full=place / "full")
    starter = Recommender.open(place / "starter")
    found: Figures = {}
    for name, posts in held.items():
        for inputs in INPUTS:
            scores = {
                index: _scores(place / index, posts, inputs, limit) for index in ("full", "starter")
            }
            if scores["full"]:
                scores["full, less rare"] = _scores(place / "full", posts, inputs, limit, starter)
                kept = {
                    "kept": _kept(scores, "starter"),
                    "kept, less rare": _kept(scores, "full, less rare"),
                }
                found[f"{name}: {inputs}"] = scores | kept
    told = [[post for post in posts if post.author and post.caption] for posts in held.values()]
    mine = usable([own], "instagram", []) if own else max(told, key=len)
    return {"tasks": found, "own": _grown(mine, place, limit)}


def _kept(scores: dict[str, Figures], of: str) -> float:
    kept, full = (float(scores[index]["nDCG@10"]) for index in (of, "full"))
    return round(kept / max(full, 1e-9), 3)


def _sayable(ranking: Ranking, query: Query, recommender: Recommender) -> Ranking:
    """What of an answer a recommender could say: hashtags that it knows, or the caption spells."""
    known = set(recommender.index.tag_ids([tag for tag, _ in ranking]))
    if query.caption:
        known.update(recommender.prepared([Query(caption=query.caption)]).spelt.coined)
    return [told for told in ranking if told[0] in known]


def _grown(posts: Sequence[Post], place: Path, limit: int | None) -> list[Figures]:
    """Scores by how many posts are somebody's own."""
    mine = [post for post in posts if _drawn(post.author or post.post_id)[0] % 2]
    others = [post for post in posts if not _drawn(post.author or post.post_id)[0] % 2]
    mine.sort(key=lambda post: _drawn(post.post_id))
    found = []
    for number in OWN:
        if number > len(mine):
            break
        row: Figures = {"own_posts": number}
        index = place / "starter"
        if number:
            index, own, alone = (place / f"{what}-{number}" for what in ("begun", "own", "alone"))
            write_posts(mine[:number], own)
            with begun(index, place / "starter"):
                update([own], index, fit_ranker=fit_ranker)
            build([own], alone, fit_ranker=fit_ranker)
            row["alone"] = _scores(alone, others, "caption", limit)
        row["begun"] = _scores(index, others, "caption", limit)
        found.append(row)
    return found


def _scores(
    index: Path,
    posts: Sequence[Post],
    inputs: str,
    limit: int | None,
    within: Recommender | None = None,
) -> Figures:
    """Means over at most `limit` questions, drawn by hash; nothing where posts lack the inputs.

    What another recommender could not say is taken out of the answers `within` it.
    """
    try:
        questions = make_queries(posts, Inputs.parse(inputs), seed=SEED)
    except InputError:
        return {}
    rows = sorted(range(len(questions.queries)), key=lambda n: _drawn(questions.post_ids[n]))
    rows = rows[:limit]
    queries = [questions.queries[row] for row in rows]
    rankings, _ = asked(Recommender.open(index), queries, DEEP if within else max(KS))
    if within:
        answered = zip(rankings, queries, strict=True)
        rankings = [_sayable(ranking, query, within) for ranking, query in answered]
    means = evaluate(rankings, [questions.answers[row] for row in rows], KS).means()
    return {"queries": len(rows)} | {name: round(means[name], 4) for name in SHOWN}


def _drawn(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--own", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="hashlens-") as temporary:
        figures = starter_quality(given.folders, Path(temporary), given.limit, given.own)
        json.dump(figures, sys.stdout, indent=1)
        sys.stdout.write("\n")
