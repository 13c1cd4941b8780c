"""FAISS indexes in files: written whole or not at all, and read without trust in their length.

A file is that of an `IndexIDMap` over `IndexFlatIP`, or of an `IndexIVFFlat` that finds vectors by
id. FAISS is imported on first use.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from indexer.errors import IndexCorruptError

WRITTEN_AT_ONCE = 1 << 20  # bytes

Library = Any  # FAISS and its objects, whose own types are incomplete


def read_index(path: Path, *, mmap: bool) -> tuple[Library, bool]:
    """The index in a file, and whether it is mapped: with `mmap` an exact one is.

    Raises:
        IndexCorruptError: the file is missing, cut short or not of an index of ours.
    """
    try:
        mapped = mmap and _mappable(path)
        with _limited(path.stat().st_size):
            index = _faiss().read_index(str(path), _faiss().IO_FLAG_MMAP_IFC if mapped else 0)
    except (OSError, RuntimeError, MemoryError) as error:
        raise _corrupt(path, str(error).split("\n")[0]) from error
    if not _is_ours(index):
        raise _corrupt(path, f"a {type(index).__name__} of unknown make")
    if type(index) is _faiss().IndexIVFFlat:
        # FAISS follows the places that a file gives for its ids, wherever they lead.
        for kind in (_faiss().DirectMap.NoMap, _faiss().DirectMap.Hashtable):
            index.set_direct_map_type(kind)
    return index, mapped


def write_index(index: Library, path: Path) -> None:
    """Write to a file: whole or not at all, and on disk when this returns.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            # FAISS's own file writer only prints that its last block did not fit on the disk.
            _faiss().write_index(index, _faiss().PyCallbackIOWriter(file.write, WRITTEN_AT_ONCE))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _faiss() -> Library:
    import faiss

    return faiss


def _is_ours(index: Library) -> bool:
    if index.metric_type != _faiss().METRIC_INNER_PRODUCT:
        return False
    if type(index) is _faiss().IndexIVFFlat:
        by_id = index.direct_map.type == _faiss().DirectMap.Hashtable
        trained = index.is_trained or not index.ntotal
        return bool(by_id and trained and _clusters_fit(index))
    if type(index) is not _faiss().IndexIDMap:
        return False
    inner = _faiss().downcast_index(index.index)
    sizes = {index.ntotal, inner.ntotal, index.id_map.size()}
    return type(inner) is _faiss().IndexFlatIP and len(sizes) == 1 and inner.d == index.d


def _clusters_fit(index: Library) -> bool:
    """Whether an IndexIVFFlat has a list for each of its clusters, of vectors of its width."""
    clusters, lists = _faiss().downcast_index(index.quantizer), index.invlists
    if type(clusters) is not _faiss().IndexFlatIP or clusters.d != index.d:
        return False
    sizes = {lists.code_size, index.code_size, 4 * index.d}
    numbers = (index.nlist,) if index.is_trained else (0, index.nlist)
    whole = lists.nlist == index.nlist and lists.compute_ntotal() == index.ntotal
    return clusters.ntotal in numbers and len(sizes) == 1 and bool(whole)


def _mappable(path: Path) -> bool:
    """Whether a file is an exact index's, and as long as its header says to the byte.

    FAISS takes a mapped file that is cut short as whole, or ends the process; reading it into
    memory raises as it should. So only what is sure to be whole is mapped. An IndexIDMap's header
    (37 bytes: name, d, n and flags) precedes an IndexFlatIP's, n * d values and n ids.
    """
    with path.open("rb") as file:
        head = file.read(82)
        if len(head) < 82:
            return False
        width, n = struct.unpack_from("<iq", head, 4)
        whole = path.stat().st_size == 90 + n * (4 * width + 8)
        same = head[:4] + head[37:41] == b"IxMpIxFI" and head[4:37] == head[41:74]
        if not (whole and same and head[74:] == struct.pack("<Q", n * width)):
            return False
        file.seek(-8 * (n + 1), os.SEEK_END)
        return file.read(8) == struct.pack("<Q", n)


def _corrupt(path: Path, found: str) -> IndexCorruptError:
    return IndexCorruptError(
        f"{path}: found {found}, expected a whole vector index; "
        "see `hashlens verify`, go back with `hashlens rollback`, or build again"
    )


@contextmanager
def _limited(size: int) -> Iterator[None]:
    """Let FAISS allocate no more than `size` bytes for what a file claims to hold."""
    before = _faiss().get_deserialization_vector_byte_limit()
    _faiss().set_deserialization_vector_byte_limit(max(size, 1))
    try:
        yield
    finally:
        _faiss().set_deserialization_vector_byte_limit(before)
