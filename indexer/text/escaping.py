"""Text from outside, escaped for a terminal, a log, a JSON line or a spreadsheet."""

from __future__ import annotations

import json
import re
from typing import Any

JOINERS = "\u200c\u200d"  # not printable by themselves; many scripts and emoji need them
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_DEL = "\\u007f"  # which JSON does not escape
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def safe(text: str) -> str:
    """Return the text without control characters, which a terminal would obey."""
    return text if text.isprintable() else "".join(c if _is_shown(c) else "�" for c in text)


def one_line(text: str) -> str:
    """Return the text on one line, without control characters."""
    return safe(" ".join(text.split("\n")).rstrip())


def count_noun(number: int, things: str) -> str:
    """Return a number with its noun, such as `1 post` and `2,000 posts`."""
    plural = things if number != 1 else things[:-3] + "y" if things.endswith("ies") else things[:-1]
    return f"{number:,} {plural}"


def json_line(value: Any, encoding: str = "utf-8") -> str:  # noqa: ANN401 (any JSON value)
    """Return a JSON value on one line; escape control characters, and those the encoding lacks."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value)
    if text.isprintable():
        return text
    return "".join(
        c if _is_shown(c) else _DEL if c == "\x7f" else json.dumps(c)[1:-1] for c in text
    )


def csv_cell(text: str) -> str:
    """Return the text as a cell of CSV that no spreadsheet computes.

    A cell that begins a formula gets an apostrophe before it (OWASP, CSV injection); numbers stay.
    """
    is_formula = text.lstrip(" ").startswith(FORMULA_STARTS) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in JOINERS
