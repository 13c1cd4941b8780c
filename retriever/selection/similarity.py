"""Similarity of hashtags, by their vectors and by the words they share."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from hashlens.indexer.types import Floats

SAMPLED_PAIRS = 4_096  # of hashtags, to see how similar unrelated ones are
UNRELATED_SHARE = 0.95  # share of random pairs that are taken to be unrelated
# They join words or name the network: sharing them makes nothing similar.
GLUE = frozenset({"of", "the", "and", "in", "at", "on", "my", "a", "to", "for", "de", "la", "el"})
GLUE |= {"instagram", "insta", "gram", "ig", "day", "daily", "x"}
_SIBILANTS = ("ss", "x", "z", "ch", "sh")
_CASE_ENDINGS = "аеиоуыэюяёйьії"  # Russian, Ukrainian: Москва, Москве, Москвы
_MIN_CASED = 5  # letters of a word that may have one


def unrelated_cosine(vectors: Floats) -> float:
    """Return the cosine that random pairs seldom exceed.

    Args:
        vectors: unit rows, float32 (n, d).
    """
    if len(vectors) < 2:
        return 0.0
    draw = np.random.default_rng(1)
    first = draw.integers(len(vectors), size=SAMPLED_PAIRS)
    second = (first + draw.integers(1, len(vectors), size=SAMPLED_PAIRS)) % len(vectors)
    cosines = np.einsum("nd,nd->n", vectors[first], vectors[second])
    return float(np.clip(np.quantile(cosines, UNRELATED_SHARE), 0, 0.99))


def similarity(vectors: Floats, unrelated: float, words: Sequence[frozenset[str]]) -> Floats:
    """Return the similarity of n hashtags in [0, 1], float32 (n, n): by vector or by words.

    Args:
        vectors: unit rows, or zeros if unknown, float32 (n, d).
        unrelated: cosine that counts as 0; 1 stays 1.
        words: `stems` of each hashtag's words.
    """
    by_vector = (vectors @ vectors.T - unrelated) / (1 - unrelated)
    alike: Floats = np.clip(np.maximum(by_vector, word_overlap(words)), 0, 1).astype(np.float32)
    return alike


def word_overlap(words: Sequence[frozenset[str]]) -> Floats:
    """Return the share of words that two of n hashtags have in common, float32 (n, n).

    Dice, "Measures of the amount of ecologic association between species" (1945): twice the
    common words by the sum of both. #cat and #catlover: 2 · 1 / (1 + 2).
    """
    column = {word: n for n, word in enumerate(dict.fromkeys(w for own in words for w in own))}
    holds = np.zeros((len(words), len(column)), np.float32)
    sizes = [len(own) for own in words]
    rows = np.repeat(np.arange(len(words)), sizes)
    holds[rows, [column[word] for own in words for word in own]] = 1
    both = np.add.outer(sizes, sizes)
    return np.asarray(2 * (holds @ holds.T) / np.maximum(both, 1), np.float32)


def stems(words: Iterable[str]) -> frozenset[str]:
    """Return words without plural and case endings, accents and glue words."""
    given = tuple(words)
    return frozenset(map(_stem, [word for word in given if word not in GLUE] or given))


def _stem(word: str) -> str:
    bare = word
    if not word.isascii():
        letters = unicodedata.normalize("NFD", word)
        # Latin letters alone: in other scripts a mark is part of the letter (й, が, vowel signs).
        letters = "".join(c for c in letters if not "\u0300" <= c <= "\u036f")
        bare = letters if letters.isascii() else word
    if bare[-1:] in _CASE_ENDINGS and len(bare) >= _MIN_CASED:
        return bare[:-1]
    if len(bare) > 4 and bare.endswith("ies"):
        return f"{bare[:-3]}y"
    if len(bare) > 4 and bare.endswith("es") and bare[:-2].endswith(_SIBILANTS):
        return bare[:-2]
    is_plural = len(bare) > 3 and bare.endswith("s") and not bare.endswith(("ss", "us", "is"))
    return bare[:-1] if is_plural else bare


def mean_similarity(alike: Floats) -> float:
    """Return the mean similarity of the pairs of n hashtags, (n, n); 0 for fewer than two.

    Ziegler et al., "Improving recommendation lists through topic diversification" (2005): the
    intra-list similarity, over its number of pairs.
    """
    pairs = alike[np.triu_indices(len(alike), 1)]
    return float(pairs.mean()) if len(pairs) else 0.0
