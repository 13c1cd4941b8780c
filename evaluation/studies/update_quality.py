"""The loss of quality by updates.

    python -m hashlens.evaluation.studies.update_quality FOLDER... [--limit N]

The authors of a fifth of the posts are held out. One index is built of 80 % of the others, and ten
updates of 2 % add the rest; another is built of all at once. Both answer queries from the held-out
posts, and their metrics are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.methods.hashlens import run_queries, write_posts
from hashlens.evaluation.metrics.ranking import KS, evaluate
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.inputs import Inputs, draw_key, make_queries
from hashlens.evaluation.tasks.splits import split
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.fit import fit_ranker

UPDATES, UPDATE_SHARE = 10, 0.02
METRICS = ("P@5", "nDCG@10", "hit@5")


def measure_updates(folders: Sequence[Path], place: Path, limit: int | None = None) -> Json:
    """Return metrics of an index after ten updates, and of one built at once.

    Args:
        folders: of posts.
        place: an empty folder for the indexes.
        limit: number of posts, drawn at random; None for all.
    """
    config = BuildConfig()
    posts = read_all_posts(folders, config.hashtag_rule)
    posts = sorted(posts, key=lambda post: draw_key(post.post_id))[:limit]
    train, test = split(posts, rule="auto").select(posts)
    train.sort(key=lambda post: draw_key(post.post_id))
    ends = [round(len(train) * (1 - UPDATE_SHARE * left)) for left in range(UPDATES, -1, -1)]
    parts = [place / f"part-{number}" for number in range(len(ends))]
    notes: list[str] = []
    for folder, (start, end) in zip(parts, pairwise([0, *ends]), strict=True):
        write_posts(train[start:end], folder)
        if start:
            notes += update([folder], place / "updated", fit_ranker=fit_ranker).notes
        else:
            build([folder], place / "updated", config=config, fit_ranker=fit_ranker)
    build(parts, place / "rebuilt", config=config, fit_ranker=fit_ranker)
    figures: Json = {"train": len(train), "test": len(test), "notes": notes}
    for inputs in ("caption", "seeds:2", "caption,seeds:2"):
        queries = make_queries(test, Inputs.parse(inputs), seed=1)
        figures[inputs] = {}
        for name in ("updated", "rebuilt"):
            rankings, _ = run_queries(Recommender.open(place / name), queries.queries, max(KS))
            means = evaluate(rankings, queries.answers, KS).means()
            figures[inputs][name] = {metric: round(means[metric], 5) for metric in METRICS}
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="hashlens-") as temporary:
        figures = measure_updates(arguments.folders, Path(temporary), arguments.limit)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
