"""Words inside hashtags: `goldenretriever` is golden, retriever.

A unigram model after Norvig, "Natural Language Corpus Data", in Beautiful Data (2009): of all ways
to cut a hashtag, the one whose words are likeliest, each independent of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from hashlens.indexer.text.hashtags import is_spaced, parts

MAX_WORD = 20  # letters; longer words are not searched inside hashtags
_ZIPF_TOP = 1_000_000_000  # count of the first pretrained word: keeps the 400,000th above zero
# Past this rank counts fall by the square, as found in large texts by Ferrer i Cancho and Solé,
# "Two regimes in the frequency of words" (2001): else glued words (`newyork`) beat their parts.
_ZIPF_KNEE = 10_000
# Almost every string of one to four letters is an abbreviation in a large vocabulary. Words have
# high ranks: up to these, among pretrained words or the index's own.
_SHORT_RANKS = {1: (100, 0), 2: (1_100, 120), 3: (9_000, 1_000), 4: (60_000, 5_000)}
_SMALLEST_TEXT = 1_000_000  # words
_OWN_SHARE = 0.5  # total weight of the index's own words, relative to pretrained ones


def vocabulary_counts(own: Mapping[str, int], ranked: Sequence[str]) -> dict[str, int]:
    """Return counts for a `Segmenter`, from an index's own words and a pretrained vocabulary.

    A pretrained word of rank r counts C / r (Zipf's law), and less past the first ten thousand;
    the index's own counts are scaled to a fixed share of that mass and added. Short words count
    only where they are frequent, and words that are not pretrained only where they stand more
    than once in the index.

    Args:
        own: count of each word in the index's captions.
        ranked: pretrained words, the most frequent first; those that are not letters alone are
            passed over.
    """
    pretrained = {word: rank for rank, word in enumerate(ranked, start=1) if word.isalpha()}
    by_count = sorted(
        (w for w in own if w.isalpha() and (own[w] > 1 or w in pretrained)),
        key=lambda word: (-own[word], word),
    )
    own_ranks = {word: rank for rank, word in enumerate(by_count, start=1)}
    counts = {
        w: _ZIPF_TOP / rank * min(1, _ZIPF_KNEE / rank)
        for w, rank in pretrained.items()
        if _is_word(w, rank, own_ranks)
    }
    kept = [w for w in by_count if w in counts or _is_word(w, None, own_ranks)]
    total = sum(own[word] for word in kept)
    scale = _OWN_SHARE * (sum(counts.values()) or total) / total if total else 0
    for word in kept:
        counts[word] = counts.get(word, 0) + scale * own[word]
    return {word: max(1, round(count)) for word, count in counts.items()}


def _is_word(word: str, rank: int | None, own_ranks: Mapping[str, int]) -> bool:
    if len(word) not in _SHORT_RANKS:
        return True
    pretrained_limit, own_limit = _SHORT_RANKS[len(word)]
    frequent = rank is not None and rank <= pretrained_limit
    return frequent or own_ranks.get(word, own_limit + 1) <= own_limit


class Segmenter:
    """Cuts hashtags into words by a unigram model."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        """Make the model; `counts` are of each word in a large text."""
        total = max(sum(counts.values()), 1)
        self._scores = {
            word: math.log(count / total)
            for word, count in counts.items()
            if count > 0 and len(word) <= MAX_WORD
        }
        # Norvig's guess for a word never seen, 10 / (N 10^length): long ones are unlikely. It is
        # meant for large N; with a small one, a row of single letters would beat any word.
        guess = math.log(10 / max(total, _SMALLEST_TEXT))
        self._unseen = [guess - n * math.log(10) for n in range(MAX_WORD + 1)]
        self._common = math.log(_ZIPF_TOP / _ZIPF_KNEE / total)

    def is_common(self, word: str) -> bool:
        """Return whether a word is as frequent as the first ten thousand pretrained words."""
        return self._scores.get(word, -math.inf) >= self._common

    def segment(self, key: str) -> tuple[str, ...]:
        """Return the words of a hashtag, in order.

        Underscores and borders between letters, digits and emoji part words. A run of letters in
        a script that is written without spaces stays whole.

        Args:
            key: a hashtag as `hashtags.key` spells it.
        """
        found: list[str] = []
        for part in parts(key):
            whole = not part[0].isalpha() or len(part) < 3 or not is_spaced(part)
            found += (part,) if whole else self._best(part)
        return tuple(found) or (key,)

    def _best(self, run: str) -> tuple[str, ...]:
        """Return the likeliest segmentation, by dynamic programming over word ends (Viterbi)."""
        best, starts = [0.0], [0]
        for end in range(1, len(run) + 1):
            score, start = max(self._endings(run, end, best))
            best.append(score)
            starts.append(start)
        cuts = [len(run)]
        while cuts[-1]:
            cuts.append(starts[cuts[-1]])
        return tuple(run[start:end] for start, end in pairwise(reversed(cuts)))

    def _endings(self, run: str, end: int, best: list[float]) -> Iterator[tuple[float, int]]:
        """Yield score and start of each word that could end at `end`."""
        scores, unseen = self._scores, self._unseen
        for start in range(max(0, end - MAX_WORD), end):
            word = scores.get(run[start:end])
            yield best[start] + (unseen[end - start] if word is None else word), start
