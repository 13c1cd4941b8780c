"""Segments: immutable vector indexes of a kind, searched as one, without deleted vectors.

images/0001.faiss  0002.faiss  ...  one for each build or update, linked by later generations
images/0001.milvus                  the ids alone, if the vectors are in Milvus
images/0001.npy                     ImageNet's classes of its pictures, by rising id
images/dead.npy                     ids in the segments whose posts were removed
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.disk_rows import ROWS_AT_ONCE, read_rows
from hashlens.indexer.arrays.sparse import open_npy
from hashlens.indexer.errors import ShapeError
from hashlens.indexer.generations.filesystem import names_in
from hashlens.indexer.types import Embeddings, Floats, Ids, Neighbors
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.milvus_location import MilvusLocation
from hashlens.indexer.vectors.milvus_segments import (
    SUFFIX,
    MilvusVectors,
    read_ids,
    save_milvus_segment,
)

KINDS = ("images", "captions")  # folders of a generation with segments
DELETED = "dead.npy"


class PostVectors(Protocol):
    """Unit vectors by id, searched by cosine, in files or in Milvus; see `VectorIndex`."""

    @property
    def width(self) -> int:
        """Length of each vector."""

    @property
    def ids(self) -> Ids:
        """All ids, int64 (n,), ascending."""

    def within(self, limit: int) -> bool:
        """Return whether every id is 0 or more and below a limit."""

    def reconstruct(self, ids: Ids) -> Floats:
        """Return the vectors of ids, float32 (n, d), in the order asked."""

    def search(self, vectors: Floats, m: int, *, without: Ids | None = None) -> Neighbors:
        """Return the m nearest of each query, by falling cosine, ties by rising id."""


class Segments:
    """Vector indexes of one width, without a common id, searched as one."""

    def __init__(self, parts: Sequence[PostVectors], dead: Ids | None = None) -> None:
        """Take one index or more.

        Args:
            parts: the indexes.
            dead: deleted ids int64 (r,), which are skipped.

        Raises:
            ShapeError: there is none, or widths differ.
        """
        widths = {part.width for part in parts}
        if len(widths) != 1:
            raise ShapeError(f"found segments of widths {sorted(widths)}, expected one width")
        (self.width,) = widths
        self._parts = tuple(parts)
        self._dead = np.zeros(0, np.int64) if dead is None else dead

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> Ids:
        """The ids that are not deleted, int64 (n,), ascending."""
        ids: Ids = np.sort(np.concatenate([part.ids for part in self._parts]))
        return ids[~np.isin(ids, self._dead)] if len(self._dead) else ids

    def within(self, limit: int) -> bool:
        """Return whether every id, deleted ones included, is 0 or more and below a limit."""
        return all(part.within(limit) for part in self._parts)

    def reconstruct(self, ids: Ids) -> Floats:
        """Return vectors of ids that are not deleted, float32 (n, d), in the order asked.

        Raises:
            ShapeError: an id is not among them.
        """
        vectors = np.zeros((len(ids), self.width), np.float32)
        missing = np.ones(len(ids), np.bool_)
        for part in self._parts:
            here = missing & np.isin(ids, part.ids)
            vectors[here] = part.reconstruct(ids[here])
            missing &= ~here
        missing |= np.isin(ids, self._dead)
        if missing.any():
            raise ShapeError(f"found id {ids[missing][0]}, expected one of the {len(self)}")
        return vectors

    def search(self, vectors: Floats, m: int) -> Neighbors:
        """Return the m nearest vectors of each query; see `VectorIndex.search`."""
        dead = self._dead if len(self._dead) else None
        found = [part.search(vectors, m, without=dead) for part in self._parts]
        if len(found) == 1:
            return found[0]
        ids = np.concatenate([each.ids for each in found], axis=1)
        scores = np.concatenate([each.scores for each in found], axis=1)
        # Places beyond the last neighbour score -inf, and so come last.
        order = np.lexsort((ids, -scores))[:, :m]
        counts = np.minimum(sum(each.counts for each in found), m)
        return Neighbors(
            np.take_along_axis(ids, order, axis=1),
            np.take_along_axis(scores, order, axis=1),
            counts.astype(np.int64),
        )

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """Open the segments in a folder; None if there are none.

        Raises:
            IndexCorruptError: a file cannot be read, or vectors are missing in Milvus.
            VectorsUnreachableError: vectors are in Milvus, which does not answer or is not allowed.
        """
        paths = segment_paths(folder)
        if not paths:
            return None
        inside = [path for path in paths if path.suffix != SUFFIX]
        parts: list[PostVectors] = [VectorIndex.open(path) for path in inside]
        if outside := [path for path in paths if path.suffix == SUFFIX]:
            parts.append(MilvusVectors.open(outside))
        return cls(parts, deleted_ids(folder))


def segment_paths(folder: Path) -> list[Path]:
    """Return the files of the segments in a folder, oldest first; none without a folder."""
    found = (folder / name for name in names_in(folder) if name.endswith((".faiss", SUFFIX)))
    return sorted(path for path in found if path.stem.isdecimal())


def segment_ids(path: Path) -> Ids:
    """Return the ids of a segment's file, deleted ones included, int64 (n,), ascending."""
    return read_ids(path) if path.suffix == SUFFIX else VectorIndex.open(path).ids


def deleted_ids(folder: Path) -> Ids:
    """Return the deleted ids in a folder's segments, int64 (r,), ascending."""
    path = folder / DELETED
    return read_ids(path) if path.exists() else np.zeros(0, np.int64)


def live_ids(folder: Path) -> Ids:
    """Return the ids of a folder's segments that are not deleted, int64 (n,), ascending."""
    given = [np.zeros(0, np.int64), *(segment_ids(path) for path in segment_paths(folder))]
    ids: Ids = np.sort(np.concatenate(given))
    return ids[~np.isin(ids, deleted_ids(folder))]


def mark_deleted(folder: Path, removed: Ids) -> tuple[list[Path], Ids]:
    """Return the segments of a folder that still have other ids, and the deleted ids in these.

    Args:
        folder: of one kind; it stays as it is.
        removed: further ids int64 (r,) to delete; unknown ones are skipped.
    """
    gone = np.union1d(deleted_ids(folder), removed)
    held = {path: segment_ids(path) for path in segment_paths(folder)}
    living = [path for path, ids in held.items() if not np.isin(ids, gone).all()]
    ids = np.concatenate([np.zeros(0, np.int64), *(held[path] for path in living)])
    return living, np.intersect1d(gone, ids)


def save_segment(folder: Path, found: Embeddings, classes: NDArray[np.generic] | None) -> None:
    """Write vectors, if any, as the next segment of a folder, made if it is missing.

    They go to Milvus if the generation has a `MilvusLocation`.

    Args:
        folder: of one kind.
        found: n vectors, of ascending ids that no other segment has.
        classes: probabilities of ImageNet's classes (n, 1000), stored as float16.
    """
    if not len(found.ids):
        return
    folder.mkdir(exist_ok=True)
    last = max((int(path.stem) for path in segment_paths(folder)), default=0)
    if location := MilvusLocation.of(folder.parent):
        path = save_milvus_segment(location, folder, found, first=not last)
    else:
        path = folder / f"{last + 1:04}.faiss"
        VectorIndex.build(found).save(path)
    if classes is not None:
        form = {"descr": "<f2", "fortran_order": False, "shape": classes.shape}
        with path.with_suffix(".npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, form)
            for start in range(0, len(classes), ROWS_AT_ONCE):
                file.write(classes[start : start + ROWS_AT_ONCE].astype("<f2").tobytes())


def load_live(folder: Path) -> tuple[Embeddings | None, Floats | None]:
    """Return all vectors of a folder's segments by rising id, and their pictures' classes.

    Deleted ones are left out. Both arrays are on disk if they are large. Classes are None if a
    segment has none.
    """
    segments = Segments.open(folder)
    if segments is None or not len(segments):
        return None, None
    ids = segments.ids
    vectors = read_rows(len(ids), segments.width, lambda some: segments.reconstruct(ids[some]))
    return Embeddings(ids, vectors), _load_classes(segment_paths(folder), ids)


def _load_classes(paths: Sequence[Path], wanted: Ids) -> Floats | None:
    """Return classes of pictures by their ids, float32 (n, 1000); None if a segment has none."""
    if not all(path.with_suffix(".npy").exists() for path in paths):
        return None
    tables = [open_npy(path.with_suffix(".npy")) for path in paths]
    ids = np.concatenate([segment_ids(path) for path in paths])
    firsts = np.cumsum([0, *map(len, tables)])
    order = np.argsort(ids)
    rows = order[np.searchsorted(ids[order], wanted)]
    width = tables[0].shape[1]

    def read(some: slice) -> Floats:
        owners = np.searchsorted(firsts, rows[some], "right") - 1
        found = np.empty((len(owners), width), np.float32)
        for owner in np.unique(owners).tolist():
            mine = owners == owner
            found[mine] = tables[owner][rows[some][mine] - firsts[owner]]
        return found

    return read_rows(len(rows), width, read)
