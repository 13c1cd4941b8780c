"""Answering while others wait: the live index, followed as it moves on, and a desk with a queue."""

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

from hashlens.indexer.decoding.loading import save_jpeg
from hashlens.indexer.errors import HashlensError
from hashlens.retriever.recommendation import Query, Recommendation
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.server.uploads import Upload

PLACES = 64  # questions that may wait; more are sent away
TOGETHER = 16  # questions answered as one batch: more would keep the first one waiting
CLERKS = 1  # threads that answer: they share Python's lock, and two answered fewer than one
LEAVE = 0.5  # seconds that threads have to end when the server stops; they die with the process
LOOK = 1.0  # seconds between looks at which generation is live

log = logging.getLogger("hashlens")


class BusyError(HashlensError):
    """More is being asked than can be answered in time."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query, what is wanted of its answer, and whether that tells why."""

    query: Query
    selection: Selection
    explain: bool = True


class Live:
    """The recommender of the live generation; a new one is opened aside, and then taken."""

    def __init__(self, index: Path, weights: Path | None = None, *, check: bool = False) -> None:
        """Open an index.

        Args:
            index: folder of the index.
            weights: the encoder's weights file, where it is not in its usual place.
            check: whether every file of a generation is hashed before it answers.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be answered from.
            EncoderError: its encoder cannot be had.
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
        """That of the newest generation; keep it for as long as one answer takes."""
        return self._recommender

    def follow(self) -> None:
        """Look for new generations from now on, until `close`."""
        self._follower = threading.Thread(target=self._follow, name="follow", daemon=True)
        self._follower.start()

    def refresh(self) -> bool:
        """Take the live generation if it is another one; whether it was.

        One that cannot be opened is told in the log and left; the one before answers on.
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
        """Stop looking; an index that is being opened is waited for a moment only."""
        self._over.set()
        if self._follower:
            self._follower.join(LEAVE)

    def _follow(self) -> None:
        while not self._over.wait(LOOK):
            try:
                self.refresh()
            except Exception:  # it must look again, whatever happened
                log.exception("could not look for a new generation")

    def _mark(self) -> tuple[int, int]:
        """What changes whenever `CURRENT` is replaced."""
        try:
            found = (self._index / "CURRENT").stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)

    def _open_recommender(self) -> Recommender:
        recommender = Recommender.open(self._index, self._weights, check=self._check)
        _warm_caches(recommender)
        return recommender


def _warm_caches(recommender: Recommender) -> None:
    """Read lazily loaded data now, so that no request waits and no two threads do it."""
    recommender.recommend(Query(caption="a walk at home", seeds=("love",)), explain=True)
    if recommender.index.manifest.encoder is None:
        return
    with Upload(b"") as upload:
        save_jpeg(np.full((64, 64, 3), 128, np.uint8), upload.path)
        recommender.recommend(Query(image=upload.path), explain=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    question: Question
    answer: Future[Recommendation] = field(default_factory=Future)

    def like(self, other: _Waiting) -> bool:
        """Whether both can be answered in one batch."""
        mine, theirs = self.question, other.question
        return mine.selection == theirs.selection and mine.explain == theirs.explain


class Desk:
    """Answers questions on a few threads; those that wait meanwhile are answered together."""

    def __init__(
        self,
        recommender: Callable[[], Recommender],
        *,
        places: int = PLACES,
        together: int = TOGETHER,
        clerks: int = CLERKS,
    ) -> None:
        """Open the desk.

        Args:
            recommender: gives the one to ask, looked up for every batch.
            places: questions that may wait.
            together: questions answered as one batch at most.
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
        """Questions that wait."""
        return len(self._queue)

    def ask(self, question: Question) -> Future[Recommendation]:
        """Queue up; the future is done when answered, or has the error. Cancel it to leave.

        Raises:
            BusyError: all places are taken, or the desk is closed.
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
        """Send away who waits, and stop; a clerk that is busy is waited for a moment only."""
        with self._changed:
            self._over = True
            waiting, self._queue = self._queue, deque()
            self._changed.notify_all()
        for one in waiting:
            one.answer.cancel()
        until = time.monotonic() + LEAVE
        for clerk in self._clerks:
            clerk.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while batch := self._next():
            self._answer(
                [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
            )

    def _next(self) -> list[_Waiting]:
        """The first who waits and others like it; none when the desk is closed."""
        with self._changed:
            while not self._queue:
                if self._over:
                    return []
                self._changed.wait()
            first = self._queue[0]
            batch = [waiting for waiting in self._queue if waiting.like(first)][: self._together]
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
            else:  # one of them spoils it: it alone shall have the error
                for waiting in batch:
                    self._answer([waiting])
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, HashlensError):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
