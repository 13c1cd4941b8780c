"""Judges how well pictures tell their topic: on a split, and leaving collections out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.metrics.intervals import bootstrap_means
from hashlens.evaluation.metrics.ranking import Calibration, calibration
from hashlens.indexer.config import TopicConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import InputError
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.topics.model import TopicModel, TopicTable, load_topics
from hashlens.indexer.topics.prompts import TextReader, topic_texts
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, Floats, Ids, Post


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Posts with a picture and a topic; of each its topic's number, vector and classes."""

    posts: tuple[Post, ...]
    topics: Ids
    vectors: Floats
    classes: Floats | None

    def part(self, rows: NDArray[np.int64]) -> Pictures:
        """Only some of them, by position int64 (p,)."""
        classes = None if self.classes is None else self.classes[rows]
        posts = tuple(self.posts[row] for row in rows.tolist())
        return Pictures(posts, self.topics[rows], self.vectors[rows], classes)


def judge_topics(
    train: Sequence[Post],
    test: Sequence[Post],
    *,
    seed: int,
    encoder: ImageEncoder | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How well topics learned from the training pictures are told of the test pictures.

    Only posts with a readable picture and one of the topics that ship are looked at. Where posts
    name the collection that their picture is from (`origin`), and a topic has pictures of two or
    more, each collection is also left out in turn: its pictures in either part are judged by what
    was learned from all others. That is nearer to photos of users, which are from elsewhere.

    Args:
        train: posts to learn from.
        test: posts to judge.
        seed: of the heads and of the bootstrap.
        encoder: what encodes pictures; the usual one where None.
        progress: told of every stage.

    Returns:
        JSON values: `queries`, `accuracy`, its `interval`, `topics` (t names), `confusion`: a row
        for each true topic, a column for each that was said; `calibration` of the probability of
        the topic said, `encoder`, `head_accuracy`: of the plain logistic head alone; `zero_shot`
        accuracy: of the topics' texts alone, where the encoder reads text; and `left_out`, where
        there is any: see `leave_out`.

    Raises:
        InputError: a part has no such post, or training too few of a topic.
    """
    table, progress = load_topics(), progress or NullProgress()
    encoder, words = encoder or open_encoder(), load_pretrained()
    texts = None
    if encoder.reads_text:
        texts = topic_texts(table, words, TextReader(encoder.encode_texts))
    taught, unseen = (
        _encoded(name, posts, table, encoder, progress)
        for name, posts in (("training", train), ("test", test))
    )
    learn = partial(learned, table=table, words=words, seed=seed, texts=texts)
    model = learn(taught)
    if not model.has_image_model:
        raise InputError(
            f"found {len(taught.posts)} pictures with topics, too few to learn topics from"
        )
    probs = model.from_images(unseen.vectors, unseen.classes).probs
    alone = model.without_classes.from_images(unseen.vectors).probs
    told = {}
    if model.image and model.image.zero_shot:
        said = model.image.zero_shot.classes(unseen.vectors)
        told["zero_shot"] = float((said.argmax(axis=1) == unseen.topics).mean())
    left_out = leave_out(_together(taught, unseen), table.names, learn, progress)
    return (
        _topic_row(table.names, unseen.topics, probs, seed)
        | {"encoder": encoder.name}
        | {"head_accuracy": float((alone.argmax(axis=1) == unseen.topics).mean())}
        | told
        | ({"left_out": left_out} if left_out["origins"] else {})
    )


def _encoded(
    name: str, posts: Sequence[Post], table: TopicTable, encoder: ImageEncoder, progress: Progress
) -> Pictures:
    labelled = [post for post in posts if post.image and post.topic in table.names]
    pictures = [post.image for post in labelled if post.image]
    progress.stage(f"Encoding {name} pictures", len(pictures))
    encoded = encoder.encode(pictures, classes=True, on_progress=progress.advance)
    if not len(encoded.rows):
        raise InputError(
            f"found no readable {name} picture with a topic, expected posts with `image` and "
            f"as `topic` one of {', '.join(table.names)}"
        )
    kept = tuple(labelled[row] for row in encoded.rows)
    topics = np.array([table.names.index(str(post.topic)) for post in kept], dtype=np.int64)
    return Pictures(kept, topics, encoded.vectors, encoded.classes)


def _together(one: Pictures, other: Pictures) -> Pictures:
    classes = None
    if one.classes is not None and other.classes is not None:
        classes = np.concatenate([one.classes, other.classes])
    return Pictures(
        one.posts + other.posts,
        np.concatenate([one.topics, other.topics]),
        np.concatenate([one.vectors, other.vectors]),
        classes,
    )


def learned(
    pictures: Pictures,
    *,
    table: TopicTable,
    words: WordSpace,
    seed: int,
    texts: Floats | None = None,
) -> TopicModel:
    """A topic model of pictures alone, and of the topics' texts (t, d) where there are any."""
    return fit_topics(
        table,
        tokens=[[] for _ in pictures.posts],
        labels=[post.topic for post in pictures.posts],
        groups=[post.author for post in pictures.posts],
        images=Embeddings(np.arange(len(pictures.posts)), pictures.vectors),
        config=TopicConfig(seed=seed),
        pretrained=words,
        classes=pictures.classes,
        texts=texts,
    )


def leave_out(
    pictures: Pictures,
    names: tuple[str, ...],
    learn: Callable[[Pictures], TopicModel],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Each collection judged by what was learned from all others.

    Returns:
        JSON values: `errors`, `head_errors` of the plain logistic head, and `origins`: of each
        left-out collection its name as `origin`, `topic`, `queries`, `accuracy`, `head_accuracy`
        and `said`: how many pictures were given each topic (t,).
    """
    origins = [post.origin for post in pictures.posts]
    pairs = list(zip(pictures.topics.tolist(), origins, strict=True))
    topics = [topic for topic, origin in set(pairs) if origin is not None]
    several = {topic for topic in topics if topics.count(topic) > 1}
    found = sorted({(t, o) for t, o in pairs if o is not None and t in several})
    progress = progress or NullProgress()
    progress.stage("Leaving collections out", len(found))
    rows = []
    for topic, origin in found:
        out = np.array([pair == (topic, origin) for pair in pairs])
        model = learn(pictures.part(np.flatnonzero(~out)))
        told = _told(model, pictures.part(np.flatnonzero(out)), topic, names)
        rows.append({"origin": origin, "topic": names[topic]} | told)
        progress.advance()
    return {
        "errors": sum(_wrong(row, "accuracy") for row in rows),
        "head_errors": sum(_wrong(row, "head_accuracy") for row in rows),
        "origins": rows,
    }


def _told(
    model: TopicModel, unseen: Pictures, topic: int, names: tuple[str, ...]
) -> dict[str, Any]:
    """What pictures of one topic are said to be."""
    said = model.from_images(unseen.vectors, unseen.classes).probs.argmax(axis=1)
    alone = model.without_classes.from_images(unseen.vectors).probs.argmax(axis=1)
    return {
        "queries": len(said),
        "accuracy": float((said == topic).mean()),
        "head_accuracy": float((alone == topic).mean()),
        "said": np.bincount(said, minlength=len(names)).tolist(),
    }


def _wrong(row: dict[str, Any], name: str) -> int:
    wrong: int = round(row["queries"] * (1 - row[name]))
    return wrong


def _topic_row(
    names: tuple[str, ...], true: NDArray[np.int64], probs: Floats, seed: int
) -> dict[str, Any]:
    said = probs.argmax(axis=1)
    right = (said == true).astype(np.float64)
    low, high = bootstrap_means(right[:, None], seed)
    confusion = np.bincount(true * len(names) + said, minlength=len(names) ** 2)
    stated = calibration(np.clip(probs.max(axis=1), 0, 1), right)
    return {
        "queries": len(true),
        "accuracy": float(right.mean()),
        "interval": [float(low[0]), float(high[0])],
        "topics": list(names),
        "confusion": confusion.reshape(len(names), -1).tolist(),
        "calibration": calibration_json(stated),
    }


def calibration_json(found: Calibration) -> dict[str, Any]:
    """JSON values of a calibration: `error`, and per bin `predicted`, `observed`, `counts`."""
    bins = (found.predicted.tolist(), found.observed.tolist(), found.counts.tolist())
    return {"error": found.error} | dict(
        zip(("predicted", "observed", "counts"), bins, strict=True)
    )
