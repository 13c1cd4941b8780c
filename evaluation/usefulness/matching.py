"""How an answered hashtag is matched to a graded one."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

from hashlens.indexer.text.escaping import safe

SHORTEST_SINGULAR = 3  # letters: `gas` and `bus` stay as they are
_LETTERS = str.maketrans({"ı": "i", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})
# Marks that are accents. In other scripts a mark is a vowel or another letter: が is not か.
_ACCENTS = regex.compile(
    r"(?<=[\p{Latin}\p{Greek}]\p{Mn}*)\p{Mn}"  # café
    r"|(?<=е)\u0308"  # Cyrillic ё; й is a letter of its own
    r"|(?<=ا)[\u0653-\u0655]"  # Arabic alef with hamza or madda
    r"|[\u064b-\u0652\u0670\u0640]"  # Arabic vowel signs, and the stretched line
    r"|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"  # Hebrew points
)
_NEVER_PLURAL = regex.compile(r"(?:ss|us|is|news|lens|mars|series|species)$")
_ES_PLURAL = regex.compile(r"(?:ch|sh|ss|x|zz)es$")


@lru_cache(maxsize=1 << 16)
def fold_hashtag(tag: str) -> str:
    """Return the form under which spellings of one hashtag are the same.

    It folds case and compatibility forms (NFKC), and leaves out `#` and underscores. It leaves out
    accents of Latin and Greek letters, the two dots of Cyrillic ё, and vowel signs of Arabic and
    Hebrew; marks of other scripts are letters and stay. A regular English plural of three letters
    or more becomes its singular: `cats` `cat`, `churches` `church`, `cookies` and `cookie` `cooky`.
    The plural rule serves any hashtag in ASCII, whatever its language.
    """
    folded = unicodedata.normalize("NFKC", tag).casefold().strip().lstrip("#")
    folded = folded.replace("_", "").replace("\ufe0f", "").replace("\ufe0e", "")
    if not folded.isascii():
        spread = unicodedata.normalize("NFD", folded)
        folded = unicodedata.normalize("NFC", _ACCENTS.sub("", spread)).translate(_LETTERS)
    return _singular(folded) if folded.isascii() else folded


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
