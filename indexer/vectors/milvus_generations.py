"""Generations whose vectors are in Milvus: begun, continued, and cleaned up after.

Everything here does nothing for an index whose vectors are files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.generations.filesystem import paths_in
from hashlens.indexer.generations.generation import GenerationWriter, writer
from hashlens.indexer.vectors.milvus_client import drop_collection, list_collections, ping
from hashlens.indexer.vectors.milvus_location import (
    ADDRESS,
    LOCATION_FILE,
    SCHEME,
    MilvusLocation,
    allow_address,
    parse_address,
)
from hashlens.indexer.vectors.segments import KINDS


def check_address(vectors_in: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the address in `milvus:ADDRESS` once Milvus answers there, and a note for the user.

    Raises:
        VectorsUnreachableError: Milvus does not answer there.
        ConfigError: it is not an address.
    """
    if not vectors_in:
        return None, ()
    address = parse_address(vectors_in)
    ping(address)
    where = f"{ADDRESS}={SCHEME}{address}"
    return address, (f"vectors are in Milvus: set {where} wherever this index is used",)


@contextmanager
def write_generation(index: Path, address: str | None = None) -> Iterator[GenerationWriter]:
    """Open an index for writing; drop its orphaned collections before and after.

    Args:
        index: folder of the index.
        address: where the vectors of the new generation are kept, if not in files.

    Raises:
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: vectors are in Milvus, which does not answer or is not allowed.
    """
    with allow_address(address), drop_orphan_collections(index), writer(index) as new:
        if address:
            MilvusLocation.first(address, index, new.number).save(new.folder)
        yield new


def check_location(previous: Path, index: Path, number: int) -> None:
    """Check that a generation may add its vectors to the collections of the one before.

    Raises:
        HashlensError: they belong to another folder, of which this index is a copy.
    """
    if location := MilvusLocation.of(previous):
        location.next_segment(index, number)


def continue_location(new: GenerationWriter, previous: Path) -> None:
    """Have a generation add a segment to the collections of the one before."""
    if location := MilvusLocation.of(previous):
        location.next_segment(new.index, new.number).save(new.folder)


def renew_location(new: GenerationWriter, previous: Path) -> None:
    """Have a generation make its own collections, where the one before has its vectors."""
    if location := MilvusLocation.of(previous):
        location.new_collections(new.index, new.number).save(new.folder)


@contextmanager
def drop_orphan_collections(index: Path) -> Iterator[None]:
    """Drop an index folder's collections that no generation names, once the block has succeeded.

    They belong to pruned generations, or to writers that were killed. Enter it before the writer,
    which removes the traces of the latter. Collections of other folders are left alone.

    Raises:
        VectorsUnreachableError: the index has vectors in Milvus, which does not answer or is not
            allowed; raised before the block runs.
    """
    before = _own_locations(index)
    for location in before.values():
        list_collections(location.used, location.prefix)
    yield
    for location in (before | _own_locations(index)).values():
        there = list_collections(location.used, location.prefix)
        # Read after the collections: another writer saves its location before it makes any.
        try:
            found = [MilvusLocation.of(path.parent) for path in _location_files(index)]
        except IndexCorruptError:
            continue
        named = {each.collection(kind) for each in found if each for kind in KINDS}
        for name in there:
            if name not in named:
                drop_collection(location.used, name)


def _own_locations(index: Path) -> dict[str, MilvusLocation]:
    """Return a location for each prefix of collections that this folder owns."""
    found = {}
    for path in _location_files(index):
        with suppress(IndexCorruptError):
            location = MilvusLocation.of(path.parent)
            if location and location.owned_by(index):
                found[location.index] = location
    return found


def _location_files(index: Path) -> list[Path]:
    """Return the location files of all generations in a folder, unsealed ones included."""
    found = (path / LOCATION_FILE for path in paths_in(index, "gen-"))
    return [file for file in found if file.exists()]
