"""Ctrl-C ends the program in one line with status 130: while it loads, works, or ends.

Before this module is loaded, Python prints a traceback for Ctrl-C. So it imports only modules
that Python has loaded at its start: even `signal`, `typing` and `__future__` take too long.
"""

import _signal
import _thread
import os
import sys
import time

TYPE_CHECKING = False  # that of `typing`, which type checkers know by name
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

INTERRUPTED = 130  # exit status
MAX_WAIT = 10.0  # seconds that Ctrl-C waits for modules to load
_PAUSE = 0.02  # seconds until Ctrl-C is tried again
_LINE = b"hashlens: interrupted\n"
_IMPORT = "<frozen importlib._bootstrap>"  # the file of Python's frames while it loads a module


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

    A library may turn it into another error: DuckDB raises a RuntimeError. It waits until modules
    are loaded: raised there, it makes a library abort the process. Where Python drops it, as in
    `__del__`, it comes again.
    """

    def __enter__(self) -> "Callable[[], bool]":
        self._came = False
        self._waits = 0
        self._before = _handle(self._interrupt)
        self._report, sys.unraisablehook = sys.unraisablehook, self._raise_again
        return lambda: self._came

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._report
        _restore(self._before)

    def _interrupt(self, number: int, frame: "FrameType | None") -> None:
        if self._waits * _PAUSE < MAX_WAIT and _is_loading(frame):
            self._waits += 1
            _thread.start_new_thread(_interrupt_soon, ())
            return
        self._waits = 0
        self._came = True
        raise KeyboardInterrupt

    def _raise_again(self, dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            self._report(dropped)
            return
        self._came = False
        _thread.start_new_thread(_interrupt_soon, ())


def _is_loading(frame: "FrameType | None") -> bool:
    while frame and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None


def _interrupt_soon() -> None:
    time.sleep(_PAUSE)
    _signal.raise_signal(_signal.SIGINT)  # its handler runs in the main thread


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, _LINE)
    finally:  # stderr may be closed
        os._exit(INTERRUPTED)


def _handle(handler: "Callable[[int, FrameType | None], None]") -> "Any":  # noqa: ANN401
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
