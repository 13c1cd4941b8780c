"""What tells topics at query time, on NumPy alone: linear heads, and a second opinion on pictures.

`topicheads` and `imagehead` train them. Letters in shapes: q pictures, d width, t topics,
c classes of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import ShapeError
from hashlens.indexer.types import Floats

MIN_PROBABILITY = 0.01  # probability shared out among all topics, so that none is ruled out
CLASS_WEIGHT = 4.0  # the classes' opinion beside the head's, each as far as it is competent
MAX_LOGIT_SCALE = (
    100.0  # cosines of pictures with texts are multiplied by: the bound of CLIP's training
)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A linear softmax head: `weights` float32 (t, d), `bias` float32 (t,).

    Temperature is already in them; a topic never seen in training has bias -inf.
    """

    weights: Floats
    bias: Floats

    def probs(self, logits: Floats) -> Floats:
        """Softmax of logits (q, t), a little of it shared among all topics."""
        mixed: Floats = (
            (1 - MIN_PROBABILITY) * _softmax(logits) + MIN_PROBABILITY / logits.shape[1]
        ).astype("f4")
        return mixed


@dataclass(frozen=True, slots=True)
class OutOfTopicDetector:
    """Tells pictures of no topic: no class of the head draws them, so their energy is low.

    Energy is the log of the summed exponents of the logits (Liu et al., Energy-based
    out-of-distribution detection, 2020); at `middle` a picture is as likely outside as not.
    """

    middle: float
    width: float

    def shares(self, logits: Floats) -> Floats:
        """How far each picture is outside, float32 (q, 1) in (0, 1)."""
        most = logits.max(axis=1, keepdims=True)
        energy = most + np.log(np.exp(logits - most).sum(axis=1, keepdims=True))
        distance = np.clip((energy - self.middle) / self.width, -50, 50)
        shares: Floats = (1 / (1 + np.exp(distance))).astype(np.float32)
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class ClassPrior:
    """Classes of the encoder as a second opinion on topics.

    They are its own, or those of `ZeroShot`. `topics` float32 (c, t): the topics of each class, a
    row sums to 1; `new` float32 (c,) in [0, 1]: how little the pictures that taught the head tell
    of the class. `temperature` is what the joined logits are divided by.
    """

    topics: Floats
    new: Floats
    temperature: float = 1.0

    def newness(self, classes: Floats) -> Floats:
        """How new the classes of pictures are, float32 (q, 1), from probabilities (q, c)."""
        newness: Floats = (classes @ self.new)[:, None]
        return newness

    def logits(self, own: Floats, classes: Floats) -> Floats:
        """Both opinions joined, before temperature, float32 (q, t).

        A weighted product (logarithmic pool) of the head's probabilities (q, t) and the classes'.
        The head knows pictures like those that taught it; the newer the classes, the more they
        speak instead.
        """
        new = self.newness(classes)
        said = np.log(classes @ self.topics + np.float32(1e-9))
        joined: Floats = (1 - new) ** 2 * np.log(own) + CLASS_WEIGHT * new**2 * said
        return joined

    def probs(self, own: Floats, classes: Floats, taught: NDArray[np.bool_]) -> Floats:
        """Both opinions joined; of topics that no picture taught (t,), the classes' alone."""
        logits = np.where(taught, self.logits(own, classes) / self.temperature, -np.inf)
        absent = np.where(taught, 0, classes @ self.topics)
        rest = 1 - absent.sum(axis=1, keepdims=True)
        joined = (1 - MIN_PROBABILITY) * (rest * _softmax(logits) + absent) + MIN_PROBABILITY / len(
            taught
        )
        probs: Floats = joined.astype(np.float32)
        return probs


@dataclass(frozen=True, slots=True, eq=False)
class ZeroShot:
    """The topics as classes that no picture taught: each is its text, where an encoder reads text.

    `texts` float32 (t, d): unit rows in the space of the pictures; `scale` is what cosines with
    them are multiplied by (Radford et al., Learning transferable visual models from natural
    language supervision, 2021).
    """

    texts: Floats
    scale: float = MAX_LOGIT_SCALE

    def classes(self, vectors: Floats) -> Floats:
        """Probabilities of the topics, float32 (q, t), from unit vectors (q, d) of pictures."""
        return _softmax(np.float32(self.scale) * (vectors @ self.texts.T))


@dataclass(frozen=True, slots=True, eq=False)
class ImageTopicModel:
    """All that judges a picture: the head, the encoder's classes, and whether it is outside.

    `classes` is None where the encoder has no classes, `outside` where too few pictures taught it;
    with `zero_shot` the classes are those that texts tell.
    """

    head: Head
    outside: OutOfTopicDetector | None = None
    classes: ClassPrior | None = None
    zero_shot: ZeroShot | None = None

    def probs(self, vectors: Floats, classes: Floats | None) -> Floats:
        """Topics float32 (q, t) of pictures: see `TopicModel.from_images`.

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
            # Where the classes are new, it is theirs to say whether a topic fits.
            outside = outside * (1 - self.classes.newness(classes))
        spread: Floats = (1 - outside) * probs + outside / np.float32(probs.shape[1])
        return spread


def _check(name: str, found: Floats, expected: tuple[int | None, int]) -> None:
    if found.ndim != 2 or any(
        e not in (None, f) for f, e in zip(found.shape, expected, strict=True)
    ):
        shape = f"({'any' if expected[0] is None else expected[0]}, {expected[1]})"
        raise ShapeError(f"topics: found {name} {found.shape}, expected {shape}")


def _softmax(logits: Floats) -> Floats:
    raised: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft: Floats = raised / raised.sum(axis=1, keepdims=True)
    return soft
