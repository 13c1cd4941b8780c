"""The encoding of a text file, found from its bytes."""

from __future__ import annotations

import codecs
from pathlib import Path

UTF8, WESTERN = "utf-8-sig", "cp1252"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 4096  # bytes
_CHUNK = 1 << 20
_SAMPLED = 16 << 20  # bytes whose lines tell UTF-8 with damage from another encoding


def find_encoding(path: Path) -> str:
    """The encoding of a file: its mark, UTF-16 by its zero bytes, UTF-8, else Windows-1252.

    A file with more lines of UTF-8 than of bytes that are not is UTF-8 with damaged lines.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        if (wide := _wide(head)) is not None:
            return wide
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return _by_lines(file.read(_SAMPLED))
    return UTF8


def find_json_encoding(path: Path) -> str:
    """The encoding of a JSON file, which is UTF-8 or UTF-16.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return _wide(head) or UTF8


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: most of its letters have a zero byte, on one side."""
    pairs = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    if pairs >= 2 and odd > pairs / 3 and even < odd / 8:
        return "utf-16-le"
    return "utf-16-be" if pairs >= 2 and even > pairs / 3 and odd < even / 8 else None


def _by_lines(sample: bytes) -> str:
    score = 0
    for line in sample.splitlines():
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            score -= 1
        else:
            score += 1
    return UTF8 if score > 0 else WESTERN
