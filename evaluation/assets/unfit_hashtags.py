"""Hashtags that do not fit into the bundled index: truncated ones, and those of a past year."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection

_VOICING = "\u3099\u309a"  # the marks that make が of か, and ぱ of は
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


def dated_keys(keys: Collection[str]) -> frozenset[str]:
    """Return hashtags that name a year from 1900 to 2099, such as `#summer2020`."""
    return frozenset(key for key in keys if _YEAR.search(key))


def truncated_keys(keys: Collection[str]) -> frozenset[str]:
    """Return hashtags that are others truncated before a voicing mark.

    Some programs end a hashtag at the mark of が, if it is written as か and a separate mark. The
    evidence is another hashtag that continues with the voiced kana.
    """
    ordered = sorted(keys)

    def is_prefix(start: str) -> bool:
        place = bisect_left(ordered, start)
        return place < len(ordered) and ordered[place].startswith(start)

    return frozenset(
        key
        for key in keys
        if not key.isascii()
        and any(
            len(voiced) == len(key) and is_prefix(voiced)
            for voiced in (unicodedata.normalize("NFC", key + mark) for mark in _VOICING)
        )
    )
