"""Words of Russian, Japanese, Chinese and Korean captions, understood through English.

Few posts of an index may be in a caption's language, while its vectors and counts know English
words. So the words that `data/glossary.tsv` knows are read as its English words, too: translation
of a query by a dictionary (Ballesteros and Croft 1997, "Phrasal translation and query expansion
techniques for cross-language information retrieval"). That is for other writing than Latin,
where no word can be mistaken for an English one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from unicodedata import normalize

from hashlens.indexer.config import data_path

READ = 2_000  # characters of a caption that are looked at
LONGEST = 3  # words of a form
MEANINGS = 2  # rows of the glossary that a form may stand in
UNDERSTOOD = "~"  # before a form in whose place the first of its row is offered

_HAN, _KATAKANA = "\u3005\u4e00-\u9fff", "\u30a0-\u30ff"
_CYRILLIC = re.compile("[\u0400-\u052f]+")
_HANGUL = re.compile("[\uac00-\ud7a3]+")
_UNSPACED = re.compile(f"[\u3041-\u309f{_KATAKANA}{_HAN}]+")
_KANA = re.compile(f"[\u3041-\u309f{_KATAKANA}]")
# Forms of these letters alone are part of a longer word beside such: 月 is no moon in `11月`.
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
    """A word of a caption that the glossary knows.

    `said` is how it stands there, `word` how it is offered, `english` what it means, and `place`
    where it stands, from 0 to 1.
    """

    said: str
    word: str
    english: tuple[str, ...]
    place: float

    @property
    def english_words(self) -> tuple[str, ...]:
        """The words of what it means, one by one."""
        return tuple(word for english in self.english for word in english.split())

    @property
    def keys(self) -> tuple[str, ...]:
        """The hashtags that it speaks for: in its own language, then in English."""
        return tuple("".join(form.split()) for form in (self.word, *self.english))


_Entry = tuple[str, tuple[str, ...]]  # how a form is offered, and what it means
_Found = Iterator[tuple[int, str, _Entry]]  # where forms stand, and how


def understood(caption: str) -> tuple[Meant, ...]:
    """The words of a caption that the glossary knows, in order, each once."""
    if caption.isascii():
        return ()
    text = normalize("NFKC", caption[:READ]).casefold()
    found: dict[str, Meant] = {}
    for read in (_cyrillic, _korean, _unspaced):
        for start, said, (word, english) in read(text):
            found.setdefault(word, Meant(said, word, english, start / len(text)))
    return tuple(found.values())


def _cyrillic(text: str) -> _Found:
    """Words by their stems, as they are inflected; several together before one alone."""
    words = list(_CYRILLIC.finditer(text))
    if not words:
        return
    entries, stem = _entries("ru"), _stemmer()
    stems = [stem(word[0]) for word in words]
    first = 0
    while first < len(words):
        for end in range(min(first + LONGEST, len(words)), first, -1):
            entry = entries.get(" ".join(stems[first:end]))
            if entry:
                start = words[first].start()
                yield start, text[start : words[end - 1].end()], entry
                first = end - 1
                break
        first += 1


def _korean(text: str) -> _Found:
    """Words with or without a particle."""
    for word in _HANGUL.finditer(text):
        entries = _entries("ko")
        for end in range(len(word[0]), 0, -1):
            entry = entries.get(word[0][:end])
            if entry and (end == len(word[0]) or _PARTICLES.fullmatch(word[0], end)):
                yield word.start(), word[0], entry
                break


def _unspaced(text: str) -> _Found:
    """The longest forms in runs of letters: Japanese where there are kana, else Chinese."""
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
                if entry and not _is_part(text, start, end):
                    yield start, text[start:end], entry
                    start = end - 1
                    break
            start += 1


def _is_part(text: str, start: int, end: int) -> bool:
    around = text[max(start - 1, 0) : start], text[end : end + 1]
    return any(
        form.fullmatch(text, start, end) and any(map(beside.match, around))
        for form, beside in _PARTS
    )


@cache
def _entries(language: str) -> dict[str, _Entry]:
    """By form (stems in Russian): how it is offered, what it means; first forms come first."""
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
        bare = form.removeprefix(UNDERSTOOD).casefold()
        if not bare:
            continue
        key = " ".join(map(stem, bare.split()))
        word, known = entries.get(key, (first if form.startswith(UNDERSTOOD) else form, ()))
        if english not in known and len(known) < MEANINGS:
            entries[key] = (word, (*known, english))
    return entries


def _stemmer() -> Callable[[str], str]:
    """A Snowball stemmer of Russian (Porter 2001), for one thread: it keeps its word in itself."""
    from snowballstemmer import stemmer

    stem: Callable[[str], str] = stemmer("russian").stemWord
    return stem
