"""What an index holds, for people and programs that look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashlens.indexer.config import RANKER
from hashlens.indexer.vectors.milvus_location import MilvusLocation
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.index.version import version_of_program
from hashlens.retriever.ranking.ranker import Ranker

TOP = 8  # hashtags shown for a topic


def summarize(index: Path) -> dict[str, Any]:
    """Generation, size, counts, encoder, settings and topics of an index, as JSON values.

    Raises:
        IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be opened.
    """
    reader = IndexReader.open(index)
    place = MilvusLocation.of(reader.generation.folder)
    where = "in the index" if place is None else f"in Milvus, {place.prefix}* at {place.address}"
    return summary_of(reader) | {"post_vectors": where}


def summary_of(reader: IndexReader) -> dict[str, Any]:
    """The same of an index that is open, without where its vectors are: that is nobody's else."""
    manifest = reader.manifest
    return {
        "generation": manifest.generation,
        "version": version_of_program(),
        "created": manifest.created,
        "bytes": sum(entry["bytes"] for entry in manifest.files.values()),
        "counts": manifest.counts,
        "encoder": manifest.encoder["name"] if manifest.encoder else "none (no pictures)",
        "ranker": _ranker(reader),
        "vectors": manifest.config["vectors"],
        "topics": _topics(reader),
    }


def _ranker(reader: IndexReader) -> str:
    folder = reader.generation.folder / RANKER
    if not folder.is_dir():
        return "the one that ships (too few posts for its own)"
    return f"its own, from {Ranker.open(folder).facts['questions']:,} questions"


def _topics(reader: IndexReader) -> list[dict[str, Any]]:
    posts = dict(
        reader.store.rows("select topic, count(*) from posts where topic is not null group by all")
    )
    tops = dict(
        reader.store.rows(
            f"""select topic, arg_max(display, (t.authors, -tag_id), {TOP})
            from hashtag_topics t join hashtag_counts using (tag_id)
            group by all"""  # noqa: S608
        )
    )
    return [
        {"topic": name, "posts": posts.get(name, 0), "hashtags": list(tops.get(name, []))}
        for name in reader.topic_names
    ]
