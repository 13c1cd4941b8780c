"""The quality of an index without posts, and how it grows.

    python -m hashlens.evaluation.studies.starter_quality FOLDER... [--own FOLDER] [--limit 800]

A fifth of each folder's posts is held out, with whole authors if authors are known. The others make
an index, and aggregates of it that could ship. Both answer queries from the held-out posts, by the
inputs that each folder has. The result has means of each folder and of all folders together, and
the share of the quality that the aggregates keep. It also has the full index without the hashtags
that the aggregates lack because too few authors use them.

Then posts of half the held-out authors, or of another folder, are added to the aggregates in
growing numbers. They also make an index of their own. Both answer the other half's captions. At
last the first posts of single accounts are added (`hashlens.evaluation.studies.accounts`). JSON
goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hashlens.evaluation.assets.starter import make_starter
from hashlens.evaluation.methods.base import Ranking
from hashlens.evaluation.methods.hashlens import run_queries, write_posts
from hashlens.evaluation.metrics.ranking import KS, MAIN_METRICS, evaluate
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.studies.accounts import extend_index, measure_accounts
from hashlens.evaluation.tasks.inputs import Inputs, draw_key, make_queries
from hashlens.evaluation.tasks.splits import split
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.errors import InputError
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.fit import fit_ranker

SEED = 5
OWN_POSTS = (0, 50, 200, 800, 2_000)  # numbers of added posts
INPUTS = ("caption", "seeds:2", "caption,seeds:2", "image,caption,seeds:1")
DEPTH = 60  # places of an answer that is filtered to the usual number

Answers = list[tuple[str, ...]]


def measure_starter(
    folders: Sequence[Path], place: Path, limit: int | None = None, own: Path | None = None
) -> Json:
    """Return metrics of a full index, of its aggregates, and of aggregates with added posts.

    Args:
        folders: of posts.
        place: an empty folder.
        limit: most queries of each folder and inputs; None for all.
        own: folder of the added posts; None for the largest set of held-out posts.
    """
    held_out: dict[str, list[Post]] = {}
    for folder in folders:
        posts = read_all_posts([folder])
        train, test = split(posts, rule="auto", seed=SEED).select(posts)
        write_posts(train, place / "posts" / folder.name)
        held_out[folder.name] = [post for post in test if post.hashtags]
    make_starter([place / "posts"], place / "starter", full=place / "full")
    full, starter = (Recommender.open(place / index) for index in ("full", "starter"))
    tasks: Json = {}
    for name, posts in held_out.items():
        for inputs in INPUTS:
            queries, answers = _make_queries(posts, inputs, limit)
            if not queries:
                continue
            deep, _ = run_queries(full, queries, DEPTH)
            rankings = {
                "full": deep,
                "starter": run_queries(starter, queries, max(KS))[0],
                "full, less rare": [
                    keep_known(ranking, query, starter)
                    for ranking, query in zip(deep, queries, strict=True)
                ],
            }
            scores = {index: _average(some, answers) for index, some in rankings.items()}
            tasks[f"{name}: {inputs}"] = scores | {
                "kept": _share_kept(scores, "starter"),
                "kept, less rare": _share_kept(scores, "full, less rare"),
            }
    captioned = [
        [post for post in posts if post.author and post.caption] for posts in held_out.values()
    ]
    largest = max(captioned, key=len)
    return {
        "tasks": tasks,
        "together": average_tasks(tasks),
        "own": _measure_growth(read_all_posts([own]) if own else largest, place, limit),
        "account": measure_accounts(largest, place / "starter", place / "full", place),
    }


def average_tasks(tasks: Json) -> Json:
    """Return means over all folders' queries of the same inputs, and the kept share of nDCG@10."""
    together: Json = {}
    for inputs in INPUTS:
        parts = [scores for name, scores in tasks.items() if name.endswith(f": {inputs}")]
        sizes = [scores["full"]["queries"] for scores in parts]
        if not sizes:
            continue
        means: Json = {
            index: {"queries": sum(sizes)}
            | {
                name: round(float(np.average([s[index][name] for s in parts], weights=sizes)), 4)
                for name in MAIN_METRICS
            }
            for index in ("full", "starter")
        }
        together[inputs] = means | {"kept": _share_kept(means, "starter")}
    return together


def _share_kept(scores: Json, index: str) -> float:
    """Return an index's nDCG@10 as a share of the full index's."""
    kept, full = (float(scores[name]["nDCG@10"]) for name in (index, "full"))
    return round(kept / max(full, 1e-9), 3)


def keep_known(ranking: Ranking, query: Query, recommender: Recommender) -> Ranking:
    """Return the hashtags of an answer that a recommender knows or the caption spells."""
    known = set(recommender.index.tag_ids([tag for tag, _ in ranking]))
    if query.caption:
        known.update(recommender.prepare([Query(caption=query.caption)]).spelt.coined)
    return [(tag, score) for tag, score in ranking if tag in known]


def _measure_growth(posts: Sequence[Post], place: Path, limit: int | None) -> list[Json]:
    """Return metrics by number of added posts."""
    own, others = split(posts, rule="auto", test_share=0.5, seed=SEED).select(posts)
    own.sort(key=lambda post: draw_key(post.post_id))
    queries, answers = _make_queries(others, "caption", limit)
    rows = []
    for number in OWN_POSTS:
        if number > len(own):
            break
        row: Json = {"own_posts": number}
        index = place / "starter"
        if number:
            index, alone = place / f"begun-{number}", place / f"alone-{number}"
            added = extend_index(own[:number], place / "starter", index)
            build([added], alone, fit_ranker=fit_ranker)
            row["alone"] = _average(
                run_queries(Recommender.open(alone), queries, max(KS))[0], answers
            )
        row["begun"] = _average(run_queries(Recommender.open(index), queries, max(KS))[0], answers)
        rows.append(row)
    return rows


def _make_queries(
    posts: Sequence[Post], inputs: str, limit: int | None
) -> tuple[list[Query], Answers]:
    """Return at most `limit` queries and their answers; none if posts lack the inputs."""
    try:
        found = make_queries(posts, Inputs.parse(inputs), seed=SEED)
    except InputError:
        return [], []
    rows = sorted(range(len(found.queries)), key=lambda row: draw_key(found.post_ids[row]))[:limit]
    return [found.queries[row] for row in rows], [found.answers[row] for row in rows]


def _average(rankings: Sequence[Ranking], answers: Answers) -> Json:
    """Return the number of answers, and their mean metrics."""
    means = evaluate([ranking[: max(KS)] for ranking in rankings], answers, KS).means()
    return {"queries": len(rankings)} | {name: round(means[name], 4) for name in MAIN_METRICS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--own", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="hashlens-") as temporary:
        figures = measure_starter(
            arguments.folders, Path(temporary), arguments.limit, arguments.own
        )
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
