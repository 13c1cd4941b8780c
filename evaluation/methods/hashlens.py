"""The product as a method among the others, through its public functions alone."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.evaluation.methods.base import Features, Ranking
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.errors import ConfigError, HashlensError, InputError
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.training.fit import fit_ranker

_PICTURES = "pictures"


class Product:
    """Builds an index of the training posts, as a person would, and asks its recommender.

    Scores are the recommender's own probabilities, nudged by less than a millionth where two are
    equal. A query that it refuses is silent, and counted in `failed`.
    """

    name = "hashlens"
    inputs = frozenset({"image", "caption", "seeds"})
    probabilities = True  # scores can be judged as such

    def __init__(self, config: BuildConfig | None = None) -> None:
        """Take the settings of the build; those that `hashlens build` has by itself where None."""
        self._config = config or BuildConfig()
        self.failed = 0

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Write the posts to a folder and build from it; features are not looked at.

        The folder goes when this object does.

        Raises:
            HashlensError: nothing can be built of these posts.
        """
        folder = Path(tempfile.mkdtemp(prefix="hashlens-benchmark-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        write_posts(posts, folder / "posts")
        # More than one worker is faster, and no longer gives the same vectors twice.
        build(
            [folder / "posts"],
            folder / "index",
            config=self._config,
            fit_ranker=fit_ranker,
            workers=1,
        )
        self._recommender = Recommender.open(folder / "index")
        self.failed = 0

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        rankings, failed = asked(self._recommender, queries, k)
        self.failed += failed
        return rankings


def asked(
    recommender: Recommender, queries: Sequence[Query], k: int, author: str | None = None
) -> tuple[list[Ranking], int]:
    """What a recommender says to each query, and how many it refused, which are silent.

    `author` is who asks, if it is to know.

    Raises:
        ConfigError: k is below 1.
    """
    if k < 1:
        raise ConfigError(f"k: found {k}, expected 1 or more hashtags")
    answers = recommender.recommend_many(queries, selection=Selection(k=k, author=author))
    rankings = [
        []
        if isinstance(answer, HashlensError)
        else falling([tag.tag for tag in answer.tags], [tag.probability for tag in answer.tags])
        for answer in answers
    ]
    return rankings, sum(isinstance(answer, HashlensError) for answer in answers)


def falling(tags: Iterable[str], scores: Iterable[float]) -> Ranking:
    """Hashtags in their order, with scores that strictly fall in single precision.

    A score that is not below the one before it becomes the next number below that one.
    """
    ranking: Ranking = []
    last = np.float32(np.inf)
    for tag, score in zip(tags, scores, strict=True):
        last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
        ranking.append((tag, float(last)))
    return ranking


def write_posts(posts: Sequence[Post], folder: Path) -> None:
    """Write posts into a new folder, in the form that `hashlens build` reads.

    Pictures are linked, or copied where they cannot be.

    Raises:
        InputError: a picture cannot be read, or the folder not be written.
    """
    try:
        (folder / _PICTURES).mkdir(parents=True)
        with (folder / "posts.jsonl").open("w", encoding="utf-8") as lines:
            for number, post in enumerate(posts):
                lines.write(json.dumps(_row(post, number, folder), ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write posts to {folder}: {error.filename}: {error.strerror}; "
            "free some space, or name another temporary folder in TMPDIR"
        ) from error


def _row(post: Post, number: int, folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = {"id": post.post_id, "caption": post.caption}
    values |= {"hashtags": list(post.forms), "author": post.author, "topic": post.topic}
    if post.taken_at:
        values["taken_at"] = post.taken_at.isoformat()
    if post.image:
        values["image"] = f"{_PICTURES}/{number:07}{post.image.suffix}"
        _link(post.image.resolve(), folder / values["image"])
    return values


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or another owner's file
        shutil.copyfile(source, target)
