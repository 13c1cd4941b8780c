"""The outline of a JSON text, told without parsing it: whether it is safe, where entries lie."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_DEPTH = 64  # lists and objects within one another; no tool writes half of it
MAX_BRANCHES = 1_000_000  # lists and objects in all; an export of 32 MB has about half of it

# The next bracket outside of strings. A string runs to its end or, if torn, to that of the text,
# and the search stops at that: nothing is looked at twice.
_BRACKET = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.?)*+(?:"|\Z))*+([\[\]{}]|\Z)', re.DOTALL)
_ONE = re.compile(
    r'\s*\{\s*"(?:media|uri|title|creation_timestamp|timestamp|label_values|fbid'
    r'|string_map_data|media_map_data)"'
)
_LISTS = (["["], ["{", "["])


def excess(text: str) -> str | None:
    """What a JSON text has too much of to be parsed safely; None for one that is safe."""
    if text.count("[") + text.count("{") > MAX_BRANCHES:
        return f"found JSON of more than {MAX_BRANCHES:,} lists and objects"
    level = 0
    for found in _BRACKET.finditer(text):
        level += (found[1] in ("[", "{")) - (found[1] in ("]", "}"))
        if level > MAX_DEPTH:
            return f"found JSON nested deeper than {MAX_DEPTH}"
    return None


def entries(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each object in a list that is the text, or stands in an object that is.

    Exports wrap their list or do not, and some write a list of one as the one. What a text that
    was cut short has after its last whole entry is the last one, which then cannot be parsed.

    Args:
        text: JSON without excess.
    """
    if _ONE.match(text):
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
