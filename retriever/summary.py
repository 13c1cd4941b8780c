"""What an index holds, for people and programs that look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retriever.reading import IndexReader

TOP = 8  # hashtags shown for a topic


def summarize(index: Path) -> dict[str, Any]:
    """Generation, size, counts, encoder, settings and topics of an index, as JSON values.

    Raises:
        IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be opened.
    """
    reader = IndexReader.open(index)
    manifest = reader.manifest
    return {
        "generation": manifest.generation,
        "created": manifest.created,
        "bytes": sum(entry["bytes"] for entry in manifest.files.values()),
        "counts": manifest.counts,
        "encoder": manifest.encoder["name"] if manifest.encoder else "none (no pictures)",
        "vectors": manifest.config["vectors"],
        "topics": _topics(reader),
    }


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
        for name in reader.manifest.topics
    ]
