"""What one size costs: building, updating and asking an index of so many posts.

Each function is one measurement, done in a process of its own (`apart`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hashlens.evaluation.performance.isolated import Stages, resident, seconds_of
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.types import Floats
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.segments import Segments, load_live
from hashlens.retriever.query.parse import make_query
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.training.fit import fit_ranker

NEIGHBOURS = 100  # of which recall is told
WARM = 20  # questions before the clock runs
COLD = 5  # processes started

Figures = dict[str, Any]


def built(posts: Path, index: Path) -> Figures:
    """Seconds of a build, and of its stages."""
    stages = Stages()
    report = build([posts], index, fit_ranker=fit_ranker, progress=stages)
    return {"seconds": report.seconds, "stages": stages.seconds(), "counts": report.counts}


def updated(posts: Path, index: Path) -> Figures:
    """Seconds of an update, and of its stages; nothing is learned anew."""
    stages = Stages()
    report = update([posts], index, retrain=False, progress=stages)
    return {"seconds": report.seconds, "stages": stages.seconds(), "added": report.added}


def asked(index: Path, captions: Sequence[str], rounds: int) -> Figures:
    """Milliseconds of single questions, warm, without evidence and with; answers a second of many.

    Args:
        index: folder of the index.
        captions: to ask.
        rounds: of them that are asked one by one.
    """
    recommender = Recommender.open(index)
    for caption in captions[:WARM]:
        recommender.recommend(caption=caption)
    single = [_ms(partial(recommender.recommend, caption=c)) for c in captions[:rounds]]
    queries = [query_of(caption) for caption in captions]
    recommender.recommend_batch(queries[:WARM], Selection(), evidence=False)
    seconds = _ms(lambda: recommender.recommend_many(queries)) / 1000
    return {
        "queries": len(single),
        "median_ms": median(single),
        "p99_ms": float(np.quantile(single, 0.99)),
        "batch_a_second": len(queries) / seconds,
        "resident_mib": resident(),
    }


def cold(index: Path, caption: str) -> list[float]:
    """Seconds of whole `hashlens recommend --caption` processes, after one that is not counted."""
    words = [sys.executable, "-c", "from hashlens.cli import main; main()", "recommend"]
    words += ["--index", str(index), "--caption", caption, "--json"]

    def ask() -> None:
        subprocess.run(words, check=True, capture_output=True)  # noqa: S603 (our own command)

    return [seconds_of(ask) for _ in range(COLD + 1)][1:]


def recalled(index: Path, captions: Sequence[str]) -> Figures:
    """How many of the truly nearest captions the index finds, and what that costs.

    Every stored vector compared is the judge (`exact`).
    """
    folder = open_current(index).folder / "captions"
    segments, (stored, _) = Segments.open(folder), load_live(folder)
    vectors = Recommender.open(index).prepare([query_of(c) for c in captions]).texts.vectors
    if segments is None or stored is None or not len(vectors):
        return {}
    exact = VectorIndex.build(stored, "exact")
    true, true_ms = _each(exact, vectors)
    found, found_ms = _each(segments, vectors)
    pairs = zip(found, true, strict=True)
    recall = np.mean([np.isin(t, f).mean() for f, t in pairs])
    kinds = [VectorIndex.open(path).kind for path in sorted(folder.glob("*.faiss"))]
    return {
        "vectors": len(stored.ids),
        "kinds": kinds,
        "recall": float(recall),
        "ms": found_ms,
        "exact_ms": true_ms,
    }


def _each(vectors: VectorIndex | Segments, queries: Floats) -> tuple[list[np.ndarray], float]:
    """The nearest of queries put one by one, and the median of their milliseconds."""
    found, times = [], []
    for row in range(len(queries)):
        began = time.perf_counter()
        ids, _ = vectors.search(queries[row : row + 1], NEIGHBOURS).row(0)
        times.append(1000 * (time.perf_counter() - began))
        found.append(ids)
    return found, median(times)


def query_of(caption: str) -> Query:
    """A caption as a query."""
    return make_query(None, caption, ())


def captions_of(posts: Path, most: int) -> list[str]:
    """Captions of a folder's posts, hashtags aside, different ones, at most so many."""
    found: dict[str, None] = {}
    with (posts / "posts.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            caption = str(json.loads(line)["caption"]).strip()
            if caption:
                found[caption] = None
            if len(found) == most:
                break
    return list(found)


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _ms(work: Callable[[], object]) -> float:
    return 1000 * seconds_of(work)
