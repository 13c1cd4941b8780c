"""Ctrl-C ends the program in one line with status 130: while it loads, works, or ends.

It imports nothing that Python has not loaded when it starts. Ctrl-C before it is a traceback.
Even `signal`, `contextlib` and `typing` take too long: `_signal` is part of the interpreter.
"""

from __future__ import annotations

import _signal
import os

TYPE_CHECKING = False  # that of `typing`, which type checkers know by name
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INTERRUPTED = 130  # exit status
_LINE = b"hashlens: interrupted\n"


def end_on_interrupt() -> None:
    """From now on Ctrl-C ends the process at once: there is nothing to be cleared away."""
    _handle(_end)


class loading:  # noqa: N801 (used as a function)
    """Ctrl-C ends the process at once while modules are loaded inside."""

    def __enter__(self) -> None:
        self._before = _handle(_end)

    def __exit__(self, *_: object) -> None:
        _restore(self._before)


class noticing:  # noqa: N801 (used as a function)
    """Ctrl-C raises KeyboardInterrupt inside; gives whether it came.

    A library may make another error of it: DuckDB raises a RuntimeError.
    """

    def __enter__(self) -> Callable[[], bool]:
        self._came = False
        self._before = _handle(self._interrupt)
        return lambda: self._came

    def __exit__(self, *_: object) -> None:
        _restore(self._before)

    def _interrupt(self, number: int, frame: object) -> None:
        self._came = True
        raise KeyboardInterrupt


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, _LINE)
    finally:  # stderr may be closed: the status says it
        os._exit(INTERRUPTED)


def _handle(handler: Callable[[int, object], None]) -> Any:  # noqa: ANN401 (as `signal` has it)
    """Set the handler; where Ctrl-C is ignored, as by nohup, or in a thread, nothing changes."""
    try:
        if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
            return _signal.signal(_signal.SIGINT, handler)
    except ValueError:
        pass  # in a thread
    return None


def _restore(before: Any) -> None:  # noqa: ANN401
    if before is not None:
        _signal.signal(_signal.SIGINT, before)
