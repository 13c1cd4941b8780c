"""How an answered hashtag is matched to a graded one."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from hashlens.indexer.text.escaping import safe

SHORTEST_SINGULAR = 3  # letters: `gas` and `bus` stay as they are
_LETTERS = str.maketrans({"ı": "i", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})
_POINTED = range(0x0591, 0x05C8)  # Hebrew points
_VOICED = {*range(0x064B, 0x0653), 0x0670, 0x0640}  # Arabic vowel signs, and the stretched line
_ON_ALEF = range(0x0653, 0x0656)  # madda and hamza
_NEVER_PLURAL = re.compile(r"(?:ss|us|is|news|lens|mars|series|species)$")
_ES_PLURAL = re.compile(r"(?:ch|sh|ss|x|zz)es$")


@lru_cache(maxsize=1 << 16)
def fold_hashtag(tag: str) -> str:
    """Return the form under which spellings of one hashtag are the same.

    It folds case and compatibility forms (NFKC), and leaves out `#` and underscores. It leaves out
    accents of Latin and Greek letters, the two dots of Cyrillic ё, and vowel signs of Arabic and
    Hebrew; marks of other scripts are letters and stay. A regular English plural of four letters
    or more becomes its singular: `cats` `cat`, `churches` `church`, `cookies` and `cookie` `cooky`.
    The plural rule serves any hashtag in ASCII, whatever its language.
    """
    folded = unicodedata.normalize("NFKC", tag).casefold().strip().lstrip("#")
    folded = folded.replace("_", "").replace("\ufe0f", "").replace("\ufe0e", "")
    if not folded.isascii():
        folded = _without_accents(folded).translate(_LETTERS)
    return _singular(folded) if folded.isascii() else folded


def _without_accents(text: str) -> str:
    """Leave out marks that are accents; in other scripts a mark is a letter: が is not か."""
    kept, base = [], ""
    for character in unicodedata.normalize("NFD", text):
        if _is_accent(base, character):
            continue
        if not unicodedata.combining(character):
            base = character
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _is_accent(base: str, character: str) -> bool:
    """Whether a character is an accent on the letter before it."""
    code = ord(character)
    if code in _VOICED:
        return True
    if not unicodedata.combining(character) or not base:
        return False
    if base == "е":
        return code == 0x0308  # Cyrillic ё; й is a letter of its own
    if base == "ا":
        return code in _ON_ALEF
    return code in _POINTED or unicodedata.name(base, "").startswith(("LATIN", "GREEK"))


def _singular(word: str) -> str:
    """Return the singular of a regular English plural; other words as they are."""
    if _NEVER_PLURAL.search(word) or len(word) <= SHORTEST_SINGULAR:
        return word
    if _ES_PLURAL.search(word):
        return word[:-2]
    singular = word.removesuffix("s")
    if singular.endswith("ie") and len(singular) > SHORTEST_SINGULAR + 1:
        return singular[:-2] + "y"
    return singular


def show_hashtag(tag: str) -> str:
    """Return a hashtag as messages show it."""
    return f"#{safe(tag)}"
