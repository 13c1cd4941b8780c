"""The accuracy of topics predicted from pictures, on a split and with collections left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.metrics.intervals import bootstrap_means
from hashlens.evaluation.metrics.ranking import calibration
from hashlens.evaluation.result_files import Json
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
class LabelledPictures:
    """Posts with picture and topic; topics, vectors and classes are aligned with them."""

    posts: tuple[Post, ...]
    topics: Ids
    vectors: Floats
    classes: Floats | None

    @classmethod
    def encode(
        cls,
        name: str,
        posts: Sequence[Post],
        table: TopicTable,
        encoder: ImageEncoder,
        progress: Progress,
    ) -> LabelledPictures:
        """Return the readable pictures of posts with a topic of the table."""
        labelled = [post for post in posts if post.image and post.topic in table.names]
        paths = [post.image for post in labelled if post.image]
        progress.stage(f"Encoding {name} pictures", len(paths))
        encoded = encoder.encode(paths, classes=True, on_progress=progress.advance)
        if not len(encoded.rows):
            raise InputError(
                f"found no readable {name} picture with a topic, expected posts with `image` and "
                f"as `topic` one of {', '.join(table.names)}"
            )
        readable = tuple(labelled[row] for row in encoded.rows)
        topics = np.array([table.names.index(str(post.topic)) for post in readable], dtype=np.int64)
        return cls(readable, topics, encoded.vectors, encoded.classes)

    def concat(self, other: LabelledPictures) -> LabelledPictures:
        """Return the pictures of both."""
        classes = None
        if self.classes is not None and other.classes is not None:
            classes = np.concatenate([self.classes, other.classes])
        topics = np.concatenate([self.topics, other.topics])
        vectors = np.concatenate([self.vectors, other.vectors])
        return LabelledPictures(self.posts + other.posts, topics, vectors, classes)

    def select(self, rows: NDArray[np.int64]) -> LabelledPictures:
        """Return the pictures at positions int64 (p,)."""
        classes = None if self.classes is None else self.classes[rows]
        posts = tuple(self.posts[row] for row in rows.tolist())
        return LabelledPictures(posts, self.topics[rows], self.vectors[rows], classes)


def judge_topics(
    train: Sequence[Post],
    test: Sequence[Post],
    *,
    seed: int,
    encoder: ImageEncoder | None = None,
    progress: Progress | None = None,
) -> Json:
    """Judge the topics of test pictures, predicted by a model of the training pictures.

    Only posts with a readable picture and one of the topics that ship are used. Posts may name the
    collection of their picture (`origin`). If a topic has pictures of two collections or more, each
    one is also left out in turn, and a model of all other pictures judges it. This is closer to
    photos of users, which come from elsewhere.

    Args:
        train: posts to learn from.
        test: posts to judge.
        seed: of the topic model and of the bootstrap.
        encoder: of pictures; None for the usual one.
        progress: receives every stage.

    Returns:
        JSON values: `queries`, `accuracy`, its `interval`, `topics` (t names), `confusion` (a row
        for each true topic, a column for each predicted one), `calibration` of the predicted
        topic's probability, `encoder`, `head_accuracy` of the plain logistic head alone,
        `zero_shot` accuracy of the topics' texts alone if the encoder reads text, and `left_out`
        if there is any; see `leave_collections_out`.

    Raises:
        InputError: a part has no such post, or training has too few of a topic.
    """
    table, progress = load_topics(), progress or NullProgress()
    encoder, words = encoder or open_encoder(), load_pretrained()
    texts = None
    if encoder.reads_text:
        texts = topic_texts(table, words, TextReader(encoder.encode_texts))
    learned, unseen = (
        LabelledPictures.encode(name, posts, table, encoder, progress)
        for name, posts in (("training", train), ("test", test))
    )
    learn = partial(fit_image_topics, table=table, words=words, seed=seed, texts=texts)
    model, names = learn(learned), table.names
    if not model.has_image_model:
        raise InputError(
            f"found {len(learned.posts)} pictures with topics, too few to learn topics from"
        )
    probs = model.from_images(unseen.vectors, unseen.classes).probs
    predicted = probs.argmax(axis=1)
    right = (predicted == unseen.topics).astype(np.float64)
    low, high, _ = bootstrap_means(right[:, None], seed)
    confusion = np.bincount(unseen.topics * len(names) + predicted, minlength=len(names) ** 2)
    head = model.without_classes.from_images(unseen.vectors).probs.argmax(axis=1)
    result = {
        "queries": len(right),
        "accuracy": float(right.mean()),
        "interval": [float(low[0]), float(high[0])],
        "topics": list(names),
        "confusion": confusion.reshape(len(names), -1).tolist(),
        "calibration": calibration(np.clip(probs.max(axis=1), 0, 1), right).to_json(),
        "encoder": encoder.name,
        "head_accuracy": float((head == unseen.topics).mean()),
    }
    if model.image and model.image.zero_shot:
        by_text = model.image.zero_shot.classes(unseen.vectors).argmax(axis=1)
        result["zero_shot"] = float((by_text == unseen.topics).mean())
    left_out = leave_collections_out(learned.concat(unseen), names, learn, progress)
    return result | ({"left_out": left_out} if left_out["origins"] else {})


def fit_image_topics(
    pictures: LabelledPictures,
    *,
    table: TopicTable,
    words: WordSpace,
    seed: int,
    texts: Floats | None = None,
) -> TopicModel:
    """Return a topic model of pictures alone, and of the topics' texts (t, d) if given."""
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


def leave_collections_out(
    pictures: LabelledPictures,
    names: tuple[str, ...],
    learn: Callable[[LabelledPictures], TopicModel],
    progress: Progress | None = None,
) -> Json:
    """Judge each collection by a model of all others.

    Returns:
        JSON values: `errors`, `head_errors` of the plain logistic head, and `origins`: of each
        left-out collection its name as `origin`, `topic`, `queries`, `accuracy`, `head_accuracy`
        and `said`: the number of pictures predicted as each topic (t,).
    """
    origins = [post.origin for post in pictures.posts]
    pairs = list(zip(pictures.topics.tolist(), origins, strict=True))
    topics = [topic for topic, origin in set(pairs) if origin is not None]
    several = {topic for topic in topics if topics.count(topic) > 1}
    collections = sorted({(t, o) for t, o in pairs if o is not None and t in several})
    progress = progress or NullProgress()
    progress.stage("Leaving collections out", len(collections))
    errors, rows = {"errors": 0, "head_errors": 0}, []
    for topic, origin in collections:
        left_out = np.array([pair == (topic, origin) for pair in pairs])
        model = learn(pictures.select(np.flatnonzero(~left_out)))
        unseen = pictures.select(np.flatnonzero(left_out))
        predicted = model.from_images(unseen.vectors, unseen.classes).probs.argmax(axis=1)
        head = model.without_classes.from_images(unseen.vectors).probs.argmax(axis=1)
        errors["errors"] += int((predicted != topic).sum())
        errors["head_errors"] += int((head != topic).sum())
        rows.append(
            {
                "origin": origin,
                "topic": names[topic],
                "queries": len(predicted),
                "accuracy": float((predicted == topic).mean()),
                "head_accuracy": float((head == topic).mean()),
                "said": np.bincount(predicted, minlength=len(names)).tolist(),
            }
        )
        progress.advance()
    return errors | {"origins": rows}
