"""Ctrl-C ends the program in one line with status 130: while it loads, works, or ends.

Before this module is loaded, Python prints a traceback for Ctrl-C. So it imports only modules
that Python has loaded at its start: even `signal`, `typing` and `__future__` take too long.
"""

import _signal
import os

TYPE_CHECKING = False  # that of `typing`, which type checkers know by name
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INTERRUPTED = 130  # exit status
_LINE = b"hashlens: interrupted\n"


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process at once from now on: nothing must be cleared away yet."""
    _handle(_end)


class loading:  # noqa: N801 (used as a function)
    """Let Ctrl-C end the process at once while modules load inside."""

    def __enter__(self) -> None:
        self._before = _handle(_end)

    def __exit__(self, *_: object) -> None:
        _restore(self._before)


class noticing:  # noqa: N801 (used as a function)
    """Let Ctrl-C raise KeyboardInterrupt inside, and give a function that says whether it came.

    A library may turn it into another error: DuckDB raises a RuntimeError.
    """

    def __enter__(self) -> "Callable[[], bool]":
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
    finally:  # stderr may be closed
        os._exit(INTERRUPTED)


def _handle(handler: "Callable[[int, object], None]") -> "Any":  # noqa: ANN401 (as in `signal`)
    """Set the handler and return the one before; None if Ctrl-C is ignored, or in a thread."""
    try:
        if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
            return _signal.signal(_signal.SIGINT, handler)
    except ValueError:
        pass  # in a thread
    return None


def _restore(before: "Any") -> None:  # noqa: ANN401
    if before is not None:
        _signal.signal(_signal.SIGINT, before)
