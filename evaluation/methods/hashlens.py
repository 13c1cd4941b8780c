"""hashlens as one of the methods, by its public functions alone."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashlens.evaluation.methods.base import Features, Ranking, check_k, strictly_decreasing
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.training.cross_fit import collect_examples
from hashlens.retriever.training.examples import TrainingExamples
from hashlens.retriever.training.fit import fit_ranker


class Product:
    """Builds an index of the training posts and asks its recommender.

    Scores are the recommender's probabilities, changed by less than a millionth to break ties. A
    refused query has an empty answer and is counted in `failed`.
    """

    name = "hashlens"
    inputs = frozenset({"image", "caption", "seeds"})
    probabilities = True  # scores can be judged as such

    def __init__(self, config: BuildConfig | None = None) -> None:
        """Set the configuration of the build; None for the one of `hashlens build`."""
        self._config = config or BuildConfig()
        self.failed = 0

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Build an index in a temporary folder; features are not used.

        The folder is deleted with this object.

        Raises:
            HashlensError: the build fails.
        """
        folder = Path(tempfile.mkdtemp(prefix="hashlens-benchmark-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        write_posts(posts, folder / "posts")
        build(
            [folder / "posts"],
            folder / "index",
            config=self._config,
            fit_ranker=fit_ranker,
            workers=1,  # more are faster, but give different vectors each time
        )
        self._recommender = Recommender.open(folder / "index")
        self.failed = 0

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Ask the recommender; see `Method`."""
        rankings, failed = run_queries(self._recommender, queries, k)
        self.failed += failed
        return rankings


def run_queries(
    recommender: Recommender, queries: Sequence[Query], k: int, author: str | None = None
) -> tuple[list[Ranking], int]:
    """Return the answer to each query, empty if it is refused, and the number of refusals.

    Args:
        recommender: answers the queries.
        queries: to be answered.
        k: number of hashtags of each answer.
        author: of all queries, if the recommender shall know it.

    Raises:
        ConfigError: k is below 1.
    """
    check_k(k)
    answers = recommender.recommend_many(queries, selection=Selection(k=k, author=author))
    rankings = [
        []
        if isinstance(answer, HashlensError)
        else strictly_decreasing(
            [tag.tag for tag in answer.tags], [tag.probability for tag in answer.tags]
        )
        for answer in answers
    ]
    return rankings, sum(isinstance(answer, HashlensError) for answer in answers)


def build_with_examples(
    posts: Sequence[Post], folder: Path, config: BuildConfig
) -> tuple[Path, TrainingExamples | None]:
    """Build an index without a ranker, and return it with the examples to train a ranker.

    Args:
        posts: to build from.
        folder: an empty folder to write to.
        config: of the build.

    Returns:
        The index's folder, and the examples; None if there are none.
    """
    examples: list[TrainingExamples | None] = []

    def keep_examples(task: RankerTask, _: Path) -> tuple[str, ...]:
        examples.append(collect_examples(task))
        return ()

    write_posts(posts, folder / "posts")
    index = folder / "index"
    build([folder / "posts"], index, config=config, fit_ranker=keep_examples, workers=1)
    return index, examples[0]


def write_posts(posts: Sequence[Post], folder: Path) -> None:
    """Write posts into a new folder, in the form that `hashlens build` reads.

    Pictures are hard links if possible, else copies.

    Raises:
        InputError: a picture cannot be read, or the folder cannot be written.
    """
    try:
        (folder / "pictures").mkdir(parents=True)
        with (folder / "posts.jsonl").open("w", encoding="utf-8") as lines:
            for number, post in enumerate(posts):
                row: dict[str, Any] = {"id": post.post_id, "caption": post.caption}
                row |= {"hashtags": list(post.forms), "author": post.author, "topic": post.topic}
                if post.taken_at:
                    row["taken_at"] = post.taken_at.isoformat()
                if post.image:
                    row["image"] = f"pictures/{number:07}{post.image.suffix}"
                    source, target = post.image.resolve(), folder / row["image"]
                    try:
                        os.link(source, target)
                    except OSError:  # another file system, or another owner's file
                        shutil.copyfile(source, target)
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write posts to {folder}: {error.filename}: {error.strerror}; "
            "free some space, or name another temporary folder in TMPDIR"
        ) from error
