"""The types of retrieval: a query, its candidates, and the recommendation that answers it.

Letters in shapes: c candidates, h columns. Arrays are read-only and checked on construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashlens.indexer.errors import InputError
from hashlens.indexer.types import Floats, Ids, freeze_array


@dataclass(frozen=True, slots=True)
class Query:
    """A question: any of a picture, a caption and seed hashtags (keys).

    `topics` are probabilities set by hand; the other topics share the rest.
    """

    image: Path | None = None
    caption: str = ""
    seeds: tuple[str, ...] = ()
    topics: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        shares = [share for _, share in self.topics]
        if (
            len(dict(self.topics)) < len(shares)
            or min(shares, default=0) < 0
            or sum(shares) > 1.001
        ):
            raise InputError(
                f"topics: found {dict(self.topics)}, expected each once, with probabilities from 0 "
                "that come to 1 at most"
            )
        if not (self.image or self.caption.strip() or self.seeds):
            raise InputError("nothing to go by: give a picture, a caption or a seed hashtag")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs given, of `image`, `caption`, `seeds`."""
        given = {"image": self.image, "caption": self.caption.strip(), "seeds": self.seeds}
        return tuple(name for name, value in given.items() if value)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The candidates of a batch of queries, grouped by query, in the order of the queries.

    `queries` and `tag_ids` int64 (c,); `scores` float32 (c, h), NaN where a channel has no score;
    `columns` are the h names, "channel: column".
    """

    queries: Ids
    tag_ids: Ids
    columns: tuple[str, ...]
    scores: Floats

    def __post_init__(self) -> None:
        queries = freeze_array(self, "queries", np.int64, (None,))
        freeze_array(self, "tag_ids", np.int64, (len(queries),))
        freeze_array(self, "scores", np.float32, (len(queries), len(self.columns)))

    def rows(self, rows: np.ndarray) -> Candidates:
        """Return some rows, by mask or by place; places must keep the queries in order."""
        queries, tag_ids = self.queries[rows], self.tag_ids[rows]
        return Candidates(queries, tag_ids, self.columns, self.scores[rows])

    def spans(self, queries: int) -> list[slice]:
        """Return the rows of each of a number of queries."""
        ends = np.searchsorted(self.queries, np.arange(queries) + 1).tolist()
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def column_channels(columns: Sequence[str]) -> list[str]:
    """Return the channel of each column of candidates."""
    return [column.split(":")[0] for column in columns]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One channel's share of a hashtag's score, and ids of posts that support it."""

    channel: str
    share: float
    posts: tuple[str, ...] = ()


PINNED = (Evidence("pinned", 1.0),)


@dataclass(frozen=True, slots=True)
class ScoredTag:
    """A recommended hashtag: key, display form (no #), score in [0, 1], tier, evidence.

    `reason` explains it in one sentence; it is empty unless an explanation was asked for.
    A hashtag `is_new` if it came after the index was trained: its vector is then a mean of the
    hashtags that it appears with.
    """

    tag: str
    display: str
    probability: float
    tier: str
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to one query: ranked hashtags, topics by falling probability, inputs used."""

    tags: tuple[ScoredTag, ...]
    topics: tuple[tuple[str, float], ...]
    inputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
