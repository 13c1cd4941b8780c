"""`Recommender`: opens an index, and answers queries in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from indexer.encoders import ImageEncoder, open_encoder
from indexer.errors import HashlensError, IndexMismatchError, InputError
from indexer.schema import (
    Candidates,
    Embeddings,
    Evidence,
    Floats,
    Query,
    Recommendation,
    ScoredTag,
)
from retriever.explain import explained
from retriever.gather import gather
from retriever.prepare import prepare
from retriever.ranker import fuse
from retriever.reading import IndexReader
from retriever.selection import best, tier

BATCH = 256  # queries answered at a time: bounds memory, keeps SQL and FAISS busy


class Recommender:
    """Answers queries from one generation of an index."""

    def __init__(self, index: IndexReader, weights: Path | None = None) -> None:
        self.index = index
        self._weights = weights
        self._opened: ImageEncoder | None = None

    @classmethod
    def open(cls, index: Path, weights: Path | None = None) -> Recommender:
        """The recommender of the index in a folder.

        Args:
            index: folder of the index.
            weights: the encoder's weights file, where it is not in its usual place.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be answered from.
        """
        return cls(IndexReader.open(index), weights)

    def recommend(self, query: Query, k: int = 5, *, explain: bool = False) -> Recommendation:
        """Answer one query with at most `k` hashtags; notes tell of seeds that are not known.

        Raises:
            InputError: the query cannot be answered.
            IndexMismatchError: the picture would be encoded otherwise than the index was.
        """
        (answer,) = self.answer([query], k, explain=explain)
        if isinstance(answer, HashlensError):
            raise answer
        return replace(answer, notes=self._notes(query))

    def answer(
        self, queries: Sequence[Query], k: int = 5, *, explain: bool = False
    ) -> list[Recommendation | HashlensError]:
        """Answer queries in order; one that fails has its error in its place."""
        if k < 1:
            raise InputError(f"found k = {k}, expected 1 hashtag or more")
        answers: list[Recommendation | HashlensError] = []
        for start in range(0, len(queries), BATCH):
            answers += self._answer(queries[start : start + BATCH], k, explain)
        return answers

    def stream(
        self, rows: Iterable[tuple[str, Query | HashlensError]], k: int = 5
    ) -> Iterator[tuple[str, Recommendation | HashlensError]]:
        """Answer rows of (id, query) in order, a batch at a time; errors pass through."""
        rows = iter(rows)
        while chunk := list(islice(rows, BATCH)):
            queries = [query for _, query in chunk if isinstance(query, Query)]
            answers = iter(self.answer(queries, k))
            for row_id, query in chunk:
                yield row_id, next(answers) if isinstance(query, Query) else query

    def _answer(
        self, queries: Sequence[Query], k: int, explain: bool
    ) -> list[Recommendation | HashlensError]:
        images, failures = self._encode(queries)
        batch = prepare(self.index, queries, images)
        answers: list[Recommendation | HashlensError] = []
        for number, candidates in enumerate(gather(self.index, batch)):
            if number in failures:
                answers.append(failures[number])
                continue
            answers.append(self._select(queries[number], candidates, batch.topics.probs[number], k))
        return explained(self.index, batch, answers) if explain else answers

    def _encode(
        self, queries: Sequence[Query]
    ) -> tuple[Embeddings | None, dict[int, HashlensError]]:
        """Vectors of the queries' pictures, ids being query numbers, and what failed."""
        pictured = [(number, q.image) for number, q in enumerate(queries) if q.image]
        if not pictured:
            return None, {}
        encoded = self._encoder().encode([image for _, image in pictured])
        numbers = np.array([number for number, _ in pictured], dtype=np.int64)
        failures: dict[int, HashlensError] = {
            int(numbers[row]): InputError(reason) for row, reason in encoded.failures
        }
        return Embeddings(numbers[encoded.rows], encoded.vectors), failures

    def _encoder(self) -> ImageEncoder:
        if self._opened is None:
            wanted = self.index.manifest.encoder
            if wanted is None:
                raise IndexMismatchError(
                    "this index was built without pictures, so it cannot judge one: "
                    "leave the picture out, or build it from posts with pictures"
                )
            found = open_encoder(str(wanted["name"]), self._weights)
            for part in ("weights_sha256", "preprocessing"):
                if getattr(found, part) != wanted[part]:
                    raise IndexMismatchError(
                        f"encoder {found.name}: found {part} {getattr(found, part)}, the index was "
                        f"built with {wanted[part]}; name that file with --weights, or build again"
                    )
            self._opened = found
        return self._opened

    def _select(
        self, query: Query, candidates: Candidates, topics: Floats, k: int
    ) -> Recommendation:
        index = self.index
        scores, shares = fuse(candidates)
        posts = index.tag_posts[candidates.tag_ids]
        chosen = best(scores, posts, candidates.tag_ids, k)
        names = index.names(candidates.tag_ids[chosen].tolist())
        tags = tuple(
            ScoredTag(
                *names[int(candidates.tag_ids[place])],
                probability=float(scores[place]),
                tier=tier(int(posts[place]), index.tier_floors),
                evidence=_evidence(candidates.channels, shares[place]),
            )
            for place in chosen
        )
        return Recommendation(
            tags=tags,
            topics=_ranked(index.manifest.topics, topics),
            inputs=query.inputs,
        )

    def _notes(self, query: Query) -> tuple[str, ...]:
        """A line for each seed that the index does not know."""
        known = self.index.tag_ids(query.seeds)
        notes = []
        for seed in query.seeds:
            if seed not in known:
                near = self.index.near_keys(seed)
                hint = f"; did you mean {' or '.join(f'#{key}' for key in near)}?" if near else ""
                notes.append(f"no #{seed} in this index, its words were used instead{hint}")
        return tuple(notes)


def _evidence(channels: tuple[str, ...], shares: Floats) -> tuple[Evidence, ...]:
    """The channels that spoke for a hashtag, the largest share first."""
    order = np.argsort(-shares, kind="stable")
    return tuple(Evidence(channels[c], float(shares[c])) for c in order if shares[c] > 0)


def _ranked(names: tuple[str, ...], probs: Floats) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probs, kind="stable")
    return tuple((names[topic], float(probs[topic])) for topic in order)
