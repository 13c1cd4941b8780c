"""The tasks of a benchmark: posts, their split, and the queries made from the test part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hashlens.evaluation.tasks.inputs import Inputs, QuerySet, draw_key, make_queries
from hashlens.evaluation.tasks.splits import RULES, Split, split
from hashlens.indexer.errors import CallError, ConfigError, InputError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Post, Rejection
from hashlens.retriever.recommendation import Query

HASHTAGS, TOPICS = "hashtags", "topics"


@dataclass(frozen=True, slots=True)
class Task:
    """Posts, the rule of their split, and the inputs of the queries.

    Attributes:
        name: unique among the tasks of a benchmark.
        sources: files or folders of posts.
        inputs: combinations of inputs, each judged separately; `Inputs.parse` reads them.
        rule: of the split; see `splits.split`.
        kind: `hashtags` to predict hashtags, `topics` to predict the topic of pictures. A task of
            kind `topics` has no inputs.
    """

    name: str
    sources: tuple[Path, ...]
    inputs: tuple[str, ...] = ()
    rule: str = "auto"
    kind: str = HASHTAGS

    def __post_init__(self) -> None:
        if self.rule not in (*RULES, "auto"):
            raise ConfigError(
                f"task {self.name}: found split rule {self.rule!r}, "
                f"expected one of {', '.join(RULES)}, auto"
            )
        if (self.kind == HASHTAGS) != bool(self.inputs):
            raise ConfigError(
                f"task {self.name} of kind {self.kind}: found {len(self.inputs)} combinations of "
                f"inputs, expected one or more for kind {HASHTAGS}, none for {TOPICS}"
            )
        forms = tuple(dict.fromkeys(str(Inputs.parse(text)) for text in self.inputs))
        object.__setattr__(self, "inputs", forms)


def choose_tasks(
    posts: Sequence[Path], inputs: Sequence[str] | None, *, rule: str = "auto"
) -> tuple[Task, ...]:
    """Return one task of all posts with these inputs, or else the standard tasks of each folder.

    Raises:
        CallError: a rule is given without inputs.
        ConfigError: the inputs or the rule are unknown.
        InputError: a folder has no standard task.
    """
    if inputs:
        return (Task("posts", tuple(posts), tuple(inputs), rule),)
    if rule != "auto":
        raise CallError(
            f"--split {rule}: found no --inputs, expected them; without, each task of "
            "the public collections has its own rule"
        )
    return tuple(task for folder in posts for task in standard_tasks(folder))


def standard_tasks(folder: Path) -> tuple[Task, ...]:
    """Return a task for each public collection that is a sub-folder of `folder`.

    Raises:
        InputError: there is none.
    """
    mixes = ("image", "caption", "image,caption", "image,caption,seeds:1")
    collections = (
        ("instagram_captions", ("caption",), "author", HASHTAGS),
        ("harrison", ("seeds:2",), "post", HASHTAGS),
        ("instagram_topics", ("seeds:3",), "post", HASHTAGS),
        ("tweets_images", mixes, "auto", HASHTAGS),
        ("topic_images", (), "post", TOPICS),
    )
    tasks = tuple(
        Task(name, (folder / name,), inputs, rule, kind)
        for name, inputs, rule, kind in collections
        if (folder / name / "posts.jsonl").is_file()
    )
    if not tasks:
        raise InputError(
            f"{folder}: found none of the folders {', '.join(name for name, *_ in collections)} "
            "with a posts.jsonl; to judge on other posts, name their fields with --inputs"
        )
    return tasks


def read_all_posts(
    sources: Sequence[Path],
    rule: str = "instagram",
    rejections: list[Rejection] | None = None,
) -> list[Post]:
    """Return all posts of the sources.

    Args:
        sources: files or folders of posts.
        rule: hashtag rule.
        rejections: receives the posts that cannot be used.

    Raises:
        InputError: a source is missing or has an unknown form, or no post can be used.
    """
    rejections = [] if rejections is None else rejections
    posts = list(read_posts(sources, rule=rule, rejections=rejections))
    if not posts:
        why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
        raise InputError(f"found no usable post in {', '.join(map(str, sources))}{why}")
    return posts


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTask:
    """A task's posts, split, and its queries by inputs."""

    task: Task
    split: Split
    train: tuple[Post, ...]
    test: tuple[Post, ...]
    queries: dict[str, QuerySet]
    rejections: tuple[Rejection, ...]

    def unique_queries(self) -> list[Query]:
        """Return the distinct queries of all inputs."""
        return list(dict.fromkeys(q for part in self.queries.values() for q in part.queries))

    def digest(self) -> str:
        """Return a SHA-256 of the posts of both parts and of the queries made from them."""
        parts = [[(p.post_id, p.content_hash) for p in part] for part in (self.train, self.test)]
        post_ids = [(inputs, part.post_ids) for inputs, part in self.queries.items()]
        text = json.dumps([parts, post_ids, self.split.seed, self.split.rule])
        return hashlib.sha256(text.encode()).hexdigest()


def prepare_task(task: Task, *, seed: int, limit: int | None) -> PreparedTask:
    """Read and split a task's posts, and draw at most `limit` queries for each of its inputs.

    Raises:
        InputError: the posts cannot be read or split, or none has the inputs or hashtags.
    """
    rejections: list[Rejection] = []
    posts = read_all_posts(task.sources, rejections=rejections)
    if task.kind == TOPICS:
        posts = [post for post in posts if post.image and post.topic]
    try:
        parts = split(posts, rule=task.rule, seed=seed)
        train, test = parts.select(posts)
        queries = {
            inputs: sample_queries(make_queries(test, Inputs.parse(inputs), seed=seed), seed, limit)
            for inputs in task.inputs
        }
    except InputError as error:
        raise InputError(f"task {task.name}: {error}") from error
    return PreparedTask(task, parts, tuple(train), tuple(test), queries, tuple(rejections))


def sample_queries(queries: QuerySet, seed: int, limit: int | None) -> QuerySet:
    """Return at most `limit` of the queries, drawn by seed and post id, in their order."""
    size = len(queries.queries)
    if limit is None or size <= limit:
        return queries
    order = sorted(range(size), key=lambda row: draw_key(seed, queries.post_ids[row]))
    rows = sorted(order[:limit])
    return replace(
        queries,
        queries=tuple(queries.queries[row] for row in rows),
        answers=tuple(queries.answers[row] for row in rows),
        post_ids=tuple(queries.post_ids[row] for row in rows),
    )
