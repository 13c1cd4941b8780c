"""Posts into the first, or a fresh, generation of an index."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.config import RANKER, BuildConfig
from hashlens.indexer.corpus.corpus import Corpus, assemble
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.corpus.ingest import (
    admit_posts,
    drop_notes,
    drop_reposts,
    encode_images,
    ingest_posts,
    summarize_notes,
)
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.generations.forgotten import FORGOTTEN_FILE, Forgotten
from hashlens.indexer.generations.generation import KEEP, Generation, temporary_generation, writer
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder
from hashlens.indexer.pipeline.ranker_training import FitRanker
from hashlens.indexer.posts.formats.registry import AUTO
from hashlens.indexer.posts.reader import Sources
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.topics.model import TopicTable, load_topics
from hashlens.indexer.topics.prompts import TextReader
from hashlens.indexer.types import Rejection
from hashlens.indexer.vectors.milvus_cleanup import drop_orphan_collections
from hashlens.indexer.vectors.milvus_client import ping
from hashlens.indexer.vectors.milvus_location import (
    ADDRESS,
    SCHEME,
    MilvusLocation,
    allow_address,
    parse_address,
)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made, and what it could not use."""

    generation: int
    counts: dict[str, int]
    topics: dict[str, int]
    encoder: str | None
    forgotten: int
    rejections: tuple[Rejection, ...]
    notes: tuple[str, ...]
    seconds: float


def described(report: BuildReport) -> str:
    """One line on what a build made."""
    counts = ", ".join(count_noun(number, name) for name, number in report.counts.items() if number)
    pictures = f", pictures encoded by {report.encoder}" if report.encoder else ""
    return f"generation {report.generation} with {counts} in {report.seconds:.0f} s{pictures}"


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
        index: folder of the index; made where it is missing.
        config: settings; the defaults where None.
        topics_file: topics and their defining hashtags; the ten that ship where None.
        weights: file of the encoder's weights, where they are not in their usual place.
        reader: name of the sources' reader, or `auto`.
        columns: the sources' names of columns, by ours.
        fit_ranker: writes the ranker's folder; without one the index is ranked by the ranker that
            ships.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.
        keep: generations left, the new one among them.
        vectors_in: where vectors of posts are kept, `milvus:ADDRESS` (see `vectorplace`); in
            files of the index where None.
        engine: reads tables, encodes pictures, trains vectors and counts.
        allow_forgotten: whether those posts come back; the index's list loses them then.

    Raises:
        InputError: a source is missing, or no usable post is in them.
        HashlensError: posts were forgotten while these were read.
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: Milvus does not answer there.
        ConfigError: that is no address.
    """
    began = time.monotonic()
    config, progress = config or BuildConfig(), progress or NullProgress()
    table = load_topics(topics_file)
    address = parse_address(vectors_in) if vectors_in else None
    if address:
        ping(address)  # before hours of work
    rejections: list[Rejection] = []
    given = Sources(sources, config.hashtag_rule, reader, columns, config.first_comment)
    posts = ingest_posts(given, rejections, progress, engine)
    if not posts:
        why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
        raise InputError(f"found no usable post in {given}{why}")
    memory = Forgotten.of(index)
    let_in, told = admit_posts(posts, memory, allow_forgotten=allow_forgotten)
    if not let_in:
        raise InputError(f"found no usable post in {given}; {told.notes[0]}")
    posts = let_in if isinstance(let_in, Posts) else Posts.of(let_in)
    encoder = open_encoder(config.encoder, weights, verify=True) if posts.pictured.any() else None
    corpus = encode_images(drop_reposts(posts), encoder, rejections, progress, workers, engine)
    texts = text_reader(encoder)
    with allow_address(address), drop_orphan_collections(index), writer(index) as new:
        if Forgotten.of(index) != memory and index.joinpath(FORGOTTEN_FILE).exists():
            raise HashlensError(
                f"{index}: posts were forgotten while these were read; run the build again"
            )
        if address:
            MilvusLocation.first(address, index, new.number).save(new.folder)
        made = train_models(
            new.folder, corpus, table, config, fit_ranker, progress, workers, texts, engine
        )
        progress.stage("Publishing")
        published = new.publish(
            encoder=encoder_json(encoder),
            topics=table.names,
            config=config.to_json(),
            counts=made.counts,
            keep=keep,
            erased=True,
        )
        if told.memory != memory:
            Forgotten.of(index).without(memory.hashes - told.memory.hashes).save(index)
    return BuildReport(
        generation=published.number,
        counts=made.counts,
        topics=made.topics,
        encoder=encoder.name if encoder else None,
        rejections=drop_notes(rejections),
        forgotten=told.out,
        notes=(*told.notes, *made.notes, *_where(address), *summarize_notes(rejections)),
        seconds=time.monotonic() - began,
    )


def _where(address: str | None) -> tuple[str, ...]:
    """What to do so that vectors in Milvus are found again."""
    if address is None:
        return ()
    return (f"vectors are in Milvus: set {ADDRESS}={SCHEME}{address} wherever this index is used",)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What was learned anew: counts of the index, posts of each topic, notes of the ranker."""

    counts: dict[str, int]
    topics: dict[str, int]
    notes: tuple[str, ...]


def train_models(
    folder: Path,
    corpus: Corpus,
    table: TopicTable,
    config: BuildConfig,
    fit_ranker: FitRanker | None,
    progress: Progress,
    workers: int,
    reader: TextReader | None,
    engine: Engine = LOCAL,
) -> TrainResult:
    """Learn everything from posts, the ranker too, and write it into a generation's folder."""
    counts, topics = assemble(folder, corpus, table, config, progress, workers, reader, engine)
    if fit_ranker is None:
        return TrainResult(counts, topics, ())

    def without(part: Corpus, place: Path) -> Generation:
        found, _ = assemble(place, part, table, config, NullProgress(), workers, reader, engine)
        return temporary_generation(place, table.names, config.to_json(), found)

    notes = fit_ranker(corpus, without, config.ranking, folder / RANKER, progress)
    return TrainResult(counts, topics, notes)


def text_reader(encoder: ImageEncoder | None) -> TextReader | None:
    """What reads topics and hashtags in the space of pictures, where the encoder reads text."""
    return TextReader(encoder.encode_texts) if encoder and encoder.reads_text else None


def encoder_json(encoder: ImageEncoder | None) -> dict[str, str | int] | None:
    """An encoder as manifests record it."""
    names = ("name", "weights_sha256", "width", "preprocessing", "fingerprint")
    return {name: getattr(encoder, name) for name in names} if encoder else None
