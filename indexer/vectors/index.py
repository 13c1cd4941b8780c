"""An immutable index of unit vectors by id, searched by FAISS.

Scores are inner products of unit rows, which is cosine; `faiss_types` defines the kinds of index.
FAISS is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np

from hashlens.indexer.errors import ConfigError, ShapeError
from hashlens.indexer.types import Embeddings, Floats, Ids, Neighbors
from hashlens.indexer.vectors.faiss_io import read_index, write_index
from hashlens.indexer.vectors.faiss_types import (
    KINDS,
    Kind,
    Library,
    empty_index,
    faiss,
    kind_for,
    kind_of,
    stored_ids,
    train_index,
)
from hashlens.indexer.vectors.search import isin_sorted, search_stable

MIN_PROBES = 32  # clusters compared with a query: makes small ivf indexes exact
CLUSTERS_PER_PROBE = 16  # in large ivf indexes


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Vectors to compare: their number, and FAISS's selector of them, None for all.

    `referenced` is what the selector points to.
    """

    size: int
    selector: Library | None = None
    referenced: Library | None = None


class VectorIndex:
    """Unit vectors by id, searched by cosine; ids are unique and not negative."""

    def __init__(self, index: Library) -> None:
        """Take an index of FAISS."""
        self._index = index
        self.width = int(index.d)
        self.kind: Kind = kind_of(index)
        self._excluded: tuple[Ids, SearchScope] | None = None

    @classmethod
    def build(cls, embeddings: Embeddings, kind: Kind | Literal["auto"] = "auto") -> Self:
        """Return an index of these vectors, of that kind; `auto` is `faiss_types.kind_for`.

        Raises:
            ConfigError: the kind is unknown.
            ShapeError: an id is negative or comes twice.
        """
        ids, vectors = embeddings.ids, embeddings.vectors
        if kind == "auto":
            kind = kind_for(vectors)
        if kind not in KINDS:
            raise ConfigError(f"found vector index kind {kind!r}, expected {' or '.join(KINDS)}")
        ordered = np.sort(ids)
        if len(ordered) and ordered[0] < 0:
            raise ShapeError(f"found id {ordered[0]}, expected 0 or more")
        if len(twice := ordered[1:][ordered[1:] == ordered[:-1]]):
            raise ShapeError(f"found id {twice[0]} twice, expected each once")
        if not len(ids):
            return cls(empty_index(vectors.shape[1], kind))
        index = (
            empty_index(vectors.shape[1], kind) if kind == "exact" else train_index(vectors, kind)
        )
        index.add_with_ids(vectors, ids)
        return cls(index)

    @classmethod
    def open(cls, path: Path, *, mmap: bool = True) -> Self:
        """Open the index saved in a file; with `mmap`, its vectors are read when needed.

        A mapped file may be replaced by rename, never written in place.

        Raises:
            IndexCorruptError: the file is missing, truncated or not a supported index.
        """
        return cls(read_index(path, mmap=mmap))

    def save(self, path: Path) -> None:
        """Write to a file, as a whole or not at all; it is on disk when this returns.

        Raises:
            OSError: it cannot be written, as when the disk is full.
        """
        write_index(self._index, path)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> Ids:
        """All ids, int64 (n,), ascending."""
        return self._sorted_ids[0]

    def within(self, limit: int) -> bool:
        """Return whether every id is 0 or more and below a limit; faster than `ids`."""
        stored = stored_ids(self._index)
        return not len(stored) or bool(0 <= stored.min() <= stored.max() < limit)

    def reconstruct(self, ids: Ids) -> Floats:
        """Return the vectors of ids, float32 (n, d), in the order asked; rounded in `ivf-sq8`.

        Raises:
            ShapeError: an id is not in the index.
        """
        known, order = self._sorted_ids
        unknown = ids[~isin_sorted(ids, known)]
        if len(unknown):
            raise ShapeError(f"found id {unknown[0]}, expected one of the {len(self)} in the index")
        if not len(ids):
            return np.zeros((0, self.width), dtype=np.float32)
        if self.kind == "exact":
            vectors = self._index.index.reconstruct_batch(order[np.searchsorted(known, ids)])
        else:
            with self._id_table():
                vectors = self._index.reconstruct_batch(np.ascontiguousarray(ids))
        if self.kind == "ivf-sq8":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.ascontiguousarray(vectors, dtype=np.float32)

    @contextmanager
    def _id_table(self) -> Iterator[None]:
        """Have FAISS keep a table of the places of ids in clusters for a while."""
        self._index.set_direct_map_type(faiss().DirectMap.Hashtable)
        try:
            yield
        finally:
            self._index.set_direct_map_type(faiss().DirectMap.NoMap)

    def search(self, vectors: Floats, m: int, *, without: Ids | None = None) -> Neighbors:
        """Return the m nearest of each query, by falling cosine, ties by rising id.

        Args:
            vectors: unit queries, float32 (q, d).
            m: number of neighbours. If there are fewer, `counts` says how many are real, and the
                places beyond have id 0 and score -inf.
            without: ids to skip.

        Raises:
            ShapeError: the width differs, rows are not finite unit vectors, or m is not positive.
        """
        scope = self._scope(without)
        return search_stable(
            vectors,
            m,
            self.width,
            scope.size,
            lambda queries, reach: self._nearest(queries, reach, scope),
        )

    def _scope(self, without: Ids | None) -> SearchScope:
        if without is None:
            return SearchScope(len(self))
        # Searches in a row skip the same ids.
        if self._excluded is None or self._excluded[0] is not without:
            known = np.intersect1d(without, self.ids)
            scope = SearchScope(len(self))
            if len(known):
                batch = faiss().IDSelectorBatch(known)
                left = len(self) - len(known)
                scope = SearchScope(left, faiss().IDSelectorNot(batch), batch)
            self._excluded = without, scope
        return self._excluded[1]

    def _nearest(self, queries: Floats, reach: int, scope: SearchScope) -> tuple[Ids, Floats]:
        """Return ids and scores (q, reach) by falling score; id -1 where there is none."""
        choice = {} if scope.selector is None else {"sel": scope.selector}
        params = None
        if self.kind != "exact":
            clusters = self._index.nlist
            probes = min(max(MIN_PROBES, clusters // CLUSTERS_PER_PROBE), clusters)
            params = faiss().SearchParametersIVF(nprobe=probes, **choice)
        elif choice:
            params = faiss().SearchParameters(**choice)
        # For a single query, several threads are slower than one.
        threads = faiss().omp_get_max_threads()
        faiss().omp_set_num_threads(1 if len(queries) == 1 else threads)
        try:
            scores, ids = self._index.search(queries, reach, params=params)
        finally:
            faiss().omp_set_num_threads(threads)
        return ids, scores

    @cached_property
    def _sorted_ids(self) -> tuple[Ids, Ids]:
        """Ids ascending, and the place where each is stored."""
        stored = stored_ids(self._index)
        order = np.argsort(stored)
        known = stored[order]
        known.flags.writeable = False
        return known, order
