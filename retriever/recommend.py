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
from retriever.selection import Selection, tier
from retriever.shortlist import Shortlist

BATCH = 256  # queries answered at a time: bounds memory, keeps SQL and FAISS busy


class Recommender:
    """Answers queries from one generation of an index."""

    def __init__(self, index: IndexReader, weights: Path | None = None) -> None:
        self.index = index
        self._shortlist = Shortlist(index)
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

    def recommend(
        self,
        query: Query,
        k: int | None = None,
        *,
        selection: Selection | None = None,
        explain: bool = False,
    ) -> Recommendation:
        """Answer one query.

        Args:
            query: what is given.
            k: most hashtags; the selection's own number where None.
            selection: what is wanted of the candidates; the five likeliest where None.
            explain: whether evidence names the posts behind it.

        Returns:
            The hashtags, with notes on a platform's limit and on seeds that are not known.

        Raises:
            InputError: the query cannot be answered.
            IndexMismatchError: the picture would be encoded otherwise than the index was.
            ConfigError: k is below 1.
        """
        selection = _selection(k, selection)
        (answer,) = self.answer([query], selection=selection, explain=explain)
        if isinstance(answer, HashlensError):
            raise answer
        return replace(answer, notes=(*selection.notes, *answer.notes, *self._notes(query)))

    def answer(
        self,
        queries: Sequence[Query],
        k: int | None = None,
        *,
        selection: Selection | None = None,
        explain: bool = False,
    ) -> list[Recommendation | HashlensError]:
        """Answer queries in order, as `recommend` does; one that fails has its error instead."""
        selection = _selection(k, selection)
        answers: list[Recommendation | HashlensError] = []
        for start in range(0, len(queries), BATCH):
            answers += self._answer(queries[start : start + BATCH], selection, explain)
        return answers

    def stream(
        self,
        rows: Iterable[tuple[str, Query | HashlensError]],
        k: int | None = None,
        *,
        selection: Selection | None = None,
    ) -> Iterator[tuple[str, Recommendation | HashlensError]]:
        """Answer rows of (id, query) in order, a batch at a time; errors pass through."""
        rows = iter(rows)
        while chunk := list(islice(rows, BATCH)):
            queries = [query for _, query in chunk if isinstance(query, Query)]
            answers = iter(self.answer(queries, k, selection=selection))
            for row_id, query in chunk:
                yield row_id, next(answers) if isinstance(query, Query) else query

    def redundancy(self, tags: Sequence[str]) -> float:
        """Mean likeness in [0, 1] of the pairs of a list of hashtags (keys), as diversity sees it.

        Hashtags that the index does not know are left out; fewer than two have 0.
        """
        return self._shortlist.redundancy(tags)

    def _answer(
        self, queries: Sequence[Query], selection: Selection, explain: bool
    ) -> list[Recommendation | HashlensError]:
        images, failures = self._encode(queries)
        batch = prepare(self.index, queries, images)
        answers: list[Recommendation | HashlensError] = []
        for number, candidates in enumerate(gather(self.index, batch)):
            if number in failures:
                answers.append(failures[number])
                continue
            topics = batch.topics.probs[number]
            answers.append(self._select(queries[number], candidates, topics, selection))
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
        self, query: Query, candidates: Candidates, topics: Floats, selection: Selection
    ) -> Recommendation:
        scores, shares = fuse(candidates)
        chosen = self._shortlist.choose(candidates.tag_ids, scores, selection)
        tag_ids = candidates.tag_ids[chosen].tolist()
        names = self.index.names(tag_ids)
        tags = [
            ScoredTag(
                *names[tag],
                probability=float(scores[place]),
                tier=self._tier(tag),
                evidence=_evidence(candidates.channels, shares[place]),
            )
            for tag, place in zip(tag_ids, chosen, strict=True)
        ]
        return Recommendation(
            tags=(*self._pinned(candidates, scores, selection), *tags),
            topics=_ranked(self.index.manifest.topics, topics),
            inputs=query.inputs,
            notes=_unlikely(scores, selection) if not (tags or selection.pinned) else (),
        )

    def _pinned(
        self, candidates: Candidates, scores: Floats, selection: Selection
    ) -> Iterator[ScoredTag]:
        """The pinned hashtags, with probability 0 where nothing spoke for one."""
        if not selection.pinned:
            return
        known = self._shortlist.pinned(selection)
        names = self.index.names(list(known.values()))
        spoken = dict(zip(candidates.tag_ids.tolist(), scores.tolist(), strict=True))
        for key in selection.pinned:
            tag = known.get(key, -1)
            yield ScoredTag(
                *names.get(tag, (key, key)),
                probability=spoken.get(tag, 0.0),
                tier=self._tier(tag),
                evidence=(Evidence("pinned", 1.0),),
            )

    def _tier(self, tag: int) -> str:
        """The tier of a hashtag by id; -1 is one that the index does not know."""
        posts = int(self.index.tag_posts[tag]) if tag >= 0 else 0
        return tier(posts, self.index.tier_floors)

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


def _selection(k: int | None, selection: Selection | None) -> Selection:
    """The selection, with another number of hashtags where one is named."""
    selection = selection or Selection()
    return selection if k is None else replace(selection, k=k)


def _unlikely(scores: Floats, selection: Selection) -> tuple[str, ...]:
    """Why nothing is shown."""
    likeliest = float(scores.max(initial=0))
    if likeliest >= selection.min_probability:
        return ()
    return (
        f"no hashtag is as likely as asked for, {selection.min_probability:g}; "
        f"the likeliest has {likeliest:.2g}",
    )


def _evidence(channels: tuple[str, ...], shares: Floats) -> tuple[Evidence, ...]:
    """The channels that spoke for a hashtag, the largest share first."""
    order = np.argsort(-shares, kind="stable")
    return tuple(Evidence(channels[c], float(shares[c])) for c in order if shares[c] > 0)


def _ranked(names: tuple[str, ...], probs: Floats) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probs, kind="stable")
    return tuple((names[topic], float(probs[topic])) for topic in order)
