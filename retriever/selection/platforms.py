"""Social networks: their limits with dates, and their own hashtags, by `data/platforms.toml`."""

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
    """One network: the recommended and the largest number of hashtags, and its own hashtags.

    A hashtag is its own if it is in `own`, starts with one of `starts`, or contains one of `holds`,
    unless it starts with one of `words`, which only look alike (`instant`). `since` is the month
    (`2025-12`) from which the limit applies, `note` its source.

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

    @property
    def limit_clause(self) -> str:
        """The limit as a clause, `instagram takes 5 a post since 2025-12`."""
        since = f" since {self.since}" if self.since else ""
        return f"{self.name} takes {self.limit} a post{since}"

    def owns(self, key: str) -> bool:
        """Return whether a hashtag names this network or a place on it."""
        if key.startswith(self.words):
            return False
        return key in self.own or key.startswith(self.starts) or any(p in key for p in self.holds)


@cache
def load_platforms() -> dict[str, Platform]:
    """Load all platforms by name.

    Raises:
        ConfigError: the file names an unknown field, or an impossible limit.
    """
    tables = tomllib.loads(data_path("platforms.toml").read_text(encoding="utf-8"))
    found = {}
    for name, fields in tables.items():
        values: dict[str, Any] = {
            field: tuple(value) if isinstance(value, list) else value
            for field, value in fields.items()
        }
        try:
            found[name] = Platform(name, **values)
        except TypeError as error:  # a missing or unknown field
            raise ConfigError(f"platforms.toml, [{name}]: {error}; see the file's head") from error
    return found


def find_platform(name: str) -> Platform:
    """Return the platform of that name, in any case.

    Raises:
        ConfigError: there is none; the message names those there are.
    """
    return choose(load_platforms(), name.strip().lower(), "platform")


def foreign_to(home: Platform) -> Callable[[str], bool]:
    """Return a test whether a hashtag is another network's own, and not also this one's."""
    others = [other for other in load_platforms().values() if other.name != home.name]
    return lambda key: any(other.owns(key) for other in others) and not home.owns(key)
