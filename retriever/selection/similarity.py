"""How alike hashtags are: by their vectors, and by the words they share.

Arrays alone: where vectors and words come from is the caller's business.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from hashlens.indexer.types import Floats

SAMPLED = 4_096  # pairs of hashtags compared to see how alike unrelated ones are
UNRELATED = 0.95  # share of the pairs drawn blindly that are taken to be unrelated
# They tie words together or name the network: sharing them makes nothing alike.
GLUE = frozenset({"of", "the", "and", "in", "at", "on", "my", "a", "to", "for", "de", "la", "el"})
GLUE |= {"instagram", "insta", "gram", "ig", "day", "daily", "x"}
_HISSING = ("ss", "x", "z", "ch", "sh")
_CASE_ENDINGS = "аеиоуыэюяёйьії"  # Russian, Ukrainian: Москва, Москве, Москвы
_SHORTEST_CASED = 5


def unrelated_cosine(vectors: Floats) -> float:
    """The cosine that unrelated hashtags seldom pass: that of pairs drawn blindly.

    Args:
        vectors: unit rows, float32 (n, d).
    """
    if len(vectors) < 2:
        return 0.0
    draw = np.random.default_rng(1)
    first = draw.integers(len(vectors), size=SAMPLED)
    second = (first + draw.integers(1, len(vectors), size=SAMPLED)) % len(vectors)
    cosines = np.einsum("nd,nd->n", vectors[first], vectors[second])
    return float(np.clip(np.quantile(cosines, UNRELATED), 0, 0.99))


def likeness(vectors: Floats, unrelated: float, words: Sequence[frozenset[str]]) -> Floats:
    """Likeness of n hashtags in [0, 1], float32 (n, n): by vector or by words, the greater.

    Args:
        vectors: unit rows, or zeros where unknown, float32 (n, d).
        unrelated: cosine that counts as 0; 1 stays 1.
        words: `stems` of each hashtag's words.
    """
    by_vector = (vectors @ vectors.T - unrelated) / (1 - unrelated)
    alike: Floats = np.clip(np.maximum(by_vector, shared_words(words)), 0, 1).astype(np.float32)
    return alike


def shared_words(words: Sequence[frozenset[str]]) -> Floats:
    """Share of words that two of n hashtags have in common, float32 (n, n).

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
    """A hashtag's words without plural and case endings, accents and words that only glue."""
    said = tuple(words)
    telling = [word for word in said if word not in GLUE]
    return frozenset(map(_stem, telling or said))


def _stem(word: str) -> str:
    bare = _unaccented(word)
    if bare[-1:] in _CASE_ENDINGS and len(bare) >= _SHORTEST_CASED:
        return bare[:-1]
    if len(bare) > 4 and bare.endswith("ies"):
        return f"{bare[:-3]}y"
    if len(bare) > 4 and bare.endswith("es") and bare[:-2].endswith(_HISSING):
        return bare[:-2]
    plural = len(bare) > 3 and bare.endswith("s") and not bare.endswith(("ss", "us", "is"))
    return bare[:-1] if plural else bare


def _unaccented(word: str) -> str:
    if word.isascii():
        return word
    apart = unicodedata.normalize("NFD", word)
    # Latin letters alone: in other scripts a mark is part of the letter (й, が, vowel signs).
    bare = "".join(c for c in apart if not "\u0300" <= c <= "\u036f")
    return bare if bare.isascii() else word


def redundancy(alike: Floats) -> float:
    """Mean likeness of the pairs of one list of n hashtags, (n, n); 0 for fewer than two.

    Ziegler et al., "Improving recommendation lists through topic diversification" (2005): the
    intra-list similarity, over its number of pairs.
    """
    pairs = alike[np.triu_indices(len(alike), 1)]
    return float(pairs.mean()) if len(pairs) else 0.0
