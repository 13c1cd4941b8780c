"""Selection of the hashtags to show from scored candidates: which, how many, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import CallError, ConfigError
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.tiers import TIERS
from hashlens.retriever.selection.platforms import Platform

DEFAULT_K = 5  # hashtags shown without a number or a platform
MAX_DIVERSE = 40  # best candidates among which diversity chooses
# Strengths that change the order; 0 is the order of probability alone.
DEFAULT_DIVERSITY = 0.0
DEFAULT_GENERIC = 0.0

Similarity = Callable[[Ids], Floats]  # tag ids (n,) to their similarity, float32 (n, n) in [0, 1]


@dataclass(frozen=True, slots=True)
class Selection:
    """The hashtags that a person wants to see.

    Args:
        k: most hashtags; the platform's recommended number, or 5, if None.
        min_probability: less likely hashtags are left out, even if places stay empty.
        diversity: strength in [0, 1] by which a hashtag loses for similarity to one before it.
        generic: share in [0, 1] of its probability that a generic hashtag loses in the order.
        mix: places that each tier gets first, as far as it has candidates.
        blocked: keys of hashtags to leave out.
        pinned: keys of hashtags that come first, in this order, known or not.
        platform: limits the number of hashtags of the whole post, existing ones included, and
            leaves other networks' own hashtags out.
        author: of the post: hashtags that this author's posts in the index have rank higher.

    Raises:
        ConfigError: a number is out of range, a tier unknown, or more is asked for than fits.
    """

    k: int | None = None
    min_probability: float = 0.0
    diversity: float = DEFAULT_DIVERSITY
    generic: float = DEFAULT_GENERIC
    mix: tuple[tuple[str, int], ...] = ()
    blocked: frozenset[str] = frozenset()
    pinned: tuple[str, ...] = ()
    platform: Platform | None = None
    author: str | None = None

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ConfigError(f"k: found {self.k}, expected 1 hashtag or more")
        for name in ("min_probability", "diversity", "generic"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: found {getattr(self, name)}, expected 0 to 1")
        self._check_mix()
        self._check_pinned()

    def _check_mix(self) -> None:
        known = [name for _, name in TIERS]
        tiers = [name for name, _ in self.mix]
        if not set(tiers) <= set(known) or len(set(tiers)) < len(tiers):
            raise ConfigError(f"mix: found {', '.join(tiers)}, expected each once of {known}")
        numbers = [number for _, number in self.mix]
        if min(numbers, default=0) < 0 or sum(numbers) > self.places:
            raise ConfigError(
                f"mix: found {numbers}, expected 0 or more, and {self.places} hashtags together "
                "at most; ask for fewer, or for more hashtags with -k"
            )

    def _check_pinned(self) -> None:
        if len(set(self.pinned)) < len(self.pinned) or len(self.pinned) > self.places:
            raise ConfigError(
                f"pinned: found {len(self.pinned)} hashtags, expected {self.places} different ones "
                "at most; pin fewer, or ask for more hashtags with -k"
            )
        both = sorted(self.blocked.intersection(self.pinned))
        if both:
            raise ConfigError(f"found #{both[0]} both blocked and pinned, expected one of the two")

    @property
    def places(self) -> int:
        """Most hashtags shown for a post that has none yet."""
        return self._count_places(0)

    def count_existing(self, seeds: Iterable[str]) -> int:
        """Return the hashtags that a post already has besides pins; 0 if no platform counts."""
        return 0 if self.platform is None else len(set(seeds).difference(self.pinned))

    def shown_pins(self, existing: int = 0) -> tuple[str, ...]:
        """Return the pinned hashtags that fit into a post with `existing` others."""
        return self.pinned[: self._count_places(existing)]

    def open_places(self, existing: int = 0) -> int:
        """Return the places besides pins, in a post with `existing` hashtags."""
        return max(0, self._count_places(existing) - len(self.pinned))

    def _count_places(self, existing: int) -> int:
        if self.platform is None:
            return self.k or DEFAULT_K
        wanted = self.k or self.platform.recommended - existing
        return max(0, min(wanted, (self.platform.limit or wanted + existing) - existing))

    @property
    def notes(self) -> tuple[str, ...]:
        """A line if the platform takes fewer hashtags than `k`."""
        if not (self.platform and self.k and self.k > self.places):
            return ()
        return (f"{self.platform.limit_clause}, not {self.k}: no more are shown",)

    def notes_on(self, existing: int) -> tuple[str, ...]:
        """Return a line if a post gets fewer hashtags because it has `existing` ones."""
        if self.platform is None or self._count_places(existing) >= self.places:
            return ()
        platform, shown = self.platform, self._count_places(existing)
        has = f"{platform.limit_clause}, and this one has {existing}"
        if platform.limit and existing > platform.limit:
            return (f"{has}: take {existing - platform.limit} away",)
        more = f"{shown} more {'is' if shown == 1 else 'are'} shown" if shown else "none is added"
        if self.k or platform.limit == platform.recommended:
            return (f"{has}: {more}",)
        return (
            f"guides advise {platform.recommended} a post on {platform.name}, and this one has "
            f"{existing}: {more}; ask for more with -k",
        )


def parse_mix(text: str) -> tuple[tuple[str, int], ...]:
    """Parse a mix, as `broad:1,medium:2,niche:2`.

    Raises:
        CallError: it has another form.
    """
    parts = [part.partition(":") for part in text.split(",") if part.strip()]
    try:
        return tuple((name.strip().lower(), int(number)) for name, _, number in parts)
    except ValueError as error:
        raise CallError(
            f"mix: found {text!r}, expected a number for each tier, as broad:1,medium:2,niche:2"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """One query's c candidates, in any order.

    `tag_ids` int64, `probabilities` float32, `posts` int64, all (c,); `barred` and `generic` bool
    (c,), None if there are none. `pinned` are ids of the pinned hashtags that the index knows, and
    `pinned_tiers` the tiers of all.
    """

    tag_ids: Ids
    probabilities: Floats
    posts: Ids
    barred: NDArray[np.bool_] | None = None
    generic: NDArray[np.bool_] | None = None
    pinned: tuple[int, ...] = ()
    pinned_tiers: tuple[str, ...] = ()


def choose_places(
    choices: Choices,
    selection: Selection,
    floors: dict[str, float],
    similarity: Similarity,
    existing: int = 0,
) -> Ids:
    """Return places, int64 (<= open places,), of the candidates to show besides the pinned ones.

    They are ordered by probability, then posts, then the older id; diversity, generic hashtags and
    a mix of tiers change that as the selection says.

    Args:
        choices: the candidates, of which the pinned ones must be barred.
        selection: what is wanted.
        floors: fewest posts of each tier.
        similarity: of hashtags.
        existing: number of hashtags that the post already has.
    """
    places = selection.open_places(existing)
    if not places:
        return np.zeros(0, np.int64)
    values = choices.probabilities
    if selection.generic and choices.generic is not None:
        factors = np.where(choices.generic, 1 - selection.generic, 1)
        values = (values * factors).astype(np.float32)
    allowed = choices.probabilities >= selection.min_probability
    if choices.barred is not None:
        allowed &= ~choices.barred
    rows = np.flatnonzero(allowed)
    reach = len(rows) if selection.mix else max(places, MAX_DIVERSE * bool(selection.diversity))
    order = rows[_top_places(values[rows], choices.posts[rows], choices.tag_ids[rows], reach)]
    if selection.diversity:
        wanted = MAX_DIVERSE if selection.mix else places
        order = _diversify(order, values, choices, selection.diversity, similarity, wanted)
    if selection.mix:
        order = _fill_tiers(order, choices, selection, floors, places)
    return order[:places]


def _top_places(scores: Floats, posts: Ids, tag_ids: Ids, k: int) -> Ids:
    """Return places, int64 (<= k,), of the best: by score, then posts, then the older id."""
    rows = np.arange(len(scores))
    if 0 < k < len(scores):
        # Only the few that can be among the best are sorted, ties included.
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= edge)
    order = np.lexsort((tag_ids[rows], -posts[rows], -scores[rows]))[:k]
    return rows[order].astype(np.int64)


def _diversify(
    order: Ids,
    values: Floats,
    choices: Choices,
    strength: float,
    similarity: Similarity,
    wanted: int,
) -> Ids:
    """Return the order with the best `wanted` of its first `MAX_DIVERSE` chosen one by one.

    Maximal marginal relevance (Carbonell and Goldstein, "The use of MMR, diversity-based
    reranking", 1998) as a product: value times 1 - strength * similarity to the nearest one already
    chosen. A sum would weigh similarity equally for large and small probabilities.
    """
    pool, fixed = order[:MAX_DIVERSE], len(choices.pinned)
    alike = similarity(np.append(np.array(choices.pinned, np.int64), choices.tag_ids[pool]))
    nearest = alike[fixed:, :fixed].max(axis=1, initial=0)
    alike, left = alike[fixed:, fixed:], np.ones(len(pool), np.bool_)
    chosen = []
    for _ in range(min(wanted, len(pool))):
        worth = values[pool] * (1 - strength * nearest)
        place = int(np.argmax(np.where(left, worth, -1)))
        chosen.append(place)
        left[place] = False
        nearest = np.maximum(nearest, alike[place])
    return np.concatenate([pool[chosen], pool[left], order[MAX_DIVERSE:]])


def _fill_tiers(
    order: Ids, choices: Choices, selection: Selection, floors: dict[str, float], places: int
) -> Ids:
    """Return the first of the order that fill each tier's places, and its first others."""
    tiers = np.full(len(order), "niche", dtype=object)
    for name, floor in reversed(floors.items()):
        tiers[choices.posts[order] >= floor] = name
    wanted = np.zeros(len(order), np.bool_)
    for name, number in selection.mix:
        missing = max(0, number - choices.pinned_tiers.count(name))
        wanted[np.flatnonzero(tiers == name)[:missing]] = True
    first = np.concatenate([np.flatnonzero(wanted), np.flatnonzero(~wanted)])
    shown: Ids = order[np.sort(first[:places])]
    return shown
