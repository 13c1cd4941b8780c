"""Collections in Milvus that no generation of an index names any more are dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.vectors.milvus_client import drop_collection, list_collections
from hashlens.indexer.vectors.milvus_location import LOCATION_FILE, MilvusLocation
from hashlens.indexer.vectors.segments import KINDS


@contextmanager
def drop_orphan_collections(index: Path) -> Iterator[None]:
    """Drop an index folder's collections that nothing names, once what is within has worked out.

    Those of generations that were pruned, and of writers that were killed. Enter it before the
    writer, which removes what tells of the latter. What another folder made is left alone.

    Raises:
        VectorsUnreachableError: the index has vectors in Milvus, and that does not answer or may
            not be asked; said at once, before any work.
    """
    before = _own_locations(index)
    for place in before.values():
        list_collections(place.used, place.prefix)
    yield
    for place in (before | _own_locations(index)).values():
        there = list_collections(place.used, place.prefix)
        # Looked up after the collections: whoever writes now has said so before making any.
        kept = _named_collections(index)
        for name in there:
            if kept is not None and name not in kept:
                drop_collection(place.used, name)


def _own_locations(index: Path) -> dict[str, MilvusLocation]:
    """A place for each beginning of names that collections of this folder have."""
    found = {}
    for path in _location_files(index):
        with suppress(IndexCorruptError):
            place = MilvusLocation.of(path.parent)
            if place and place.owned_by(index):
                found[place.index] = place
    return found


def _named_collections(index: Path) -> set[str] | None:
    """Collections that generations name; None where one cannot be read."""
    try:
        places = [MilvusLocation.of(path.parent) for path in _location_files(index)]
    except IndexCorruptError:
        return None
    return {place.collection(kind) for place in places if place for kind in KINDS}


def _location_files(index: Path) -> list[Path]:
    """What says where vectors are, of the generations in a folder, the unsealed ones too."""
    return sorted(index.glob(f"gen-*/{LOCATION_FILE}"))
