"""A small but whole index for fault tests: captions, pictures, reposts, a ranker, segments.

Pictures are encoded by arithmetic on their names, so that a build takes a moment.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.indexer.config import VectorConfig, data_path
from hashlens.indexer.images.encoder import EncodedImages
from hashlens.indexer.pipeline import build as building
from hashlens.indexer.pipeline import update as updating
from hashlens.indexer.pipeline.build import BuildReport, build
from hashlens.indexer.pipeline.compact import CompactReport, compact
from hashlens.indexer.pipeline.forget import ForgetReport, forget
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.pipeline.update import UpdateReport, update
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.storage.store import Store
from hashlens.retriever.recommendation import Query
from tests.indexer.pipeline.random_updates import SMALL, WORDS, drawn, written

WIDTH, CLASSES = 16, 1000
Row = dict[str, Any]
Report = BuildReport | UpdateReport | CompactReport
QUERIES = (
    Query(caption="sunday moonlight at the seatime"),
    Query(caption="one two three four five six", seeds=("dog", "love")),
    Query(seeds=("travel",)),
)


@dataclass(frozen=True, slots=True)
class ToyEncoder:
    """Stands in for a picture encoder."""

    name: str = "efficientnet-lite0"
    weights_sha256: str = "0" * 64
    fingerprint: str = "0" * 64
    width: int = WIDTH
    preprocessing: str = "none"
    reads_text: bool = False

    @classmethod
    def opened(cls, *_: object, **__: object) -> ToyEncoder:
        return cls()

    def encode(
        self,
        paths: Sequence[Path],
        *,
        workers: int = 1,
        classes: bool = False,
        on_progress: Callable[[], None] | None = None,
    ) -> EncodedImages:
        draws = [np.random.default_rng(list(path.name.encode())) for path in paths]
        vectors = np.array([draw.standard_normal(WIDTH) for draw in draws], np.float32)
        vectors = vectors.reshape(-1, WIDTH)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        spread = np.array([draw.dirichlet(np.ones(CLASSES)) for draw in draws], np.float32)
        rows = np.arange(len(paths), dtype=np.int64)
        return EncodedImages(rows, vectors, (), spread.reshape(-1, CLASSES))


def post(number: int, draw: random.Random) -> Row:
    """A post; every third has a picture."""
    row = drawn(number, draw)
    return row | {"image": f"{row['id']}.jpg"} if number % 3 == 0 else row


def ranker_as_shipped(task: RankerTask, folder: Path) -> tuple[str, ...]:
    """Copy the ranker that ships instead of training one, which takes long."""
    shutil.copytree(data_path("ranker"), folder)
    return ()


class Bench:
    """A folder in which indexes are made of posts."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.index = place / "index"
        words = place / "words.txt"
        numbers = np.random.default_rng(1).standard_normal((len(WORDS), 8)).round(3)
        lines = (f"{w} {' '.join(map(str, n))}" for w, n in zip(WORDS, numbers, strict=True))
        words.write_text("\n".join(lines) + "\n", encoding="utf-8")
        vectors = VectorConfig("word2vec", 8, min_count=1, epochs=1, pretrained=str(words))
        self.config = replace(SMALL, vectors=vectors)
        places = ((building, "open_encoder"), (updating, "open_encoder"))
        for module, name in (*places, (updating, "open_recorded")):
            setattr(module, name, ToyEncoder.opened)

    def written(self, name: str, rows: Sequence[Row]) -> Path:
        """A folder of posts with their pictures."""
        folder = written(rows, self.place / name)
        for row in rows:
            if "image" in row:
                (folder / row["image"]).write_bytes(f"picture of {row['id']}".encode())
        return folder

    def build(self, rows: Sequence[Row], progress: Progress | None = None) -> BuildReport:
        return build(
            [self.written("posts", rows)],
            self.index,
            config=self.config,
            fit_ranker=ranker_as_shipped,
            progress=progress or NullProgress(),
            workers=1,
            keep=2,
        )

    def update(
        self, rows: Sequence[Row], delete: Sequence[str] = (), progress: Progress | None = None
    ) -> UpdateReport:
        return update(
            [self.written("more", rows)] if rows else [],
            self.index,
            delete=delete,
            retrain=False,
            progress=progress or NullProgress(),
            workers=1,
            keep=2,
        )

    def forget(self, author: str, progress: Progress | None = None) -> ForgetReport:
        return forget(self.index, author=f"@{author.upper()}", progress=progress, workers=1)

    def compact(self, progress: Progress | None = None) -> CompactReport:
        return compact(self.index, keep=2, progress=progress)


def held(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Caption and hashtags of every post and repost of a generation, by id."""
    with Store.open(folder / "posts.duckdb") as store:
        return {p.post_id: (p.caption, p.hashtags) for p in (*store.posts(), *store.copies())}


def expected(rows: Sequence[Row]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What `held` should give for these posts."""
    return {r["id"]: (r["caption"], tuple(tag.lower() for tag in r["hashtags"])) for r in rows}
