"""Ctrl-C ends the program in one line with status 130: while it loads, works, or ends.

It imports next to nothing: the program holds to it before anything else is loaded.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 130  # exit status
_LINE = b"hashlens: interrupted\n"


def end_on_interrupt() -> None:
    """From now on Ctrl-C ends the process at once: there is nothing to be cleared away."""
    _handle(_end)


@contextmanager
def loading() -> Iterator[None]:
    """Ctrl-C ends the process at once while modules are loaded inside."""
    before = _handle(_end)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def noticing() -> Iterator[Callable[[], bool]]:
    """Ctrl-C raises KeyboardInterrupt inside; gives whether it came.

    A library may make another error of it: DuckDB raises a RuntimeError.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = _handle(interrupt)
    try:
        yield lambda: bool(came)
    finally:
        _restore(before)


def _end(number: int, frame: object) -> None:
    with suppress(OSError):
        os.write(2, _LINE)
    os._exit(INTERRUPTED)


def _handle(handler: Callable[[int, object], None]) -> Any:  # noqa: ANN401 (as `signal` has it)
    """Set the handler; where Ctrl-C is ignored, as by nohup, or in a thread, nothing changes."""
    with suppress(ValueError):
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            return signal.signal(signal.SIGINT, handler)
    return None


def _restore(before: Any) -> None:  # noqa: ANN401
    if before is not None:
        signal.signal(signal.SIGINT, before)
