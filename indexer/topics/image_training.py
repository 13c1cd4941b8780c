"""Training of what judges pictures: a last layer on frozen features, beside a second opinion.

That is of the encoder's own classes, or of the topics' texts where it reads text.

Letters in shapes: n pictures, m of them unseen by the head that judged them, d width, t topics,
c classes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import TopicConfig
from hashlens.indexer.topics.cross_validation import (
    MIN_HELD_OUT,
    Fit,
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
from hashlens.indexer.types import Floats, Ids

OUTLIER_SHARE = (
    0.02  # of a topic's own pictures have less energy than the middle of `OutOfTopicDetector`
)
TRANSITION_SHARE = 0.1  # its width, as a share of the way from there to the median
# How new the topics' texts may be to the head: they weigh 0, 1/4, 1, 4 and 22 times as much as it
# does, or alone.
PRIOR_NOVELTIES = (0.0, 0.2, 1 / 3, 0.5, 0.7, 1.0)
DEFAULT_NOVELTY = 0.5  # where too few pictures can say


def fit_image_model(
    vectors: Floats,
    topics: Ids,
    folds: Ids,
    width: int,
    config: TopicConfig,
    classes: tuple[Floats, Floats] | None = None,
    texts: Floats | None = None,
) -> ImageTopicModel | None:
    """Learn to judge pictures; None where too few of them have a topic, and there are no texts.

    Temperatures and energies are those of pictures that the judge had not seen.

    Args:
        vectors: unit rows float32 (n, d).
        topics: int64 (n,) numbers of topics, below `width`.
        folds: int64 (n,).
        width: how many topics there are.
        config: settings.
        classes: the pictures' probabilities of the encoder's classes float32 (n, c), and the
            classes' topics by words float32 (c, t).
        texts: `topic_texts` float32 (t, d), where the encoder reads text: it has no classes then.
    """
    taught = trainable_topics(topics)
    if not taught:
        return None if texts is None else zero_shot_model(texts)
    some = np.isin(topics, taught)
    vectors, topics, folds = vectors[some], topics[some], folds[some]
    fit = _fitter(vectors, topics, width, config)
    scores, held = cross_validate(
        fit, lambda head, rows: vectors[rows] @ head[0].T + head[1], topics, folds
    )
    temperature = fit_temperature(scores, topics[held]) or 1.0
    weights, bias = fit(np.arange(len(topics)))
    head = Head(weights / temperature, bias / temperature)
    zero_shot = None if texts is None else _scaled(texts, vectors, topics)
    if len(held) < MIN_HELD_OUT:
        unjudged = _fixed_prior(width, DEFAULT_NOVELTY) if zero_shot else None
        return ImageTopicModel(head, None, unjudged, zero_shot)
    scores /= temperature
    seen = None
    if zero_shot:
        said = zero_shot.classes(vectors[held])
        seen = _tuned_prior(head.probs(scores), said, topics[held], bias > -np.inf)
    elif classes is not None:
        known = (head.probs(scores), held, topics, folds)
        seen = _class_prior(*known, classes[0][some], classes[1])
    return ImageTopicModel(head, _out_of_topic_detector(scores), seen, zero_shot)


def zero_shot_model(texts: Floats) -> ImageTopicModel:
    """What judges pictures where none had a topic: texts (t, d), beside a head that is even."""
    even = Head(np.zeros_like(texts), np.zeros(len(texts), np.float32))
    return ImageTopicModel(even, None, _fixed_prior(len(texts), 1.0), ZeroShot(texts))


def _scaled(texts: Floats, vectors: Floats, topics: Ids) -> ZeroShot:
    """Texts (t, d) whose scale fits pictures (n, d), none of which taught them anything."""
    said = MAX_LOGIT_SCALE * (vectors @ texts.T)
    return ZeroShot(texts, MAX_LOGIT_SCALE / (fit_temperature(said, topics) or 1.0))


def _fixed_prior(width: int, new: float) -> ClassPrior:
    """Topics as their own classes, all as new; the weights of both opinions sum to 1."""
    total = (1 - new) ** 2 + CLASS_WEIGHT * new**2
    return ClassPrior(np.eye(width, dtype=np.float32), np.full(width, new, np.float32), total)


def _tuned_prior(probs: Floats, said: Floats, truths: Ids, taught: NDArray[np.bool_]) -> ClassPrior:
    """Joined as suits best the head's probabilities of unseen pictures (m, t) and the texts'."""

    def joined(new: float) -> ClassPrior:
        opinion = _fixed_prior(len(taught), new)
        temperature = fit_temperature(opinion.logits(probs, said), truths)
        return replace(opinion, temperature=temperature or opinion.temperature)

    return min(
        map(joined, PRIOR_NOVELTIES),
        key=lambda opinion: log_loss(opinion.probs(probs, said, taught), truths),
    )


def _class_prior(
    probs: Floats, held: Ids, topics: Ids, folds: Ids, classes: Floats, words: Floats
) -> ClassPrior:
    """The classes' opinion; joined to the head's of unseen pictures (m, t), it fits best."""
    joined = np.zeros_like(probs)
    for fold in np.unique(folds[held]):
        mine, seen = folds[held] == fold, folds != fold
        opinion = class_prior(classes[seen], topics[seen], words)
        joined[mine] = opinion.logits(probs[mine], classes[held[mine]])
    temperature = fit_temperature(joined, topics[held]) or 1.0
    return replace(class_prior(classes, topics, words), temperature=temperature)


def _out_of_topic_detector(scores: Floats) -> OutOfTopicDetector:
    """Where pictures of no topic begin, from logits (m, t) of unseen pictures that have one."""
    most = scores.max(axis=1)
    energies = most + np.log(np.exp(scores - most[:, None]).sum(axis=1))
    middle, median = np.quantile(energies, [OUTLIER_SHARE, 0.5]).tolist()
    return OutOfTopicDetector(middle, max(TRANSITION_SHARE * (median - middle), 1e-3))


def _fitter(vectors: Floats, topics: Ids, width: int, config: TopicConfig) -> Fit:
    """The encoder's last layer anew, by cross-entropy with weight decay, on standardised inputs."""
    import torch
    from torch.nn import functional

    def fit(some: NDArray[np.int64]) -> tuple[Floats, Floats]:
        torch.manual_seed(config.seed)
        mean, scale = vectors[some].mean(axis=0), vectors[some].std(axis=0) + 1e-6
        inputs = torch.from_numpy((vectors[some] - mean) / scale)
        classes, targets = np.unique(topics[some], return_inverse=True)
        balance = torch.from_numpy(len(targets) / (len(classes) * np.bincount(targets))).float()
        layer = torch.nn.Linear(inputs.shape[1], len(classes))
        torch.nn.init.zeros_(layer.weight)
        optimizer = torch.optim.LBFGS(
            layer.parameters(), max_iter=config.image_epochs, line_search_fn="strong_wolfe"
        )
        wanted = torch.from_numpy(targets)

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            fitted = functional.cross_entropy(layer(inputs), wanted, weight=balance)
            value = fitted + config.weight_decay * (layer.weight**2).sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        weights = layer.weight.detach().numpy() / scale
        bias = layer.bias.detach().numpy() - weights @ mean
        return expand_topics(weights, bias, classes, width)

    return fit
