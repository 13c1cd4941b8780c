"""Topics: their defining hashtags, and the model that classifies pictures and text.

Queries need this module alone, which imports NumPy only; `training` trains the heads.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hashlens.indexer.config import ALL_TOPICS, data_path
from hashlens.indexer.errors import ConfigError, InputError, SetupError, unreadable
from hashlens.indexer.text.hashtags import key, strip_sign
from hashlens.indexer.topics.image_model import (
    ClassPrior,
    Head,
    ImageTopicModel,
    OutOfTopicDetector,
    ZeroShot,
)
from hashlens.indexer.types import Floats, TopicProbs

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HEADS, _TABLE = "heads.safetensors", "topics.json"


@dataclass(frozen=True, slots=True)
class TopicTable:
    """t topics, and the hashtag keys that define each."""

    names: tuple[str, ...]
    hashtags: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ConfigError(f"topics: found {len(self.names)}, expected two or more")
        owner: dict[str, str] = {}
        for name, tags in zip(self.names, self.hashtags, strict=True):
            if not _NAME.fullmatch(name) or name == ALL_TOPICS:
                raise ConfigError(
                    f"topics: found the name {name!r}, expected lower-case letters, digits and "
                    "hyphens, and not `all`"
                )
            if not tags:
                raise ConfigError(f"topic {name}: found no hashtags, expected one or more")
            for tag in tags:
                if owner.setdefault(tag, name) != name:
                    raise ConfigError(
                        f"#{tag}: found under {owner[tag]} and {name}, expected one topic a hashtag"
                    )

    def defining(self, hashtags: Sequence[str]) -> str | None:
        """Return the topic that most of the hashtags define; None if none or two lead."""
        found = [sum(tag in tags for tag in hashtags) for tags in self.hashtags]
        most = max(found)
        return self.names[found.index(most)] if most and found.count(most) == 1 else None


def load_topics(path: Path | None = None) -> TopicTable:
    """Return the topics of a TOML file; the bundled ones if None.

    Raises:
        ConfigError: the file is missing, no TOML, or not of the form of `data/topics.toml`.
    """
    path = path or data_path("topics.toml")
    try:
        topics = tomllib.loads(path.read_text(encoding="utf-8")).get("topics")
        if not isinstance(topics, dict):
            raise ConfigError("found no [topics], expected it with `name = [hashtags]` lines")
        lists = []
        for name, tags in topics.items():
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise ConfigError(
                    f"topic {name}: found {tags!r}, expected a list of hashtags in quotes"
                )
            try:
                lists.append(tuple(dict.fromkeys(map(key, tags))))
            except InputError as error:
                raise ConfigError(f"topic {name}: {error}") from error
        return TopicTable(tuple(topics), tuple(lists))
    except OSError as error:
        raise SetupError(f"{path}: found {error.strerror}, expected a file of topics") from error
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{path}: found {error}, expected a TOML file") from error
    except ConfigError as error:
        raise SetupError(f"{path}: {error}") from error


@dataclass(frozen=True, eq=False)
class TopicModel:
    """Classifies topics of picture vectors, and of tokens (caption words and `#hashtags`).

    Probabilities assume that all topics are equally frequent. `idf` float32 (v,) and `vocabulary`
    belong to the text head; either head may be absent. Logits of texts without hashtags are
    divided by `plain`, because captions alone tell less.
    """

    table: TopicTable
    image: ImageTopicModel | None
    text: Head | None
    vocabulary: Mapping[str, int]
    idf: Floats
    plain: float = 1.0

    @property
    def has_image_model(self) -> bool:
        """Whether pictures can be classified."""
        return self.image is not None

    @property
    def without_classes(self) -> TopicModel:
        """The same model with the image head alone, without the prior from classes."""
        head = self.image and ImageTopicModel(self.image.head, self.image.outside)
        return replace(self, image=head)

    @cached_property
    def _even(self) -> float:
        return 1 / len(self.table.names)

    def from_images(self, vectors: Floats, classes: Floats | None = None) -> TopicProbs:
        """Return topics of pictures: spread for a picture of none, even without an image head.

        Args:
            vectors: float32 (q, d), unit rows of the encoder of the training pictures.
            classes: its probabilities of ImageNet's classes, float32 (q, 1000), or None; the
                topics' texts take their place if the encoder reads text.

        Raises:
            ShapeError: vectors or classes are of another width, or of another number.
        """
        if self.image is None:
            return self._unknown(len(vectors))
        return TopicProbs(self.table.names, self.image.probs(vectors, classes))

    def from_tokens(self, tokens: Sequence[Sequence[str]]) -> TopicProbs:
        """Return topics of texts; even for a text without known tokens."""
        found = self._unknown(len(tokens))
        if self.text is None or not len(tokens):
            return found
        owners, columns, values = tfidf(tokens, self.vocabulary, self.idf)
        logits = np.tile(self.text.bias, (len(tokens), 1))
        np.add.at(logits, owners, values[:, None] * self.text.weights.T[columns])
        tagged = [any(token.startswith("#") for token in text) for text in tokens]
        logits /= np.where(tagged, 1, self.plain).astype(np.float32)[:, None]
        known = np.zeros((len(tokens), 1), dtype=bool)
        known[owners] = True
        return TopicProbs(self.table.names, np.where(known, self.text.probs(logits), found.probs))

    def combine(self, image: TopicProbs, text: TopicProbs) -> TopicProbs:
        """Join both by the product rule over an even prior (Kittler et al. 1998)."""
        product = image.probs * text.probs
        return TopicProbs(self.table.names, product / product.sum(axis=1, keepdims=True))

    def _unknown(self, count: int) -> TopicProbs:
        even = np.full((count, len(self.table.names)), self._even, dtype=np.float32)
        return TopicProbs(self.table.names, even)

    def save(self, folder: Path) -> None:
        """Write the model into `folder`, made if it is missing."""
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"idf": self.idf}
        for name, head in (("image", self.image and self.image.head), ("text", self.text)):
            if head:
                tensors |= {f"{name}.weights": head.weights, f"{name}.bias": head.bias}
        if self.image and (second := self.image.classes):
            tensors |= {"classes.topics": second.topics, "classes.new": second.new}
        if self.image and self.image.zero_shot:
            tensors["texts"] = self.image.zero_shot.texts
        whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        # Not `save_file`: it makes files that nobody else may read, whatever the umask.
        (folder / _HEADS).write_bytes(save(whole))
        table = dict(zip(self.table.names, self.table.hashtags, strict=True))
        words = sorted(self.vocabulary, key=self.vocabulary.__getitem__)
        saved: dict[str, Any] = {"topics": table, "vocabulary": words, "plain": self.plain}
        if self.image and (outside := self.image.outside):
            saved |= {"outside": outside.middle, "outside_width": outside.width}
        if self.image and self.image.classes:
            saved["classes"] = self.image.classes.temperature
        if self.image and self.image.zero_shot:
            saved["texts"] = self.image.zero_shot.scale
        (folder / _TABLE).write_text(json.dumps(saved, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> TopicModel:
        """Open the model saved in `folder`.

        Raises:
            IndexCorruptError: a file is missing, unreadable, or does not fit the other.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            saved = json.loads((folder / _TABLE).read_text(encoding="utf-8"))
            topics, plain = saved["topics"], float(saved.get("plain", 1))
            table = TopicTable(tuple(topics), tuple(map(tuple, topics.values())))
            numbers = {str(word): place for place, word in enumerate(saved["vocabulary"])}
            tensors = load((folder / _HEADS).read_bytes())
            image = _image(tensors, saved, len(topics))
            text = _head(tensors, "text", len(topics), len(numbers))
            _check("idf", tensors["idf"], (len(saved["vocabulary"]),))
            _check("vocabulary", tensors["idf"], (len(numbers),))
            _positive("plain", plain)
        except (
            *(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),
            *(SafetensorError, ConfigError),
        ) as error:
            raise unreadable(folder, error) from error
        return cls(table, image, text, numbers, tensors["idf"], plain)


def _head(tensors: dict[str, Floats], name: str, topics: int, width: int | None) -> Head | None:
    if f"{name}.weights" not in tensors:
        return None
    head = Head(tensors[f"{name}.weights"], tensors[f"{name}.bias"])
    _check(f"{name}.weights", head.weights, (topics, width))
    taught = head.bias > -np.inf
    _check(f"{name}.bias", np.where(taught, head.bias, np.float32(0)), (topics,))
    if not taught.any():
        raise ValueError(f"{name}.bias: found no topic that was taught")
    return head


def _image(
    tensors: dict[str, Floats], saved: Mapping[str, Any], topics: int
) -> ImageTopicModel | None:
    head = _head(tensors, "image", topics, None)
    if head is None:
        return None
    outside = classes = zero_shot = None
    if "outside" in saved:
        width = _positive("outside_width", saved["outside_width"])
        outside = OutOfTopicDetector(float(saved["outside"]), width)
        if not np.isfinite(outside.middle):
            raise ValueError(f"outside: found {outside.middle}, expected an energy")
    if "classes.topics" in tensors:
        temperature = _positive("classes", saved["classes"])
        classes = ClassPrior(tensors["classes.topics"], tensors["classes.new"], temperature)
        _check("classes.topics", classes.topics, (None, topics))
        _check("classes.new", classes.new, (len(classes.topics),))
    if "texts" in tensors:
        zero_shot = ZeroShot(tensors["texts"], _positive("texts", saved["texts"]))
        _check("texts", zero_shot.texts, head.weights.shape)
        _check("classes.new", tensors["classes.new"], (topics,))
    return ImageTopicModel(head, outside, classes, zero_shot)


def _positive(name: str, found: object) -> float:
    if not isinstance(found, int | float) or not 0 < found < np.inf:
        raise ValueError(f"{name}: found {found!r}, expected a number above 0")
    return float(found)


def _check(name: str, array: Floats, shape: tuple[int | None, ...]) -> None:
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, found) for found, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name}: found {array.dtype} {array.shape}, expected finite {shape}")


def tfidf(
    tokens: Sequence[Sequence[str]], vocabulary: Mapping[str, int], idf: Floats
) -> tuple[np.ndarray, np.ndarray, Floats]:
    """Return sparse unit rows of (1 + log count) * idf: rows and columns int64 (z,), values."""
    width = max(len(idf), 1)
    hits = [
        (row * width + column)
        for row, text in enumerate(tokens)
        for token in text
        if (column := vocabulary.get(strip_sign(token))) is not None
    ]
    cells, counts = np.unique(np.array(hits, dtype=np.int64), return_counts=True)
    rows, columns = cells // width, cells % width
    values = (1 + np.log(counts)) * idf[columns]
    norms = np.sqrt(np.bincount(rows, values**2, minlength=len(tokens)))
    return rows, columns, (values / norms[rows]).astype(np.float32)
