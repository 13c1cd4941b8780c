"""From scored candidates to the short list that is shown: which, how many, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import CallError, ConfigError
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.index.tiers import TIERS
from hashlens.retriever.selection.platforms import Platform

PLACES = 5  # hashtags shown where neither a number nor a platform is named
POOL = 40  # best candidates among which diversity chooses
# Strengths of what changes the order; 0 is the order of probability alone.
DIVERSITY = 0.0
GENERIC = 0.0

Likeness = Callable[[Ids], Floats]  # tag ids (n,) to their likeness, float32 (n, n) in [0, 1]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person wants to be shown.

    Args:
        k: most hashtags; those that the platform recommends, or 5, where None.
        min_probability: less likely ones are left out, though places stay empty.
        diversity: strength in [0, 1] by which a hashtag loses for being like one before it.
        generic: share in [0, 1] of its probability that a generic hashtag loses in the order.
        mix: places that each tier gets first, as far as its candidates go.
        blocked: keys of hashtags not wanted.
        pinned: keys of hashtags that come first, in this order, whatever the index says of them.
        platform: caps the number of hashtags of the whole post, those that it already has
            included, and leaves other networks' own hashtags out.
        author: of the index whose post it is: what they usually tag counts as well.

    Raises:
        ConfigError: a number is out of range, a tier unknown, or more is asked for than fits.
    """

    k: int | None = None
    min_probability: float = 0.0
    diversity: float = DIVERSITY
    generic: float = GENERIC
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
        named = [name for name, _ in self.mix]
        if not set(named) <= set(known) or len(set(named)) < len(named):
            raise ConfigError(f"mix: found {', '.join(named)}, expected each once of {known}")
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
        return self._places(0)

    def count_of_post(self, seeds: Iterable[str]) -> int:
        """Hashtags that a post already has, beside the pinned ones; 0 where no platform counts."""
        return 0 if self.platform is None else len(set(seeds).difference(self.pinned))

    def shown_pins(self, has: int = 0) -> tuple[str, ...]:
        """Pinned hashtags that fit into a post that already has `has` others."""
        return self.pinned[: self._places(has)]

    def free(self, has: int = 0) -> int:
        """Places left beside the pinned hashtags, in a post that already has `has` others."""
        return max(0, self._places(has) - len(self.pinned))

    def _places(self, has: int) -> int:
        if self.platform is None:
            return self.k or PLACES
        wanted = self.k or self.platform.recommended - has
        return max(0, min(wanted, (self.platform.limit or wanted + has) - has))

    @property
    def notes(self) -> tuple[str, ...]:
        """A line where the platform takes fewer hashtags than are asked for."""
        if not (self.platform and self.k and self.k > self.places):
            return ()
        return (f"{self._limit}, not {self.k}: no more are shown",)

    def notes_on(self, has: int) -> tuple[str, ...]:
        """A line where a post that already has `has` hashtags gets fewer for that."""
        if self.platform is None or self._places(has) >= self.places:
            return ()
        limit, shown = self.platform.limit, self._places(has)
        if limit and has > limit:
            return (f"{self._limit}, and this one has {has}: take {has - limit} away",)
        more = f"{shown} more {'is' if shown == 1 else 'are'} shown" if shown else "none is added"
        if self.k or limit == self.platform.recommended:
            return (f"{self._limit}, and this one has {has}: {more}",)
        return (
            f"guides advise {self.platform.recommended} a post on {self.platform.name}, and this "
            f"one has {has}: {more}; ask for more with -k",
        )

    @property
    def _limit(self) -> str:
        """The most hashtags that the platform takes, as a clause."""
        if self.platform is None:
            return ""
        since = f" since {self.platform.since}" if self.platform.since else ""
        return f"{self.platform.name} takes {self.platform.limit} a post{since}"


def mix_of(text: str) -> tuple[tuple[str, int], ...]:
    """A mix from its text, as `broad:1,medium:2,niche:2`.

    Raises:
        InputError: it has another form.
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
    (c,), None where none is. `pinned` are ids of those pinned hashtags that the index knows, and
    `pinned_tiers` the tiers of all.
    """

    tag_ids: Ids
    probabilities: Floats
    posts: Ids
    barred: NDArray[np.bool_] | None = None
    generic: NDArray[np.bool_] | None = None
    pinned: tuple[int, ...] = ()
    pinned_tiers: tuple[str, ...] = ()


def choose(
    choices: Choices,
    selection: Selection,
    floors: dict[str, float],
    likeness: Likeness,
    has: int = 0,
) -> Ids:
    """Places int64 (<= free,) of the candidates that are shown beside the pinned ones.

    By probability, then posts, then the older id; diversity, generic hashtags and a mix of tiers
    change that as far as the selection says. Pinned candidates are expected to be barred. `has` is
    the number of hashtags that the post already has.
    """
    free = selection.free(has)
    if not free:
        return np.zeros(0, np.int64)
    values = _values(choices, selection)
    among = _open(choices, selection)
    reach = len(among) if selection.mix else max(free, POOL * bool(selection.diversity))
    order = among[best(values[among], choices.posts[among], choices.tag_ids[among], reach)]
    if selection.diversity:
        order = _diverse(order, values, choices, selection, likeness, free)
    if selection.mix:
        order = _mixed(order, choices, selection, floors, free)
    return order[:free]


def _open(choices: Choices, selection: Selection) -> Ids:
    """Places of candidates that may be shown."""
    allowed = choices.probabilities >= selection.min_probability
    if choices.barred is not None:
        allowed &= ~choices.barred
    return np.flatnonzero(allowed)


def _values(choices: Choices, selection: Selection) -> Floats:
    """What orders the candidates, float32 (c,): probability, less for a generic hashtag."""
    if not selection.generic or choices.generic is None:
        return choices.probabilities
    factors = np.where(choices.generic, 1 - selection.generic, 1)
    return (choices.probabilities * factors).astype(np.float32)


def best(scores: Floats, posts: Ids, tag_ids: Ids, k: int) -> Ids:
    """Places int64 (<= k,) of the best candidates: by score, then posts, then the older id."""
    among = np.arange(len(scores))
    if 0 < k < len(scores):
        # Sorting is for the few that can be among the best, ties included.
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        among = np.flatnonzero(scores >= edge)
    order = np.lexsort((tag_ids[among], -posts[among], -scores[among]))[:k]
    return among[order].astype(np.int64)


def _diverse(
    order: Ids,
    values: Floats,
    choices: Choices,
    selection: Selection,
    likeness: Likeness,
    free: int,
) -> Ids:
    """The order with its first `POOL` chosen one by one, each by what it adds to those before.

    Maximal marginal relevance of Carbonell and Goldstein, "The use of MMR, diversity-based
    reranking" (1998), as a product: value times 1 - strength * likeness to the nearest one
    already chosen. Their sum would weigh likeness the same beside large and small probabilities.
    """
    pool, fixed = order[:POOL], len(choices.pinned)
    alike = likeness(np.append(np.array(choices.pinned, np.int64), choices.tag_ids[pool]))
    nearest = alike[fixed:, :fixed].max(axis=1, initial=0)
    alike, left = alike[fixed:, fixed:], np.ones(len(pool), np.bool_)
    chosen = []
    for _ in range(len(pool) if selection.mix else min(free, len(pool))):
        worth = values[pool] * (1 - selection.diversity * nearest)
        place = int(np.argmax(np.where(left, worth, -1)))
        chosen.append(place)
        left[place] = False
        nearest = np.maximum(nearest, alike[place])
    return np.concatenate([pool[chosen], pool[left], order[POOL:]])


def _mixed(
    order: Ids, choices: Choices, selection: Selection, floors: dict[str, float], free: int
) -> Ids:
    """The order's first that fill each tier's places, then its first others; in its order."""
    tiers = _tiers(choices.posts[order], floors)
    wanted = np.zeros(len(order), np.bool_)
    for name, number in selection.mix:
        open_places = max(0, number - choices.pinned_tiers.count(name))
        wanted[np.flatnonzero(tiers == name)[:open_places]] = True
    first = np.concatenate([np.flatnonzero(wanted), np.flatnonzero(~wanted)])
    shown: Ids = order[np.sort(first[:free])]
    return shown


def _tiers(posts: Ids, floors: dict[str, float]) -> NDArray[np.object_]:
    """The `tier` of each of n hashtags, (n,)."""
    tiers = np.full(len(posts), "niche", dtype=object)
    for name, floor in reversed(floors.items()):
        tiers[posts >= floor] = name
    return tiers
