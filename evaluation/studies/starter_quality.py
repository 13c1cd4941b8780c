"""How good an index without posts is, and how it grows.

    python -m hashlens.evaluation.studies.starter_quality FOLDER... [--own FOLDER] [--limit 800]

A fifth of each folder's posts is held out, whole authors where authors are known. An index is built
of the others, and its aggregates made into one that could ship. Both are asked about the posts
held out, by the inputs that each folder has, and told is what the questions of all folders come to
together, too; and what the former keeps without hashtags that the aggregates lack, since too few
use them. Then the posts of half the authors held out, or of another folder, are somebody's own:
more and more of them join the aggregates, and make an index of their own, and both are asked about
the other half's captions. And the first posts of single accounts join, which are asked about their
later ones (`hashlens.evaluation.studies.accounts`). JSON goes to stdout.
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

import numpy as np

from hashlens.evaluation.assets.starter import make
from hashlens.evaluation.methods.base import Ranking
from hashlens.evaluation.methods.hashlens import asked, write_posts
from hashlens.evaluation.metrics.ranking import KS, evaluate
from hashlens.evaluation.studies.accounts import SHOWN, account_quality, join
from hashlens.evaluation.tasks.inputs import Inputs, make_queries
from hashlens.evaluation.tasks.splits import split
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.errors import InputError
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.fit import fit_ranker

SEED = 5
OWN = (0, 50, 200, 800, 2_000)  # posts of one's own
INPUTS = ("caption", "seeds:2", "caption,seeds:2", "image,caption,seeds:1")
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
    full, starter = (Recommender.open(place / index) for index in ("full", "starter"))
    found: Figures = {}
    for name, posts in held.items():
        for inputs in INPUTS:
            queries, answers = _questions(posts, inputs, limit)
            if not queries:
                continue
            deep, _ = asked(full, queries, DEEP)
            rankings = {
                "full": deep,
                "starter": asked(starter, queries, max(KS))[0],
                "full, less rare": [
                    _sayable(ranking, query, starter)
                    for ranking, query in zip(deep, queries, strict=True)
                ],
            }
            scores = {index: _means(some, answers) for index, some in rankings.items()}
            kept = {
                "kept": _kept(scores, "starter"),
                "kept, less rare": _kept(scores, "full, less rare"),
            }
            found[f"{name}: {inputs}"] = scores | kept
    told = [[post for post in posts if post.author and post.caption] for posts in held.values()]
    most = max(told, key=len)
    mine = usable([own], "instagram", []) if own else most
    return {
        "tasks": found,
        "together": _together(found),
        "own": _grown(mine, place, limit),
        "account": account_quality(most, place / "starter", place / "full", place),
    }


def _together(tasks: Figures) -> Figures:
    """The means over all folders' questions of the same inputs, and what of nDCG@10 is kept."""
    found: Figures = {}
    for inputs in INPUTS:
        asked_so = [scores for name, scores in tasks.items() if name.endswith(f": {inputs}")]
        sizes = [scores["full"]["queries"] for scores in asked_so]
        if not sizes:
            continue
        means: Figures = {
            index: {"queries": sum(sizes)}
            | {
                name: round(float(np.average([s[index][name] for s in asked_so], weights=sizes)), 4)
                for name in SHOWN
            }
            for index in ("full", "starter")
        }
        found[inputs] = means | {"kept": _kept(means, "starter")}
    return found


def _kept(scores: dict[str, Figures], of: str) -> float:
    kept, full = (float(scores[index]["nDCG@10"]) for index in (of, "full"))
    return round(kept / max(full, 1e-9), 3)


def _sayable(ranking: Ranking, query: Query, recommender: Recommender) -> Ranking:
    """What of an answer a recommender could say: hashtags that it knows, or the caption spells."""
    known = set(recommender.index.tag_ids([tag for tag, _ in ranking]))
    if query.caption:
        known.update(recommender.prepare([Query(caption=query.caption)]).spelt.coined)
    return [told for told in ranking if told[0] in known]


def _grown(posts: Sequence[Post], place: Path, limit: int | None) -> list[Figures]:
    """Scores by how many posts are somebody's own."""
    mine, others = split(posts, rule="auto", test_share=0.5, seed=SEED).parts(posts)
    mine.sort(key=lambda post: _drawn(post.post_id))
    queries, answers = _questions(others, "caption", limit)
    found = []
    for number in OWN:
        if number > len(mine):
            break
        row: Figures = {"own_posts": number}
        index = place / "starter"
        if number:
            index, own, alone = (place / f"{what}-{number}" for what in ("begun", "own", "alone"))
            write_posts(mine[:number], own)
            join(own, place / "starter", index)
            build([own], alone, fit_ranker=fit_ranker)
            row["alone"] = _means(asked(Recommender.open(alone), queries, max(KS))[0], answers)
        row["begun"] = _means(asked(Recommender.open(index), queries, max(KS))[0], answers)
        found.append(row)
    return found


def _questions(
    posts: Sequence[Post], inputs: str, limit: int | None
) -> tuple[list[Query], list[tuple[str, ...]]]:
    """At most `limit` questions drawn by hash, and their answers; none where posts lack inputs."""
    try:
        found = make_queries(posts, Inputs.parse(inputs), seed=SEED)
    except InputError:
        return [], []
    rows = sorted(range(len(found.queries)), key=lambda row: _drawn(found.post_ids[row]))[:limit]
    return [found.queries[row] for row in rows], [found.answers[row] for row in rows]


def _means(rankings: Sequence[Ranking], answers: Sequence[tuple[str, ...]]) -> Figures:
    """How many there are, and means over them."""
    means = evaluate([ranking[: max(KS)] for ranking in rankings], answers, KS).means()
    return {"queries": len(rankings)} | {name: round(means[name], 4) for name in SHOWN}


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
