"""Compaction: one segment a kind, and no room for removed rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.generations.generation import KEEP, Generation, open_current
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.storage.store import Store
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.vectors.milvus_generations import renew_location, write_generation
from hashlens.indexer.vectors.milvus_location import LOCATION_FILE
from hashlens.indexer.vectors.segments import (
    KINDS,
    deleted_ids,
    load_live,
    save_segment,
    segment_paths,
)


@dataclass(frozen=True, slots=True)
class CompactReport:
    """Report of a compaction: segments before, deleted vectors dropped, size before and after."""

    generation: int
    segments: int
    dropped: int
    bytes_before: int
    bytes_after: int
    seconds: float

    def summary(self) -> str:
        """Return one line on what was done."""
        before, after = (size / 1e6 for size in (self.bytes_before, self.bytes_after))
        return (
            f"generation {self.generation}: {count_noun(self.segments, 'segments')} merged, "
            f"{count_noun(self.dropped, 'dead vectors')} dropped, "
            f"{before:,.1f} MB are {after:,.1f} MB, in {self.seconds:.0f} s"
        )


def compact(index: Path, *, keep: int = KEEP, progress: Progress | None = None) -> CompactReport:
    """Publish the same index with one segment a kind and without removed rows; answers stay.

    A copy of an index whose vectors are in Milvus gets its own collections. An unfinished erasure
    is finished first (see `forget`).

    Args:
        index: folder of the index.
        keep: generations left, the new one included.
        progress: told of every stage.

    Raises:
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no sound index.
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: vectors are in Milvus, which does not answer or is not allowed.
    """
    began, progress = time.monotonic(), progress or NullProgress()
    open_current(index)
    if Forgotten.of(index).erasing:
        update([], index, keep=keep, retrain=False, progress=progress)
    with write_generation(index) as new:
        previous = new.previous or open_current(index)
        segments = sum(len(segment_paths(previous.folder / kind)) for kind in KINDS)
        dropped = sum(len(deleted_ids(previous.folder / kind)) for kind in KINDS)
        progress.stage("Merging segments")
        previous.check_vectors()
        for path in previous.manifest.files:
            if path.split("/")[0] not in (*KINDS, "posts.duckdb", LOCATION_FILE):
                new.link(path)
        # Older generations may need the deleted vectors, which go with the old collections.
        renew_location(new, previous.folder)
        Store.compact(previous.folder / "posts.duckdb", new.folder / "posts.duckdb")
        for kind in KINDS:
            found, classes = load_live(previous.folder / kind)
            if found is not None:
                save_segment(new.folder / kind, found, classes)
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


def _size(generation: Generation) -> int:
    return sum(entry["bytes"] for entry in generation.manifest.files.values())
