"""Segments whose vectors are in Milvus, with the same interface as FAISS files.

The ids of a segment are in the generation's folder, sealed with it; Milvus has the vectors. The
primary key there is the segment's number and the post's key. So vectors of another generation are
in other segments and never seen, even if a key is used again after a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from hashlens.indexer.arrays.sparse import open_npy
from hashlens.indexer.errors import DAMAGED, IndexCorruptError, ShapeError
from hashlens.indexer.types import Embeddings, Floats, Ids, Neighbors
from hashlens.indexer.vectors.milvus_client import MAX_FETCHED, Collection, list_collections
from hashlens.indexer.vectors.milvus_location import MAX_GENERATIONS, MilvusLocation
from hashlens.indexer.vectors.search import isin_sorted, search_stable

SUFFIX = ".milvus"
_SHIFT = 40  # bits of a primary key that are the post's key


class MilvusVectors:
    """Vectors of segments of one collection, searched as one, by post key."""

    def __init__(self, collection: Collection, segments: Mapping[int, Ids]) -> None:
        """Take the ids int64 (n,) of each segment by its number, without a common id."""
        self.width = collection.width
        self._collection = collection
        self._numbers = sorted(segments)
        none = np.zeros(0, np.int64)
        ids = np.concatenate([none, *segments.values()])
        keys = np.concatenate([none, *(primary_keys(n, ids) for n, ids in segments.items())])
        order = np.argsort(ids)
        self.ids: Ids = ids[order]
        self._keys: Ids = keys[order]

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Self:
        """Open the segments of some files, all in one folder of a generation.

        Raises:
            IndexCorruptError: a file cannot be read, or Milvus has no such collection.
            VectorsUnreachableError: Milvus does not answer, or is not allowed.
            ConfigError: pymilvus is not installed.
        """
        kind = paths[0].parent
        location = MilvusLocation.of(kind.parent)
        if location is None:
            raise IndexCorruptError(f"{paths[0]}: found no location of its vectors; {DAMAGED}")
        segments = {int(path.stem): read_ids(path) for path in paths}
        if max(segments) >= MAX_GENERATIONS:
            raise IndexCorruptError(f"{kind}: found segment {max(segments)}; {DAMAGED}")
        return cls(Collection.open(location.used, location.collection(kind.name)), segments)

    def __len__(self) -> int:
        return len(self.ids)

    def within(self, limit: int) -> bool:
        """Return whether every id is 0 or more and below a limit."""
        return not len(self.ids) or bool(0 <= self.ids[0] <= self.ids[-1] < limit)

    def reconstruct(self, ids: Ids) -> Floats:
        """Return the vectors of ids, float32 (n, d), in the order asked.

        Raises:
            ShapeError: an id is not among them.
            IndexCorruptError: Milvus has no vector of one.
            VectorsUnreachableError: Milvus does not answer.
        """
        unknown = ids[~isin_sorted(ids, self.ids)]
        if len(unknown):
            raise ShapeError(f"found id {unknown[0]}, expected one of the {len(self)}")
        there, vectors = self.stored(ids)
        if len(there) < len(ids):
            lacking = np.delete(ids, there)
            raise IndexCorruptError(
                f"{self._collection.name}: found no vector of id {lacking[0]} and "
                f"{len(lacking) - 1} others in Milvus; {DAMAGED}"
            )
        return vectors

    def search(self, vectors: Floats, m: int, *, without: Ids | None = None) -> Neighbors:
        """Return the m nearest of each query, 16,384 at most; see `VectorIndex.search`.

        Raises:
            ShapeError: the width differs, rows are not finite unit vectors, or m is not positive.
            IndexCorruptError: Milvus found a vector that the index does not have.
            VectorsUnreachableError: Milvus does not answer.
        """
        barred = (
            np.zeros(0, np.int64) if without is None else without[isin_sorted(without, self.ids)]
        )
        gone = self._keys[np.searchsorted(self.ids, barred)]
        most = min(len(self) - len(gone), MAX_FETCHED)
        return search_stable(
            vectors, m, self.width, most, lambda some, reach: self._nearest(some, reach, gone)
        )

    def stored(self, ids: Ids) -> tuple[Ids, Floats]:
        """Return places in `ids` int64 (f,) of those with a vector in Milvus, and these (f, d).

        Raises:
            VectorsUnreachableError: Milvus does not answer.
        """
        return self._collection.fetch(self._keys[np.searchsorted(self.ids, ids)])

    def count(self) -> int:
        """Return the number of vectors that Milvus has in these segments."""
        return self._collection.count(self._numbers)

    def _nearest(self, queries: Floats, reach: int, gone: Ids) -> tuple[Ids, Floats]:
        """Return ids and scores (q, reach) by falling score; id -1 where there is none."""
        keys, scores = self._collection.search(queries, reach, self._numbers, gone)
        ids = np.where(keys >= 0, keys & ((1 << _SHIFT) - 1), -1)
        real = ids[ids >= 0]
        known = isin_sorted(real, self.ids).all()
        if not known or (self._keys[np.searchsorted(self.ids, real)] != keys[ids >= 0]).any():
            raise IndexCorruptError(
                f"{self._collection.name}: found vectors in Milvus that the index does not have; "
                f"{DAMAGED}"
            )
        return ids, scores


def primary_keys(segment: int, ids: Ids) -> Ids:
    """Return the primary keys int64 (n,) of a segment's ids.

    Raises:
        ShapeError: an id is out of range.
    """
    if len(ids) and not 0 <= ids.min() <= ids.max() < 1 << _SHIFT:
        raise ShapeError(f"found ids {ids.min()} to {ids.max()}, expected 0 to {1 << _SHIFT}")
    return (np.int64(segment) << _SHIFT) | ids


def read_ids(path: Path) -> Ids:
    """Return the ids in a segment's file, int64 (n,).

    Raises:
        IndexCorruptError: it cannot be read.
    """
    ids = np.asarray(open_npy(path))
    if ids.dtype != np.int64 or ids.ndim != 1:
        raise IndexCorruptError(
            f"{path}: found {ids.dtype} {ids.shape}, expected int64 (any,); {DAMAGED}"
        )
    return ids


def save_milvus_segment(
    location: MilvusLocation, folder: Path, found: Embeddings, *, first: bool
) -> Path:
    """Put vectors into Milvus, and their ids into the next segment's file; return that file.

    Args:
        location: of the generation that is written.
        folder: of one kind of it.
        found: the vectors.
        first: whether the folder has no other segment.

    Raises:
        VectorsUnreachableError: Milvus does not answer, or refuses.
        ShapeError: the width differs from that of the segments before.
    """
    name, size = location.collection(folder.name), found.vectors.shape
    made = location.made == location.segment or (
        first and name not in list_collections(location.used, name)
    )
    collection = (
        Collection.make(location.used, name, size[1], size[0])
        if made
        else Collection.open(location.used, name)
    )
    collection.add(location.segment, primary_keys(location.segment, found.ids), found.vectors)
    path = folder / f"{location.segment:04}{SUFFIX}"
    with path.open("wb") as file:
        np.save(file, found.ids)
    return path
