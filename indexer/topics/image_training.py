"""Training of the image topic model: a linear head on frozen features, and a prior from classes.

The classes are the encoder's own, or the topics' texts if it reads text.

Letters in shapes: n pictures, m of them held out from the head that judged them, d width,
t topics, c classes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import TopicConfig
from hashlens.indexer.topics.cross_validation import (
    MIN_HELD_OUT,
    cross_validate,
    expand_topics,
    fit_temperature,
    log_loss,
    trainable_topics,
)
from hashlens.indexer.topics.image_model import (
    CLASS_WEIGHT,
    MAX_LOGIT_SCALE,
    ClassPrior,
    Head,
    ImageTopicModel,
    OutOfTopicDetector,
    ZeroShot,
)
from hashlens.indexer.topics.imagenet_topics import class_prior
from hashlens.indexer.topics.logistic import fit_logistic
from hashlens.indexer.types import Floats, Ids

# Candidates for the novelty of the topics' texts: their weights are 0, 1/4, 1, 4 and 22 times that
# of the head, or they judge alone.
PRIOR_NOVELTIES = (0.0, 0.2, 1 / 3, 0.5, 0.7, 1.0)
DEFAULT_NOVELTY = 0.5  # with too few pictures to choose by
MAX_GRADIENT = 1e-5  # of the head's loss, where its training ends


def fit_image_model(
    vectors: Floats,
    topics: Ids,
    folds: Ids,
    width: int,
    config: TopicConfig,
    classes: tuple[Floats, Floats] | None = None,
    texts: Floats | None = None,
) -> ImageTopicModel | None:
    """Train the image topic model; None with too few pictures of known topic and no texts.

    Temperatures and energies come from held-out pictures.

    Args:
        vectors: unit rows float32 (n, d).
        topics: int64 (n,) numbers of topics, below `width`.
        folds: int64 (n,).
        width: number of topics.
        config: settings.
        classes: the pictures' probabilities of the encoder's classes float32 (n, c), and the
            classes' topics by words float32 (c, t).
        texts: `topic_texts` float32 (t, d), if the encoder reads text: it has no classes then.
    """
    taught = trainable_topics(topics)
    if not taught:
        return None if texts is None else zero_shot_model(texts)
    some = np.isin(topics, taught)
    vectors, topics, folds = vectors[some], topics[some], folds[some]

    def fit(rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        mean, scale = vectors[rows].mean(axis=0), vectors[rows].std(axis=0) + 1e-6
        # Of two classes, each has half the weights, and so half the squared sum of others.
        number = len(np.unique(topics[rows]))
        penalty = config.weight_decay * (2 if number > 2 else 1)
        inputs = (vectors[rows] - mean) / scale
        weights, bias, known = fit_logistic(
            inputs, topics[rows], penalty, config.image_epochs, MAX_GRADIENT
        )
        weights /= scale
        return expand_topics(weights, bias - weights @ mean, known, width)

    scores, held = cross_validate(
        fit, lambda head, rows: vectors[rows] @ head[0].T + head[1], topics, folds
    )
    temperature = fit_temperature(scores, topics[held]) or 1.0
    weights, bias = fit(np.arange(len(topics)))
    head = Head(weights / temperature, bias / temperature)
    zero_shot = None
    if texts is not None:  # the pictures were not used to train them
        logits = MAX_LOGIT_SCALE * (vectors @ texts.T)
        zero_shot = ZeroShot(texts, MAX_LOGIT_SCALE / (fit_temperature(logits, topics) or 1.0))
    if len(held) < MIN_HELD_OUT:
        untuned = _fixed_prior(width, DEFAULT_NOVELTY) if zero_shot else None
        return ImageTopicModel(head, None, untuned, zero_shot)
    scores /= temperature
    prior = None
    if zero_shot:
        shown = zero_shot.classes(vectors[held])
        prior = _tuned_prior(head.probs(scores), shown, topics[held], bias > -np.inf)
    elif classes is not None:
        prior = _class_prior(head.probs(scores), held, topics, folds, classes[0][some], classes[1])
    return ImageTopicModel(head, OutOfTopicDetector.fit(scores), prior, zero_shot)


def zero_shot_model(texts: Floats) -> ImageTopicModel:
    """Return a model for pictures without any of known topic: texts (t, d), and an even head."""
    even = Head(np.zeros_like(texts), np.zeros(len(texts), np.float32))
    return ImageTopicModel(even, None, _fixed_prior(len(texts), 1.0), ZeroShot(texts))


def _fixed_prior(width: int, novelty: float) -> ClassPrior:
    """Return topics as their own classes, of one novelty; the weights of both sum to 1."""
    total = (1 - novelty) ** 2 + CLASS_WEIGHT * novelty**2
    return ClassPrior(np.eye(width, dtype=np.float32), np.full(width, novelty, np.float32), total)


def _tuned_prior(
    probs: Floats, shown: Floats, truths: Ids, taught: NDArray[np.bool_]
) -> ClassPrior:
    """Return the prior that best joins the head's probabilities (m, t) with those of the texts."""

    def prior_of(novelty: float) -> ClassPrior:
        prior = _fixed_prior(len(taught), novelty)
        temperature = fit_temperature(prior.logits(probs, shown), truths)
        return replace(prior, temperature=temperature or prior.temperature)

    return min(
        map(prior_of, PRIOR_NOVELTIES),
        key=lambda prior: log_loss(prior.probs(probs, shown, taught), truths),
    )


def _class_prior(
    probs: Floats, held: Ids, topics: Ids, folds: Ids, classes: Floats, words: Floats
) -> ClassPrior:
    """Return the classes' prior, with the temperature that fits held-out pictures (m, t) best."""
    joined = np.zeros_like(probs)
    for fold in np.unique(folds[held]):
        mine, others = folds[held] == fold, folds != fold
        prior = class_prior(classes[others], topics[others], words)
        joined[mine] = prior.logits(probs[mine], classes[held[mine]])
    temperature = fit_temperature(joined, topics[held]) or 1.0
    return replace(class_prior(classes, topics, words), temperature=temperature)
