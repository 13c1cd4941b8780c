"""FAISS indexes in files: written whole or not at all, and read without trust in their length.

`faisskinds` says which indexes are ours. One whose rows are padded is written inside FAISS's own
`IndexPreTransform`, which says how wide they are without that.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.vectors.faiss_types import (
    WIDEST_PADDED,
    Library,
    faiss,
    is_supported,
    kind_of,
)

WRITTEN_AT_ONCE = 1 << 20  # bytes
MOST_NUMBERS = 1 << 20  # of a vector


def read_index(path: Path, *, mmap: bool) -> tuple[Library, int, bool]:
    """The index in a file, how wide its vectors are without padding, and whether it is mapped.

    It is with `mmap`, where the file is sure to be whole.

    Raises:
        IndexCorruptError: the file is missing, cut short or not of an index of ours.
    """
    try:
        mapped = mmap and _mappable(path)
        with _limited(path.stat().st_size):
            index = faiss().read_index(str(path), faiss().IO_FLAG_MMAP_IFC if mapped else 0)
    except (OSError, RuntimeError, MemoryError) as error:
        raise _corrupt(path, str(error).split("\n")[0]) from error
    index, width = _unpadded(index)
    if not is_supported(index):
        raise _corrupt(path, f"a {type(index).__name__} of unknown make")
    if kind_of(index) != "exact":
        # FAISS follows the places that a file gives for its ids, wherever they lead.
        index.set_direct_map_type(faiss().DirectMap.NoMap)
    return index, width, mapped


def write_index(index: Library, width: int, path: Path) -> None:
    """Write to a file: whole or not at all, and on disk when this returns.

    Args:
        index: what is written.
        width: of its vectors, without padding.
        path: the file.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    if width != index.d:
        padding = faiss().RemapDimensionsTransform(width, index.d, False)
        index = faiss().IndexPreTransform(padding, index)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            # FAISS's own file writer only prints that its last block did not fit on the disk.
            faiss().write_index(index, faiss().PyCallbackIOWriter(file.write, WRITTEN_AT_ONCE))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _unpadded(index: Library) -> tuple[Library, int]:
    """An index, taken out of what says that it is padded, and the width without; else as it is."""
    if type(index) is not faiss().IndexPreTransform or index.chain.size() != 1:
        return index, index.d
    step, inner = faiss().downcast_VectorTransform(index.chain.at(0)), index.index
    if type(step) is not faiss().RemapDimensionsTransform:
        return index, index.d
    # Each number stays in its place, and nothing comes to the places beyond.
    places = faiss().vector_to_array(step.map)
    own = np.arange(len(places)) < index.d
    kept = np.array_equal(places, np.where(own, np.arange(len(places)), -1))
    if not kept or not 0 < index.d == step.d_in < len(places) == step.d_out == inner.d:
        return index, index.d
    inner = faiss().downcast_index(inner)
    inner.referenced_objects = [index]  # whose memory it is in, as FAISS notes it
    return inner, index.d


def _mappable(path: Path) -> bool:
    """Whether a file is of an index of ours, and as long as its header says to the byte.

    FAISS takes a mapped file that is cut short as whole, or ends the process; reading it into
    memory raises as it should. So only what is sure to be whole is mapped.
    """
    with path.open("rb") as file:
        skipped = _skipped(file)
        kind, size = file.read(4), path.stat().st_size - skipped
        if kind == b"IxMp":
            return _whole_exact(file, size)
        return kind in (b"IwFl", b"IwSq") and _whole_ivf(file, size, kind)


def _skipped(file: BinaryIO) -> int:
    """Bytes of what says that an index is padded, which are passed; none where it is not said.

    An IndexPreTransform's header, of one step: a RemapDimensionsTransform.
    """
    head = file.read(4 + 33 + 4 + 4 + 8)
    places = struct.unpack_from("<Q", head, 45)[0] if len(head) == 53 else 0
    if head[:4] != b"IxPT" or head[41:45] != b"RmDT" or places >= MOST_NUMBERS:
        file.seek(0)
        return 0
    return file.seek(53 + 4 * places + 9)


def _whole_exact(file: BinaryIO, size: int) -> bool:
    """An IndexIDMap's header precedes an IndexFlatIP's, n * d values and n ids."""
    head = file.read(78)
    if len(head) < 78:
        return False
    width, n = struct.unpack_from("<iq", head)
    whole = size == 90 + n * (4 * width + 8)
    same = head[33:37] == b"IxFI" and head[:33] == head[37:70]
    if not (whole and same and head[70:] == struct.pack("<Q", n * width)):
        return False
    file.seek(-8 * (n + 1), os.SEEK_END)
    return file.read(8) == struct.pack("<Q", n)


def _whole_ivf(file: BinaryIO, size: int, kind: bytes) -> bool:
    """An IndexIVF's header, its middles, no map of ids, the bytes' ranges, and its lists.

    Before the lists come the length of each, or number and length of those that are not empty.
    """
    head = file.read(49 + 45)
    if len(head) < 94 or head[49:53] != b"IxFI":
        return False
    (width, n), clusters = struct.unpack_from("<iq", head), struct.unpack_from("<Q", head, 33)[0]
    code, ranges = (4 * width, 0) if kind == b"IwFl" else (width, 45 + 8 * width)
    place = 4 + 94 + 4 * width * clusters + 9 + ranges
    if not 0 < width < MOST_NUMBERS or not 0 <= n < 1 << 40 or place + 32 > size:
        return False
    file.seek(place - 98, os.SEEK_CUR)
    lists = file.read(32)
    form, entries = lists[20:24], struct.unpack_from("<Q", lists, 24)[0]
    known = lists[:4] == b"ilar" and struct.unpack_from("<QQ", lists, 4) == (clusters, code)
    if not known or size != place + 32 + 8 * entries + n * (code + 8):
        return False
    lengths = np.frombuffer(file.read(8 * entries), np.uint64)
    lengths = lengths[1::2] if form == b"sprs" else lengths
    return form in (b"full", b"sprs") and int(lengths.max(initial=0)) <= n == int(lengths.sum())


def _corrupt(path: Path, found: str) -> IndexCorruptError:
    return IndexCorruptError(
        f"{path}: found {found}, expected a whole vector index; "
        "see `hashlens verify`, go back with `hashlens rollback`, or build again"
    )


@contextmanager
def _limited(size: int) -> Iterator[None]:
    """Let FAISS allocate no more than `size` bytes for what a file claims to hold, or 4 MiB."""
    before = faiss().get_deserialization_vector_byte_limit()
    faiss().set_deserialization_vector_byte_limit(max(size, 4 * WIDEST_PADDED**2))
    try:
        yield
    finally:
        faiss().set_deserialization_vector_byte_limit(before)
