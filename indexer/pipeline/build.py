"""Posts into the first, or a fresh, generation of an index."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hashlens.indexer.config import RANKER, BuildConfig
from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.corpus import Corpus, assemble
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.corpus.ingest import (
    admit_posts,
    drop_notes,
    drop_reposts,
    encode_images,
    ingest_posts,
    no_usable_post,
    summarize_notes,
)
from hashlens.indexer.embeddings.space_training import check_method
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.generations.forgotten import FORGOTTEN_FILE, Forgotten
from hashlens.indexer.generations.generation import KEEP, Generation, temporary_generation
from hashlens.indexer.images.encoder import ImageEncoder, check_installed, open_encoder
from hashlens.indexer.pipeline.ranker_training import FitRanker, RankerTask
from hashlens.indexer.posts.formats.registry import AUTO
from hashlens.indexer.posts.reader import Sources
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.topics.model import load_topics
from hashlens.indexer.topics.prompts import TextReader
from hashlens.indexer.types import Rejection
from hashlens.indexer.vectors.milvus_generations import check_address, write_generation


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Report of a build: what was made, and what could not be used."""

    generation: int
    counts: dict[str, int]
    topics: dict[str, int]
    encoder: str | None
    forgotten: int
    rejections: tuple[Rejection, ...]
    notes: tuple[str, ...]
    seconds: float

    def summary(self) -> str:
        """Return one line on what was made."""
        counts = ", ".join(
            count_noun(number, name) for name, number in self.counts.items() if number
        )
        pictures = f", pictures encoded by {self.encoder}" if self.encoder else ""
        return f"generation {self.generation} with {counts} in {self.seconds:.0f} s{pictures}"


def build(
    sources: Sequence[Path],
    index: Path,
    *,
    config: BuildConfig | None = None,
    topics_file: Path | None = None,
    weights: Path | None = None,
    reader: str = AUTO,
    columns: Mapping[str, str] | None = None,
    fit_ranker: FitRanker | None = None,
    progress: Progress | None = None,
    workers: int = 2,
    keep: int = KEEP,
    vectors_in: str | None = None,
    engine: Engine = LOCAL,
    allow_forgotten: bool = False,
) -> BuildReport:
    """Make a generation of `index` from posts, and publish it.

    Posts that this index folder was told to forget or delete stay out.

    Args:
        sources: files or folders of posts.
        index: folder of the index; made if it is missing.
        config: settings; the defaults if None.
        topics_file: topics and their defining hashtags; the bundled ten if None.
        weights: file of the encoder's weights, if it is not in its usual place.
        reader: name of the sources' reader, or `auto`.
        columns: the sources' names of columns, by ours.
        fit_ranker: writes the ranker's folder; without it, the bundled ranker ranks.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.
        keep: generations left, the new one included.
        vectors_in: where vectors of posts are kept, `milvus:ADDRESS`; in files if None.
        engine: reads tables, encodes pictures, trains vectors and counts.
        allow_forgotten: whether forgotten posts come back, and leave the index's list.

    Raises:
        InputError: a source is missing, or has no usable post.
        HashlensError: posts were forgotten while these were read.
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: Milvus does not answer there.
        ConfigError: `vectors_in` is not an address.
        SetupError: a library that the encoder or the vectors need is missing.
    """
    began = time.monotonic()
    context = BuildContext(
        config or BuildConfig(),
        load_topics(topics_file),
        progress=progress or NullProgress(),
        workers=workers,
        engine=engine,
    )
    config = context.config
    check_installed(config.encoder, weights)  # before hours of work, as the next two
    check_method(config.vectors)
    address, milvus_notes = check_address(vectors_in)
    rejections: list[Rejection] = []
    given = Sources(sources, config.hashtag_rule, reader, columns, config.first_comment)
    posts = ingest_posts(given, rejections, context)
    if not posts:
        raise no_usable_post(given, rejections)
    memory = Forgotten.of(index)
    admission = admit_posts(posts, memory, allow_forgotten=allow_forgotten)
    posts = admission.posts
    if not posts:
        raise InputError(f"found no usable post in {given}; {admission.notes[0]}")
    encoder = open_encoder(config.encoder, weights, verify=True) if posts.pictured.any() else None
    corpus = encode_images(drop_reposts(posts), encoder, rejections, context)
    context = replace(context, text_reader=text_reader(encoder))
    with write_generation(index, address) as new:
        if Forgotten.of(index) != memory and index.joinpath(FORGOTTEN_FILE).exists():
            raise HashlensError(
                f"{index}: posts were forgotten while these were read; run the build again"
            )
        trained = train_models(new.folder, corpus, context, fit_ranker)
        context.progress.stage("Publishing")
        published = new.publish(
            encoder=encoder_json(encoder),
            topics=context.topics.names,
            config=config.to_json(),
            counts=trained.counts,
            keep=keep,
            erased=True,
        )
        if admission.memory != memory:
            lifted = memory.hashes - admission.memory.hashes
            Forgotten.of(index).without(lifted).save(index)
    return BuildReport(
        generation=published.number,
        counts=trained.counts,
        topics=trained.topics,
        encoder=encoder.name if encoder else None,
        rejections=drop_notes(rejections),
        forgotten=admission.out,
        notes=(*admission.notes, *trained.notes, *milvus_notes, *summarize_notes(rejections)),
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Counts of an index that was trained, posts of each topic, and notes of the ranker."""

    counts: dict[str, int]
    topics: dict[str, int]
    notes: tuple[str, ...]


def train_models(
    folder: Path, corpus: Corpus, context: BuildContext, fit_ranker: FitRanker | None
) -> TrainResult:
    """Learn everything from posts, ranking included, and write it into a generation's folder."""
    counts, topics = assemble(folder, corpus, context)
    if fit_ranker is None:
        return TrainResult(counts, topics, ())

    def build_part(part: Corpus, place: Path) -> Generation:
        found, _ = assemble(place, part, replace(context, progress=NullProgress()))
        config = context.config.to_json()
        return temporary_generation(place, context.topics.names, config, found)

    task = RankerTask(corpus, build_part, context.config.ranking, context.progress)
    notes = fit_ranker(task, folder / RANKER)
    return TrainResult(counts, topics, notes)


def text_reader(encoder: ImageEncoder | None) -> TextReader | None:
    """Return a reader of topics and hashtags as text, if the picture encoder reads text."""
    return TextReader(encoder.encode_texts) if encoder and encoder.reads_text else None


def encoder_json(encoder: ImageEncoder | None) -> dict[str, str | int] | None:
    """Return an encoder as manifests record it."""
    names = ("name", "weights_sha256", "width", "preprocessing", "fingerprint")
    return {name: getattr(encoder, name) for name in names} if encoder else None
