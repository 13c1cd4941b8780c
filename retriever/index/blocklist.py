"""Hashtags that are never recommended, and those that say little: `data/blocklist.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hashlens.indexer.config import data_path
from hashlens.indexer.errors import InputError
from hashlens.indexer.text.hashtags import key

GENERIC = "generic"  # the table of hashtags that are shown last rather than never
UNSHIPPED = ("unkind", "past")  # the tables of those that the index that ships is without
COMMENT = "//"  # a # would be a hashtag's


@cache
def _lists() -> dict[str, Any]:
    return tomllib.loads(data_path("blocklist.toml").read_text(encoding="utf-8"))


@cache
def blocked_keys() -> frozenset[str]:
    """Keys of all blocked hashtags."""
    return frozenset(k for keys in _lists().values() if isinstance(keys, list) for k in keys)


@cache
def generic_keys() -> frozenset[str]:
    """Keys of the hashtags that would suit almost any post."""
    return _of_table(GENERIC)


@cache
def unshipped_keys() -> frozenset[str]:
    """Keys of those that say of a person what no photo can tell, or of what is over."""
    return frozenset().union(*map(_of_table, UNSHIPPED))


def _of_table(name: str) -> frozenset[str]:
    return frozenset(k for keys in _lists()[name].values() for k in keys)


def read_blocked(named: Sequence[str]) -> frozenset[str]:
    """Keys of the hashtags that a person wants left out.

    Args:
        named: hashtags, and files with one on each line; what follows `//` is a comment. What
            names a file is one: write `#cats` for the hashtag where there is a file `cats`.

    Raises:
        InputError: one is neither hashtag nor file, or a line of a file is no hashtag.
    """
    return frozenset(tag for name in named for tag in _read(name))


def _read(name: str) -> Iterator[str]:
    if Path(name).is_file():
        yield from _lines(Path(name))
        return
    try:
        yield key(name)
    except InputError as error:
        raise InputError(
            f"--block: there is no file {name!r}, and as a hashtag: {error}"
        ) from error


def _lines(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--block {path}: cannot be read as UTF-8 text ({error})") from error
    for number, line in enumerate(lines, start=1):
        tag = line.partition(COMMENT)[0].strip()
        try:
            if tag:
                yield key(tag)
        except InputError as error:
            # What the line holds stays unsaid: a stranger's hashlens.toml may name any file.
            raise InputError(
                f"--block {path}:{number}: found no hashtag, expected one a line"
            ) from error
