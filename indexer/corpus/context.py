"""Settings and tools that all steps of a build share."""

from __future__ import annotations

from dataclasses import dataclass, field

from hashlens.indexer.config import BuildConfig
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.topics.model import TopicTable, load_topics
from hashlens.indexer.topics.prompts import TextReader


@dataclass(frozen=True, slots=True)
class BuildContext:
    """Settings, progress, workers and engine of a build.

    Args:
        config: settings.
        topics: topics and their defining hashtags; the ten bundled ones by default.
        text_reader: encodes texts, if the picture encoder reads text.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.
        engine: reads tables, encodes pictures, trains vectors and counts.
    """

    config: BuildConfig
    topics: TopicTable = field(default_factory=load_topics)
    text_reader: TextReader | None = None
    progress: Progress = field(default_factory=NullProgress)
    workers: int = 2
    engine: Engine = LOCAL
