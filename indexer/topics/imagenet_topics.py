"""Topics of ImageNet's classes, by their names and by pictures of known topic.

Letters in shapes: n pictures, t topics, c classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.images.imagenet import words_of_classes
from hashlens.indexer.topics.image_model import ClassPrior
from hashlens.indexer.topics.model import TopicTable
from hashlens.indexer.types import Floats, Ids

MAX_TOPIC_PICTURES = 250  # compared with the words, which weigh as much as one picture
PRIOR_PICTURES = 10  # weight of the words for a topic without pictures
CLASS_TEMPERATURE = 0.1  # difference of cosines for e times the probability
_COMMON = 50_000  # words whose mean is the common part of all words


def classes_by_words(table: TopicTable, space: WordSpace | None) -> Floats:
    """Return topics of each ImageNet class by words alone, float32 (c, t); a row sums to 1.

    The likeness of a class and a topic is that of the class's names and the topic's name and
    defining hashtags, by pretrained vectors. A topic without any known word has the mean likeness.
    """
    names = [" ".join(words) for words in words_of_classes()]
    if space is None:
        return np.full((len(names), len(table.names)), 1 / len(table.names), np.float32)
    named = zip(table.names, table.hashtags, strict=True)
    means = [_meanings(space, [name, *tags]).sum(axis=0) for name, tags in named]
    topics = np.array([mean / max(np.linalg.norm(mean), 1e-9) for mean in means])
    near = _meanings(space, names) @ topics.T
    known = topics.any(axis=1)
    if known.any():
        near[:, ~known] = near[:, known].mean(axis=1, keepdims=True)
    raised = np.exp(near / CLASS_TEMPERATURE)
    shares: Floats = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def class_prior(classes: Floats, topics: Ids, words: Floats) -> ClassPrior:
    """Return the topics of each class, from pictures of known topic and from the class's words.

    The words are a Dirichlet prior that counts as one picture, or as `PRIOR_PICTURES` for topics
    without pictures. A topic's pictures count as `MAX_TOPIC_PICTURES` at most.

    Args:
        classes: probabilities of the classes, float32 (n, c).
        topics: int64 (n,) numbers of topics.
        words: `classes_by_words`.
    """
    shown = np.zeros_like(words)
    for topic in np.unique(topics).tolist():
        mine = classes[topics == topic]
        shown[:, topic] = mine.mean(axis=0) * min(len(mine), MAX_TOPIC_PICTURES)
    new = 1 / (shown.sum(axis=1) + 1)
    votes = shown + words * np.where(np.isin(np.arange(words.shape[1]), topics), 1, PRIOR_PICTURES)
    shares = votes / votes.sum(axis=1, keepdims=True)
    return ClassPrior(shares.astype(np.float32), new.astype(np.float32))


def _meanings(space: WordSpace, texts: Sequence[str]) -> Floats:
    """Return directions of short texts relative to the mean word; zeros without a known word."""
    shared = np.asarray(space.vectors[:_COMMON], np.float32).mean(axis=0)
    meanings = np.zeros((len(texts), space.dimensions), np.float32)
    for number, text in enumerate(texts):
        _, rows = space.lookup(re.findall(r"\w\w+", text.lower()))
        if len(rows):
            # Words are sorted by frequency: a rarer one has more weight.
            mean = np.log(2.0 + rows) @ np.asarray(space.vectors[rows], np.float32)
            away = mean / max(np.linalg.norm(mean), 1e-9) - shared
            meanings[number] = away / max(np.linalg.norm(away), 1e-9)
    return meanings
