"""Queries to the tiny index, and what its channels say to them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hashlens.indexer.types import Embeddings
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.candidates.generate import generate_candidates
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch, prepare
from hashlens.retriever.recommendation import Candidates, Query
from tests.support import tiny_index as tiny


def asked(index: IndexReader, *queries: Query, seen: np.ndarray | None = None) -> QueryBatch:
    """Queries made ready; `seen` are the vectors of the first ones' pictures."""
    images = None if seen is None else Embeddings(np.arange(len(seen)), seen)
    return prepare(index, queries, images)


def says(
    index: IndexReader, channel: str, *queries: Query, seen: np.ndarray | None = None
) -> dict[str, list[float]]:
    """Return a channel's columns for the last of the queries, by hashtag."""
    batch, kind = asked(index, *queries, seen=seen), CHANNELS[channel]
    found = kind.score(index, batch)
    assert found.values.shape == (len(found), len(kind.columns))
    assert found.values.dtype == np.float32
    assert (np.diff(found.keys) > 0).all()
    return tiny.said(index, found, len(queries) - 1, batch.spelt.coined)


def offered(index: IndexReader, *queries: Query) -> list[set[str]]:
    """Hashtags that are candidates of each query."""
    return [set(rows) for rows in gathered(index, *queries)]


def gathered(
    index: IndexReader, *queries: Query, seen: np.ndarray | None = None
) -> list[dict[str, list[float]]]:
    """Columns of the candidates of each query, by hashtag."""
    batch = asked(index, *queries, seen=seen)
    found = generate_candidates(index, batch)
    names = dict(index.store.rows("select tag_id, key from hashtags"))
    names |= dict(enumerate(batch.spelt.coined, start=index.hashtag_count))
    return [
        {names[tag]: found.scores[row].tolist() for row, tag in enumerate_span(found, span)}
        for span in found.spans(len(queries))
    ]


def enumerate_span(found: Candidates, span: slice) -> Iterator[tuple[int, int]]:
    return ((row, int(found.tag_ids[row])) for row in range(span.start, span.stop))


def close(**rows: list[float]) -> dict[str, object]:
    return {tag: pytest.approx(values, rel=1e-4, abs=1e-6) for tag, values in rows.items()}
