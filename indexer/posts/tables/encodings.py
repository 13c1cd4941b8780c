"""The encoding of a text file, found from its bytes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
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
}  # encodings without a mark, as people know them; the Latin ones first
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
}  # letters outside of ASCII of each language that a Latin encoding is for
_SINGLE_BYTE = ("cp1251", "koi8_r", "cp1253")  # of other scripts
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
_ASCII_LETTER = re.compile(rb"[A-Za-z]")
_CLOSE = 0.05  # difference in disorder that says nothing
_MAX_DISORDER = 0.3  # of a text that is read as it was written
_GUESSED_FROM = 1 << 16  # bytes of lines that are not ASCII
_HEAD = 4096  # bytes
_CHUNK = 1 << 20
_SAMPLED = 16 << 20  # bytes whose lines tell UTF-8 with damage from another encoding


def find_encoding(path: Path) -> str:
    """Return the encoding of a file: by its mark, by UTF-16's zero bytes, or UTF-8, else a guess.

    A file with more lines of UTF-8 than of bytes that are not is UTF-8 with damaged lines. A guess
    is one of `GUESSED`.

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
    lines = [line for line in sample.splitlines() if not line.isascii()]
    for line in lines:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            score -= 1
        else:
            score += 1
    return UTF8 if score > 0 else _guess(lines)


def _guess(lines: Iterable[bytes]) -> str:
    """Return the encoding in which lines that are not UTF-8 look most like text."""
    from charset_normalizer import from_bytes

    few: list[bytes] = []
    size = 0
    for line in lines:
        if few and size + len(line) > _GUESSED_FROM:
            break
        few.append(line[:_GUESSED_FROM])
        size += len(line)
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
    if is_latin or (found[0].encoding in _SINGLE_BYTE and _is_mixed(few)):
        return max(_LETTERS, key=lambda name: _fit(few, name))
    return found[0].encoding


def _is_mixed(lines: list[bytes]) -> bool:
    """Whether half of the words with letters outside of ASCII have ASCII letters, too."""
    words = [word for line in lines for word in _WORD.findall(line) if not word.isascii()]
    return 2 * sum(bool(_ASCII_LETTER.search(word)) for word in words) >= len(words)


def _fit(lines: list[bytes], encoding: str) -> int:
    """Return how many letters are of one language: in each line, and in all lines together.

    Disorder does not tell Latin encodings apart: Czech in Windows-1252 has letters of Italian,
    Danish and French, which no language has together.
    """
    alphabets = [frozenset(letters) for letters in _LETTERS[encoding]]
    texts = [line.decode(encoding, "replace").lower() for line in lines]
    counts = [[sum(map(letters.__contains__, text)) for letters in alphabets] for text in texts]
    return sum(map(max, counts)) + max(map(sum, zip(*counts, strict=True)), default=0)
