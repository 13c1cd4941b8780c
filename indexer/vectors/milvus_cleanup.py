"""Collections in Milvus that no generation of an index names any more are dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.generations.filesystem import paths_in
from hashlens.indexer.vectors.milvus_client import drop, names
from hashlens.indexer.vectors.milvus_location import FILE, Place
from hashlens.indexer.vectors.segments import KINDS


@contextmanager
def tidied(index: Path) -> Iterator[None]:
    """Drop an index folder's collections that nothing names, once what is within has worked out.

    Those of generations that were pruned, and of writers that were killed. Enter it before the
    writer, which removes what tells of the latter. What another folder made is left alone.

    Raises:
        VectorsUnreachableError: the index has vectors in Milvus, and that does not answer or may
            not be asked; said at once, before any work.
    """
    before = _own(index)
    for place in before.values():
        names(place.used, place.prefix)
    yield
    for place in (before | _own(index)).values():
        there = names(place.used, place.prefix)
        # Looked up after the collections: whoever writes now has said so before making any.
        kept = _kept(index)
        for name in there:
            if kept is not None and name not in kept:
                drop(place.used, name)


def _own(index: Path) -> dict[str, Place]:
    """A place for each beginning of names that collections of this folder have."""
    found = {}
    for path in _files(index):
        with suppress(IndexCorruptError):
            place = Place.of(path.parent)
            if place and place.owned_by(index):
                found[place.index] = place
    return found


def _kept(index: Path) -> set[str] | None:
    """Collections that generations name; None where one cannot be read."""
    try:
        places = [Place.of(path.parent) for path in _files(index)]
    except IndexCorruptError:
        return None
    return {place.collection(kind) for place in places if place for kind in KINDS}


def _files(index: Path) -> list[Path]:
    """Return the files that say where vectors are, of unsealed generations, too."""
    return [path / FILE for path in paths_in(index, "gen-") if (path / FILE).exists()]
