"""Finds the encoding of a text file from its bytes."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

UTF8, WESTERN = "utf-8-sig", "cp1252"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GUESSED = {
    WESTERN: "Windows-1252",
    "cp1250": "Windows-1250",
    "cp1254": "Windows-1254",
    "cp1251": "Windows-1251",
    "koi8_r": "KOI8-R",
    "cp1253": "Windows-1253",
    "cp932": "Shift-JIS",
    "gb18030": "GBK",
    "big5": "Big5",
    "cp949": "EUC-KR",
}  # names for people of encodings without a mark; the Latin ones first
_LETTERS = {
    WESTERN: (
        "äöüß",
        "àâæçéèêëîïôœùûüÿ",
        "áéíñóúü",
        "áâãàçéêíóôõúü",
        "àèéìíîòóùú",
        "åäöé",
        "æøåé",
        "ëïéèöüó",
        "áéíóúýþæðö",
        "àçèéíïòóúü",
    ),
    "cp1250": (
        "áčďéěíňóřšťúůýž",
        "áäčďéíĺľňóôŕšťúýž",
        "ąćęłńóśźż",
        "áéíóöőúüű",
        "čćđšž",
        "ăâîşţ",
    ),
    "cp1254": ("çğıöşüâîû",),
}  # non-ASCII letters of each language of a Latin encoding
_SINGLE_BYTE = ("cp1251", "koi8_r", "cp1253")  # of other scripts
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
_ASCII_LETTER = re.compile(rb"[A-Za-z]")
_CLOSE = 0.05  # difference in disorder that is too small to decide
_MAX_DISORDER = 0.3  # of a text in its right encoding
_MAX_GUESS_BYTES = 1 << 16  # of non-ASCII lines for a guess
_HEAD = 4096  # bytes
_CHUNK = 1 << 20
_SAMPLED = 16 << 20  # bytes whose lines show whether a file is damaged UTF-8


def find_encoding(path: Path) -> str:
    """Return the encoding of a file: by its mark, by UTF-16's zero bytes, or UTF-8, else a guess.

    A guess is one of `GUESSED`.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        if (wide := _find_utf16(head)) is not None:
            return wide
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return _guess_encoding(file.read(_SAMPLED))
    return UTF8


def find_json_encoding(path: Path) -> str:
    """Return the encoding of a JSON file: UTF-8 or UTF-16.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return _find_utf16(head) or UTF8


def _find_utf16(head: bytes) -> str | None:
    """Return UTF-16 without a mark, if most letters have a zero byte on one side."""
    pairs = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    if pairs >= 2 and odd > pairs / 3 and even < odd / 8:
        return "utf-16-le"
    return "utf-16-be" if pairs >= 2 and even > pairs / 3 and odd < even / 8 else None


def _guess_encoding(sample: bytes) -> str:
    """Return the likeliest encoding of a text that is not wholly UTF-8.

    With more lines of UTF-8 than others it is UTF-8 with damaged lines.
    """
    from charset_normalizer import from_bytes

    score = size = 0
    few: list[bytes] = []
    for line in sample.splitlines():
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            score += 1
        except UnicodeDecodeError:
            score -= 1
        size += len(line)
        if not few or size <= _MAX_GUESS_BYTES:
            few.append(line[:_MAX_GUESS_BYTES])
    if score > 0:
        return UTF8
    found = list(
        from_bytes(
            b"\n".join(few),
            cp_isolation=list(GUESSED),
            threshold=_MAX_DISORDER,
            enable_fallback=False,
        )
    )
    latin = [match.chaos for match in found if match.encoding in _LETTERS]
    is_latin = not found or (latin and min(latin) < found[0].chaos + _CLOSE)
    # Words that mix ASCII letters with others are Latin.
    words = [word for line in few for word in _WORD.findall(line) if not word.isascii()]
    is_mixed = 2 * sum(bool(_ASCII_LETTER.search(word)) for word in words) >= len(words)
    if is_latin or (found[0].encoding in _SINGLE_BYTE and is_mixed):
        return max(_LETTERS, key=lambda name: _count_letters(few, name))
    return found[0].encoding


def _count_letters(lines: list[bytes], encoding: str) -> int:
    """Return how many letters are of one language: in each line, and in all lines together.

    Disorder does not distinguish Latin encodings. Czech read as Windows-1252 has letters of
    Italian, Danish and French, which no language has together.
    """
    alphabets = [frozenset(letters) for letters in _LETTERS[encoding]]
    texts = [line.decode(encoding, "replace").lower() for line in lines]
    counts = [[sum(map(letters.__contains__, text)) for letters in alphabets] for text in texts]
    return sum(map(max, counts)) + max(map(sum, zip(*counts, strict=True)), default=0)
