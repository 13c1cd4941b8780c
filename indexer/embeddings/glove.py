"""GloVe: word vectors by weighted least squares on log co-occurrences.

Pennington, Socher & Manning 2014, "GloVe: Global Vectors for Word Representation". For words i
and j seen together X_ij times, vectors w, w~ and biases b, b~ minimise the sum over i, j of

    f(X_ij) (w_i . w~_j + b_i + b~_j - log X_ij)^2,   f(x) = min(1, (x / 100) ** 0.75)

by AdaGrad; a word's vector is w + w~.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import InputError
from hashlens.indexer.types import Floats, Ids

if TYPE_CHECKING:
    import torch

_X_MAX = 100.0
_ALPHA = 0.75
_RATE = 0.05
# Pairs taken at once. Small beside the pairs of one word, a batch acts like the paper's single
# pairs; smaller ones cost more in calls than they gain.
_BATCH_PAIRS = 4096
# Pairs held before they are summed: bounds memory to some 100 MiB whatever the posts' length.
_MAX_HELD_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrences:
    """p ordered pairs seen together: `rows`, `columns` int64 (p,), `weights` float32 (p,).

    Pairs are unique and symmetric: (i, j) and (j, i) both stand, with the same weight.
    """

    rows: Ids
    columns: Ids
    weights: Floats


def count_cooccurrences(sentences: Sequence[Ids], size: int, window: int) -> Cooccurrences:
    """Count pairs of words within `window` places of each other.

    Args:
        sentences: word ids int64, each below `size`.
        size: how many words there are.
        window: a pair d <= window places apart adds 1 / d, as in the paper; 0 takes every pair
            of a sentence and adds 1, since the order of a post's hashtags means little.
    """
    from scipy import sparse

    total = sparse.csr_array((size, size), dtype=np.float64)
    for left, right, weight in _held_pairs(sentences, window):
        total = total + sparse.coo_array((weight, (left, right)), shape=(size, size)).tocsr()
    both = (total + total.T).tocoo()
    rows, columns = both.coords
    return Cooccurrences(
        rows.astype(np.int64), columns.astype(np.int64), both.data.astype(np.float32)
    )


def _held_pairs(
    sentences: Sequence[Ids], window: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], Floats]]:
    """Pairs `(left, right, weight)` in chunks of about _HELD, each pair once."""
    held: list[tuple[NDArray[np.int32], NDArray[np.int32], Floats]] = []
    count = 0
    for left, right, distance in _pairs_by_distance(sentences, window):
        weight = np.full(len(left), 1 / distance if window else 1, np.float32)
        held.append((left, right, weight))
        count += len(left)
        if count >= _MAX_HELD_PAIRS:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(
    held: list[tuple[NDArray[np.int32], NDArray[np.int32], Floats]],
) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
    left, right, weight = (np.concatenate(parts) for parts in zip(*held, strict=True))
    return left, right, weight


def _pairs_by_distance(
    sentences: Sequence[Ids], window: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], int]]:
    """For each distance 1, 2, ... the words that far apart in one sentence."""
    lengths = np.array([len(sentence) for sentence in sentences], np.int64)
    if not lengths.sum():
        return
    words = np.concatenate(sentences).astype(np.int32)
    ends = np.repeat(lengths.cumsum(), lengths)
    places = np.arange(len(words))
    longest = int(lengths.max())
    for distance in range(1, min(window or longest, longest - 1) + 1):
        places = places[places + distance < ends[places]]
        yield words[places], words[places + distance], distance


class GloveModel:
    """The parameters of one GloVe fit, and their AdaGrad state.

    Args:
        size: v words.
        dimensions: width d.
        seed: of the starting values and of the order of pairs.
    """

    def __init__(self, size: int, dimensions: int, seed: int) -> None:
        import torch

        self._generator = torch.Generator().manual_seed(seed)
        # The last column of each side is its bias: one gather and one update serve both.
        start = torch.rand((2, size, dimensions + 1), generator=self._generator) - 0.5
        self.sides = start / dimensions
        self._squares = torch.ones_like(self.sides)

    def parameters(self) -> tuple[Floats, Floats]:
        """`(w with b, w~ with b~)`, float32 (v, d + 1) each, the bias last."""
        word, context = self.sides.numpy()
        return word.copy(), context.copy()

    def vectors(self) -> Floats:
        """The sums w + w~, float32 (v, d)."""
        vectors: Floats = self.sides.sum(0)[:, :-1].numpy()
        return vectors

    def fit_epoch(self, pairs: Cooccurrences) -> float:
        """Take every pair once, in a random order; the mean loss met on the way."""
        import torch

        rows, columns = torch.from_numpy(pairs.rows), torch.from_numpy(pairs.columns)
        logs = torch.from_numpy(np.log(pairs.weights))
        trust = torch.from_numpy(np.minimum(1, (pairs.weights / _X_MAX) ** _ALPHA))
        order = torch.randperm(len(rows), generator=self._generator)
        total = 0.0
        for batch in torch.split(order, _BATCH_PAIRS):
            total += self.step(rows[batch], columns[batch], logs[batch], trust[batch])
        return total / max(len(rows), 1)

    def step(
        self,
        rows: torch.Tensor,
        columns: torch.Tensor,
        logs: torch.Tensor,
        trust: torch.Tensor,
    ) -> float:
        """One AdaGrad step on b pairs; the sum of their losses before it.

        Args:
            rows: word ids int64 (b,); `columns` the same for the other side.
            columns: see `rows`.
            logs: log X_ij, float32 (b,).
            trust: f(X_ij), float32 (b,).
        """
        word, context = self.sides[0].index_select(0, rows), self.sides[1].index_select(0, columns)
        word_bias, context_bias = word[:, -1].clone(), context[:, -1].clone()
        # With its bias replaced by 1, each side is the other's derivative of the prediction.
        word[:, -1], context[:, -1] = 1, 1
        products = (word[:, :-1] * context[:, :-1]).sum(1)
        error = products + word_bias + context_bias - logs
        slope = (trust * error)[:, None]
        self._descend(0, rows, context.mul_(slope))
        self._descend(1, columns, word.mul_(slope))
        return float((trust * error.square()).sum())

    def _descend(self, side: int, places: torch.Tensor, gradient: torch.Tensor) -> None:
        # Squares are summed over single pairs, as if each had been its own step.
        squares = self._squares[side].index_add_(0, places, gradient.square())
        scaled = gradient.mul_(squares.index_select(0, places).rsqrt_())
        self.sides[side].index_add_(0, places, scaled, alpha=-_RATE)


def fit_glove(
    pairs: Cooccurrences,
    size: int,
    dimensions: int,
    epochs: int,
    seed: int,
    on_progress: Callable[[float], None] | None = None,
) -> Floats:
    """Vectors w + w~ float32 (v, d) of `size` words after `epochs` rounds over all pairs.

    Args:
        pairs: ids below `size`.
        size: how many words.
        dimensions: width of the vectors.
        epochs: rounds.
        seed: the same seed and pairs give the same vectors.
        on_progress: told the share done, 0 to 1, after each round.

    Raises:
        InputError: the fit ran off to infinity.
    """
    model = GloveModel(size, dimensions, seed)
    for epoch in range(epochs):
        loss = model.fit_epoch(pairs)
        if not np.isfinite(loss):
            raise InputError(f"glove: found loss {loss} in round {epoch + 1}, expected finite")
        if on_progress:
            on_progress((epoch + 1) / epochs)
    return model.vectors()
