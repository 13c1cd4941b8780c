"""Hashtags that a caption's own words spell, alone or joined: known ones, and ones never used yet.

A place or a name is often tagged by nobody else in the index: `Off to Petersburg` makes
#petersburg. Which of them are worth offering is for the ranker to say.
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
from hashlens.indexer.types import Ids
from hashlens.retriever.index.blocklist import blocked_keys
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import ScoredPairs
from hashlens.retriever.query.glossary import Meant

JOINED = 3  # words that may make one hashtag together
READ = 100  # words of a caption that are looked at
LONGEST = 30  # characters of a hashtag never used before
RARE = 3.0  # idf that each word of a joined one needs, else `ofthe` would be one
OWNED = "'s"  # `puppy's first snow` is of #puppy; `mother's day` is #mothersday all the same

_WORD = re.compile(r"[^\W_]+(?:['’ʼ][^\W_]+)*")
_SENTENCE_ENDS = ".!?\n:"


@dataclass(frozen=True, slots=True, eq=False)
class Spelt:
    """What the words of a batch spell.

    `entries` are by query and tag id, with columns: the rarest word's idf, the commonest word's
    idf, number of words, capitals (0 none, 1 all words at a sentence's beginning, 2 inside one),
    place in the caption (0 to 1), times its first word occurs. `coined` are the keys of hashtags
    that the index does not hold; their ids follow those of the index.
    """

    entries: ScoredPairs
    coined: tuple[str, ...]
    displays: tuple[str, ...]


COLUMNS = ("rarest", "commonest", "words", "capitals", "place", "times")


def spell(
    index: IndexReader,
    captions: Sequence[str],
    words: Sequence[Sequence[str]],
    meant: Sequence[Sequence[Meant]],
    idf: dict[str, float],
    inside: Sequence[Sequence[Sequence[str]]] = (),
) -> Spelt:
    """What each query's words spell; nothing where the index has no hashtag to compare with.

    Words that the glossary knows spell their dictionary form, and the English that they mean
    where the index has that. Words inside unknown seeds spell known hashtags only.

    Args:
        index: the open index.
        captions: a text for each query.
        words: the words of each caption.
        meant: what the glossary knows of each caption.
        idf: weight of each word.
        inside: of each query's unknown seeds, the words that each is made of.
    """
    runs = [
        (query, *run)
        for query, (caption, text) in enumerate(zip(captions, words, strict=True))
        if index.hashtag_count
        for run in (
            *_runs(text[:READ], _capitals(caption), idf, index.unseen_idf),
            *_script_runs(caption, idf, index.unseen_idf),
            *_meant_runs(meant[query], idf, index.unseen_idf),
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
    only_known = [{word for each in some for word in _never_new(each)} for some in meant]
    known = index.tag_ids(list({key for _, key, *_ in (*runs, *from_seeds)}))
    # A seed is a guess at words, so it coins nothing.
    runs += [run for run in from_seeds if run[1] in known and index.offered[known[run[1]]]]
    shunned = blocked_keys()
    coined: dict[str, tuple[int, str]] = {}
    ids, values = [], []
    for query, key, parts, rarest, commonest, capitals, place, times in runs:
        tag = known.get(key)
        if tag is None or not index.offered[tag]:
            whole = is_spaced(key) or key in written[query]
            if not whole or not _may_be_new(key, parts, commonest, capitals) or key in shunned:
                continue
            if key not in written[query] and not only_known[query].isdisjoint(parts):
                continue
            if tag is None:
                fresh = (index.hashtag_count + len(coined), _display(parts))
                tag = coined.setdefault(key, fresh)[0]
        ids.append((query, tag))
        values.append((rarest, commonest, len(parts), capitals, place, times))
    entries = _entries(np.array(ids, np.int64).reshape(-1, 2), np.array(values, np.float32))
    return Spelt(entries, tuple(coined), tuple(display for _, display in coined.values()))


def _runs(
    text: Sequence[str], capitals: dict[str, int], idf: dict[str, float], unseen: float
) -> Iterator[tuple[str, Sequence[str], float, float, int, float, int]]:
    """Every run of words once, at its first place: key, words, and the columns of `Spelt`.

    And each word without its `'s`.
    """
    weights = [idf.get(word, unseen) for word in text]
    shown = [capitals.get(word, 0) for word in text]
    seen = set()
    for size in range(1, JOINED + 1):
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


def _script_runs(
    caption: str, idf: dict[str, float], unseen: float
) -> Iterator[tuple[str, Sequence[str], float, float, int, float, int]]:
    """The same of words that scripts without spaces show; their weights are their pairs'."""
    for word in script_words(caption)[:READ]:
        weights = [idf.get(pair, unseen) for pair in tokens(word)] or [unseen]
        place = max(caption.find(word), 0) / len(caption)
        yield (word, (word,), max(weights), min(weights), 0, place, max(caption.count(word), 1))


def _meant_runs(
    meant: Sequence[Meant], idf: dict[str, float], unseen: float
) -> Iterator[tuple[str, Sequence[str], float, float, int, float, int]]:
    """The same of the words that the glossary knows: as it offers them, and in English."""
    for each in meant:
        for form in (each.word, *each.english):
            words = form.split()
            weights = [idf.get(word, unseen) for word in words]
            yield "".join(words), words, max(weights), min(weights), 0, each.place, 1


def _never_new(meant: Meant) -> Iterator[str]:
    """Words of which no hashtag is made that nobody used: inflected ones, and translations."""
    if meant.said != meant.word:
        yield from meant.said.split()
    yield from meant.english_words


def _may_be_new(key: str, parts: Sequence[str], commonest: float, capitals: int) -> bool:
    """Whether words may make a hashtag that nobody used."""
    if len(parts) == 1 and parts[0].endswith(OWNED):
        return False
    if not 2 <= len(key) <= LONGEST or not any(map(str.isalpha, key)):
        return False
    if len(parts) > 1 and (commonest < RARE or (len(parts) > 2 and not capitals)):
        return False
    # Pairs of characters of scripts without spaces overlap: joined, they would stutter.
    return (len(parts) == 1 or all(map(is_spaced, parts))) and _is_hashtag(key)


def _is_hashtag(key: str) -> bool:
    """Whether a key is its own, as that of `#️⃣love` or of marks without a letter is not."""
    try:
        return key.isascii() or hashtag_key(key) == key
    except InputError:
        return False


def _capitals(caption: str) -> dict[str, int]:
    """Words written with a capital: 2 where one stands inside a sentence, else 1."""
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


def _display(parts: Sequence[str]) -> str:
    """One word as it is; of several each with a capital, so that they can be told apart."""
    words = [part.replace("'", "") for part in parts]
    return words[0] if len(words) == 1 else "".join(word[:1].upper() + word[1:] for word in words)


def _entries(ids: Ids, values: np.ndarray) -> ScoredPairs:
    if not len(ids):
        return ScoredPairs(ids[:, 0], ids[:, 1], np.zeros((0, len(COLUMNS)), np.float32))
    # Two runs may spell one hashtag: the first, of fewer words, stands for both.
    _, first = np.unique(ids, axis=0, return_index=True)
    return ScoredPairs(ids[first, 0].copy(), ids[first, 1].copy(), values[first])
