"""Defines a row of a table, and finds its fields under the names that tables use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, AnyStr

from hashlens.indexer.errors import InputError
from hashlens.indexer.text.escaping import safe

MAX_LINE = 1 << 20  # bytes of a line
TOO_LONG = f"found a line longer than {MAX_LINE:,} bytes, expected one post a line"
TELLING = frozenset({"image", "caption", "hashtags", "seeds"})  # fields that make a row useful
_SHOWN = 8  # columns in a message
_MAX_NAME = 60  # characters of a column's name in a message
_WRAPPERS = ("data", "node", "post", "tweet", "legacy")  # objects that contain the post
_MAX_WRAPPERS = 3  # levels of nested wrappers


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its first line (from 1; in Parquet the number of the row) and its fields.

    A row that is a whole file has no line. `problem` is why the row could not be read; then it has
    no fields. `note` is a remark on the file instead of a row. `unused` are the names of a row's
    fields if no column was taken from them.
    """

    line: int | None
    fields: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    note: str | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The wanted columns of a table.

    `names` maps each field to the possible names of its column, best first; case, spaces, hyphens,
    points and underscores make no difference. CSV and Parquet must have the `required` columns.
    """

    names: Mapping[str, Sequence[str]]
    required: Sequence[str] = ()

    def choose(self, found: Iterable[str]) -> dict[str, str]:
        """Return the table's column for each field that it has, by the first name that fits."""
        exact = dict.fromkeys(found)
        folded: dict[str, str] = {}
        for name in exact:
            folded.setdefault(_fold(name), name)
        chosen = {}
        for ours, names in self._folded_names:
            for name, fold in names:
                if name in exact or fold in folded:
                    chosen[ours] = name if name in exact else folded[fold]
                    break
        return chosen

    def check(self, path: Path, found: Sequence[str]) -> dict[str, str]:
        """Choose columns of a table that lists them all.

        Raises:
            InputError: the table has no wanted column, or lacks a required one.
        """
        folded = set(map(_fold, found))
        missing = [name for name in self.required if _fold(name) not in folded]
        chosen = self.choose(found)
        if missing or not chosen or (self._telling and not self._telling & chosen.keys()):
            some = f"some of {', '.join(self.names)} (--column caption=NAME names yours)"
            expected = ", ".join(missing) if missing else some
            raise InputError(f"{path}: found columns {shown_names(found)}, expected {expected}")
        return chosen

    def row(self, line: int | None, value: Mapping[str, Any]) -> Row:
        """Return the row of a JSON object, which may contain the post in another object."""
        for left in range(_MAX_WRAPPERS, -1, -1):
            chosen = self._choose_cached(tuple(value))
            is_useful = not self._telling or bool(self._telling & chosen.keys())
            is_post = not left or (is_useful and len(value) > 1)
            wrapper = next((name for name in _WRAPPERS if isinstance(value.get(name), dict)), None)
            if is_post or wrapper is None:
                break
            around = {name: part for name, part in value.items() if name != wrapper}
            value = around | value[wrapper]
        fields = {ours: value[theirs] for ours, theirs in chosen.items()}
        return Row(line, fields, unused=() if is_useful else tuple(value)[: _SHOWN + 1])

    @cached_property
    def _telling(self) -> frozenset[str]:
        return TELLING & self.names.keys()

    def _choose_cached(self, names: tuple[str, ...]) -> dict[str, str]:
        """Choose columns with a cache: rows of one file mostly have the same names."""
        if (chosen := self._cache.get(names)) is None:
            if len(self._cache) >= 1000:
                self._cache.clear()
            chosen = self._cache[names] = self.choose(names)
        return chosen

    @cached_property
    def _cache(self) -> dict[tuple[str, ...], dict[str, str]]:
        return {}

    @cached_property
    def _folded_names(self) -> list[tuple[str, list[tuple[str, str]]]]:
        return [
            (ours, [(name, _fold(name)) for name in names]) for ours, names in self.names.items()
        ]


def split_lines(file: IO[AnyStr]) -> Iterator[tuple[int, AnyStr | None]]:
    """Yield lines with their numbers, from 1; None for one longer than `MAX_LINE`."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line
            continue
        while line and line[-1:] not in ("\n", b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


def shown_names(names: Sequence[str]) -> str:
    """Return the first names of columns for a message, without control characters."""
    shown = ", ".join(safe(name[:_MAX_NAME]) for name in names[:_SHOWN])
    return shown + (", …" if len(names) > _SHOWN else "") or "(none)"


def _fold(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " _-.")


def kind(value: object) -> str:
    """Return the kind of a JSON value in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
