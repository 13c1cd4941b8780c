"""`Recommender`: opens an index and answers queries, in batches."""

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
from hashlens.indexer.types import Embeddings, Floats
from hashlens.retriever.candidates.generate import generate_candidates
from hashlens.retriever.explanations.support import add_explanations
from hashlens.retriever.index.author_prior import AuthorPrior
from hashlens.retriever.index.blocklist import blocked_keys
from hashlens.retriever.index.default import find_index
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.lookup import similar_hashtags
from hashlens.retriever.query.batch import QueryBatch, prepare
from hashlens.retriever.query.parse import make_query
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommendation import Query, Recommendation
from hashlens.retriever.responses import find_evidence, write_answers
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.selection.selector import Selector

BATCH = 256  # queries answered at a time: bounds memory, keeps SQL and FAISS busy
THREADS = 2  # batches answered at once: NumPy, FAISS and LightGBM release Python's lock
MAX_NOTES = 10  # unknown seeds of one query that get a line each
MAX_HINTS = 3  # unknown seeds of one query for which similar hashtags are searched


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
            index: to answer from.
            weights: file of the encoder's weights, if not in its usual place.
            ranker: instead of the index's own, or the one that ships.
            without: channels to leave out; the ranker should be trained without them.
        """
        self.index = index
        self._given_ranker = ranker
        self._without = without
        self._selector = Selector(index)
        self._last_author: tuple[str, AuthorPrior | None] | None = None
        self._is_warm = False
        self._weights = weights

    @classmethod
    def open(
        cls,
        index: Path | str | None = None,
        weights: Path | None = None,
        *,
        check: bool = False,
    ) -> Recommender:
        """Open the index in a folder.

        Args:
            index: folder of the index; `./index`, or the index that `find_index` finds, if None.
            weights: file of the encoder's weights, if not in its usual place.
            check: whether to hash every file first and refuse a changed one.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: the index cannot be used.
        """
        folder = Path(index) if index else find_index()
        return cls(IndexReader.open(folder, check=check), weights)

    def recommend(
        self,
        query: Query | None = None,
        k: int | None = None,
        *,
        image: Path | str | None = None,
        caption: str = "",
        seeds: Sequence[str] = (),
        selection: Selection | None = None,
        evidence: bool = True,
        explain: bool = False,
    ) -> Recommendation:
        """Answer one query, as in `recommend(caption="first snow #winter", k=3)`.

        Args:
            query: the question; or instead any of `image`, `caption` and `seeds`.
            k: most hashtags; the selection's own number if None.
            image: file of a picture.
            caption: a text; hashtags in it count as seeds.
            seeds: hashtags to start from, with or without their sign.
            selection: the hashtags wanted; the five likeliest if None.
            evidence: whether each hashtag has its channels' shares, which cost more than the rest.
            explain: whether each hashtag has a reason, and its evidence the supporting posts.

        Returns:
            The hashtags, with notes on a platform's limit, an unknown author and unknown seeds.

        Raises:
            InputError: the query cannot be answered, or is given twice.
            IndexMismatchError: the picture would be encoded differently from the index.
            ConfigError: k is below 1.
        """
        if query is None:
            query = make_query(Path(image) if image else None, caption, seeds)
        elif image or caption or seeds:
            raise InputError("found a query and its parts, expected one of the two")
        selection = _with_k(selection, k)
        answer, *_ = self.recommend_batch(
            [query], selection, evidence=evidence, explain=explain, hints=True
        )
        if isinstance(answer, HashlensError):
            raise answer
        return answer

    def recommend_batch(
        self,
        queries: Sequence[Query],
        selection: Selection,
        *,
        evidence: bool = True,
        explain: bool = False,
        hints: bool = False,
    ) -> list[Recommendation | HashlensError]:
        """Answer a few queries together, each as `recommend` does; a failed one has its error.

        Args:
            queries: at most `BATCH`.
            selection: the hashtags wanted.
            evidence: see `recommend`.
            explain: see `recommend`.
            hints: whether to search hashtags spelled like an unknown seed, which reads all
                hashtags.
        """
        answers = self._answer(queries, selection, evidence=evidence, explain=explain)
        notes = self.selection_notes(selection)
        return [
            answer
            if isinstance(answer, HashlensError)
            else replace(answer, notes=(*notes, *answer.notes, *self._seed_notes(query, hints)))
            for query, answer in zip(queries, answers, strict=True)
        ]

    def recommend_many(
        self,
        queries: Sequence[Query],
        k: int | None = None,
        *,
        selection: Selection | None = None,
        explain: bool = False,
    ) -> list[Recommendation | HashlensError]:
        """Answer any number of queries in order, without notes on seeds and authors."""
        selection = _with_k(selection, k)
        batches = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
        if len(batches) < 2:
            return self._answer(queries, selection, explain=explain) if queries else []
        if not self._is_warm:  # lazily read data is read before threads share it
            self._answer(queries[:1], selection, explain=explain)
            self._is_warm = True
        with ThreadPoolExecutor(THREADS) as threads:
            found = threads.map(lambda b: self._answer(b, selection, explain=explain), batches)
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
            answers = iter(self.recommend_many(queries, k, selection=selection))
            for row_id, query in chunk:
                yield row_id, next(answers) if isinstance(query, Query) else query

    def redundancy(self, tags: Sequence[str]) -> float:
        """Return the mean similarity in [0, 1] of the pairs of hashtags (keys).

        It is the similarity that diversity lowers. Unknown hashtags are left out; fewer than two
        known ones have 0.
        """
        return self._selector.redundancy(tags)

    def prepare(self, queries: Sequence[Query]) -> QueryBatch:
        """Return queries as the channels see them, without pictures that cannot be read."""
        return prepare(self.index, queries, *self._encode_pictures(queries)[:2])

    def _answer(
        self,
        queries: Sequence[Query],
        selection: Selection,
        *,
        evidence: bool = False,
        explain: bool = False,
    ) -> list[Recommendation | HashlensError]:
        """Answer one batch: prepare, generate candidates, rank, select, explain."""
        index, ranker = self.index, self.ranker
        images, classes, failures = self._encode_pictures(queries)
        prior = self.author_prior(selection.author)
        batch = prepare(index, queries, images, classes, prior)

        excluded = (*self._without, *ranker.excluded)
        candidates = generate_candidates(index, batch, without=excluded)

        probabilities = ranker.probabilities(candidates)
        prior_shares = np.zeros(len(probabilities), np.float32)
        if prior:
            probabilities, prior_shares = prior.posterior(candidates.tag_ids, probabilities)

        chosen = self._selector.select(batch, candidates, probabilities, selection)
        pinned = self._selector.pinned_ids(selection)

        parts = None
        if evidence or explain:
            parts = find_evidence(ranker, candidates, np.concatenate(chosen), prior_shares)
        written = write_answers(
            index, batch, candidates, probabilities, chosen, selection, pinned, parts
        )
        answers = [failures.get(number, answer) for number, answer in enumerate(written)]
        return add_explanations(index, batch, answers) if explain else answers

    @cached_property
    def ranker(self) -> Ranker:
        """The index's own ranker, or the one that ships if the index had too few posts."""
        if self._given_ranker is not None:
            return self._given_ranker
        folder = self.index.generation.folder / RANKER
        return Ranker.open(folder) if folder.is_dir() else Ranker.shipped()

    def author_prior(self, author: str | None = None) -> AuthorPrior | None:
        """Return the hashtags of the asking author's posts, to be combined with the ranking.

        It is the author named, or the only author of the index. In the latter case there is none if
        the ranker itself was trained on the index's posts.
        """
        sole = self.index.sole_author_prior
        if sole:
            return None if self._is_trained_on_index else sole
        return self._prior_of(author) if author else None

    def _prior_of(self, author: str) -> AuthorPrior | None:
        last = self._last_author  # another thread may replace it meanwhile
        if last is None or last[0] != author:
            last = self._last_author = (author, self.index.prior_of(author))
        return last[1]

    @cached_property
    def _is_trained_on_index(self) -> bool:
        """Whether the ranker learned from the index's own posts."""
        folder = self.index.generation.folder
        is_lent = self.index.extends_starter and not (folder / BASE_RANKER).is_dir()
        return not is_lent and (folder / RANKER).is_dir()

    def selection_notes(self, selection: Selection) -> tuple[str, ...]:
        """Return a line for each thing to know of a selection, whatever the query."""
        author = selection.author
        if not author or self._prior_of(author):
            return selection.notes
        return (
            *selection.notes,
            f"no post with hashtags is by {author!r} in this index, so what they usually tag "
            "does not count; authors are named as in the posts",
        )

    def _encode_pictures(
        self, queries: Sequence[Query]
    ) -> tuple[Embeddings | None, Floats | None, dict[int, HashlensError]]:
        """Return vectors of the pictures by query number, their classes, and failures."""
        pictured = [(number, q.image) for number, q in enumerate(queries) if q.image]
        if not pictured:
            return None, None, {}
        images = [image for _, image in pictured]
        encoded = self._encoder.encode(images, classes=True, seconds=MAX_QUERY_WAIT)
        numbers = np.array([number for number, _ in pictured], dtype=np.int64)
        failures: dict[int, HashlensError] = {
            int(numbers[row]): InputError(reason) for row, reason in encoded.failures
        }
        return Embeddings(numbers[encoded.rows], encoded.vectors), encoded.classes, failures

    @cached_property
    def _encoder(self) -> ImageEncoder:
        recorded = self.index.manifest.encoder
        if recorded is None:
            raise IndexMismatchError(
                "this index was built without pictures, so it cannot judge one: "
                "leave the picture out, or build it from posts with pictures"
            )
        return open_recorded(recorded, self._weights)

    def _seed_notes(self, query: Query, hints: bool) -> tuple[str, ...]:
        """Return a line for each seed that the index does not know; the last counts the rest."""
        known = self.index.tag_ids(query.seeds)
        missing = [seed for seed in query.seeds if seed not in known]
        named, rest = missing[:MAX_NOTES], len(missing) - MAX_NOTES
        unknown = [seed for seed in named if seed not in blocked_keys()][:MAX_HINTS]
        similar = similar_hashtags(self.index, unknown) if hints and unknown else {}
        notes = []
        for seed in named:
            names = " or ".join(f"#{key}" for key in similar.get(seed, ()))
            hint = f"; did you mean {names}?" if names else ""
            notes.append(
                f"#{seed} is blocked: no index learns it, its words were used instead"
                if seed in blocked_keys()
                else f"no #{seed} in this index, its words were used instead{hint}"
            )
        if rest > 0:
            notes.append(f"{rest:,} more seeds are not in this index")
        return tuple(notes)


def _with_k(selection: Selection | None, k: int | None) -> Selection:
    """Return the selection, with another number of hashtags if one is given."""
    selection = selection or Selection()
    return selection if k is None else replace(selection, k=k)
