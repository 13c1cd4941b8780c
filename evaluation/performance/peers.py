"""What people would use instead, on the same vectors and posts: `pip install "hashlens[peers]"`.

Each peer is given caption vectors to add, some thousands at a time where it cannot take more, and
asked for the nearest of each query, one by one. A peer that is not installed is left out, and said
to be. Of approximate ones the settings are those of their documentation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from hashlens.evaluation.performance.sizes import NEIGHBOURS, query_of, size_of
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Embeddings, Floats, Ids, Post
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.search import EXTRA_NEIGHBOURS
from hashlens.indexer.vectors.segments import load_live
from hashlens.retriever.recommender import Recommender

ASKED = 300  # queries put to each
TURNS = 3  # in which each keeps the vectors, and is asked
AT_ONCE = 5_000  # vectors that Chroma takes in one call


class Peer(Protocol):
    """A place for vectors by id."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Keep vectors, in files of the folder where it has any."""

    def nearest(self, query: Floats, m: int) -> Ids:
        """Ids of the nearest of a query, float32 (d,)."""


class Ours:
    """`VectorIndex`, saved and mapped, as an index has it."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Build, save and open."""
        VectorIndex.build(stored).save(folder / "ours.faiss")
        self._index = VectorIndex.open(folder / "ours.faiss")

    def nearest(self, query: Floats, m: int) -> Ids:
        """By falling cosine, equal ones by id."""
        return self._index.search(query[None], m).row(0)[0]


class PlainFaiss:
    """A flat FAISS index and a dict of ids beside it, as tutorials have it; saved."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """Add, and write both."""
        import json

        import faiss

        faiss.omp_set_num_threads(1)  # as ours: more only get in one another's way
        self._index = faiss.IndexFlatIP(stored.vectors.shape[1])
        self._index.add(stored.vectors)
        self._ids = dict(enumerate(stored.ids.tolist()))
        faiss.write_index(self._index, str(folder / "plain.faiss"))
        (folder / "ids.json").write_text(json.dumps(self._ids))

    def nearest(self, query: Floats, m: int) -> Ids:
        """Places, looked up."""
        _, places = self._index.search(query[None], m)
        return np.array([self._ids[place] for place in places[0].tolist()], np.int64)


class OrderedFaiss(PlainFaiss):
    """The same with equal neighbours in a settled order, as ours are: what full recall takes."""

    def nearest(self, query: Floats, m: int) -> Ids:
        """Places, looked up, by falling score, equal ones by id, of all that are as near."""
        most = self._index.ntotal
        reach = min(m + EXTRA_NEIGHBOURS, most)
        found, places = self._index.search(query[None], reach)
        while m < reach < most and found[0, m - 1] == found[0, -1]:
            reach = min(4 * reach, most)
            found, places = self._index.search(query[None], reach)
        ids = np.array([self._ids[place] for place in places[0].tolist()], np.int64)
        return ids[np.lexsort((ids, -found[0]))[:m]]


class Lance:
    """LanceDB, every vector compared."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """One table."""
        import lancedb
        import pyarrow as pa

        width = stored.vectors.shape[1]
        vectors = pa.FixedSizeListArray.from_arrays(stored.vectors.ravel(), width)
        table = pa.table({"id": stored.ids, "vector": vectors})
        self._table: Any = lancedb.connect(folder).create_table("posts", table)

    def nearest(self, query: Floats, m: int) -> Ids:
        """By dot product."""
        asked = self._table.search(query).distance_type("dot").select(["id", "_distance"])
        return np.asarray(asked.limit(m).to_arrow()["id"], np.int64)


class Chroma:
    """Chroma, with the HNSW index that it has by itself."""

    def add(self, stored: Embeddings, folder: Path) -> None:
        """One collection, some thousands at a time."""
        import chromadb
        from chromadb.config import Settings

        client: Any = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        self._posts = client.create_collection("posts", metadata={"hnsw:space": "ip"})
        names = [str(number) for number in stored.ids.tolist()]
        for start in range(0, len(names), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            self._posts.add(ids=names[some], embeddings=stored.vectors[some])

    def nearest(self, query: Floats, m: int) -> Ids:
        """By inner product."""
        found = self._posts.query(query_embeddings=query[None], n_results=m, include=[])
        return np.array(list(map(int, found["ids"][0])), np.int64)


PEERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    "hashlens": ("faiss", Ours),
    "FAISS + dict": ("faiss", PlainFaiss),
    "FAISS + dict, equal ones by id": ("faiss", OrderedFaiss),
    "LanceDB": ("lancedb", Lance),
    "Chroma": ("chromadb", Chroma),
}


def compared(stored: Embeddings, queries: Floats) -> dict[str, dict[str, Any]]:
    """Of each peer seconds to add, milliseconds of a query, recall and bytes on disk.

    They keep the vectors and are asked in turns, so that a slow moment of the machine is
    everyone's; `add_s` and `ms` are medians, `ms_quartiles` the spread.

    Args:
        stored: vectors.
        queries: unit vectors, float32 (q, d).
    """
    true = _true(stored, queries)
    missing = {name: package for name, (package, _) in PEERS.items() if find_spec(package) is None}
    there = [name for name in PEERS if name not in missing]
    found: dict[str, dict[str, Any]] = {name: {"missing": each} for name, each in missing.items()}
    asked: dict[str, Peer] = {}
    added: dict[str, list[float]] = {name: [] for name in there}
    times: dict[str, list[float]] = {name: [] for name in there}
    with TemporaryDirectory(prefix="hashlens-") as place:
        # Each goes first once: what one leaves in memory and caches makes it easier for the next.
        turns = [(turn, name) for turn in range(TURNS) for name in there[turn:] + there[:turn]]
        for turn, name in turns:
            folder = Path(place) / f"{name}{turn}".replace(" ", "")
            folder.mkdir()
            asked[name] = PEERS[name][1]()
            began = time.perf_counter()
            asked[name].add(stored, folder)
            added[name].append(time.perf_counter() - began)
            found[name] = {"bytes": size_of(folder)}
        for _, name in turns:
            taken, found[name]["recall"] = _asked(asked[name], queries, true)
            times[name] += taken
    for name in there:
        low, middle, high = np.percentile(times[name], [25, 50, 75]).tolist()
        found[name] |= {"add_s": median(added[name]), "ms": middle, "ms_quartiles": [low, high]}
    return {name: found[name] for name in PEERS}


def compared_on(index: Path, posts: Path, captions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The same of an index's caption vectors; and fastText on its posts.

    Args:
        index: folder of an index.
        posts: folder of the posts it was built from.
        captions: to ask with.
    """
    stored, _ = load_live(open_current(index).folder / "captions")
    prepared = Recommender.open(index).prepare([query_of(caption) for caption in captions[:ASKED]])
    found = compared(stored, prepared.texts.vectors) if stored else {}
    told = [post for post in usable([posts], "instagram", []) if post.caption and post.hashtags]
    return found | {"fastText": _fasttext(told, captions[:ASKED])}


def _asked(peer: Peer, queries: Floats, true: Sequence[Ids]) -> tuple[list[float], float]:
    """Milliseconds of each query, after some to warm up, and the recall of them all."""
    for query in queries[:5]:
        peer.nearest(query, NEIGHBOURS)
    times, recalls = [], []
    for query, nearest in zip(queries, true, strict=True):
        began = time.perf_counter()
        ids = peer.nearest(query, NEIGHBOURS)
        times.append(1000 * (time.perf_counter() - began))
        recalls.append(float(np.isin(nearest, ids).mean()))
    return times, float(np.mean(recalls))


def _true(stored: Embeddings, queries: Floats) -> list[Ids]:
    """Ids of the truly nearest of each query."""
    found = VectorIndex.build(stored, "exact").search(queries, NEIGHBOURS)
    return [found.row(row)[0] for row in range(len(queries))]


def _fasttext(posts: Sequence[Post], captions: Sequence[str]) -> dict[str, Any]:
    """Seconds to train fastText on captions with hashtags, and milliseconds of five answers."""
    if find_spec("fasttext") is None:
        return {"missing": "fasttext-wheel"}
    import fasttext

    with TemporaryDirectory(prefix="hashlens-") as folder:
        file = Path(folder) / "posts.txt"
        with file.open("w", encoding="utf-8") as lines:
            for post in posts:
                labels = " ".join(f"__label__{tag}" for tag in post.hashtags)
                lines.write(f"{labels} {' '.join(tokens(post.caption))}\n")
        began = time.perf_counter()
        model = fasttext.train_supervised(
            str(file), dim=50, epoch=5, loss="hs", minCount=2, minCountLabel=2, thread=2, verbose=0
        )
        trained = time.perf_counter() - began
    times = []
    for caption in captions:
        text = " ".join(tokens(caption)) + "\n"
        began = time.perf_counter()
        model.f.predict(text, 5, 0.0, "strict")  # its own `predict` fails under NumPy 2
        times.append(1000 * (time.perf_counter() - began))
    return {"train_s": trained, "ms": median(times)}
