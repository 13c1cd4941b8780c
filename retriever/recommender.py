"""`Recommender`: opens an index, and answers queries in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from hashlens.indexer.config import BASE_RANKER, RANKER
from hashlens.indexer.decoding.decoder_pool import MAX_QUERY_WAIT
from hashlens.indexer.errors import HashlensError, IndexMismatchError, InputError
from hashlens.indexer.images.encoder import ImageEncoder, open_recorded
from hashlens.indexer.types import Embeddings, Floats, Query, Recommendation
from hashlens.retriever.candidates.generate import gather
from hashlens.retriever.explanations.support import explained
from hashlens.retriever.index.author_habits import Habits
from hashlens.retriever.index.blocklist import blocked
from hashlens.retriever.index.default import index_default
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch, prepare
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.responses import AnswerWriter
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.selection.selector import Shortlist

BATCH = 256  # queries answered at a time: bounds memory, keeps SQL and FAISS busy
THREADS = 2  # batches answered at once: NumPy, FAISS and LightGBM leave Python free meanwhile
MAX_NOTES = 10  # unknown seeds of one query that have a line each
MAX_HINTS = 3  # unknown seeds of one query for which like ones are looked for


class Recommender:
    """Answers queries from one generation of an index."""

    def __init__(
        self,
        index: IndexReader,
        weights: Path | None = None,
        *,
        ranker: Ranker | None = None,
        without: Collection[str] = (),
    ) -> None:
        """Take an open index.

        Args:
            index: what is asked.
            weights: the encoder's weights file, where it is not in its usual place.
            ranker: in place of the index's own, or of the one that ships.
            without: channels that are not asked; the ranker should have learned without them.
        """
        self.index = index
        self._given = ranker
        self._without = without
        self._shortlist = Shortlist(index)
        self._asked: tuple[str, Habits | None] | None = None
        self._warm = False
        self._weights = weights
        self._opened: ImageEncoder | None = None

    @classmethod
    def open(
        cls,
        index: Path | str | None = None,
        weights: Path | None = None,
        *,
        check: bool = False,
    ) -> Recommender:
        """The recommender of the index in a folder.

        Args:
            index: folder of the index; `./index`, or what `index_default` finds, where None.
            weights: the encoder's weights file, where it is not in its usual place.
            check: whether every file is hashed first, so that none is served that was changed.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be answered from.
        """
        place = Path(index) if index else index_default()
        return cls(IndexReader.open(place, check=check), weights)

    def recommend(
        self,
        query: Query | None = None,
        k: int | None = None,
        *,
        image: Path | str | None = None,
        caption: str = "",
        seeds: Sequence[str] = (),
        selection: Selection | None = None,
        explain: bool = False,
    ) -> Recommendation:
        """Answer one query, as in `recommend(caption="first snow #winter", k=3)`.

        Args:
            query: what is given; or, in its place, any of the following three.
            k: most hashtags; the selection's own number where None.
            image: a picture's file.
            caption: a text; hashtags in it count as seeds.
            seeds: hashtags to go on from, with or without their sign.
            selection: what is wanted of the candidates; the five likeliest where None.
            explain: whether each hashtag has its reason, and evidence the posts behind it.

        Returns:
            The hashtags, with notes on a platform's limit, and on an author and seeds that are not
            known.

        Raises:
            InputError: the query cannot be answered, or is given twice.
            IndexMismatchError: the picture would be encoded otherwise than the index was.
            ConfigError: k is below 1.
        """
        query = _query(query, image, caption, seeds)
        answers = self.recommend_all([query], _selection(k, selection), explain=explain, hints=True)
        if isinstance(answers[0], HashlensError):
            raise answers[0]
        return answers[0]

    def recommend_all(
        self,
        queries: Sequence[Query],
        selection: Selection,
        *,
        evidence: bool = True,
        explain: bool = False,
        hints: bool = False,
    ) -> list[Recommendation | HashlensError]:
        """Answer a few queries together, each as `recommend` does; a failed one has its error.

        Without `evidence`, which costs more than all the rest, no channel's share is told. `hints`
        looks for hashtags that are written like an unknown seed, which reads all hashtags.
        """
        answers = self._answer(queries, selection, explain, evidence=evidence)
        notes = self.notes(selection)
        return [
            answer
            if isinstance(answer, HashlensError)
            else replace(answer, notes=(*notes, *answer.notes, *self._notes(query, hints)))
            for query, answer in zip(queries, answers, strict=True)
        ]

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
        batches = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
        if len(batches) < 2:
            return self._answer(queries, selection, explain) if queries else []
        if not self._warm:  # what is read once is read before threads share it
            self._answer(queries[:1], selection, explain)
            self._warm = True
        with ThreadPoolExecutor(THREADS) as threads:
            found = threads.map(lambda batch: self._answer(batch, selection, explain), batches)
            return [answer for answers in found for answer in answers]

    def stream(
        self,
        rows: Iterable[tuple[str, Query | HashlensError]],
        k: int | None = None,
        *,
        selection: Selection | None = None,
    ) -> Iterator[tuple[str, Recommendation | HashlensError]]:
        """Answer rows of (id, query) in order, some batches at a time; errors pass through."""
        rows = iter(rows)
        while chunk := list(islice(rows, THREADS * BATCH)):
            queries = [query for _, query in chunk if isinstance(query, Query)]
            answers = iter(self.answer(queries, k, selection=selection))
            for row_id, query in chunk:
                yield row_id, next(answers) if isinstance(query, Query) else query

    def redundancy(self, tags: Sequence[str]) -> float:
        """Mean likeness in [0, 1] of the pairs of a list of hashtags (keys), as diversity sees it.

        Hashtags that the index does not know are left out; fewer than two have 0.
        """
        return self._shortlist.redundancy(tags)

    def prepared(self, queries: Sequence[Query]) -> QueryBatch:
        """Queries as the channels see them; a picture that cannot be read is left out."""
        return prepare(self.index, queries, *self._encode(queries)[:2])

    def _answer(
        self,
        queries: Sequence[Query],
        selection: Selection,
        explain: bool,
        *,
        evidence: bool = False,
    ) -> list[Recommendation | HashlensError]:
        """One batch; evidence tells each channel's share, `explain` also the posts behind it."""
        images, classes, failures = self._encode(queries)
        batch = prepare(self.index, queries, images, classes, self.habits(selection.author))
        without = (*self._without, *self.ranker.silent)
        candidates = gather(self.index, batch, without=without)
        writer = AnswerWriter(self.index, self.ranker, self._shortlist, selection)
        answers: list[Recommendation | HashlensError] = [
            failures.get(number, answer)
            for number, answer in enumerate(
                writer.write(batch, candidates, evidence=evidence or explain)
            )
        ]
        return explained(self.index, batch, answers) if explain else answers

    @cached_property
    def ranker(self) -> Ranker:
        """The index's own ranker, or the one that ships where it had too few posts for one."""
        if self._given is not None:
            return self._given
        folder = self.index.generation.folder / RANKER
        return Ranker.open(folder) if folder.is_dir() else Ranker.shipped()

    def habits(self, author: str | None = None) -> Habits | None:
        """What counts besides ranking: what an author of the index usually tags.

        That is who is named, or whose posts it all holds, unless ranking itself learned from these.
        """
        if self.index.habits:
            return None if self._learned else self.index.habits
        return self._habits_of(author) if author else None

    def _habits_of(self, author: str) -> Habits | None:
        last = self._asked  # another thread may ask for another one meanwhile
        if last is None or last[0] != author:
            last = self._asked = (author, self.index.habits_of(author))
        return last[1]

    @cached_property
    def _learned(self) -> bool:
        """Whether the ranker learned from the index's own posts."""
        folder = self.index.generation.folder
        lent = self.index.begun and not (folder / BASE_RANKER).is_dir()
        return not lent and (folder / RANKER).is_dir()

    def notes(self, selection: Selection) -> tuple[str, ...]:
        """What a person should know of a selection, whatever is asked: a line each."""
        author = selection.author
        if not author or self._habits_of(author):
            return selection.notes
        return (
            *selection.notes,
            f"no post with hashtags is by {author!r} in this index, so what they usually tag "
            "does not count; authors are named as in the posts",
        )

    def _encode(
        self, queries: Sequence[Query]
    ) -> tuple[Embeddings | None, Floats | None, dict[int, HashlensError]]:
        """Vectors of the queries' pictures, ids being query numbers; classes; and what failed."""
        pictured = [(number, q.image) for number, q in enumerate(queries) if q.image]
        if not pictured:
            return None, None, {}
        images = [image for _, image in pictured]
        encoded = self._encoder().encode(images, classes=True, seconds=MAX_QUERY_WAIT)
        numbers = np.array([number for number, _ in pictured], dtype=np.int64)
        failures: dict[int, HashlensError] = {
            int(numbers[row]): InputError(reason) for row, reason in encoded.failures
        }
        return Embeddings(numbers[encoded.rows], encoded.vectors), encoded.classes, failures

    def _encoder(self) -> ImageEncoder:
        if self._opened is None:
            wanted = self.index.manifest.encoder
            if wanted is None:
                raise IndexMismatchError(
                    "this index was built without pictures, so it cannot judge one: "
                    "leave the picture out, or build it from posts with pictures"
                )
            self._opened = open_recorded(wanted, self._weights)
        return self._opened

    def _notes(self, query: Query, hints: bool) -> tuple[str, ...]:
        """A line for each seed that the index does not know; the last one counts the rest."""
        known = self.index.tag_ids(query.seeds)
        missing = [seed for seed in query.seeds if seed not in known]
        named, rest = missing[:MAX_NOTES], len(missing) - MAX_NOTES
        unknown = [seed for seed in named if seed not in blocked()][:MAX_HINTS]
        near = self.index.near_keys(unknown) if hints and unknown else {}
        notes = [_note(seed, near.get(seed, ())) for seed in named]
        if rest > 0:
            notes.append(f"{rest:,} more seeds are not in this index")
        return tuple(notes)


def _note(seed: str, near: Sequence[str]) -> str:
    """Why a seed is not known."""
    if seed in blocked():
        return f"#{seed} is blocked: no index learns it, its words were used instead"
    hint = f"; did you mean {' or '.join(f'#{key}' for key in near)}?" if near else ""
    return f"no #{seed} in this index, its words were used instead{hint}"


def _selection(k: int | None, selection: Selection | None) -> Selection:
    """The selection, with another number of hashtags where one is named."""
    selection = selection or Selection()
    return selection if k is None else replace(selection, k=k)


def _query(
    query: Query | None, image: Path | str | None, caption: str, seeds: Sequence[str]
) -> Query:
    """The query that is given, whole or in parts."""
    from hashlens.retriever.query.parse import make_query

    if query is None:
        return make_query(Path(image) if image else None, caption, seeds)
    if image or caption or seeds:
        raise InputError("found a query and its parts, expected one of the two")
    return query
