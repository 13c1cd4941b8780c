"""Translates words of Russian, Japanese, Chinese and Korean captions into English.

An index may have few posts in a caption's language, but its vectors and counts know English words.
`data/glossary.tsv` gives the English words: translation of a query by a dictionary (Ballesteros
and Croft 1997, "Phrasal translation and query expansion techniques for cross-language information
retrieval"). It covers scripts other than Latin, where no word looks like an English one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from unicodedata import normalize

from hashlens.indexer.config import data_path

MAX_CHARACTERS = 2_000  # of a caption that are translated
MAX_WORDS = 3  # of a form
MAX_MEANINGS = 2  # rows of the glossary that a form may stand in
NOT_OFFERED = "~"  # before a form that is replaced by the first of its row

_HAN, _KATAKANA = "\u3005\u4e00-\u9fff", "\u30a0-\u30ff"
_CYRILLIC = re.compile("[\u0400-\u052f]+")
_HANGUL = re.compile("[\uac00-\ud7a3]+")
_UNSPACED = re.compile(f"[\u3041-\u309f{_KATAKANA}{_HAN}]+")
_KANA = re.compile(f"[\u3041-\u309f{_KATAKANA}]")
# A form of these letters is part of a longer word if such a letter is beside it: 月 in `11月`.
_PARTS = (
    (re.compile(f"[{_HAN}]"), re.compile(f"[{_HAN}0-9]")),
    (re.compile(f"[{_KATAKANA}]+"), re.compile(f"[{_KATAKANA}]")),
)
_PARTICLES = re.compile(
    "은|는|이|가|을|를|와|과|랑|이랑|하고|에|에서|에게|의|도|로|으로|만|까지|부터|에는|에도"
    "|들|들과|들이|들은|이다|입니다|이에요|예요|하는|했다|해요|했어요|합니다|했습니다"
)


@dataclass(frozen=True, slots=True)
class Meant:
    """A word of a caption that the glossary translates.

    `said` is its form in the caption, `word` the form that is offered, `english` its meanings, and
    `place` its place in the caption, from 0 to 1.
    """

    said: str
    word: str
    english: tuple[str, ...]
    place: float

    @property
    def english_words(self) -> tuple[str, ...]:
        """The single words of its meanings."""
        return tuple(word for english in self.english for word in english.split())

    @property
    def keys(self) -> tuple[str, ...]:
        """The hashtags that it stands for: in its own language, then in English."""
        return tuple("".join(form.split()) for form in (self.word, *self.english))


_Entry = tuple[str, tuple[str, ...]]  # the form that is offered, and its meanings
_Matches = Iterator[tuple[int, str, _Entry]]  # place and form in the caption, and its entry


def translate(caption: str) -> tuple[Meant, ...]:
    """Return the words of a caption that the glossary knows, in order, each once."""
    if caption.isascii():
        return ()
    text = normalize("NFKC", caption[:MAX_CHARACTERS]).casefold()
    found: dict[str, Meant] = {}
    matches = chain(_match_russian(text), _match_korean(text), _match_unspaced(text))
    for start, said, (word, english) in matches:
        found.setdefault(word, Meant(said, word, english, start / len(text)))
    return tuple(found.values())


def _match_russian(text: str) -> _Matches:
    """Match inflected words by their stems, the longest form first."""
    words = list(_CYRILLIC.finditer(text))
    if not words:
        return
    entries, stem = _entries("ru"), _stemmer()
    stems = [stem(word[0]) for word in words]
    first = 0
    while first < len(words):
        for end in range(min(first + MAX_WORDS, len(words)), first, -1):
            entry = entries.get(" ".join(stems[first:end]))
            if entry:
                start = words[first].start()
                yield start, text[start : words[end - 1].end()], entry
                first = end - 1
                break
        first += 1


def _match_korean(text: str) -> _Matches:
    """Match words with or without a particle."""
    for word in _HANGUL.finditer(text):
        entries = _entries("ko")
        for end in range(len(word[0]), 0, -1):
            entry = entries.get(word[0][:end])
            if entry and (end == len(word[0]) or _PARTICLES.fullmatch(word[0], end)):
                yield word.start(), word[0], entry
                break


def _match_unspaced(text: str) -> _Matches:
    """Match the longest forms in runs of letters: Japanese if the text has kana, else Chinese."""
    runs = list(_UNSPACED.finditer(text))
    if not runs:
        return
    entries = _entries("ja" if _KANA.search(text) else "zh")
    longest = max(map(len, entries))
    for run in runs:
        start = run.start()
        while start < run.end():
            for end in range(min(start + longest, run.end()), start, -1):
                entry = entries.get(text[start:end])
                around = text[max(start - 1, 0) : start], text[end : end + 1]
                is_part = any(
                    form.fullmatch(text, start, end) and any(map(beside.match, around))
                    for form, beside in _PARTS
                )
                if entry and not is_part:
                    yield start, text[start:end], entry
                    start = end - 1
                    break
            start += 1


@cache
def _entries(language: str) -> dict[str, _Entry]:
    """Return the entries of a language by form, in Russian by stems; first forms come first."""
    header, *lines = data_path("glossary.tsv").read_text(encoding="utf-8").splitlines()
    column = header.split("\t").index(language)
    rows = [(row[0], row[column].split(",")) for row in (line.split("\t") for line in lines)]
    ranked = sorted(
        (
            (place, english, form, forms[0])
            for english, forms in rows
            for place, form in enumerate(forms)
        ),
        key=lambda each: each[0],
    )
    entries: dict[str, _Entry] = {}
    stem = _stemmer() if language == "ru" else str
    for _, english, form, first in ranked:
        bare = form.removeprefix(NOT_OFFERED).casefold()
        if not bare:
            continue
        key = " ".join(map(stem, bare.split()))
        word, known = entries.get(key, (first if form.startswith(NOT_OFFERED) else form, ()))
        if english not in known and len(known) < MAX_MEANINGS:
            entries[key] = (word, (*known, english))
    return entries


def _stemmer() -> Callable[[str], str]:
    """Return a Snowball stemmer of Russian (Porter 2001); two threads must not share one."""
    from snowballstemmer import stemmer

    stem: Callable[[str], str] = stemmer("russian").stemWord
    return stem
