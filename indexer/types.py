"""Frozen types that modules exchange.

Letters in shapes: n posts, d width, t topics, q queries, m neighbours, c candidates, h channels.
Arrays are C-contiguous and read-only; dtype and shape are checked once, on construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import InputError, ShapeError

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


_LENGTH_TOLERANCE = 2e-3  # that a unit vector's squared length may be


def freeze_array(
    owner: object, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Freeze array field `name` of a frozen dataclass, and return it."""
    given = getattr(owner, name)
    found: NDArray[Any] = np.ascontiguousarray(given)
    # Compared whole first, which is fast.
    fits = found.shape == shape or (
        found.ndim == len(shape)
        and all(want in (None, got) for got, want in zip(found.shape, shape, strict=True))
    )
    if found.dtype != dtype or not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ShapeError(
            f"{type(owner).__name__}.{name}: found {found.dtype} {found.shape}, "
            f"expected {np.dtype(dtype)} ({wanted})"
        )
    is_same = found is given
    if is_same and not found.flags.writeable:
        return found
    if is_same:
        found = found.view()
    found.flags.writeable = False
    object.__setattr__(owner, name, found)
    return found


def check_unit(vectors: Floats) -> None:
    """Check that rows, float32 (n, d), have length 1.

    Raises:
        ShapeError: one is not finite, or of another length.
    """
    if len(vectors) == 1 and abs(float(np.vdot(vectors, vectors)) - 1) <= _LENGTH_TOLERANCE:
        return  # a single query, the quick way
    squares = np.einsum("ij,ij->i", vectors, vectors)  # not finite if a row is not
    if not len(squares) or np.abs(squares - 1).max() <= _LENGTH_TOLERANCE:
        return
    if not np.isfinite(vectors).all():
        raise ShapeError("vectors: found NaN or infinite values, expected finite")
    worst = squares[np.abs(squares - 1).argmax()] ** 0.5
    raise ShapeError(f"vectors: found a row of length {worst:.4f}, expected 1")


@dataclass(frozen=True, slots=True)
class Post:
    """One post as read.

    `caption` has its hashtags taken out; `hashtags` are keys (`hashtags.key`), unique, in order,
    and `forms` are the same hashtags as they were written. `origin` is the collection that a
    picture is from: topics are judged by leaving one out, nothing is learned from it. `picture` is
    the sha256 of the picture's file.
    """

    post_id: str
    image: Path | None = None
    caption: str = ""
    hashtags: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    author: str | None = None
    taken_at: datetime | None = None
    topic: str | None = None
    content_hash: str = ""
    origin: str | None = None
    picture: str | None = None

    def __post_init__(self) -> None:
        if not (self.image or self.caption or self.hashtags):
            raise InputError(f"post {self.post_id!r} has neither picture, caption nor hashtags")
        if len(self.forms) != len(self.hashtags):
            raise ShapeError(
                f"post {self.post_id!r}: found {len(self.forms)} written forms, "
                f"expected one for each of {len(self.hashtags)} hashtags"
            )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A post, or a part of one, that could not be used, and why.

    A note says something about many posts of a source, none of which is lost.
    """

    source: str
    line: int | None
    reason: str
    post_kept: bool = False
    is_note: bool = False

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        is_part = self.post_kept and not self.is_note
        return f"{place}: {self.reason}" + (" (the post is kept)" if is_part else "")


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Unit vectors keyed by id: `ids` int64 (n,), `vectors` float32 (n, d), finite unit rows."""

    ids: Ids
    vectors: Floats

    def __post_init__(self) -> None:
        ids = freeze_array(self, "ids", np.int64, (None,))
        check_unit(freeze_array(self, "vectors", np.float32, (len(ids), None)))


@dataclass(frozen=True, slots=True, eq=False)
class TopicProbs:
    """Topic probabilities: `probs` float32 (q, t); every row sums to 1."""

    topics: tuple[str, ...]
    probs: Floats

    def __post_init__(self) -> None:
        probs = freeze_array(self, "probs", np.float32, (None, len(self.topics)))
        if probs.size and not np.allclose(probs.sum(axis=1), 1, atol=1e-3):
            raise ShapeError("TopicProbs.probs: found rows that do not sum to 1")


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """Nearest neighbours: `ids` int64 (q, m), `scores` float32 (q, m) descending cosine.

    `counts` int64 (q,) says how many places of a row are real; read a row through `row`.
    """

    ids: Ids
    scores: Floats
    counts: Ids

    def __post_init__(self) -> None:
        ids = freeze_array(self, "ids", np.int64, (None, None))
        freeze_array(self, "scores", np.float32, ids.shape)
        freeze_array(self, "counts", np.int64, (len(ids),))

    def row(self, query: int) -> tuple[Ids, Floats]:
        """Return ids int64 (counts[query],) and scores of one query's neighbours."""
        count = int(self.counts[query])
        return self.ids[query, :count], self.scores[query, :count]

    def positive(self) -> tuple[Ids, Ids, Floats]:
        """Return query, id and score of all neighbours with a positive cosine, each (r,)."""
        places = np.arange(self.ids.shape[1])
        queries, columns = ((places < self.counts[:, None]) & (self.scores > 0)).nonzero()
        return queries, self.ids[queries, columns], self.scores[queries, columns]
