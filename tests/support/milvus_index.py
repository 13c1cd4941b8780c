"""Indexes whose vectors are in Milvus Lite, and what is compared of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np

from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.corpus import assemble
from hashlens.indexer.errors import HashlensError
from hashlens.indexer.generations.generation import Generation, open_current, writer
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.topics.model import load_topics
from hashlens.indexer.types import Neighbors
from hashlens.indexer.vectors import milvus_client as milvus
from hashlens.indexer.vectors.milvus_client import list_collections
from hashlens.indexer.vectors.milvus_generations import drop_orphan_collections
from hashlens.indexer.vectors.milvus_location import ADDRESS, MilvusLocation, allow_address
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import SMALL, WORDS, Rows, drawn, written
from tests.support import tiny_index as tiny

DRAW = random.Random(7)
ROWS = [drawn(number, DRAW) for number in range(60)]
QUERIES = [Query(caption=f"{a} {b}", seeds=("dog",)) for a in WORDS[:6] for b in WORDS[6:9]]


def kept_there(rows: Rows, place: Path, address: str) -> Path:
    """An index of posts whose vectors are in Milvus."""
    posts = written(rows, place / "posts")
    given = {"config": SMALL, "workers": 1, "vectors_in": f"milvus:{address}"}
    report = build([posts], place / "index", **given)  # type: ignore[arg-type]
    assert any(f"{ADDRESS}=milvus:{address}" in note for note in report.notes)
    return place / "index"


def published(index: Path, address: str) -> Generation:
    """The tiny posts, some with pictures, with vectors in Milvus."""
    table = load_topics()
    with allow_address(address), drop_orphan_collections(index), writer(index) as new:
        MilvusLocation.first(address, index, new.number).save(new.folder)
        part = tiny.corpus(tiny.ROWS, tiny.PICTURES)
        counts, _ = assemble(new.folder, part, BuildContext(tiny.SMALL, table, workers=1))
        return new.publish(
            encoder=None, topics=table.names, config=tiny.SMALL.to_json(), counts=counts
        )


def place_of(index: Path) -> MilvusLocation:
    place = MilvusLocation.of(open_current(index).folder)
    assert place is not None
    return place


def collections(index: Path) -> list[str]:
    """What Milvus has of an index."""
    place = place_of(index)
    return sorted(list_collections(place.used, place.prefix))


def everything(collection: str, address: str) -> np.ndarray:
    """All vectors of a collection, float32 (n, d), whoever they are of."""
    client = milvus._client(address, "", os.getpid())
    rows = client.query(collection, filter="id >= 0", output_fields=["vector"])
    return np.array([row["vector"] for row in rows], np.float32)


def answered(index: Path) -> dict[tuple[int, str], float]:
    """Hashtags of each query, and about how likely; which posts are behind them, ties decide."""
    found = Recommender.open(index).recommend_many(QUERIES, 5)
    return {
        (number, tag.tag): tag.probability
        for number, answer in enumerate(found)
        if not isinstance(answer, HashlensError)
        for tag in answer.tags
    }


def coarse(draw: np.random.Generator, count: int, width: int = 6) -> np.ndarray:
    """Coarse values: many equal vectors and many ties."""
    rows = draw.integers(-1, 2, (count, width)).astype(np.float32)
    rows[:, 0] += 2
    found: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def assert_same_up_to_ties(found: Neighbors, wanted: Neighbors, near: float = 1e-6) -> None:
    """Scores alike; the same ids in each run of equal scores, but for the run that m cuts."""
    assert found.counts.tolist() == wanted.counts.tolist()
    for row, count in enumerate(wanted.counts.tolist()):
        np.testing.assert_allclose(found.scores[row], wanted.scores[row], atol=near)
        runs = np.cumsum(np.diff(wanted.scores[row, :count], prepend=2) < -near)
        for run_number in set(runs.tolist()) - {runs[-1]}:
            same = np.flatnonzero(runs == run_number)
            assert set(found.ids[row, same].tolist()) == set(wanted.ids[row, same].tolist())


def near(index: Path) -> Neighbors:
    """Posts with captions near some vectors, of the live generation."""
    captions = IndexReader.open(index).captions
    assert captions is not None
    return captions.search(coarse(np.random.default_rng(3), 12, captions.width), 15)
