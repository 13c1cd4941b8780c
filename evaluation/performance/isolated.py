"""Work in a process of its own, so that its memory can be measured, and timers."""

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
class IsolatedRun(Generic[Value]):
    """The result of work, its seconds of wall time and processor time, and its peak memory."""

    value: Value
    seconds: float
    processor: float
    peak_mib: float


def run_isolated(work: Callable[..., Value], *arguments: object) -> IsolatedRun[Value]:
    """Run a function in a fresh process; its memory includes imports, its seconds do not.

    Args:
        work: a function at module level.
        arguments: of the function.

    Raises:
        HashlensError: the function failed; the message names its exception.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        error, measured = receiver.recv()
    except EOFError:
        error, measured = "the process ended without a result", None
    process.join()
    if error:
        raise HashlensError(f"{getattr(work, '__name__', work)}: {error}")
    return IsolatedRun(*measured)


def _send_result(
    sender: Connection, work: Callable[..., Any], arguments: tuple[object, ...]
) -> None:
    began = time.perf_counter()
    try:
        value = work(*arguments)
    except Exception as error:
        sender.send((f"{type(error).__name__}: {error}", None))
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - began
    processor, peak_mib = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    sender.send((None, (value, seconds, processor, peak_mib)))


def measure_seconds(work: Callable[[], object]) -> float:
    """Return the seconds of wall time that work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def read_memory(process: int | str = "self") -> float:
    """Return the present memory of a process, by its id, in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


class StageTimer:
    """Progress that measures the seconds of each stage."""

    def __init__(self) -> None:
        self._began = [("start", time.perf_counter())]

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage."""
        self._began.append((name, time.perf_counter()))

    def advance(self, steps: int = 1) -> None:
        """Ignore steps."""

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        ends = [*(moment for _, moment in self._began[1:]), time.perf_counter()]
        seconds: dict[str, float] = {}
        for (name, moment), end in zip(self._began, ends, strict=True):
            seconds[name] = round(seconds.get(name, 0) + end - moment, 3)
        return seconds
