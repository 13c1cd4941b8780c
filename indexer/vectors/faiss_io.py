"""FAISS indexes in files, written as a whole or not at all, and read without trust in them.

`faiss_types` defines which indexes are supported.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.file_io import replace_file
from hashlens.indexer.vectors.faiss_types import Library, faiss, is_supported, kind_of

WRITE_BYTES = 1 << 20  # at a time
MAX_WIDTH = 1 << 20  # of a vector
MIN_ALLOCATION = 4 << 20  # bytes that FAISS may allocate whatever the size of a file


def read_index(path: Path, *, mmap: bool) -> Library:
    """Return the index in a file, mapped if `mmap` and the file is surely complete.

    Raises:
        IndexCorruptError: the file is missing, truncated or not a supported index.
    """
    usual = faiss().get_deserialization_vector_byte_limit()
    try:
        mapped = mmap and _is_mappable(path)
        # No file may make FAISS allocate more than its own size.
        limit = max(path.stat().st_size, MIN_ALLOCATION)
        faiss().set_deserialization_vector_byte_limit(limit)
        index = faiss().read_index(str(path), faiss().IO_FLAG_MMAP_IFC if mapped else 0)
    except (OSError, RuntimeError, MemoryError) as error:
        raise _corrupt(path, str(error).split("\n")[0]) from error
    finally:
        faiss().set_deserialization_vector_byte_limit(usual)
    if not is_supported(index):
        raise _corrupt(path, f"a {type(index).__name__} of unknown make")
    if kind_of(index) != "exact":
        # FAISS follows the places that a file gives for its ids, wherever they lead.
        index.set_direct_map_type(faiss().DirectMap.NoMap)
    return index


def write_index(index: Library, path: Path) -> None:
    """Write an index to a file, as a whole or not at all; it is on disk when this returns.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    with replace_file(path) as file:
        # FAISS's own file writer only prints that its last block did not fit on the disk.
        faiss().write_index(index, faiss().PyCallbackIOWriter(file.write, WRITE_BYTES))


def _is_mappable(path: Path) -> bool:
    """Return whether a file has a supported index, and exactly the length that its header says.

    FAISS takes a truncated mapped file as complete, or ends the process. Reading it into memory
    raises an error, as it should. So only files that are surely complete are mapped.
    """
    with path.open("rb") as file:
        kind, size = file.read(4), path.stat().st_size
        if kind == b"IxMp":
            return _is_complete_exact(file, size)
        return kind in (b"IwFl", b"IwSq") and _is_complete_ivf(file, size, kind)


def _is_complete_exact(file: BinaryIO, size: int) -> bool:
    """Check the headers of an IndexIDMap and an IndexFlatIP, before n * d values and n ids."""
    head = file.read(78)
    if len(head) < 78:
        return False
    width, n = struct.unpack_from("<iq", head)
    is_whole = size == 90 + n * (4 * width + 8)
    is_same = head[33:37] == b"IxFI" and head[:33] == head[37:70]
    if not (is_whole and is_same and head[70:] == struct.pack("<Q", n * width)):
        return False
    file.seek(-8 * (n + 1), os.SEEK_END)
    return file.read(8) == struct.pack("<Q", n)


def _is_complete_ivf(file: BinaryIO, size: int, kind: bytes) -> bool:
    """Check an IndexIVF's header, centroids, ranges of bytes, and lists; it has no map of ids.

    Before the lists come the length of each, or number and length of those that are not empty.
    """
    head = file.read(49 + 45)
    if len(head) < 94 or head[49:53] != b"IxFI":
        return False
    (width, n), clusters = struct.unpack_from("<iq", head), struct.unpack_from("<Q", head, 33)[0]
    code, ranges = (4 * width, 0) if kind == b"IwFl" else (width, 45 + 8 * width)
    place = 4 + 94 + 4 * width * clusters + 9 + ranges
    if not 0 < width < MAX_WIDTH or not 0 <= n < 1 << 40 or place + 32 > size:
        return False
    file.seek(place - 98, os.SEEK_CUR)
    lists = file.read(32)
    form, entries = lists[20:24], struct.unpack_from("<Q", lists, 24)[0]
    is_known = lists[:4] == b"ilar" and struct.unpack_from("<QQ", lists, 4) == (clusters, code)
    if not is_known or size != place + 32 + 8 * entries + n * (code + 8):
        return False
    lengths = np.frombuffer(file.read(8 * entries), np.uint64)
    lengths = lengths[1::2] if form == b"sprs" else lengths
    return form in (b"full", b"sprs") and int(lengths.max(initial=0)) <= n == int(lengths.sum())


def _corrupt(path: Path, found: str) -> IndexCorruptError:
    return IndexCorruptError(
        f"{path}: found {found}, expected a whole vector index; "
        "see `hashlens verify`, go back with `hashlens rollback`, or build again"
    )
