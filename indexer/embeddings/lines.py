"""The lines of a text file and their numbers: searched in its bytes at first, later in a dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from hashlens.indexer.errors import unreadable
from hashlens.indexer.types import Ids

MAX_SEARCHES = 300  # in the bytes; a single query needs fewer
_ENDING = b"\n"


class Lines(Sequence[str]):
    """Unique lines of a file, each ended; decoded when one of them is first read by place.

    Raises:
        IndexCorruptError: the file cannot be read, its last line is truncated, or, as soon as that
            matters, it is not UTF-8 or contains a line twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._searches = 0
        try:
            self._bytes = _ENDING + path.read_bytes()
        except OSError as error:
            raise unreadable(self._path, error) from error
        if not self._bytes.endswith(_ENDING):
            raise unreadable(self._path, "its last line is cut short")

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        return self._lines[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def places(self, lines: Sequence[str]) -> Mapping[str, int]:
        """Return the place of each known line; of other lines, too, after many calls."""
        wanted = {line for line in lines if "\n" not in line}
        self._searches += len(wanted)
        if self._searches > MAX_SEARCHES:
            return self._all
        starts = {
            line: self._bytes.find(_ENDING + line.encode("utf-8", "surrogatepass") + _ENDING)
            for line in wanted
        }
        found = {line: start for line, start in starts.items() if start >= 0}
        places = np.searchsorted(self._ends, list(found.values()))
        return dict(zip(found, places.tolist(), strict=True))

    @cached_property
    def _ends(self) -> Ids:
        """Places of the line breaks, int64 (n + 1,), one before the first line included."""
        return np.flatnonzero(np.frombuffer(self._bytes, np.uint8) == _ENDING[0])

    @cached_property
    def _lines(self) -> tuple[str, ...]:
        try:
            text = self._bytes.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise unreadable(self._path, error) from error
        return tuple(text.split("\n")[1:-1])

    @cached_property
    def _all(self) -> dict[str, int]:
        places = dict(zip(self._lines, range(len(self)), strict=True))
        if len(places) != len(self):
            raise unreadable(self._path, f"{len(self) - len(places)} lines come twice")
        return places
