"""Hashtags that are never recommended, and generic ones: `data/blocklist.toml`."""

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
UNSHIPPED = ("unkind", "past")  # the tables of hashtags that the bundled index leaves out
COMMENT = "//"  # a # would be a hashtag's


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(data_path("blocklist.toml").read_text(encoding="utf-8"))


@cache
def blocked_keys() -> frozenset[str]:
    """Return keys of all blocked hashtags."""
    return frozenset(k for keys in _tables().values() if isinstance(keys, list) for k in keys)


@cache
def generic_keys() -> frozenset[str]:
    """Return keys of the hashtags that suit almost any post."""
    return _table_keys(GENERIC)


@cache
def unshipped_keys() -> frozenset[str]:
    """Return keys of hashtags that judge a person beyond any photo, or name past events."""
    return frozenset().union(*map(_table_keys, UNSHIPPED))


def _table_keys(name: str) -> frozenset[str]:
    return frozenset(k for keys in _tables()[name].values() for k in keys)


def read_blocked(names: Sequence[str]) -> frozenset[str]:
    """Return keys of the hashtags that a person wants to leave out.

    Args:
        names: hashtags, and files with one on each line, with comments after `//`. A name of a file
            is a file: write `#cats` for the hashtag if there is a file `cats`.

    Raises:
        InputError: a name is neither hashtag nor file, or a line of a file is no hashtag.
    """
    found: set[str] = set()
    for name in names:
        if Path(name).is_file():
            found.update(_read_lines(Path(name)))
            continue
        try:
            found.add(key(name))
        except InputError as error:
            raise InputError(
                f"--block: there is no file {name!r}, and as a hashtag: {error}"
            ) from error
    return frozenset(found)


def _read_lines(path: Path) -> Iterator[str]:
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
            # The message omits the line: a stranger's hashlens.toml may name any file.
            raise InputError(
                f"--block {path}:{number}: found no hashtag, expected one a line"
            ) from error
