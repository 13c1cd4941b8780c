"""Options of a selection as people write them: on the command line, in the API, in a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hashlens.indexer.text.hashtags import key
from hashlens.retriever.selection.platforms import find_platform
from hashlens.retriever.selection.selection import (
    DEFAULT_DIVERSITY,
    DEFAULT_GENERIC,
    Selection,
    parse_mix,
)


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """Options of a selection: hashtags in any spelling, the platform by name.

    `mix` are places by tier, or a text such as `broad:1,niche:2`.
    """

    k: int | None = None
    min_probability: float = 0.0
    diversity: float = DEFAULT_DIVERSITY
    generic: float = DEFAULT_GENERIC
    mix: str | Mapping[str, int] = ""
    block: Collection[str] = ()
    pin: Collection[str] = ()
    platform: str | None = None
    author: str | None = None

    def to_selection(self) -> Selection:
        """Return the selection.

        Raises:
            InputError: a hashtag or the mix cannot be read.
            ConfigError: a number is out of range, or the platform unknown.
        """
        mix = parse_mix(self.mix) if isinstance(self.mix, str) else tuple(self.mix.items())
        return Selection(
            k=self.k,
            min_probability=self.min_probability,
            diversity=self.diversity,
            generic=self.generic,
            mix=mix,
            blocked=frozenset(map(key, self.block)),
            pinned=tuple(dict.fromkeys(map(key, self.pin))),
            platform=None if self.platform is None else find_platform(self.platform),
            author=self.author,
        )
