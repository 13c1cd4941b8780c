"""The hashtag grammar: hashtags in a text, their keys, and the words of captions and hashtags.

Rule `x` is the grammar of twitter-text (its conformance suite, Apache-2.0): letters, marks and
digits of any script and seventeen joining signs, with a letter or mark among them, neither glued
to a word nor part of an address. Rule `instagram` also takes hashtags that are glued to the text
or hashtag before them (`#love#travel` is two), and emoji inside them.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from functools import cache, lru_cache
from itertools import pairwise

import regex

from hashlens.indexer.errors import InputError

RULES = ("instagram", "x")
MAX_LENGTH = 150  # characters of a hashtag without its sign, as in Instaloader

_SIGN = "[#＃]"
# Underscore, ZWNJ and ZWJ, Hebrew and Cyrillic signs, wave dashes, kana signs, Tibetan tsheg.
_JOINING = (
    r"_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c"
    r"\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7"
)
_WORD = rf"\p{{L}}\p{{M}}\p{{Nd}}{_JOINING}"
_LETTER = r"[\p{L}[\p{M}--[\ufe0e\ufe0f\u20e3]]]"
# `‼` and `™` count as emoji in Unicode, but people write them as punctuation.
_PICTURE = r"[[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}]--[\p{P}©®™]]"
_TAG_SIGNS = r"\U000e0020-\U000e007f"  # spell the region in flags such as Scotland's

# An address: with a scheme, with `www.`, or a bare domain that a path follows.
_ADDRESS = (
    r"(?:(?i:https?://)|(?<![\p{L}\p{M}\p{Nd}_.@#＃-])"
    r"(?:(?i:www\.)|(?:[\p{L}\p{M}\p{Nd}-]++\.)+[A-Za-z]{2,24}/))"
    r"[\p{Latin}\p{Cyrillic}0-9!*';:=+,.$/%\#\[\]\-–_\~@\|\&?()]*+"
)


# Forbidden before a hashtag; its characters; one that it needs; forbidden after it.
_GRAMMARS = {
    "instagram": (
        "&",  # `&#x27;` is a character reference
        rf"[{_WORD}{_PICTURE}{_TAG_SIGNS}]",
        rf"[{_LETTER}{_PICTURE}]",
        "://",
    ),
    "x": (
        rf"[[{_WORD}\&]--[\ufe0e\ufe0f]]",
        rf"[{_WORD}]",
        _LETTER,
        rf"{_SIGN}|://",
    ),
}
_KEY = regex.compile(rf"[{_WORD}{_PICTURE}{_TAG_SIGNS}]+", regex.V1)
_BORDERS = rf"[^{_WORD}{_PICTURE}{_TAG_SIGNS}\-–.&+@'’]+"
_ENDS = "-–.&+@'’\u00b7\u30fb"  # at the ends of a listed hashtag; within it, they join
_NEED = regex.compile(rf"[{_LETTER}{_PICTURE}]", regex.V1)

_UNSPACED = (
    r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー]&&[\p{L}\p{M}〇]]"
)
_RUN = regex.compile(_UNSPACED, regex.V1)
_ONE_PICTURE = rf"{_PICTURE}[\ufe0e\ufe0f\p{{Emoji_Modifier}}{_TAG_SIGNS}]*+"
_EMOJI = (
    rf"\p{{Regional_Indicator}}{{2}}|[0-9#*]\ufe0f?\u20e3|{_ONE_PICTURE}(?:\u200d{_ONE_PICTURE})*+"
)
_SPACED = rf"[[\p{{L}}\p{{M}}\p{{Nd}}]--{_UNSPACED}]"
_TOKEN = regex.compile(
    rf"(?P<emoji>{_EMOJI})|(?P<run>{_UNSPACED}+)|{_SPACED}+(?:['\u200c\u200d]+{_SPACED}+)*",
    regex.V1,
)
_ASCII_TOKEN = re.compile(r"[a-z0-9]+(?:'+[a-z0-9]+)*")
_PART = rf"{_EMOJI}|\p{{Nd}}+|[\p{{L}}\p{{M}}\u200c\u200d\u05be\u05f3\u05f4]+"
_SCRIPT_WORD = (
    r"(?<!\p{Han})\p{Han}{1,4}(?!\p{Han})"
    r"|(?<![\p{Katakana}ー])\p{Katakana}[\p{Katakana}ー]{1,9}(?![\p{Katakana}ー])"
)
_NOISE = rf"{_ADDRESS}|[@＠][\p{{L}}\p{{M}}\p{{Nd}}_.]+"
_UNWORDED = str.maketrans({"©": " ", "®": " ", "™": " ", "’": "'", "ʼ": "'"})


def extract(text: str, rule: str = "instagram") -> list[str]:
    """Return the hashtags of a text as written, without the sign, in order, with repeats.

    A hashtag longer than `MAX_LENGTH` characters is cut there.

    Args:
        text: any text; addresses in it are passed over.
        rule: one of `RULES`.

    Raises:
        InputError: there is no such rule.
    """
    _check(rule)
    if "#" not in text and "＃" not in text:
        return []
    found = _pattern(rule).finditer(text)
    forms = [form[:MAX_LENGTH] for match in found if (form := match["form"])]
    return [form for form in forms if len(form) < MAX_LENGTH or _NEED.search(form)]


def split_cell(text: str) -> list[str]:
    """Return the hashtags of a cell that lists them, with or without signs, with repeats.

    Any character that no hashtag can contain separates them: spaces of any kind, U+FFFD, commas,
    bars, slashes. Hyphens, points and apostrophes may be parts of a word: `key` refuses them.
    """
    found = (form.strip(_ENDS) for form in _compiled(_BORDERS).split(text))
    return [form for form in found if form]


def strip(text: str, rule: str = "instagram") -> str:
    """Return a caption without its hashtags, and without surplus spaces and empty lines.

    Lines are kept, with at most one empty line between two. Stripping again changes nothing,
    and `extract` finds nothing in what is left.

    Raises:
        InputError: there is no such rule.
    """
    _check(rule)
    if not text:
        return ""
    if "#" in text or "＃" in text:
        # A space in each place keeps the text around a hashtag from making another one.
        text = _pattern(rule).sub(lambda match: " " if match["form"] else match[0], text)
    text = _compiled(r"[^\S\n]+").sub(" ", text)
    if "\n" in text:
        text = _compiled(r" ?\n ?").sub("\n", text)
        text = _compiled(r"\n{3,}").sub("\n\n", text)
    return text.strip()


def join_words(text: str) -> str | None:
    """Return a hashtag for a tag of several words: `film photography`, `rock & roll`.

    Spaces, and characters that no hashtag contains, are left out; None if no letter or emoji is
    left.
    """
    joined = "".join(_KEY.findall(text))[:MAX_LENGTH]
    try:
        key(joined)
    except InputError:
        return None
    return joined


@cache  # to compile these takes a twentieth of a whole query, and few texts need them
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.V1)


def _check(rule: str) -> None:
    if rule not in _GRAMMARS:
        raise InputError(f"found hashtag rule {rule!r}, expected one of {', '.join(RULES)}")


@cache
def _pattern(rule: str) -> regex.Pattern[str]:
    """Return a pattern of addresses or hashtags; the possessive body keeps `#http://` whole."""
    before, body, need, after = _GRAMMARS[rule]
    ahead = rf"(?![\ufe0f\u20e3])(?=[\p{{Nd}}\ufe0e\ufe0f\u20e3{_JOINING}]*+{need})"
    return _compiled(rf"{_ADDRESS}|(?<!{before}){_SIGN}{ahead}(?P<form>{body}++)(?!{after})")


@lru_cache(maxsize=1 << 17)  # a few hashtags make up most of any scrape
def key(form: str) -> str:
    """Return the canonical spelling of a hashtag.

    The sign is dropped; letters are folded by NFKC and case, without variation selectors.
    Turkish `İ` becomes `i`, so that `#İstanbul` and `#istanbul` are one; `ı` stays `ı`, and `I`
    becomes `i` as in every other language. A key is its own key.

    Args:
        form: a hashtag with or without `#`; spaces around it do not matter.

    Raises:
        InputError: it is no hashtag: blank, without a letter or emoji, too long, or with spaces
            or punctuation inside.
    """
    bare = form.strip()
    bare = bare[1:] if bare[:1] in ("#", "＃") else bare
    folded = bare.lower() if bare.isascii() else _fold_hashtag(bare)
    if not (bare and _KEY.fullmatch(bare) and _NEED.search(folded)):
        raise InputError(
            f"found {_abbreviate(form)}, expected a hashtag: letters, digits, underscores or emoji "
            "without spaces or punctuation, and not digits alone"
        )
    if len(folded) > MAX_LENGTH:
        raise InputError(
            f"found a hashtag of {len(folded)} characters, {_abbreviate(form)}, "
            f"expected {MAX_LENGTH} at most"
        )
    return folded


def display_of(folded: str, form: str) -> str:
    """Return the display form of a hashtag: the given form if it has this key, else the key.

    Files of an index may be a stranger's: if neither is a hashtag, characters that no hashtag
    contains are left out.
    """
    for shown in (form, folded):
        if _KEY.fullmatch(shown):
            with suppress(InputError):
                if key(shown) == key(folded):
                    return shown
    return "".join(_KEY.findall(folded)) or "_"


def _abbreviate(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _fold_hashtag(text: str) -> str:
    """Fold a hashtag; remove spaces that letters (`ﷺ`, `゛`) fold to, and joiners at the ends."""
    while (folded := "".join(_fold(text).split()).strip("\u200c\u200d")) != text:
        text = folded
    return text


def _fold(text: str) -> str:
    """Fold letters as in keys: NFKC, case folded, Turkish `İ` as `i`, no variation selectors."""
    if text.isascii():
        return text.lower()
    # Full-width tilde stands for the wave dash in Japanese; NFKC would make it an ASCII tilde.
    text = unicodedata.normalize("NFKC", text.replace("\uff5e", "\u301c")).casefold()
    text = unicodedata.normalize("NFKC", text).replace("i\u0307", "i")
    return text.replace("\ufe0e", "").replace("\ufe0f", "")


def tokens(text: str) -> list[str]:
    """Return the words of a caption, in order, folded like keys.

    Addresses, mentions and numbers are left out. An emoji is a word. Runs of scripts that are
    written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) become overlapping pairs of
    characters, as a reader sees characters: marks go with their letter.
    """
    if "@" in text or "＠" in text or "/" in text or "www." in text.lower():
        text = _compiled(_NOISE).sub(" ", text)
    if text.isascii():  # the same, several times as fast
        return [word for word in _ASCII_TOKEN.findall(text.lower()) if not word.isdecimal()]
    found: list[str] = []
    for match in _TOKEN.finditer(_fold(text.translate(_UNWORDED))):
        word, kind = match[0], match.lastgroup
        if kind == "run":
            letters = regex.findall(r"\X", word)
            found += [a + b for a, b in pairwise(letters)] or letters
        elif kind == "emoji" or not word.isdecimal():
            found.append(word)
    return found


def script_words(text: str) -> list[str]:
    """Return words that changes of script delimit in Japanese, folded like keys, each once.

    They are one to four Han characters, or two to ten katakana, with other letters on both sides.
    """
    if text.isascii():
        return []
    return list(dict.fromkeys(_compiled(_SCRIPT_WORD).findall(_fold(text))))


def strip_sign(token: str) -> str:
    """Return a token without the sign of a hashtag: `#sunset` and `sunset` become one word."""
    return token[1:] if token.startswith("#") and len(token) > 1 else token


def parts(key: str) -> list[str]:
    """Split a hashtag into runs of letters, runs of digits, and emoji."""
    found: list[str] = _compiled(_PART).findall(key)
    return found


def is_spaced(word: str) -> bool:
    """Return whether a word is in scripts that put spaces between words."""
    return not _RUN.search(word)
