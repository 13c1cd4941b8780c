"""Work measured in a process of its own, so that its memory is its own, and by stages."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from hashlens.indexer.errors import HashlensError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Measured(Generic[Value]):
    """What work returned, its seconds by the clock and of the processor, and its peak memory."""

    value: Value
    seconds: float
    processor: float
    peak_mib: float


def apart(work: Callable[..., Value], *given: object) -> Measured[Value]:
    """Do work in a fresh process; its own imports are no part of the seconds, but of the memory.

    Args:
        work: a function of a module, not of a module's function.
        given: what it is given.

    Raises:
        HashlensError: it failed; the message is that of its exception.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, work, given))
    process.start()
    there.close()
    try:
        failed, found = here.recv()
    except EOFError:
        failed, found = "it ended without a word", None
    process.join()
    if failed:
        raise HashlensError(f"{getattr(work, '__name__', work)}: {failed}")
    return Measured(*found)


def _work(answer: Connection, work: Callable[..., Any], given: tuple[object, ...]) -> None:
    began = time.perf_counter()
    try:
        value = work(*given)
    except Exception as error:
        answer.send((f"{type(error).__name__}: {error}", None))
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - began
    answer.send((None, (value, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)))


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that work takes by the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def resident(process: int | str = "self") -> float:
    """Memory of a process, by its number, now, in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


class Stages:
    """Progress that remembers how long each stage took."""

    def __init__(self) -> None:
        self._began = [("start", time.perf_counter())]

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins."""
        self._began.append((name, time.perf_counter()))

    def advance(self, steps: int = 1) -> None:
        """Only stages count."""

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far."""
        ends = [*(moment for _, moment in self._began[1:]), time.perf_counter()]
        found: dict[str, float] = {}
        for (name, moment), end in zip(self._began, ends, strict=True):
            found[name] = round(found.get(name, 0) + end - moment, 3)
        return found
