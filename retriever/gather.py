"""Runs every channel over a batch and joins what they said into candidates per query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.schema import Candidates, Ids
from retriever.channels import CHANNELS
from retriever.prepare import QueryBatch
from retriever.reading import IndexReader


def gather(index: IndexReader, batch: QueryBatch) -> list[Candidates]:
    """Candidates of every query, without its seeds and without one author's brands."""
    said = [channel(index, batch) for channel in CHANNELS.values()]
    width = index.store.next_id("hashtag") + 1
    keys = np.concatenate([part.queries * width + part.tags for part in said])
    pairs, rows = np.unique(keys, return_inverse=True)
    scores = np.full((len(pairs), len(said)), np.nan, dtype=np.float32)
    columns = np.repeat(np.arange(len(said)), [len(part.tags) for part in said])
    scores[rows, columns] = np.concatenate([part.scores for part in said])
    kept = np.flatnonzero(_allowed(index, batch, pairs, width))
    pairs, scores = pairs[kept], scores[kept]
    ends = np.searchsorted(pairs, (np.arange(len(batch.words)) + 1) * width)
    starts = np.concatenate([[0], ends[:-1]])
    return [
        Candidates(pairs[start:end] % width, tuple(CHANNELS), scores[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]


def _allowed(index: IndexReader, batch: QueryBatch, pairs: Ids, width: int) -> NDArray[np.bool_]:
    """Which of the pairs (query * width + tag) may be offered: bool, as many."""
    seeds = [query * width + tag for query, tags in enumerate(batch.seeds) for tag in tags]
    allowed: NDArray[np.bool_] = index.offered[pairs % width] & ~np.isin(pairs, seeds)
    return allowed
