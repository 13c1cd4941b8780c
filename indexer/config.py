"""Frozen settings of a build, with a JSON round trip and named presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, TypeVar

from hashlens.indexer.errors import ConfigError, InputError

T = TypeVar("T")

ALL_TOPICS = "all"  # the space of every post; other spaces are named after their topics
RANKER = "ranker"  # folder of a ranker, in a generation and in `data/`
# The ranker that an index began with; the one in `RANKER` has also learned from its posts.
BASE_RANKER = "base-ranker"
# Upper limits: an index may be a stranger's, and retraining uses its settings.
MAX_SETTINGS = {
    "dimensions": 4_096,
    "epochs": 1_000,
    "image_epochs": 10_000,
    "negative": 100,
    "window": 1_000,
    "folds": 100,
    "enough": 10_000_000,
}
VECTOR_METHODS = ("word2vec", "glove", "pretrained+word2vec")


def data_path(*parts: str) -> Path:
    """Return the path of a bundled file, in `data/` of the project."""
    return Path(str(files("hashlens.data").joinpath(*parts)))


class JsonConfig:
    """Mixin that converts a frozen dataclass to and from a JSON object without unknown names."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return settings from a JSON object.

        Raises:
            ConfigError: a name is unknown, or a value of another type.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__}: found {values!r:.100}, expected an object")
        known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(
                f"{cls.__name__}: found unknown setting {unknown[0]!r}, "
                f"expected one of {', '.join(known)}"
            )
        nested = {}
        for name, value in values.items():
            factory: Any = known[name].default_factory
            if isinstance(factory, type) and issubclass(factory, JsonConfig):
                nested[name] = factory.from_json(value)
            elif not _has_type(value, known[name].default):
                raise ConfigError(
                    f"{cls.__name__}: found {value!r:.100} as {name}, "
                    f"expected a value such as {known[name].default!r}"
                )
            elif name in MAX_SETTINGS and not 0 <= value <= MAX_SETTINGS[name]:
                raise ConfigError(
                    f"{cls.__name__}: found {value} as {name}, expected 0 to {MAX_SETTINGS[name]:,}"
                )
        return cls(**{**values, **nested})


def _has_type(value: object, default: object) -> bool:
    """Return whether a value has the type of a setting's default; None allows text or None."""
    if default is None:
        return value is None or isinstance(value, str)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


@dataclass(frozen=True, slots=True)
class VectorConfig(JsonConfig):
    """Settings of the training of word and hashtag vectors.

    `window` 0 means the whole post. `hashtags_as_text` makes `#sunset` and `sunset` one word, as
    in the course report. The width of `pretrained+word2vec` is that of its pretrained vectors.
    """

    method: str = "pretrained+word2vec"
    dimensions: int = 50
    window: int = 0
    epochs: int = 5
    min_count: int = 2
    skip_gram: bool = True
    negative: int = 5
    hashtags_as_text: bool = False
    pretrained: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.method not in VECTOR_METHODS:
            raise ConfigError(
                f"vectors: found method {self.method!r}, "
                f"expected one of {', '.join(VECTOR_METHODS)}"
            )
        for name in ("dimensions", "epochs", "min_count"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"vectors: found {name} {getattr(self, name)}, expected 1 or more"
                )

    def token(self, hashtag: str) -> str:
        """Return a hashtag as it is written in vector spaces."""
        return hashtag if self.hashtags_as_text else f"#{hashtag}"


VECTOR_PRESETS: dict[str, VectorConfig] = {
    "default": VectorConfig(),
    "report-word2vec": VectorConfig(
        "word2vec", 300, 5, 30, 5, skip_gram=False, negative=5, hashtags_as_text=True
    ),
    "report-glove": VectorConfig("glove", 300, 5, 30, 5, hashtags_as_text=True),
    "report-pretrained": VectorConfig(
        "pretrained+word2vec", 50, 5, 30, 5, skip_gram=False, negative=5, hashtags_as_text=True
    ),
}


@dataclass(frozen=True, slots=True)
class TopicConfig(JsonConfig):
    """Settings of the topic model, and of assigning topics to posts.

    A post without a given topic or defining hashtags gets the text head's topic if that has at
    least `min_probability`; otherwise it has none and counts in the space of all posts only.
    """

    min_probability: float = 0.7
    image_epochs: int = 100
    weight_decay: float = 3e-2
    seed: int = 1


GATES = ("soft", "hard", "none")


@dataclass(frozen=True, slots=True)
class RankingConfig(JsonConfig):
    """Settings of the ranker's training, and of the use of topics.

    The ranker is trained by cross-fitting: an index without the authors of one of `folds` parts
    of the posts is queried for these posts. Training ends after `enough` queries, and half as many
    with pictures and with captions if `fewest` posts or more have them. With fewer than `fewest`
    tagged posts, the bundled ranker is used. `gate` says whether all likely topics are used
    (`soft`), the likeliest alone (`hard`), or none.
    """

    folds: int = 5
    enough: int = 8_000
    fewest: int = 1_000
    gate: str = "soft"
    seed: int = 1

    def __post_init__(self) -> None:
        if self.gate not in GATES:
            raise ConfigError(f"gate: found {self.gate!r}, expected one of {', '.join(GATES)}")
        if self.folds < 2:
            raise ConfigError(f"folds: found {self.folds}, expected 2 or more")


@dataclass(frozen=True, slots=True)
class UpdateConfig(JsonConfig):
    """Settings of updates: they retrain if more than this share of the posts is newer.

    Until then new hashtags have the mean vector of their posts, and new words none.
    """

    retrain_share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.retrain_share <= 1:
            raise ConfigError(
                f"retrain_share: found {self.retrain_share}, expected above 0 and at most 1"
            )


@dataclass(frozen=True, slots=True)
class BuildConfig(JsonConfig):
    """All settings of a build.

    `first_comment` says whether hashtags of the author's own first comment count.
    """

    encoder: str = "auto"
    hashtag_rule: str = "instagram"
    first_comment: bool = True
    vectors: VectorConfig = field(default_factory=VectorConfig)
    topics: TopicConfig = field(default_factory=TopicConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)


def check_file(path: Path, option: str) -> Path:
    """Return the path of a regular file; a pipe would block, and a device has no end.

    Raises:
        InputError: it is missing or something else.
    """
    if path.is_file():
        return path
    found = "a folder" if path.is_dir() else "no regular file" if path.exists() else "nothing"
    raise InputError(f"{option}: found {found} at {path}, expected a file")


def choose(choices: Mapping[str, T], name: str, option: str) -> T:
    """Return the choice of that name.

    Raises:
        ConfigError: there is none; the message names the option and the nearest choices.
    """
    if name in choices:
        return choices[name]
    near = get_close_matches(name, choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{option}: found {name!r}, expected one of {', '.join(choices)}{hint}")
