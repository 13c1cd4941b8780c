"""The image topic model at query time, in NumPy alone: a linear head, and a prior from classes.

`training` and `image_training` train them. Letters in shapes: q pictures, d width, t topics,
c classes of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.row_math import softmax
from hashlens.indexer.errors import ShapeError
from hashlens.indexer.types import Floats

MIN_PROBABILITY = 0.01  # total that all topics share, so that none is ruled out
CLASS_WEIGHT = 4.0  # of the classes beside the head, each as far as it is competent
MAX_LOGIT_SCALE = 100.0  # of cosines of pictures with texts: the bound of CLIP's training

# Share of a topic's own pictures with less energy than the middle of `OutOfTopicDetector`.
OUTLIER_SHARE = 0.02
TRANSITION_SHARE = 0.1  # the detector's width, as a share of the distance to the median


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A linear softmax head: `weights` float32 (t, d), `bias` float32 (t,).

    They include the temperature; a topic without training posts has bias -inf.
    """

    weights: Floats
    bias: Floats

    def probs(self, logits: Floats) -> Floats:
        """Return the softmax of logits (q, t), mixed with a small even share."""
        mixed: Floats = (
            (1 - MIN_PROBABILITY) * softmax(logits) + MIN_PROBABILITY / logits.shape[1]
        ).astype("f4")
        return mixed


def _energies(logits: Floats) -> Floats:
    """Return the log of the summed exponents of logits (q, t), float32 (q, 1)."""
    most = logits.max(axis=1, keepdims=True)
    energies: Floats = most + np.log(np.exp(logits - most).sum(axis=1, keepdims=True))
    return energies


@dataclass(frozen=True, slots=True)
class OutOfTopicDetector:
    """Detects pictures of no topic by their low energy.

    Energy is the log of the summed exponents of the logits (Liu et al., Energy-based
    out-of-distribution detection, 2020). At `middle`, a picture has even chances to be outside.
    """

    middle: float
    width: float

    @classmethod
    def fit(cls, logits: Floats) -> Self:
        """Return a detector from logits (m, t) of held-out pictures of known topic."""
        middle, median = np.quantile(_energies(logits), [OUTLIER_SHARE, 0.5]).tolist()
        return cls(middle, max(TRANSITION_SHARE * (median - middle), 1e-3))

    def shares(self, logits: Floats) -> Floats:
        """Return how far each picture is outside, float32 (q, 1) in (0, 1)."""
        distance = np.clip((_energies(logits) - self.middle) / self.width, -50, 50)
        shares: Floats = (1 / (1 + np.exp(distance))).astype(np.float32)
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class ClassPrior:
    """Classes of the encoder as a second opinion on topics.

    The classes are its own, or those of `ZeroShot`. `topics` float32 (c, t) are the topics of each
    class; a row sums to 1. `new` float32 (c,) in [0, 1] is the novelty of the class to the
    pictures that trained the head. The joined logits are divided by `temperature`.
    """

    topics: Floats
    new: Floats
    temperature: float = 1.0

    def newness(self, classes: Floats) -> Floats:
        """Return the novelty of pictures' classes, float32 (q, 1), from probabilities (q, c)."""
        newness: Floats = (classes @ self.new)[:, None]
        return newness

    def logits(self, own: Floats, classes: Floats) -> Floats:
        """Return both opinions joined, before temperature, float32 (q, t).

        They are a weighted product (logarithmic pool) of the head's probabilities (q, t) and the
        classes'. The head knows pictures like those that trained it; with the novelty of the
        classes, the weight shifts to them.
        """
        new = self.newness(classes)
        by_classes = np.log(classes @ self.topics + np.float32(1e-9))
        joined: Floats = (1 - new) ** 2 * np.log(own) + CLASS_WEIGHT * new**2 * by_classes
        return joined

    def probs(self, own: Floats, classes: Floats, taught: NDArray[np.bool_]) -> Floats:
        """Return both opinions joined; for topics without training pictures, the classes' alone."""
        logits = np.where(taught, self.logits(own, classes) / self.temperature, -np.inf)
        absent = np.where(taught, 0, classes @ self.topics)
        rest = 1 - absent.sum(axis=1, keepdims=True)
        joined = (1 - MIN_PROBABILITY) * (rest * softmax(logits) + absent) + MIN_PROBABILITY / len(
            taught
        )
        probs: Floats = joined.astype(np.float32)
        return probs


@dataclass(frozen=True, slots=True, eq=False)
class ZeroShot:
    """Topics as classes without training pictures: each is its text, if an encoder reads text.

    `texts` float32 (t, d) are unit rows in the space of the pictures. Cosines with them are
    multiplied by `scale` (Radford et al., Learning transferable visual models from natural
    language supervision, 2021).
    """

    texts: Floats
    scale: float = MAX_LOGIT_SCALE

    def classes(self, vectors: Floats) -> Floats:
        """Return probabilities of the topics, float32 (q, t), from unit vectors (q, d)."""
        return softmax(np.float32(self.scale) * (vectors @ self.texts.T))


@dataclass(frozen=True, slots=True, eq=False)
class ImageTopicModel:
    """Classifies pictures by the head, the encoder's classes, and the out-of-topic detector.

    `classes` is None if the encoder has no classes, `outside` if it had too few training pictures.
    With `zero_shot`, texts give the classes.
    """

    head: Head
    outside: OutOfTopicDetector | None = None
    classes: ClassPrior | None = None
    zero_shot: ZeroShot | None = None

    def probs(self, vectors: Floats, classes: Floats | None) -> Floats:
        """Return topics float32 (q, t) of pictures: see `TopicModel.from_images`.

        Raises:
            ShapeError: vectors or classes are of another width, or of another number.
        """
        _check("picture vectors", vectors, (None, self.head.weights.shape[1]))
        logits = vectors @ self.head.weights.T + self.head.bias
        probs = self.head.probs(logits)
        if self.zero_shot:
            classes = self.zero_shot.classes(vectors)
        outside = self.outside.shares(logits) if self.outside else np.float32(0)
        if self.classes and classes is not None:
            _check("classes", classes, (len(vectors), len(self.classes.new)))
            probs = self.classes.probs(probs, classes, self.head.bias > -np.inf)
            # The more novel the classes, the less the head knows whether a topic fits.
            outside = outside * (1 - self.classes.newness(classes))
        spread: Floats = (1 - outside) * probs + outside / np.float32(probs.shape[1])
        return spread


def _check(name: str, found: Floats, expected: tuple[int | None, int]) -> None:
    if found.ndim != 2 or any(
        e not in (None, f) for f, e in zip(found.shape, expected, strict=True)
    ):
        shape = f"({'any' if expected[0] is None else expected[0]}, {expected[1]})"
        raise ShapeError(f"topics: found {name} {found.shape}, expected {shape}")
