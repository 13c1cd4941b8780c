"""Words and hashtags as unit vectors in one space: lookup, mean, neighbours, save and open.

The query path reads spaces through this file, so it imports NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashlens.indexer.arrays.sparse import open_npy
from hashlens.indexer.embeddings.lines import Lines
from hashlens.indexer.errors import IndexCorruptError, InputError, ShapeError, unreadable
from hashlens.indexer.types import Floats, Ids

_WORDS, _VECTORS, _COUNTS = "words.txt", "vectors.npy", "counts.npy"
# Rows scored at once: bounds the float32 copy of stored float16 rows to a few MiB.
_BLOCK = 65536


@dataclass(frozen=True, eq=False)
class WordSpace:
    """v words with unit vectors; hashtags are written `#key`, caption words bare.

    `words` are unique; `vectors` float32 or float16 (v, d), unit rows; `counts` int64 (v,) is how
    often the training posts hold each word, 0 for a word known from pretrained vectors alone.
    Rows are positions in this one space and mean nothing outside it.

    Raises:
        ShapeError: an array has another dtype or shape.
    """

    words: Sequence[str]
    vectors: NDArray[Any]
    counts: Ids

    def __post_init__(self) -> None:
        size = len(self.words)
        found, counts = self.vectors, self.counts
        if found.dtype not in (np.float32, np.float16) or found.ndim != 2 or len(found) != size:
            raise ShapeError(
                f"WordSpace.vectors: found {found.dtype} {found.shape}, "
                f"expected float32 or float16 ({size}, any)"
            )
        if counts.dtype != np.int64 or counts.shape != (size,):
            raise ShapeError(
                f"WordSpace.counts: found {counts.dtype} {counts.shape}, expected int64 ({size},)"
            )
        for name in ("vectors", "counts"):
            frozen = np.ascontiguousarray(getattr(self, name)).view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    @classmethod
    def normalized(cls, words: Iterable[str], vectors: ArrayLike, counts: ArrayLike) -> Self:
        """A space from rows of any length, scaled to 1; rows without a direction are left out.

        Args:
            words: v unique words.
            vectors: (v, d) numbers.
            counts: (v,) whole numbers.

        Raises:
            ShapeError: a row is NaN or infinite, or lengths differ.
        """
        rows = np.asarray(vectors, np.float32)
        norms = np.linalg.norm(rows, axis=1)
        if not np.isfinite(norms).all():
            raise ShapeError("WordSpace: found NaN or infinite vectors, expected finite")
        space_words, whole = tuple(words), np.asarray(counts, np.int64)
        if len(space_words) != len(rows) or len(whole) != len(rows):
            raise ShapeError(
                f"WordSpace: found {len(space_words)} words, {len(rows)} vectors and "
                f"{len(whole)} counts, expected as many of each"
            )
        kept = np.flatnonzero(norms > 0)
        if len(kept) < len(rows):
            space_words = tuple(space_words[row] for row in kept)
            rows, norms, whole = rows[kept], norms[kept], whole[kept]
        return cls(space_words, rows / norms[:, None], whole)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word in self._known([word])

    @property
    def dimensions(self) -> int:
        """Width d of the vectors."""
        return int(self.vectors.shape[1])

    @cached_property
    def _row_of(self) -> dict[str, int]:
        rows = dict(zip(self.words, range(len(self.words)), strict=True))
        if len(rows) != len(self.words):
            raise ShapeError(
                f"WordSpace.words: found {len(self.words) - len(rows)} repeated words, "
                "expected each once"
            )
        return rows

    def _known(self, words: Sequence[str]) -> Mapping[str, int]:
        """Rows of those of the words that the space holds, and perhaps of others."""
        return self.words.places(words) if isinstance(self.words, Lines) else self._row_of

    def lookup(self, words: Sequence[str]) -> tuple[Ids, Ids]:
        """The words that the space holds: `(positions, rows)`, both int64 (f,).

        `positions[i]` is a place in `words` and `rows[i]` the space's row of that word.
        """
        known = self._known(words)
        hits = [(place, known[word]) for place, word in enumerate(words) if word in known]
        pairs = np.array(hits, np.int64).reshape(-1, 2)
        return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])

    def mean(self, words: Sequence[str], weights: Sequence[float] | None = None) -> Floats:
        """Weighted mean direction, float32 (d,): a unit vector, or zeros where none is known.

        Args:
            words: any words; unknown ones are passed over.
            weights: one a word, such as inverse document frequencies; 1 where left out.

        Raises:
            ShapeError: there are not as many weights as words.
        """
        if weights is not None and len(weights) != len(words):
            raise ShapeError(
                f"WordSpace.mean: found {len(weights)} weights, expected {len(words)}, one a word"
            )
        positions, rows = self.lookup(words)
        shares = np.ones(len(words)) if weights is None else np.asarray(weights, np.float64)
        total = shares[positions] @ self.vectors[rows].astype(np.float64)
        length = np.linalg.norm(total)
        return (total / length if length > 1e-9 else np.zeros_like(total)).astype(np.float32)

    def neighbors(self, vector: Floats, k: int, among: Ids | None = None) -> tuple[Ids, Floats]:
        """The k nearest rows by cosine: rows int64 (m,), scores float32 (m,) descending.

        Args:
            vector: float32 (d,), a unit vector or zeros; zeros have no neighbours.
            k: how many, 0 or more; fewer come back where the space holds fewer.
            among: rows int64 (a,) to choose from; the whole space where left out.

        Raises:
            ShapeError: the vector has another width.
        """
        if vector.shape != (self.dimensions,):
            raise ShapeError(
                f"WordSpace.neighbors: found a vector of shape {vector.shape}, "
                f"expected ({self.dimensions},)"
            )
        if not vector.any():
            return np.empty(0, np.int64), np.empty(0, np.float32)
        pool = self.vectors if among is None else self.vectors[among]
        scores = _cosines(pool, vector)
        best = _largest(scores, k)
        return best if among is None else among[best], scores[best]

    def without_pretrained(self) -> WordSpace:
        """The space without the words that only the pretrained vectors know."""
        rows = np.flatnonzero(self.counts > 0)
        words = tuple(self.words[row] for row in rows.tolist())
        return WordSpace(words, self.vectors[rows], self.counts[rows])

    def save(self, folder: Path) -> None:
        """Write the space into `folder`, made if it is missing; vectors are kept as float16.

        Raises:
            InputError: a word holds a line break.
        """
        text = "".join(f"{word}\n" for word in self.words)
        if text.count("\n") != len(self.words):
            raise InputError("words: found a word with a line break, expected none")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _WORDS).write_bytes(text.encode("utf-8", "surrogatepass"))
        np.save(folder / _VECTORS, self.vectors.astype(np.float16), allow_pickle=False)
        np.save(folder / _COUNTS, self.counts, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The space saved in `folder`; its vectors stay on disk until they are read.

        Raises:
            IndexCorruptError: a file is missing, unreadable, or does not fit the others.
        """
        words = Lines(folder / _WORDS)
        vectors = open_npy(folder / _VECTORS)
        counts = np.array(open_npy(folder / _COUNTS))
        if vectors.ndim != 2 or vectors.dtype != np.float16 or len(vectors) != len(words):
            raise _unfit(
                folder / _VECTORS, vectors, f"float16 ({len(words)}, any), as {_WORDS} has"
            )
        if counts.dtype != np.int64 or counts.shape != (len(words),):
            raise _unfit(folder / _COUNTS, counts, f"int64 ({len(words)},)")
        return cls(words, vectors, counts)


def _cosines(vectors: NDArray[Any], vector: Floats) -> Floats:
    scores = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float32, copy=False)
        scores[start : start + _BLOCK] = block @ vector
    return scores


def _largest(scores: Floats, k: int) -> Ids:
    """Places of the k largest scores, descending; equal scores by rising place."""
    k = min(max(k, 0), len(scores))
    if k == 0:
        return np.empty(0, np.int64)
    places = np.arange(len(scores))
    if k < len(scores):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= edge)
    return places[np.argsort(-scores[places], kind="stable")][:k]


def _unfit(path: Path, found: NDArray[Any], expected: str) -> IndexCorruptError:
    return unreadable(path, f"found {found.dtype} {found.shape}, expected {expected}")
