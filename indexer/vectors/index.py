"""Ids and unit vectors into search, by FAISS.

Scores are inner products of unit rows, which is cosine; `faisskinds` says which kinds of index
there are. FAISS is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    padded_width,
    stored_ids,
    train_index,
)
from hashlens.indexer.vectors.search import check_width, isin_sorted, search_stable

MIN_PROBES = 32  # clusters compared with a query: makes small ivf indexes exact
CLUSTERS_PER_PROBE = 16  # one cluster in so many is compared, in large ones


@dataclass(frozen=True, slots=True)
class SearchScope:
    """The vectors that are compared: how many, FAISS's selector of them, None where all are.

    `kept` is what the selector refers to; `exact` ones are compared in every cluster.
    """

    size: int
    selector: Library | None
    kept: Library | None = None
    exact: bool = False


class VectorIndex:
    """Unit vectors by id, searched by cosine.

    Ids are unique, not negative, and keep their meaning for ever; positions are never shown.
    """

    def __init__(self, index: Library, width: int, *, mapped: bool = False) -> None:
        """Take an index of FAISS, whose rows may be padded, and the width without that."""
        self._index = index
        self._mapped = mapped
        self._width, self._padded, self._kind = width, int(index.d), kind_of(index)
        # Made when they are asked for, and dropped by `_copy_before_write`, before any change.
        self._all: SearchScope | None = None
        self._order: tuple[Ids, Ids] | None = None
        self._barred: tuple[Ids, SearchScope] | None = None

    @classmethod
    def empty(cls, width: int, kind: Kind = "exact") -> Self:
        """An index of no vectors; clusters are formed of the first that are added.

        Raises:
            ConfigError: the kind is unknown.
            ShapeError: the width is not positive.
        """
        if kind not in KINDS:
            raise ConfigError(f"found vector index kind {kind!r}, expected {' or '.join(KINDS)}")
        if width < 1:
            raise ShapeError(f"found a vector width of {width}, expected 1 or more")
        return cls(empty_index(padded_width(width), kind), width)

    @classmethod
    def build(cls, embeddings: Embeddings, kind: Kind | Literal["auto"] = "auto") -> Self:
        """An index of these vectors, of the kind named; `auto` is `faisskinds.kind_for`.

        Raises:
            ConfigError: the kind is unknown.
            ShapeError: an id is negative or comes twice.
        """
        if kind == "auto":
            kind = kind_for(embeddings.vectors)
        index = cls.empty(embeddings.vectors.shape[1], kind)
        index.add(embeddings)
        return index

    @classmethod
    def open(cls, path: Path, *, mmap: bool = True) -> Self:
        """The index saved in a file; with `mmap` its vectors are read when they are needed.

        A mapped file may be replaced by rename, never written in place. Files are trusted input:
        check their hash first where they come from elsewhere.

        Raises:
            IndexCorruptError: the file is missing, cut short or not of an index of ours.
        """
        index, width, mapped = read_index(path, mmap=mmap)
        return cls(index, width, mapped=mapped)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def width(self) -> int:
        """Length of each vector."""
        return self._width

    @property
    def kind(self) -> Kind:
        """One of `faisskinds.KINDS`."""
        return self._kind

    @property
    def ids(self) -> Ids:
        """All ids, int64 (n,), ascending."""
        return self._sorted()[0]

    def within(self, limit: int) -> bool:
        """Whether every id is 0 or more and below a limit; quicker than `ids`."""
        stored = stored_ids(self._index)
        return not len(stored) or bool(0 <= stored.min() <= stored.max() < limit)

    def add(self, embeddings: Embeddings) -> None:
        """Add vectors under new ids; nothing is added where one is refused.

        Raises:
            ShapeError: the width differs, or an id is negative, comes twice or is taken.
        """
        check_width(embeddings.vectors, self.width)
        self._check_new(embeddings.ids)
        if not len(embeddings.ids):
            return
        self._copy_before_write()
        rows = self._pad(embeddings.vectors)
        if not self._index.is_trained:
            self._index = train_index(rows, self.kind)
        self._index.add_with_ids(rows, embeddings.ids)

    def remove(self, ids: Ids) -> int:
        """Remove vectors by id; unknown ids are passed over. Returns how many were removed."""
        known = np.intersect1d(ids, self.ids)
        if len(known):
            self._copy_before_write()
            self._index.remove_ids(known)
        return len(known)

    def reconstruct(self, ids: Ids) -> Floats:
        """Vectors of ids, float32 (n, d), in the order asked: nearly those added, if kept as bytes.

        Raises:
            ShapeError: an id is not in the index.
        """
        known, order = self._sorted()
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
        vectors = vectors[:, : self.width]
        if self.kind == "ivf-sq8":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.ascontiguousarray(vectors, dtype=np.float32)

    @contextmanager
    def _id_table(self) -> Iterator[None]:
        """Have an index of clusters know where each id is: a table, made where it is needed."""
        self._index.set_direct_map_type(faiss().DirectMap.Hashtable)
        try:
            yield
        finally:
            self._index.set_direct_map_type(faiss().DirectMap.NoMap)

    def search(
        self, vectors: Floats, m: int, *, subset: Ids | None = None, without: Ids | None = None
    ) -> Neighbors:
        """The m nearest of each query, by falling cosine, equal ones by rising id.

        Args:
            vectors: unit queries, float32 (q, d).
            m: neighbours wanted; where there are fewer, `counts` says how many are real, and the
                places beyond hold id 0 and score -inf.
            subset: if given, only these ids are compared, exactly, in either kind.
            without: if given, these ids are passed over.

        Raises:
            ShapeError: the width differs, rows are not finite unit vectors, or m is not positive.
        """
        among = self._scope(subset, without)
        return search_stable(
            vectors,
            m,
            self.width,
            among.size,
            lambda some, reach: self._nearest(self._pad(some), reach, among),
        )

    def save(self, path: Path) -> None:
        """Write to a file: whole or not at all, and on disk when this returns.

        Raises:
            OSError: it cannot be written, as when the disk is full.
        """
        write_index(self._index, self.width, path)

    def _scope(self, subset: Ids | None, without: Ids | None) -> SearchScope:
        """What is compared, of ids that the index holds."""
        if subset is not None:
            chosen = np.intersect1d(subset, self.ids)
            chosen = chosen if without is None else np.setdiff1d(chosen, without)
            return SearchScope(len(chosen), faiss().IDSelectorBatch(chosen), exact=True)
        if without is None:
            return self._whole()
        # The same ids are passed over in one search after the other.
        if self._barred is None or self._barred[0] is not without:
            self._barred = without, self._all_but(without)
        return self._barred[1]

    def _whole(self) -> SearchScope:
        if self._all is None:
            self._all = SearchScope(len(self), None)
        return self._all

    def _all_but(self, without: Ids) -> SearchScope:
        barred = np.intersect1d(without, self.ids)
        if not len(barred):
            return self._whole()
        batch = faiss().IDSelectorBatch(barred)
        return SearchScope(len(self) - len(barred), faiss().IDSelectorNot(batch), batch)

    def _pad(self, vectors: Floats) -> Floats:
        """Vectors float32 (n, d) with zeros after them, as wide as FAISS's."""
        if self._padded == self._width:
            return vectors
        rows = np.zeros((len(vectors), self._padded), np.float32)
        rows[:, : self._width] = vectors
        return rows

    def _nearest(self, queries: Floats, reach: int, among: SearchScope) -> tuple[Ids, Floats]:
        """Ids and scores (q, reach) by falling score; id -1 where there is none."""
        choice = {} if among.selector is None else {"sel": among.selector}
        params = None
        if self.kind != "exact":
            clusters = self._index.nlist
            probes = clusters if among.exact else max(MIN_PROBES, clusters // CLUSTERS_PER_PROBE)
            params = faiss().SearchParametersIVF(nprobe=min(probes, clusters), **choice)
        elif choice:
            params = faiss().SearchParameters(**choice)
        # More threads than one only get in each other's way where the query is one.
        threads = faiss().omp_get_max_threads()
        faiss().omp_set_num_threads(1 if len(queries) == 1 else threads)
        try:
            scores, ids = self._index.search(queries, reach, params=params)
        finally:
            faiss().omp_set_num_threads(threads)
        return ids, scores

    def _sorted(self) -> tuple[Ids, Ids]:
        """Ids ascending, and the place where each is stored."""
        if self._order is None:
            stored = stored_ids(self._index)
            order = np.argsort(stored)
            known = stored[order]
            known.flags.writeable = False
            self._order = known, order
        return self._order

    def _copy_before_write(self) -> None:
        """Make the index fit for change: FAISS ends the process on changing a mapped one."""
        if self._mapped:
            self._index = faiss().deserialize_index(faiss().serialize_index(self._index))
            self._mapped = False
        self._all = self._order = self._barred = None

    def _check_new(self, ids: Ids) -> None:
        values = np.sort(ids)
        if len(values) and values[0] < 0:
            raise ShapeError(f"found id {values[0]}, expected 0 or more")
        again, taken = values[1:] == values[:-1], isin_sorted(values, self.ids)
        twice = np.concatenate([values[1:][again], values[taken]])
        if len(twice):
            raise ShapeError(f"found id {twice[0]} twice, expected ids new to the index")
