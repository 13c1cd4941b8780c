"""Makes hashtags of a caption's own words, alone or joined: known ones and new ones.

Often nobody else in the index tags a place or a name: `Off to Petersburg` makes #petersburg. The
ranker decides which of them to offer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unicodedata import normalize

import numpy as np

from hashlens.indexer.errors import InputError
from hashlens.indexer.text.hashtags import is_spaced, script_words, tokens
from hashlens.indexer.text.hashtags import key as hashtag_key
from hashlens.retriever.index.blocklist import blocked_keys
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import ScoredPairs
from hashlens.retriever.query.glossary import Meant

MAX_JOINED = 3  # words of one hashtag
MAX_WORDS = 100  # of a caption that are looked at
MAX_NEW_LENGTH = 30  # characters of a new hashtag
MIN_JOINED_IDF = 3.0  # of each word of a new joined hashtag, otherwise `ofthe` would be one
OWNED = "'s"  # `puppy's first snow` makes #puppy; `mother's day` still makes #mothersday

_WORD = re.compile(r"[^\W_]+(?:['’ʼ][^\W_]+)*")
_SENTENCE_ENDS = ".!?\n:"
_APOSTROPHES = str.maketrans("’ʼ", "''")


@dataclass(frozen=True, slots=True, eq=False)
class Spelt:
    """The hashtags that the words of a batch spell.

    Attributes:
        entries: by query and tag id, with the columns of `COLUMNS`: idf of the rarest and of the
            commonest word, number of words, capitals (0 none, 1 all words at a sentence's
            beginning, 2 inside a sentence), place in the caption (0 to 1), and how often the first
            word occurs.
        coined: keys of hashtags that the index does not have; their ids follow those of the index.
        displays: how each coined hashtag is written.
    """

    entries: ScoredPairs
    coined: tuple[str, ...]
    displays: tuple[str, ...]


COLUMNS = ("rarest", "commonest", "words", "capitals", "place", "times")
_Run = tuple[str, Sequence[str], float, float, int, float, int]  # key, words, then the others


def spell(
    index: IndexReader,
    captions: Sequence[str],
    words: Sequence[Sequence[str]],
    meant: Sequence[Sequence[Meant]],
    idf: dict[str, float],
    inside: Sequence[Sequence[Sequence[str]]] = (),
) -> Spelt:
    """Return the hashtags that each query's words spell; none if the index has no hashtags.

    Words that the glossary translates spell their dictionary form, and English hashtags that the
    index has. Words inside unknown seeds spell known hashtags only.

    Args:
        index: the open index.
        captions: a text for each query.
        words: the words of each caption.
        meant: the words of each caption that the glossary translates.
        idf: weight of each word.
        inside: for each query, the words inside each unknown seed.
    """
    runs = [
        (query, *run)
        for query, (caption, text) in enumerate(zip(captions, words, strict=True))
        if index.hashtag_count
        for run in (
            *_runs(text[:MAX_WORDS], find_capitals(caption), idf, index.unseen_idf),
            *_runs_without_spaces(caption, meant[query], idf, index.unseen_idf),
        )
    ]
    from_seeds = [
        (query, *run)
        for query, seeds in enumerate(inside)
        if index.hashtag_count
        for pieces in seeds
        for run in _runs(pieces, {}, idf, index.unseen_idf)
    ]
    written = [
        {*script_words(caption), *(each.keys[0] for each in some)}
        for caption, some in zip(captions, meant, strict=True)
    ]
    # Neither an inflected form nor a translation makes a new hashtag.
    only_known = [
        {w for each in some for w in each.english_words}
        | {w for each in some if each.said != each.word for w in each.said.split()}
        for some in meant
    ]
    known = index.tag_ids(list({key for _, key, *_ in (*runs, *from_seeds)}))
    # The words inside a seed are a guess, so they make no new hashtag.
    runs += [run for run in from_seeds if run[1] in known and index.offered[known[run[1]]]]
    shunned = blocked_keys()
    coined: dict[str, tuple[int, str]] = {}
    ids, values = [], []
    for query, key, parts, rarest, commonest, capitals, place, times in runs:
        tag = known.get(key)
        if tag is None or not index.offered[tag]:
            if len(parts) > 1 and not is_phrase(parts, captions[query]):
                continue
            whole = is_spaced(key) or key in written[query]
            if not whole or not can_be_new(key, parts, commonest, capitals) or key in shunned:
                continue
            if key not in written[query] and not only_known[query].isdisjoint(parts):
                continue
            if tag is None:
                # Each of several words has a capital: #FourthWing.
                bare = [part.replace("'", "") for part in parts]
                display = (
                    bare[0] if len(bare) == 1 else "".join(w[:1].upper() + w[1:] for w in bare)
                )
                fresh = (index.hashtag_count + len(coined), display)
                tag = coined.setdefault(key, fresh)[0]
        ids.append((query, tag))
        values.append((rarest, commonest, len(parts), capitals, place, times))
    # Two runs may spell one hashtag: the first, which has fewer words, stands for both.
    pairs = np.array(ids, np.int64).reshape(-1, 2)
    _, first = np.unique(pairs, axis=0, return_index=True)
    columns = np.array(values, np.float32).reshape(-1, len(COLUMNS))[first]
    entries = ScoredPairs(pairs[first, 0].copy(), pairs[first, 1].copy(), columns)
    return Spelt(entries, tuple(coined), tuple(display for _, display in coined.values()))


def _runs(
    text: Sequence[str], capitals: dict[str, int], idf: dict[str, float], unseen: float
) -> Iterator[_Run]:
    """Yield every run of words once, at its first place, and each word without its `'s`."""
    weights = [idf.get(word, unseen) for word in text]
    shown = [capitals.get(word, 0) for word in text]
    seen = set()
    for size in range(1, MAX_JOINED + 1):
        for start in range(len(text) - size + 1):
            run = text[start : start + size]
            key = "".join(run).replace("'", "")
            if key in seen or not key:
                continue
            seen.add(key)
            span = slice(start, start + size)
            yield (
                *(key, run, max(weights[span]), min(weights[span]), min(shown[span])),
                *(start / len(text), text.count(run[0])),
            )
    for start, word in enumerate(text):
        owner = word.removesuffix(OWNED)
        key = owner.replace("'", "")
        if owner != word and key not in seen:
            seen.add(key)
            weight = idf.get(owner, unseen)
            yield key, (owner,), weight, weight, shown[start], start / len(text), text.count(word)


def _runs_without_spaces(
    caption: str, meant: Sequence[Meant], idf: dict[str, float], unseen: float
) -> Iterator[_Run]:
    """Yield the words of scripts without spaces, and translated words in both languages.

    The weight of a word without spaces is that of its pairs of characters.
    """
    for word in script_words(caption)[:MAX_WORDS]:
        weights = [idf.get(pair, unseen) for pair in tokens(word)] or [unseen]
        place = max(caption.find(word), 0) / len(caption)
        yield (word, (word,), max(weights), min(weights), 0, place, max(caption.count(word), 1))

    for each in meant:
        for form in (each.word, *each.english):
            words = form.split()
            weights = [idf.get(word, unseen) for word in words]
            yield "".join(words), words, max(weights), min(weights), 0, each.place, 1


def is_phrase(words: Sequence[str], caption: str) -> bool:
    """Whether words stand side by side in a caption, with nothing but spaces or hyphens between.

    Nobody joins words across a punctuation mark, an emoji, a number or a line break.
    """
    text = normalize("NFKC", caption).casefold().translate(_APOSTROPHES)
    between = r"(?:[^\S\n]|[-‐‑])+".join(map(re.escape, words))
    return re.search(rf"(?<!\w){between}(?!\w)", text) is not None


def can_be_new(key: str, parts: Sequence[str], commonest: float, capitals: int) -> bool:
    """Whether words may make a hashtag that nobody used."""
    if len(parts) == 1 and parts[0].endswith(OWNED):
        return False
    if not 2 <= len(key) <= MAX_NEW_LENGTH or not any(map(str.isalpha, key)):
        return False
    if len(parts) > 1 and (commonest < MIN_JOINED_IDF or (len(parts) > 2 and not capitals)):
        return False
    # Pairs of characters of scripts without spaces overlap: joined, they would stutter.
    if len(parts) > 1 and not all(map(is_spaced, parts)):
        return False
    try:  # `#️⃣love` has another key, and marks without a letter have none
        return key.isascii() or hashtag_key(key) == key
    except InputError:
        return False


def find_capitals(caption: str) -> dict[str, int]:
    """Return words that begin with a capital: 2 if one stands inside a sentence, otherwise 1."""
    found: dict[str, int] = {}
    caption = normalize("NFKC", caption)  # an accent of its own would end a word
    for match in _WORD.finditer(caption):
        word = match[0]
        if word[0].isupper():
            before = caption[: match.start()].rstrip(" \"'“‘(")
            inside = 1 + bool(before and before[-1] not in _SENTENCE_ENDS)
            for key in tokens(word):
                found[key] = max(found.get(key, 0), inside)
    return found
