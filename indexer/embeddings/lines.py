"""The lines of a text file, and where each stands: sought in its bytes at first, then held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from hashlens.indexer.errors import unreadable
from hashlens.indexer.types import Ids

MAX_SCANS = 300  # lines sought in the bytes; who asks for more is no single query
_ENDING = b"\n"


class Lines(Sequence[str]):
    """Unique lines of a file, each ended; they are decoded once one of them is read by place.

    Raises:
        IndexCorruptError: the file cannot be read, its last line is cut short, or, once that shows,
            it is no UTF-8 or holds a line twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sought = 0
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
        """Place of each of these lines that is there; of others too, once many were asked for."""
        asked = {line for line in lines if "\n" not in line}
        self._sought += len(asked)
        if self._sought > MAX_SCANS:
            return self._all
        starts = {
            line: self._bytes.find(_ENDING + line.encode("utf-8", "surrogatepass") + _ENDING)
            for line in asked
        }
        found = {line: start for line, start in starts.items() if start >= 0}
        places = np.searchsorted(self._ends, list(found.values()))
        return dict(zip(found, places.tolist(), strict=True))

    @cached_property
    def _ends(self) -> Ids:
        """Where each line's ending is, int64 (n + 1,), and that before the first."""
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
