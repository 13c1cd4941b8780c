"""A summary of an index: generation, size, counts, encoder, settings and topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashlens.indexer.config import RANKER
from hashlens.indexer.vectors.milvus_location import MilvusLocation
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.version import program_version
from hashlens.retriever.ranking.ranker import Ranker

MAX_HASHTAGS = 8  # of a topic


def summarize(index: Path) -> dict[str, Any]:
    """Summarize the index in a folder, as JSON values.

    Raises:
        IndexMissingError, IndexMismatchError, IndexCorruptError: the index cannot be opened.
    """
    reader = IndexReader.open(index)
    place = MilvusLocation.of(reader.generation.folder)
    where = "in the index" if place is None else f"in Milvus, {place.prefix}* at {place.address}"
    return summarize_reader(reader) | {"post_vectors": where}


def summarize_reader(reader: IndexReader) -> dict[str, Any]:
    """Summarize an open index, without the private address of its vectors."""
    manifest = reader.manifest
    ranker = "the one that ships (too few posts for its own)"
    folder = reader.generation.folder / RANKER
    if folder.is_dir():
        ranker = f"its own, from {Ranker.open(folder).facts['questions']:,} questions"
    posts = dict(
        reader.store.rows("select topic, count(*) from posts where topic is not null group by all")
    )
    tops = dict(
        reader.store.rows(
            f"""select topic, arg_max(display, (t.authors, -tag_id), {MAX_HASHTAGS})
            from hashtag_topics t join hashtag_counts using (tag_id)
            group by all"""  # noqa: S608
        )
    )
    return {
        "generation": manifest.generation,
        "version": program_version(),
        "created": manifest.created,
        "bytes": sum(entry["bytes"] for entry in manifest.files.values()),
        "counts": manifest.counts,
        "encoder": manifest.encoder["name"] if manifest.encoder else "none (no pictures)",
        "ranker": ranker,
        "vectors": manifest.config["vectors"],
        "topics": [
            {"topic": name, "posts": posts.get(name, 0), "hashtags": list(tops.get(name, []))}
            for name in reader.topic_names
        ],
    }
