"""GloVe: word vectors by weighted least squares on log co-occurrences.

Pennington, Socher & Manning 2014, "GloVe: Global Vectors for Word Representation". For words i
and j seen together X_ij times, vectors w, w~ and biases b, b~ minimise the sum over i, j of

    f(X_ij) (w_i . w~_j + b_i + b~_j - log X_ij)^2,   f(x) = min(1, (x / 100) ** 0.75)

by AdaGrad; a word's vector is w + w~.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
# A batch that is small beside the pairs of one word acts like the paper's single pairs; still
# smaller ones cost more in calls than they gain.
_BATCH_PAIRS = 4096
# Pairs to hold before they are summed: bounds memory to some 100 MiB for posts of any length.
_MAX_HELD_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrences:
    """p ordered pairs that occur together: `rows`, `columns` int64 (p,), `weights` float32 (p,).

    Pairs are unique and symmetric: (i, j) and (j, i) have the same weight.
    """

    rows: Ids
    columns: Ids
    weights: Floats


def count_cooccurrences(sentences: Sequence[Ids], size: int, window: int) -> Cooccurrences:
    """Count pairs of words within `window` places of each other.

    Args:
        sentences: word ids int64, each below `size`.
        size: number of words.
        window: a pair d <= window places apart adds 1 / d, as in the paper. 0 takes every pair of
            a sentence and adds 1, since the order of a post's hashtags means little.
    """
    from scipy import sparse

    total = sparse.csr_array((size, size), dtype=np.float64)
    lengths = np.array([len(sentence) for sentence in sentences], np.int64)
    longest = int(lengths.max(initial=0))
    words = np.concatenate([np.zeros(0, np.int32), *sentences]).astype(np.int32)
    ends, places = np.repeat(lengths.cumsum(), lengths), np.arange(len(words))
    held: list[tuple[NDArray[np.int32], NDArray[np.int32], Floats]] = []
    distances = range(1, min(window or longest, longest - 1) + 1)
    for distance in distances:
        places = places[places + distance < ends[places]]
        weights = np.full(len(places), 1 / distance if window else 1, np.float32)
        held.append((words[places], words[places + distance], weights))
        if sum(len(part[0]) for part in held) >= _MAX_HELD_PAIRS or distance == distances[-1]:
            left, right, weight = (np.concatenate(parts) for parts in zip(*held, strict=True))
            pairs = sparse.coo_array((weight, (left, right)), shape=(size, size))
            total, held = total + pairs.tocsr(), []
    both = (total + total.T).tocoo()
    rows, columns = both.coords
    return Cooccurrences(
        rows.astype(np.int64), columns.astype(np.int64), both.data.astype(np.float32)
    )


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
        """Return `(w with b, w~ with b~)`, float32 (v, d + 1) each, the bias last."""
        word, context = self.sides.numpy()
        return word.copy(), context.copy()

    def vectors(self) -> Floats:
        """Return the sums w + w~, float32 (v, d)."""
        vectors: Floats = self.sides.sum(0)[:, :-1].numpy()
        return vectors

    def fit_epoch(self, pairs: Cooccurrences) -> float:
        """Learn from every pair once, in a random order; return the mean loss before each step."""
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
        """Take an AdaGrad step on b pairs; return the sum of their losses before it.

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
    """Return vectors w + w~ float32 (v, d) of words after `epochs` rounds over all pairs.

    Args:
        pairs: ids below `size`.
        size: number of words.
        dimensions: width of the vectors.
        epochs: rounds.
        seed: the same seed and pairs give the same vectors.
        on_progress: called with the share done, 0 to 1, after each round.

    Raises:
        InputError: the fit diverged.
    """
    model = GloveModel(size, dimensions, seed)
    for epoch in range(epochs):
        loss = model.fit_epoch(pairs)
        if not np.isfinite(loss):
            raise InputError(f"glove: found loss {loss} in round {epoch + 1}, expected finite")
        if on_progress:
            on_progress((epoch + 1) / epochs)
    return model.vectors()
