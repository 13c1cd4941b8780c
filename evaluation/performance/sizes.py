"""The costs of one size: building, updating and querying an index of so many posts.

Each function is one measurement, run in a process of its own (`run_isolated`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from hashlens.evaluation.performance.isolated import StageTimer, measure_seconds, read_memory
from hashlens.evaluation.result_files import Json
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

NEIGHBOURS = 100  # for recall
WARM_UP_QUERIES = 20  # before the clock starts
COLD_STARTS = 5  # processes


def measure_build(posts: Path, index: Path) -> Json:
    """Return the seconds of a build and of its stages."""
    timer = StageTimer()
    report = build([posts], index, fit_ranker=fit_ranker, progress=timer)
    return {"seconds": report.seconds, "stages": timer.seconds(), "counts": report.counts}


def measure_update(posts: Path, index: Path) -> Json:
    """Return the seconds of an update without retraining, and of its stages."""
    timer = StageTimer()
    report = update([posts], index, retrain=False, progress=timer)
    return {"seconds": report.seconds, "stages": timer.seconds(), "added": report.added}


def measure_queries(index: Path, captions: Sequence[str], single: int) -> Json:
    """Return milliseconds of single warm queries, and answers a second of all in one batch.

    Args:
        index: folder of the index.
        captions: of the queries.
        single: number of captions that are asked one by one.
    """
    recommender = Recommender.open(index)
    for caption in captions[:WARM_UP_QUERIES]:
        recommender.recommend(caption=caption)
    times = []
    for caption in captions[:single]:
        began = time.perf_counter()
        recommender.recommend(caption=caption)
        times.append(1000 * (time.perf_counter() - began))
    queries = [to_query(caption) for caption in captions]
    recommender.recommend_batch(queries[:WARM_UP_QUERIES], Selection(), evidence=False)
    seconds = measure_seconds(lambda: recommender.recommend_many(queries))
    return {
        "queries": len(times),
        "median_ms": median(times),
        "p99_ms": float(np.quantile(times, 0.99)),
        "batch_a_second": len(queries) / seconds,
        "resident_mib": read_memory(),
    }


def measure_cold_starts(index: Path, caption: str) -> list[float]:
    """Return the seconds of whole `hashlens recommend --caption` processes, without the first."""
    words = [sys.executable, "-c", "from hashlens.cli import main; main()", "recommend"]
    words += ["--index", str(index), "--caption", caption, "--json"]

    def recommend() -> None:
        subprocess.run(words, check=True, capture_output=True)  # noqa: S603 (our own command)

    return [measure_seconds(recommend) for _ in range(COLD_STARTS + 1)][1:]


def measure_recall(index: Path, captions: Sequence[str]) -> Json:
    """Return the recall of the nearest captions, and the time of search.

    An exact search of all stored vectors is the reference.
    """
    folder = open_current(index).folder / "captions"
    segments, (stored, _) = Segments.open(folder), load_live(folder)
    vectors = Recommender.open(index).prepare([to_query(c) for c in captions]).texts.vectors
    if segments is None or stored is None or not len(vectors):
        return {}
    expected, exact_ms = _search_each(VectorIndex.build(stored, "exact"), vectors)
    found, ms = _search_each(segments, vectors)
    pairs = zip(expected, found, strict=True)
    return {
        "vectors": len(stored.ids),
        "kinds": [VectorIndex.open(path).kind for path in sorted(folder.glob("*.faiss"))],
        "recall": float(np.mean([np.isin(nearest, ids).mean() for nearest, ids in pairs])),
        "ms": ms,
        "exact_ms": exact_ms,
    }


def _search_each(
    vectors: VectorIndex | Segments, queries: Floats
) -> tuple[list[np.ndarray], float]:
    """Return the nearest ids of single queries, and the median of their milliseconds."""
    found, times = [], []
    for row in range(len(queries)):
        began = time.perf_counter()
        ids, _ = vectors.search(queries[row : row + 1], NEIGHBOURS).row(0)
        times.append(1000 * (time.perf_counter() - began))
        found.append(ids)
    return found, median(times)


def to_query(caption: str) -> Query:
    """Return the query of a caption."""
    return make_query(None, caption, ())


def read_captions(posts: Path, limit: int) -> list[str]:
    """Return at most `limit` distinct captions of a folder's posts, without hashtags."""
    captions: dict[str, None] = {}
    with (posts / "posts.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            caption = str(json.loads(line)["caption"]).strip()
            if caption:
                captions[caption] = None
            if len(captions) == limit:
                break
    return list(captions)


def count_bytes(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
