"""ImageNet's classes as topics: by what they are called, and by pictures of known topic.

Letters in shapes: n pictures, t topics, c classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.images.imagenet import words_of_classes
from hashlens.indexer.topics.image_model import ClassOpinion
from hashlens.indexer.topics.model import TopicTable
from hashlens.indexer.types import Floats, Ids

SEEN = 250  # pictures of a topic, at most, that weigh against one picture's worth of words
UNSEEN = 10  # pictures' worth of words of a topic that no picture taught
CONTRAST = 0.1  # likeness that a class's name needs for e times the probability
_COMMON = 50_000  # words whose mean is what all words share


def classes_by_words(table: TopicTable, space: WordSpace | None) -> Floats:
    """Topics of each ImageNet class by words alone, float32 (c, t); a row sums to 1.

    A class is as near a topic as what it is called is to the topic's name and defining hashtags,
    by pretrained vectors. Of a topic without any known word nothing is said for or against.
    """
    names = [" ".join(words) for words in words_of_classes()]
    if space is None:
        return np.full((len(names), len(table.names)), 1 / len(table.names), np.float32)
    said = zip(table.names, table.hashtags, strict=True)
    means = [_meanings(space, [name, *tags]).sum(axis=0) for name, tags in said]
    topics = np.array([mean / max(np.linalg.norm(mean), 1e-9) for mean in means])
    near = _meanings(space, names) @ topics.T
    known = topics.any(axis=1)
    if known.any():
        near[:, ~known] = near[:, known].mean(axis=1, keepdims=True)
    raised = np.exp(near / CONTRAST)
    shares: Floats = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def class_opinion(classes: Floats, topics: Ids, words: Floats) -> ClassOpinion:
    """What pictures of known topic, and words where they showed a class too little, say of it.

    The words count as one picture (a Dirichlet prior), or as `UNSEEN` for topics without any; a
    topic's pictures count as `SEEN` at most.

    Args:
        classes: probabilities of the classes, float32 (n, c).
        topics: int64 (n,) numbers of topics.
        words: `classes_by_words`.
    """
    shown = np.zeros_like(words)
    for topic in np.unique(topics).tolist():
        mine = classes[topics == topic]
        shown[:, topic] = mine.mean(axis=0) * min(len(mine), SEEN)
    new = 1 / (shown.sum(axis=1) + 1)
    said = shown + words * np.where(np.isin(np.arange(words.shape[1]), topics), 1, UNSEEN)
    shares = said / said.sum(axis=1, keepdims=True)
    return ClassOpinion(shares.astype(np.float32), new.astype(np.float32))


def _meanings(space: WordSpace, texts: Sequence[str]) -> Floats:
    """Directions of short texts away from what all words share; zeros where no word is known."""
    shared = np.asarray(space.vectors[:_COMMON], np.float32).mean(axis=0)
    meanings = np.zeros((len(texts), space.dimensions), np.float32)
    for number, text in enumerate(texts):
        _, rows = space.found(re.findall(r"\w\w+", text.lower()))
        if len(rows):
            # Words stand commonest first: a rarer one tells more.
            mean = np.log(2.0 + rows) @ np.asarray(space.vectors[rows], np.float32)
            away = mean / max(np.linalg.norm(mean), 1e-9) - shared
            meanings[number] = away / max(np.linalg.norm(away), 1e-9)
    return meanings
