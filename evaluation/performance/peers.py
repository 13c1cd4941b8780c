"""Comparison with other vector stores and fastText: `pip install "hashlens[peers]"`.

Each peer stores the caption vectors, in batches if its calls are limited, and answers single
queries for the nearest. Approximate peers have the settings of their documentation. A peer that is
not installed is reported as missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from hashlens.evaluation.performance.sizes import NEIGHBOURS, count_bytes, to_query
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Embeddings, Floats, Ids
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.search import EXTRA_NEIGHBOURS
from hashlens.indexer.vectors.segments import load_live
from hashlens.retriever.recommender import Recommender

PEER_QUERIES = 300  # for each peer
ROUNDS = 3  # in which each peer stores the vectors and answers
MAX_CHROMA_BATCH = 5_000  # vectors in one call


class Peer(Protocol):
    """A store of vectors by id."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Store vectors; files go into the folder."""

    def nearest(self, query: Floats, m: int) -> Ids:
        """Return the ids of the m nearest of a query, float32 (d,)."""


class HashlensIndex:
    """`VectorIndex`, saved and mapped as in an index."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Build, save and open the index."""
        VectorIndex.build(stored).save(folder / "ours.faiss")
        self._index = VectorIndex.open(folder / "ours.faiss")

    def nearest(self, query: Floats, m: int) -> Ids:
        """Return ids by decreasing cosine, ties by id."""
        return self._index.search(query[None], m).row(0)[0]


class PlainFaiss:
    """A flat FAISS index and a dictionary of ids, saved, as in tutorials."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Build and save both."""
        import faiss

        faiss.omp_set_num_threads(1)  # as hashlens does: more threads slow single queries down
        self._index = faiss.IndexFlatIP(stored.vectors.shape[1])
        self._index.add(stored.vectors)
        self._ids = dict(enumerate(stored.ids.tolist()))
        faiss.write_index(self._index, str(folder / "plain.faiss"))
        (folder / "ids.json").write_text(json.dumps(self._ids))

    def nearest(self, query: Floats, m: int) -> Ids:
        """Return the ids of the positions that FAISS finds."""
        return self._to_ids(self._index.search(query[None], m)[1])

    def _to_ids(self, positions: Ids) -> Ids:
        return np.array([self._ids[position] for position in positions[0].tolist()], np.int64)


class OrderedFaiss(PlainFaiss):
    """The same with ties ordered by id, as in hashlens, which full recall requires."""

    def nearest(self, query: Floats, m: int) -> Ids:
        """Return ids by decreasing score, ties by id."""
        size = self._index.ntotal
        width = min(m + EXTRA_NEIGHBOURS, size)
        scores, positions = self._index.search(query[None], width)
        while m < width < size and scores[0, m - 1] == scores[0, -1]:
            width = min(4 * width, size)
            scores, positions = self._index.search(query[None], width)
        ids = self._to_ids(positions)
        return ids[np.lexsort((ids, -scores[0]))[:m]]


class Lance:
    """LanceDB, with every vector compared."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Write one table."""
        import lancedb
        import pyarrow as pa

        width = stored.vectors.shape[1]
        vectors = pa.FixedSizeListArray.from_arrays(stored.vectors.ravel(), width)
        table = pa.table({"id": stored.ids, "vector": vectors})
        self._table: Any = lancedb.connect(folder).create_table("posts", table)

    def nearest(self, query: Floats, m: int) -> Ids:
        """Return ids by dot product."""
        search = self._table.search(query).distance_type("dot").select(["id", "_distance"])
        return np.asarray(search.limit(m).to_arrow()["id"], np.int64)


class Chroma:
    """Chroma, with its default HNSW index."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Write one collection in batches."""
        import chromadb
        from chromadb.config import Settings

        client: Any = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        self._posts = client.create_collection("posts", metadata={"hnsw:space": "ip"})
        names = [str(number) for number in stored.ids.tolist()]
        for start in range(0, len(names), MAX_CHROMA_BATCH):
            batch = slice(start, start + MAX_CHROMA_BATCH)
            self._posts.add(ids=names[batch], embeddings=stored.vectors[batch])

    def nearest(self, query: Floats, m: int) -> Ids:
        """Return ids by inner product."""
        found = self._posts.query(query_embeddings=query[None], n_results=m, include=[])
        return np.array(list(map(int, found["ids"][0])), np.int64)


PEERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    "hashlens": ("faiss", HashlensIndex),
    "FAISS + dict": ("faiss", PlainFaiss),
    "FAISS + dict, equal ones by id": ("faiss", OrderedFaiss),
    "LanceDB": ("lancedb", Lance),
    "Chroma": ("chromadb", Chroma),
}


def compare_peers(stored: Embeddings, queries: Floats) -> dict[str, Json]:
    """Return each peer's seconds to add, milliseconds a query, recall and bytes on disk.

    The peers take turns, so that a slow moment of the machine affects all of them. `add_s` and `ms`
    are medians, `ms_quartiles` the quartiles.

    Args:
        stored: vectors.
        queries: unit vectors, float32 (q, d).
    """
    exact = VectorIndex.build(stored, "exact").search(queries, NEIGHBOURS)
    nearest = [exact.row(row)[0] for row in range(len(queries))]
    missing = {name: package for name, (package, _) in PEERS.items() if find_spec(package) is None}
    names = [name for name in PEERS if name not in missing]
    results: dict[str, Json] = {name: {"missing": each} for name, each in missing.items()}
    peers: dict[str, Peer] = {}
    add_seconds: dict[str, list[float]] = {name: [] for name in names}
    query_ms: dict[str, list[float]] = {name: [] for name in names}
    with TemporaryDirectory(prefix="hashlens-") as place:
        # Each is first once: one peer warms memory and caches for the next.
        turns = [(turn, name) for turn in range(ROUNDS) for name in names[turn:] + names[:turn]]
        for turn, name in turns:
            folder = Path(place) / f"{name}{turn}".replace(" ", "")
            folder.mkdir()
            peer = peers[name] = PEERS[name][1]()
            began = time.perf_counter()
            peer.add(stored, folder)
            add_seconds[name].append(time.perf_counter() - began)
            results[name] = {"bytes": count_bytes(folder)}
        for _, name in turns:
            for query in queries[:5]:  # to warm up
                peers[name].nearest(query, NEIGHBOURS)
            recalls = []
            for query, expected in zip(queries, nearest, strict=True):
                began = time.perf_counter()
                ids = peers[name].nearest(query, NEIGHBOURS)
                query_ms[name].append(1000 * (time.perf_counter() - began))
                recalls.append(np.isin(expected, ids).mean())
            results[name]["recall"] = float(np.mean(recalls))
    for name in names:
        low, middle, high = np.percentile(query_ms[name], [25, 50, 75]).tolist()
        results[name] |= {"add_s": median(add_seconds[name]), "ms": middle}
        results[name]["ms_quartiles"] = [low, high]
    return {name: results[name] for name in PEERS}


def compare_on_index(index: Path, posts: Path, captions: Sequence[str]) -> dict[str, Json]:
    """Compare peers on an index's caption vectors, and measure fastText on its posts.

    Args:
        index: folder of an index.
        posts: folder of the posts that it was built from.
        captions: of the queries.
    """
    stored, _ = load_live(open_current(index).folder / "captions")
    queries = [to_query(caption) for caption in captions[:PEER_QUERIES]]
    vectors = Recommender.open(index).prepare(queries).texts.vectors
    results = compare_peers(stored, vectors) if stored else {}
    if find_spec("fasttext") is None:
        return results | {"fastText": {"missing": "fasttext-wheel"}}
    import fasttext

    with TemporaryDirectory(prefix="hashlens-") as folder:
        file = Path(folder) / "posts.txt"
        with file.open("w", encoding="utf-8") as lines:
            for post in read_all_posts([posts]):
                if post.caption and post.hashtags:
                    labels = " ".join(f"__label__{tag}" for tag in post.hashtags)
                    lines.write(f"{labels} {' '.join(tokens(post.caption))}\n")
        began = time.perf_counter()
        model = fasttext.train_supervised(
            str(file), dim=50, epoch=5, loss="hs", minCount=2, minCountLabel=2, thread=2, verbose=0
        )
        train_s = time.perf_counter() - began
    times = []
    for query in queries:
        text = " ".join(tokens(query.caption)) + "\n"
        began = time.perf_counter()
        model.f.predict(text, 5, 0.0, "strict")  # its own `predict` fails under NumPy 2
        times.append(1000 * (time.perf_counter() - began))
    return results | {"fastText": {"train_s": train_s, "ms": median(times)}}
