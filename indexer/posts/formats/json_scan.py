"""Scans a JSON text without parsing it: whether it is safe, and where its entries are."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_DEPTH = 64  # levels of nested lists and objects; no tool writes half as many
MAX_BRANCHES = 1_000_000  # lists and objects; an export of 32 MB has about half as many

# The next bracket outside of strings. A string without an end runs to the end of the text, and
# the search stops there: nothing is scanned twice.
_BRACKET = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.?)*+(?:"|\Z))*+([\[\]{}]|\Z)', re.DOTALL)
_ONE_OBJECT = re.compile(
    r'\s*\{\s*"(?:media|uri|title|creation_timestamp|timestamp|label_values|fbid'
    r'|string_map_data|media_map_data)"'
)
_LISTS = (["["], ["{", "["])


def excess(text: str) -> str | None:
    """Return why a JSON text is not safe to parse, or None."""
    if text.count("[") + text.count("{") > MAX_BRANCHES:
        return f"found JSON of more than {MAX_BRANCHES:,} lists and objects"
    level = 0
    for found in _BRACKET.finditer(text):
        level += (found[1] in ("[", "{")) - (found[1] in ("]", "}"))
        if level > MAX_DEPTH:
            return f"found JSON nested deeper than {MAX_DEPTH}"
    return None


def entries(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each object in a list that is the text, or is a value of its object.

    Some exports wrap their list in an object, and some write a list of one as the one object. In a
    truncated text, the rest after the last whole entry is the last entry, which cannot be parsed.

    Args:
        text: JSON without excess.
    """
    if _ONE_OBJECT.match(text):
        yield 0, len(text)
        return
    path: list[str] = []
    start = end = 0
    for found in _BRACKET.finditer(text):
        mark = found[1]
        if mark in ("[", "{"):
            if mark == "{" and path in _LISTS:
                start = found.start(1)
            path.append(mark)
        elif mark and path and path.pop() == "{" and path in _LISTS:
            end = found.end()
            yield start, end
    if path:
        yield max(start, end), len(text)
