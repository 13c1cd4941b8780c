"""What each social network takes: limits with their dates, from `data/platforms.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from hashlens.indexer.config import choose, data_path
from hashlens.indexer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Platform:
    """One network: hashtags advised and at most taken a post, and the hashtags that are its own.

    A hashtag is its own that is in `own`, starts as one of `starts` says, or holds one of `holds`,
    unless it starts as one of `words` says, which only look alike (`instant`). `since` is the
    month (`2025-12`) from which the limit holds, `note` where that is known from.

    Raises:
        ConfigError: `recommended` is below 1 or above `limit`.
    """

    name: str
    recommended: int
    note: str
    limit: int | None = None
    since: str | None = None
    own: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.recommended <= (self.limit or self.recommended):
            raise ConfigError(
                f"platform {self.name}: found {self.recommended} recommended, expected "
                f"{f'1 to {self.limit}, its limit' if self.limit else '1 or more'}"
            )

    def owns(self, key: str) -> bool:
        """Whether a hashtag names this network or a place on it."""
        if key.startswith(self.words):
            return False
        return key in self.own or key.startswith(self.starts) or any(p in key for p in self.holds)


@cache
def platforms() -> dict[str, Platform]:
    """All platforms by name.

    Raises:
        ConfigError: the file names an unknown field, or a limit that cannot be.
    """
    tables = tomllib.loads(data_path("platforms.toml").read_text(encoding="utf-8"))
    return {name: _platform(name, fields) for name, fields in tables.items()}


def platform(name: str) -> Platform:
    """The platform of that name, in any case.

    Raises:
        ConfigError: there is none; the message names those there are.
    """
    return choose(platforms(), name.strip().lower(), "platform")


def foreign_to(home: Platform) -> Callable[[str], bool]:
    """A test of hashtags: is this one another network's own, and not also this one's?"""
    others = [other for other in platforms().values() if other.name != home.name]
    return lambda key: any(other.owns(key) for other in others) and not home.owns(key)


def _platform(name: str, fields: dict[str, Any]) -> Platform:
    values: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value for field, value in fields.items()
    }
    try:
        return Platform(name, **values)
    except TypeError as error:  # a missing or unknown field
        raise ConfigError(f"platforms.toml, [{name}]: {error}; see the file's head") from error
