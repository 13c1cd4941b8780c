"""Posts into the first, or a fresh, generation of an index."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.config import BuildConfig, RankingConfig
from indexer.corpus import Corpus, assemble
from indexer.encoders import EncodedImages, ImageEncoder, open_encoder
from indexer.errors import InputError
from indexer.generation import Generation, unsealed, writer
from indexer.hashtags import tokens
from indexer.posts import count_rows, read_posts
from indexer.progress import Progress, Silent
from indexer.schema import Embeddings, Floats, Ids, Post, Rejection
from indexer.topics import load_topics

# Corpus, what makes an index of a part of it, settings, folder to write, progress: gives notes.
FitRanker = Callable[
    [Corpus, Callable[[Corpus, Path], Generation], RankingConfig, Path, Progress], tuple[str, ...]
]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made, and what it could not use."""

    generation: int
    counts: dict[str, int]
    topics: dict[str, int]
    encoder: str | None
    rejections: tuple[Rejection, ...]
    notes: tuple[str, ...]
    seconds: float


def described(report: BuildReport) -> str:
    """One line on what a build made."""
    counts = ", ".join(f"{number:,} {name}" for name, number in report.counts.items())
    pictures = f", pictures encoded by {report.encoder}" if report.encoder else ""
    return f"generation {report.generation} with {counts} in {report.seconds:.0f} s{pictures}"


def build(
    sources: Sequence[Path],
    index: Path,
    *,
    config: BuildConfig | None = None,
    topics_file: Path | None = None,
    weights: Path | None = None,
    fit_ranker: FitRanker | None = None,
    progress: Progress | None = None,
    workers: int = 2,
) -> BuildReport:
    """Make a generation of `index` from posts, and publish it.

    Args:
        sources: files or folders of posts.
        index: folder of the index; made where it is missing.
        config: settings; the defaults where None.
        topics_file: topics and their defining hashtags; the ten that ship where None.
        weights: file of the encoder's weights, where they are not in their usual place.
        fit_ranker: writes the ranker's folder; without one the index is ranked by the ranker that
            ships.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.

    Raises:
        InputError: a source is missing, or no usable post is in them.
        IndexLockedError: another process writes to this index.
    """
    began = time.monotonic()
    config, progress = config or BuildConfig(), progress or Silent()
    table = load_topics(topics_file)
    rejections: list[Rejection] = []
    posts = _read(sources, config, rejections, progress)
    encoder = open_encoder(config.encoder, weights) if any(p.image for p in posts) else None
    corpus = _encode(posts, encoder, rejections, progress, workers)
    with writer(index) as new:
        counts, topics = assemble(new.folder, corpus, table, config, progress, workers)
        notes: tuple[str, ...] = ()
        if fit_ranker:

            def without(part: Corpus, folder: Path) -> Generation:
                found, _ = assemble(folder, part, table, config, Silent(), workers)
                return unsealed(folder, table.names, config.to_json(), found)

            notes = fit_ranker(corpus, without, config.ranking, new.folder / "ranker", progress)
        progress.stage("Publishing")
        published = new.publish(
            encoder=_encoder_json(encoder),
            topics=table.names,
            config=config.to_json(),
            counts=counts,
        )
    return BuildReport(
        generation=published.number,
        counts=counts,
        topics=topics,
        encoder=encoder.name if encoder else None,
        rejections=tuple(rejections),
        notes=notes,
        seconds=time.monotonic() - began,
    )


def _encoder_json(encoder: ImageEncoder | None) -> dict[str, str | int] | None:
    names = ("name", "weights_sha256", "width", "preprocessing")
    return {name: getattr(encoder, name) for name in names} if encoder else None


def _read(
    sources: Sequence[Path], config: BuildConfig, rejections: list[Rejection], progress: Progress
) -> list[Post]:
    progress.stage("Reading posts", count_rows(sources))
    posts = []
    for post in read_posts(sources, rule=config.hashtag_rule, rejections=rejections):
        posts.append(post)
        progress.advance()
    if not posts:
        why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
        raise InputError(f"found no usable post in {', '.join(map(str, sources))}{why}")
    return posts


def _encode(
    posts: list[Post],
    encoder: ImageEncoder | None,
    rejections: list[Rejection],
    progress: Progress,
    workers: int,
) -> Corpus:
    """Encode pictures; a post that had only an unreadable one is dropped."""
    images: Embeddings | None = None
    classes: Floats | None = None
    if encoder:
        pictured = [row for row, post in enumerate(posts) if post.image]
        paths = [image for post in posts if (image := post.image)]
        progress.stage("Encoding pictures", len(paths))
        encoded = encoder.encode(paths, workers=workers, classes=True, on_progress=progress.advance)
        classes = encoded.classes
        posts, images = _readable(posts, np.array(pictured, dtype=np.int64), encoded, rejections)
    return Corpus(posts, [tokens(post.caption) for post in posts], images, classes)


def _readable(
    posts: list[Post], pictured: Ids, encoded: EncodedImages, rejections: list[Rejection]
) -> tuple[list[Post], Embeddings]:
    kept = np.ones(len(posts), dtype=bool)
    for row, reason in encoded.failures:
        post = posts[pictured[row]]
        kept[pictured[row]] = bool(post.caption or post.hashtags)
        reason = reason.removeprefix(f"{post.image}: ")
        rejections.append(
            Rejection(str(post.image), None, reason, post_kept=bool(kept[pictured[row]]))
        )
    places = np.cumsum(kept) - 1
    ids = places[pictured[encoded.rows]].astype(np.int64)
    left = [post for post, keep in zip(posts, kept, strict=True) if keep]
    return left, Embeddings(ids, encoded.vectors)
