"""Reads a person's defaults from `hashlens.toml`, in the present folder or the user's own.

index = "my-index"           # folders and files are relative to this file
platform = "instagram"
author = "jane_doe"          # who you are, among the authors of the index
k = 5
diversity = 0.2
generic = 0.5
mix = "broad:1,niche:2"
block = ["#monday", "rivals.txt"]
pin = ["#mybrand"]

[sets]
travel = ["#wanderlust", "#onmyway"]
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from hashlens.indexer.config import choose
from hashlens.indexer.errors import CallError, ConfigError, HashlensError, SetupError
from hashlens.indexer.text.hashtags import key
from hashlens.retriever.index.blocklist import read_blocked
from hashlens.retriever.selection.platforms import find_platform
from hashlens.retriever.selection.selection import parse_mix
from hashlens.retriever.selection.selection_options import SelectionOptions

NAME = "hashlens.toml"
NAMED = "HASHLENS_CONFIG"  # environment variable that names another file

Sets = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class UserConfig:
    """A person's defaults, each None or empty if the file does not set it.

    Attributes:
        file: the file read, None without one.
        index, block: paths are absolute or relative to the present folder.
        pin, sets: keys of hashtags.
        is_of_folder: whether the file is of the present folder, so that it may be a stranger's.
    """

    file: Path | None = None
    index: Path | None = None
    platform: str | None = None
    author: str | None = None
    k: int | None = None
    diversity: float | None = None
    generic: float | None = None
    mix: str | None = None
    block: tuple[str, ...] = ()
    pin: tuple[str, ...] = ()
    sets: Sets = field(default_factory=dict)
    is_of_folder: bool = False

    @classmethod
    def find(cls) -> UserConfig:
        """Read the file that `HASHLENS_CONFIG` names, or else the first of `places` that exists.

        Raises:
            ConfigError: it cannot be read, or has an unknown key or an invalid value.
        """
        if os.environ.get(NAMED):
            return cls.open(Path(os.environ[NAMED]).expanduser())
        path = next((path for path in places() if os.path.isfile(path)), None)
        if path is None:
            return cls()
        return replace(cls.open(path), is_of_folder=path == Path(NAME))

    @classmethod
    def open(cls, file: Path) -> UserConfig:
        """Read a file.

        Raises:
            ConfigError: it cannot be read, or has an unknown key or an invalid value.
        """
        try:
            values = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
        except OSError as error:
            raise SetupError(f"{file}: cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise SetupError(f"{file}: found no TOML in UTF-8 ({error})") from error
        for name in values:
            if name not in _KEYS:
                near = get_close_matches(name, _KEYS, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SetupError(
                    f"{file}: found the key {name!r}, expected some of {', '.join(_KEYS)}{hint}"
                )
        return cls(file, **{name: _value(file, name, value) for name, value in values.items()})

    @property
    def defaults(self) -> dict[str, Any]:
        """Defaults of options, by the parameter's name."""
        names = ("index", "platform", "k", "diversity", "generic", "mix")
        found = {name: getattr(self, name) for name in names} | {"post_author": self.author}
        return {name: value for name, value in found.items() if value is not None}

    def is_used(self, parameters: Iterable[str | None]) -> bool:
        """Whether the file sets anything that a command with these parameters reads."""
        names = set(parameters)
        lists = "pin" in names and bool(self.block or self.pin)
        return lists or not names.isdisjoint(self.defaults)

    def check_written(self, index: Path) -> None:
        """Check that a command may write to the index that this file names.

        The present folder may be a stranger's, so its file may name no index outside it.

        Raises:
            CallError: the file is of the present folder, and the index lies elsewhere.
        """
        if self.is_of_folder and not index.resolve().is_relative_to(Path.cwd().resolve()):
            raise CallError(
                f"{NAME} of the present folder names the index {index}, which lies elsewhere, "
                "expected --index with a command that writes: name the index"
            )

    def pinned(
        self, pins: Sequence[str], sets: Sequence[str], blocked: frozenset[str]
    ) -> list[str]:
        """Return keys to put first: pins and sets of the command line, then pins of the file.

        Raises:
            ConfigError: there is no set of that name.
        """
        if sets and not self.sets:
            where = self.file or f"no {NAME}"
            raise ConfigError(f"--set: found {sets[0]!r}, expected one under [sets], in {where}")
        chosen = [tag for name in sets for tag in choose(self.sets, name, "--set")]
        own = [tag for tag in self.pin if tag not in blocked]
        return list(dict.fromkeys([*pins, *chosen, *own]))


def places() -> tuple[Path, ...]:
    """Return the places of the file, in order: the present folder, then the user's own."""
    from platformdirs import user_config_path

    try:
        own = user_config_path("hashlens", appauthor=False) / NAME
    except (RuntimeError, OSError, KeyError):  # a user without a home folder has no such file
        return (Path(NAME),)
    return Path(NAME), own


def _text(file: Path, value: Any) -> str:  # noqa: ANN401 (any TOML value)
    if not isinstance(value, str):
        raise ConfigError(f"found {value!r}, expected a text")
    return value


def _texts(file: Path, value: Any) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(value, list):
        raise ConfigError(f"found {value!r}, expected a list of hashtags")
    return tuple(_text(file, one) for one in value)


def _number(name: str, kind: type, file: Path, value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(f"found {value!r}, expected {wanted}")
    option: dict[str, Any] = {name: value}
    SelectionOptions(**option).to_selection()
    return value


def _platform(file: Path, value: Any) -> str:  # noqa: ANN401
    return find_platform(_text(file, value)).name


def _mix(file: Path, value: Any) -> str:  # noqa: ANN401
    mix = _text(file, value)
    places = sum(number for _, number in parse_mix(mix))
    SelectionOptions(k=max(1, places), mix=mix).to_selection()
    return mix


def _tags(file: Path, value: Any) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(dict.fromkeys(map(key, _texts(file, value))))


def _block(file: Path, value: Any) -> tuple[str, ...]:  # noqa: ANN401
    beside = [(name, file.parent / name) for name in _texts(file, value)]
    names = tuple(str(path) if path.is_file() else name for name, path in beside)
    read_blocked(names)
    return names


def _index(file: Path, value: Any) -> Path:  # noqa: ANN401
    return file.parent / Path(_text(file, value)).expanduser()


def _sets(file: Path, value: Any) -> Sets:  # noqa: ANN401
    if not isinstance(value, dict):
        raise ConfigError(f"found {value!r}, expected a table: NAME = [hashtags]")
    return {name: _tags(file, tags) for name, tags in value.items()}


_KEYS: dict[str, Callable[[Path, Any], Any]] = {
    "index": _index,
    "platform": _platform,
    "author": _text,
    "k": partial(_number, "k", int),
    "diversity": partial(_number, "diversity", float),
    "generic": partial(_number, "generic", float),
    "mix": _mix,
    "block": _block,
    "pin": _tags,
    "sets": _sets,
}


def _value(file: Path, name: str, value: Any) -> Any:  # noqa: ANN401
    try:
        return _KEYS[name](file, value)
    except HashlensError as error:
        raise SetupError(f"{file}: {name}: {error}") from error
