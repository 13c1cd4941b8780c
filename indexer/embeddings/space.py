"""Words and hashtags as unit vectors in one space: lookup, save and open.

Queries read spaces through this file, so it imports NumPy alone.
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
from hashlens.indexer.errors import InputError, ShapeError, unreadable
from hashlens.indexer.types import Ids

_WORDS, _VECTORS, _COUNTS = "words.txt", "vectors.npy", "counts.npy"


@dataclass(frozen=True, eq=False)
class WordSpace:
    """v words with unit vectors; hashtags are written `#key`, caption words bare.

    `words` are unique; `vectors` float32 or float16 (v, d), unit rows; `counts` int64 (v,) is how
    often the training posts use each word, 0 for a word from pretrained vectors alone.
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
    def empty(cls, dimensions: int) -> Self:
        """Return a space of no words."""
        return cls((), np.empty((0, dimensions), np.float32), np.empty(0, np.int64))

    @classmethod
    def normalized(cls, words: Iterable[str], vectors: ArrayLike, counts: ArrayLike) -> Self:
        """Return a space of rows scaled to length 1; leave out rows of zeros.

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
        return isinstance(word, str) and bool(len(self.lookup([word])[0]))

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

    def lookup(self, words: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the known ones of some words: `(positions, rows)`, both int64 (f,).

        `positions[i]` is a place in `words` and `rows[i]` the space's row of that word.
        """
        known: Mapping[str, int] = (
            self.words.places(words) if isinstance(self.words, Lines) else self._row_of
        )
        hits = [(place, known[word]) for place, word in enumerate(words) if word in known]
        pairs = np.array(hits, np.int64).reshape(-1, 2)
        return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])

    def without_pretrained(self) -> WordSpace:
        """Return the space without the words that only the pretrained vectors contain."""
        rows = np.flatnonzero(self.counts > 0)
        words = tuple(self.words[row] for row in rows.tolist())
        return WordSpace(words, self.vectors[rows], self.counts[rows])

    def save(self, folder: Path) -> None:
        """Write the space into `folder`, made if it is missing, with vectors as float16.

        Raises:
            InputError: a word contains a line break.
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
        """Open the space saved in `folder`; its vectors stay on disk until they are read.

        Raises:
            IndexCorruptError: a file is missing, unreadable, or does not fit the others.
        """
        words = Lines(folder / _WORDS)
        vectors = open_npy(folder / _VECTORS)
        counts = np.array(open_npy(folder / _COUNTS))
        if vectors.ndim != 2 or vectors.dtype != np.float16 or len(vectors) != len(words):
            raise unreadable(
                folder / _VECTORS,
                f"found {vectors.dtype} {vectors.shape}, "
                f"expected float16 ({len(words)}, any), as {_WORDS} has",
            )
        if counts.dtype != np.int64 or counts.shape != (len(words),):
            raise unreadable(
                folder / _COUNTS,
                f"found {counts.dtype} {counts.shape}, expected int64 ({len(words)},)",
            )
        return cls(words, vectors, counts)
