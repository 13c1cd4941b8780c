"""What updates cost in quality.

    python -m hashlens.evaluation.studies.update_quality FOLDER... [--limit N]

Authors of a fifth of the posts are held out. Of the others 80 % are built into an index and the
rest is added by ten updates of 2 %; another index is built of all at once. Both are asked for the
hashtags of the held-out posts, and JSON says what each scores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hashlens.evaluation.methods.hashlens import asked, write_posts
from hashlens.evaluation.metrics.ranking import KS, evaluate
from hashlens.evaluation.tasks.inputs import Inputs, make_queries
from hashlens.evaluation.tasks.splits import split
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.types import Post
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.fit import fit_ranker

UPDATES, SHARE = 10, 0.02
SHOWN = ("P@5", "nDCG@10", "hit@5")


def update_quality(
    folders: Sequence[Path], place: Path, limit: int | None = None
) -> dict[str, Any]:
    """Metrics of an index after ten updates, and of one built at once.

    Args:
        folders: of posts.
        place: an empty folder for the indexes.
        limit: posts that are taken, drawn by hash; all where None.
    """
    config = BuildConfig()
    posts = sorted(usable(folders, config.hashtag_rule, []), key=_drawn)[:limit]
    train, test = split(posts, rule="auto").parts(posts)
    train.sort(key=_drawn)
    sizes = [round(len(train) * (1 - SHARE * left)) for left in range(UPDATES, -1, -1)]
    parts = [train[: sizes[0]], *(train[a:b] for a, b in pairwise(sizes))]
    notes: list[str] = []
    for number, part in enumerate(parts):
        write_posts(part, place / f"part-{number}")
        sources = [place / f"part-{number}"]
        if number:
            report = update(sources, place / "updated", fit_ranker=fit_ranker)
            notes += report.notes
        else:
            build(sources, place / "updated", config=config, fit_ranker=fit_ranker)
    everything = [place / f"part-{number}" for number in range(len(parts))]
    build(everything, place / "rebuilt", config=config, fit_ranker=fit_ranker)
    found: dict[str, Any] = {"train": len(train), "test": len(test), "notes": notes}
    for inputs in ("caption", "seeds:2", "caption,seeds:2"):
        found[inputs] = {
            name: _scores(place / name, test, inputs) for name in ("updated", "rebuilt")
        }
    return found


def _scores(index: Path, test: Sequence[Post], inputs: str) -> dict[str, float]:
    questions = make_queries(test, Inputs.parse(inputs), seed=1)
    rankings, _ = asked(Recommender.open(index), questions.queries, max(KS))
    means = evaluate(rankings, questions.answers, KS).means()
    return {name: round(means[name], 5) for name in SHOWN}


def _drawn(post: Post) -> bytes:
    return hashlib.sha256(post.post_id.encode()).digest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="hashlens-") as temporary:
        figures = update_quality(given.folders, Path(temporary), given.limit)
        json.dump(figures, sys.stdout, indent=1)
        sys.stdout.write("\n")
