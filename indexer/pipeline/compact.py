"""An index made small again: its segments merged, and the room of removed rows given back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.generations.generation import (
    KEEP,
    Generation,
    GenerationWriter,
    open_current,
    writer,
)
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.storage.store import Store
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.vectors.milvus_cleanup import drop_orphan_collections
from hashlens.indexer.vectors.milvus_location import LOCATION_FILE, MilvusLocation
from hashlens.indexer.vectors.segments import (
    KINDS,
    deleted_ids,
    load_live,
    save_segment,
    segment_paths,
)


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What compacting did: segments there were, dead vectors dropped, size before and after."""

    generation: int
    segments: int
    dropped: int
    bytes_before: int
    bytes_after: int
    seconds: float


def described(report: CompactReport) -> str:
    """One line on what compacting did."""
    before, after = (size / 1e6 for size in (report.bytes_before, report.bytes_after))
    return (
        f"generation {report.generation}: {count_noun(report.segments, 'segments')} merged, "
        f"{count_noun(report.dropped, 'dead vectors')} dropped, "
        f"{before:,.1f} MB are {after:,.1f} MB, in {report.seconds:.0f} s"
    )


def compact(index: Path, *, keep: int = KEEP, progress: Progress | None = None) -> CompactReport:
    """Publish the same index with one segment a kind and without removed rows; answers stay.

    A copy of an index whose vectors are in Milvus gets collections of its own. An erasure that was
    begun and not finished is finished first (see `forget`).

    Args:
        index: folder of the index.
        keep: generations left, the new one among them.
        progress: told of every stage.

    Raises:
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no sound index.
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: vectors are in Milvus, and it does not answer or may not be asked.
    """
    began, progress = time.monotonic(), progress or NullProgress()
    open_current(index)
    if Forgotten.of(index).erasing:
        update([], index, keep=keep, retrain=False, progress=progress)
    with drop_orphan_collections(index), writer(index) as new:
        previous = new.previous or open_current(index)
        segments = sum(len(segment_paths(previous.folder / kind)) for kind in KINDS)
        dropped = sum(len(deleted_ids(previous.folder / kind)) for kind in KINDS)
        progress.stage("Merging segments")
        _merge(new, previous)
        progress.stage("Publishing")
        published = new.publish_like(previous.manifest, keep=keep)
        return CompactReport(
            published.number,
            segments,
            dropped,
            _size(previous),
            _size(published),
            time.monotonic() - began,
        )


def _merge(new: GenerationWriter, previous: Generation) -> None:
    previous.check_vectors()
    for path in previous.manifest.files:
        if path.split("/")[0] not in (*KINDS, "posts.duckdb", LOCATION_FILE):
            new.link(path)
    # In collections of its own: older generations may still need the dead, and these go with them.
    if place := MilvusLocation.of(previous.folder):
        place.new_collections(new.index, new.number).save(new.folder)
    Store.compact(previous.folder / "posts.duckdb", new.folder / "posts.duckdb")
    for kind in KINDS:
        found, classes = load_live(previous.folder / kind)
        if found is not None:
            save_segment(new.folder / kind, found, classes)


def _size(generation: Generation) -> int:
    return sum(entry["bytes"] for entry in generation.manifest.files.values())
