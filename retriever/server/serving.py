"""Answers questions from a queue, with the live generation of the index."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hashlens.indexer.decoding.pixels import save_jpeg
from hashlens.indexer.errors import HashlensError
from hashlens.retriever.recommendation import Query, Recommendation
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.server.uploads import Upload

MAX_WAITING = 64  # questions in the queue; more are refused
MAX_BATCH = 16  # questions answered together; a larger batch would delay its first question
THREADS = 1  # that answer; two were slower than one, as they share Python's lock
JOIN_WAIT = 0.5  # seconds for threads to end when the server stops
CHECK_PERIOD = 1.0  # seconds between checks for a new generation

log = logging.getLogger("hashlens")


class BusyError(HashlensError):
    """There are more questions than the server can answer in time."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query, the selection of its answer, and whether to give reasons."""

    query: Query
    selection: Selection
    explain: bool = True


class Live:
    """The recommender of the live generation; a new one replaces it once it is open."""

    def __init__(self, index: Path, weights: Path | None = None, *, check: bool = False) -> None:
        """Open an index.

        Args:
            index: folder of the index.
            weights: the encoder's weights file, if it is not in its usual place.
            check: whether to hash every file of a generation first.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be opened.
            EncoderError: its encoder cannot be opened.
        """
        self._index = index
        self._weights = weights
        self._check = check
        self._seen = self._mark()
        self._recommender = self._open_recommender()
        self._over = threading.Event()
        self._follower: threading.Thread | None = None

    @property
    def recommender(self) -> Recommender:
        """The recommender of the newest generation; keep it for one answer only."""
        return self._recommender

    def follow(self) -> None:
        """Check for new generations in a thread, until `close`."""
        self._follower = threading.Thread(target=self._follow, name="follow", daemon=True)
        self._follower.start()

    def refresh(self) -> bool:
        """Open the live generation if it is new; return whether it was.

        If it cannot be opened, the log says so, and the former one continues to answer.
        """
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        try:
            self._recommender = self._open_recommender()
        except HashlensError as error:
            log.warning("new generation not taken: %s", error)
            return False
        log.info("now answering from generation %d", self._recommender.index.generation.number)
        return True

    def close(self) -> None:
        """Stop checking; wait only a moment for an index that is being opened."""
        self._over.set()
        if self._follower:
            self._follower.join(JOIN_WAIT)

    def _follow(self) -> None:
        while not self._over.wait(CHECK_PERIOD):
            try:
                self.refresh()
            except Exception:  # whatever happened, it must check again
                log.exception("could not check for a new generation")

    def _mark(self) -> tuple[int, int]:
        """Return a mark that changes whenever `CURRENT` is replaced."""
        try:
            found = (self._index / "CURRENT").stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)

    def _open_recommender(self) -> Recommender:
        """Open the index and load its lazy data, so that no request waits for that."""
        recommender = Recommender.open(self._index, self._weights, check=self._check)
        recommender.recommend(Query(caption="a walk at home", seeds=("love",)), explain=True)
        if recommender.index.manifest.encoder is not None:
            with Upload(b"") as upload:
                save_jpeg(np.full((64, 64, 3), 128, np.uint8), upload.path)
                recommender.recommend(Query(image=upload.path), explain=True)
        return recommender


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    question: Question
    answer: Future[Recommendation] = field(default_factory=Future)

    def is_like(self, other: _Waiting) -> bool:
        """Whether one batch can answer both."""
        mine, theirs = self.question, other.question
        return mine.selection == theirs.selection and mine.explain == theirs.explain


class Desk:
    """Answers questions on a few threads; questions that wait are answered in batches."""

    def __init__(
        self,
        recommender: Callable[[], Recommender],
        *,
        places: int = MAX_WAITING,
        together: int = MAX_BATCH,
        clerks: int = THREADS,
    ) -> None:
        """Start the threads.

        Args:
            recommender: returns the recommender; called for every batch.
            places: most questions in the queue.
            together: most questions of a batch.
            clerks: threads, each with a batch of its own.
        """
        self._recommender = recommender
        self._places = places
        self._together = together
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._clerks = [
            threading.Thread(target=self._work, name="answer", daemon=True) for _ in range(clerks)
        ]
        for clerk in self._clerks:
            clerk.start()

    def __len__(self) -> int:
        """Return the number of questions that wait."""
        return len(self._queue)

    def ask(self, question: Question) -> Future[Recommendation]:
        """Add a question to the queue; the future gets its answer or error, and can be cancelled.

        Raises:
            BusyError: the queue is full, or the desk is closed.
        """
        waiting = _Waiting(question)
        with self._changed:
            if self._over or len(self._queue) >= self._places:
                raise BusyError(
                    f"found {len(self._queue)} questions waiting: ask again in a moment"
                )
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.answer

    def close(self) -> None:
        """Cancel the questions that wait, and stop; wait only a moment for busy threads."""
        with self._changed:
            self._over = True
            waiting, self._queue = self._queue, deque()
            self._changed.notify_all()
        for one in waiting:
            one.answer.cancel()
        until = time.monotonic() + JOIN_WAIT
        for clerk in self._clerks:
            clerk.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while batch := self._next():
            self._answer(
                [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
            )

    def _next(self) -> list[_Waiting]:
        """Return the first question and others like it; none when the desk is closed."""
        with self._changed:
            while not self._queue:
                if self._over:
                    return []
                self._changed.wait()
            first = self._queue[0]
            batch = [waiting for waiting in self._queue if waiting.is_like(first)][: self._together]
            taken = set(map(id, batch))
            self._queue = deque(waiting for waiting in self._queue if id(waiting) not in taken)
            return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        question = batch[0].question
        queries = [waiting.question.query for waiting in batch]
        try:
            answers = self._recommender().recommend_batch(
                queries, question.selection, evidence=question.explain, explain=question.explain
            )
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:  # one of them causes the error, so ask each alone
                for waiting in batch:
                    self._answer([waiting])
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, HashlensError):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
