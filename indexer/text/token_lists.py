"""Word lists of many posts as numbers: four bytes a word and eight a post."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.types import Ids

_BLOCK = 4096  # texts put into words at a time


@dataclass(frozen=True, slots=True, eq=False)
class TokenLists(Sequence[list[str]]):
    """n lists of words.

    `words` are different ones; `numbers` int32 (e,) are places in it, those of text i from
    `starts[i]` to `starts[i + 1]`, int64 (n + 1,).
    """

    words: Sequence[str]
    numbers: NDArray[np.int32]
    starts: Ids

    @classmethod
    def of(cls, texts: Iterable[Iterable[str]]) -> Self:
        """Return texts as numbers, in order of the words' first appearance."""
        number: dict[str, int] = {}
        numbers, ends = array("i"), array("q", [0])
        for text in texts:
            numbers.extend([number.setdefault(word, len(number)) for word in text])
            ends.append(len(numbers))
        return cls(list(number), np.array(numbers, np.int32), np.array(ends, np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, place: int) -> list[str]: ...
    @overload
    def __getitem__(self, place: slice) -> list[list[str]]: ...
    def __getitem__(self, place: int | slice) -> list[str] | list[list[str]]:
        if isinstance(place, slice):
            first, last, step = place.indices(len(self))
            if step != 1:
                return [self[number] for number in range(first, last, step)]
            return self._some(first, max(first, last))
        place = range(len(self))[place]
        numbers = self.numbers[self.starts[place] : self.starts[place + 1]]
        return [self.words[number] for number in numbers.tolist()]

    def __iter__(self) -> Iterator[list[str]]:
        for first in range(0, len(self), _BLOCK):
            yield from self[first : first + _BLOCK]

    def _some(self, first: int, last: int) -> list[list[str]]:
        starts = self.starts[first : last + 1]
        numbers = self.numbers[starts[0] : starts[-1]].tolist()
        words = list(map(self.words.__getitem__, numbers))
        return [words[start:end] for start, end in pairwise((starts - starts[0]).tolist())]

    @property
    def lengths(self) -> Ids:
        """Number of words of each text, int64 (n,)."""
        return np.diff(self.starts)

    def at(self, rows: Ids) -> TokenLists:
        """Return the texts at places int64 (p,)."""
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return TokenLists(self.words, self.numbers[entries], starts)

    def concat_each(self, others: TokenLists, sign: str) -> TokenLists:
        """Return each text followed by the words of another one, with a sign before these.

        The words of both must be different, as those of captions and `#hashtags` are.
        """
        starts = self.starts + others.starts
        numbers = np.empty(starts[-1], np.int32)
        for texts, befores, first in (
            (self, others.starts[:-1], 0),
            (others, self.starts[1:], len(self.words)),
        ):
            places = np.arange(len(texts.numbers)) + np.repeat(befores, texts.lengths)
            numbers[places] = texts.numbers + first
        words = [*self.words, *(f"{sign}{word}" for word in others.words)]
        return TokenLists(words, numbers, starts)
