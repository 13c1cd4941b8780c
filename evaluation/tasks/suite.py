"""What a benchmark runs on: tasks, their posts split, and the questions asked of the test part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hashlens.evaluation.tasks.inputs import Inputs, Questions, make_queries
from hashlens.evaluation.tasks.splits import RULES, Split, split
from hashlens.indexer.errors import CallError, ConfigError, InputError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Post, Rejection
from hashlens.retriever.recommendation import Query

HASHTAGS, TOPICS = "hashtags", "topics"


@dataclass(frozen=True, slots=True)
class Task:
    """Posts, how they are split, and what of each test post is given.

    Attributes:
        name: unique among the tasks of a benchmark.
        sources: files or folders of posts.
        inputs: combinations, each asked on its own; see `tasks.Inputs` for the form.
        rule: of the split; see `splits.split`.
        kind: `hashtags`, or `topics`: is the topic of a picture known? The latter has no inputs.
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


def tasks_from(
    sources: Sequence[Path], inputs: Sequence[str], *, name: str = "posts", rule: str = "auto"
) -> tuple[Task, ...]:
    """One task of anybody's posts.

    Raises:
        ConfigError: the inputs are not of their form, or there is no such rule.
    """
    return (Task(name, tuple(sources), tuple(inputs), rule),)


def tasks_named(
    posts: Sequence[Path], inputs: Sequence[str] | None, *, rule: str = "auto"
) -> tuple[Task, ...]:
    """One task of the posts with these inputs, or without any the standard tasks of each folder."""
    if not inputs and rule != "auto":
        raise CallError(
            f"--split {rule}: found no --inputs, expected them; without, each task of "
            "the public collections has its own rule"
        )
    if inputs:
        return tasks_from(posts, inputs, rule=rule)
    return tuple(task for folder in posts for task in tasks_of(folder))


def tasks_of(folder: Path) -> tuple[Task, ...]:
    """The standard tasks, of those public collections that are in sub-folders of `folder`.

    Raises:
        InputError: none of them is there.
    """
    mixes = ("image", "caption", "image,caption", "image,caption,seeds:1")
    known = (
        ("instagram_captions", ("caption",), "author", HASHTAGS),
        ("harrison", ("seeds:2",), "post", HASHTAGS),
        ("instagram_topics", ("seeds:3",), "post", HASHTAGS),
        ("tweets_images", mixes, "auto", HASHTAGS),
        ("topic_images", (), "post", TOPICS),
    )
    found = tuple(
        Task(name, (folder / name,), inputs, rule, kind)
        for name, inputs, rule, kind in known
        if (folder / name / "posts.jsonl").is_file()
    )
    if not found:
        raise InputError(
            f"{folder}: found none of the folders {', '.join(name for name, *_ in known)} with a "
            "posts.jsonl; to judge on other posts, say with --inputs what of them is given"
        )
    return found


def usable(sources: Sequence[Path], rule: str, rejections: list[Rejection]) -> list[Post]:
    """All posts of the sources, by a hashtag rule; `rejections` gets what could not be used.

    Raises:
        InputError: a source is missing or of no known form, or no post can be used.
    """
    posts = list(read_posts(sources, rule=rule, rejections=rejections))
    if not posts:
        why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
        raise InputError(f"found no usable post in {', '.join(map(str, sources))}{why}")
    return posts


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A task's posts, split, and its questions by inputs."""

    task: Task
    split: Split
    train: tuple[Post, ...]
    test: tuple[Post, ...]
    questions: dict[str, Questions]
    rejections: tuple[Rejection, ...]

    @property
    def queries(self) -> list[Query]:
        """Each different query of all inputs."""
        return list(dict.fromkeys(q for asked in self.questions.values() for q in asked.queries))

    def digest(self) -> str:
        """SHA-256 of the posts in both parts and of what is asked of which."""
        parts = [[(p.post_id, p.content_hash) for p in part] for part in (self.train, self.test)]
        asked = [(inputs, asked.post_ids) for inputs, asked in self.questions.items()]
        text = json.dumps([parts, asked, self.split.seed, self.split.rule])
        return hashlib.sha256(text.encode()).hexdigest()


def prepare(task: Task, *, seed: int, limit: int | None) -> Prepared:
    """Read and split a task's posts, and draw at most `limit` questions for each of its inputs.

    Raises:
        InputError: the posts cannot be read or split, or none has the inputs or hashtags.
    """
    rejections: list[Rejection] = []
    posts = usable(task.sources, "instagram", rejections)
    if task.kind == TOPICS:
        posts = [post for post in posts if post.image and post.topic]
    try:
        parted = split(posts, rule=task.rule, seed=seed)
        train, test = parted.parts(posts)
        asked = {i: make_queries(test, Inputs.parse(i), seed=seed) for i in task.inputs}
    except InputError as error:
        raise InputError(f"task {task.name}: {error}") from error
    drawn = {inputs: _drawn(questions, seed, limit) for inputs, questions in asked.items()}
    return Prepared(task, parted, tuple(train), tuple(test), drawn, tuple(rejections))


def _drawn(questions: Questions, seed: int, limit: int | None) -> Questions:
    """At most `limit` of the questions, those first by the SHA-256 of seed and post id."""
    if limit is None or len(questions.queries) <= limit:
        return questions
    draws = [hashlib.sha256(f"{seed}\n{name}".encode()).digest() for name in questions.post_ids]
    kept = sorted(sorted(range(len(draws)), key=draws.__getitem__)[:limit])
    return replace(
        questions,
        queries=tuple(questions.queries[place] for place in kept),
        answers=tuple(questions.answers[place] for place in kept),
        post_ids=tuple(questions.post_ids[place] for place in kept),
    )
