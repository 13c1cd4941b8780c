"""Work in a forked child of a warmed parent: it may be killed, or die, and costs no imports.

The parent must only have imported: a child of one whose libraries run threads may hang.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

Say = Callable[[str], None]
Task = Callable[[Say], None]
HANGS = 120.0  # seconds after which a child is taken to hang


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit status, or minus the signal; and the lines that it said."""

    status: int
    said: tuple[str, ...]


@dataclass(slots=True)
class Child:
    """A forked child at work."""

    pid: int
    pipe: int
    _text: str = field(default="", repr=False)

    @classmethod
    def of(cls, task: Task) -> Child:
        """Begin a task; an exception in it is said as a line `raised ...`, and ends it with 1."""
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(write)
            return cls(pid, read)
        os.close(read)
        status = 1
        try:
            task(lambda line: _write(write, line))
            status = 0
        except BaseException as error:
            if os.environ.get("HASHLENS_FAULTS"):
                traceback.print_exc()
            _write(write, f"raised {type(error).__name__}: {' '.join(str(error).split())}")
        finally:
            os._exit(status)

    def says(self, line: str, seconds: float = HANGS) -> bool:
        """Wait until it says a line, or ends without it."""
        until = time.monotonic() + seconds
        while line not in self._text.split("\n")[:-1]:
            if not self._hear(until - time.monotonic()):
                return False
        return True

    def kill(self) -> None:
        """Kill it as the kernel does where memory is short: nothing of it runs any more."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self, seconds: float = HANGS) -> Ended:
        """Wait until it ends; one that hangs is killed."""
        until = time.monotonic() + seconds
        while self._hear(until - time.monotonic()):
            pass
        if time.monotonic() >= until:
            self.kill()
        os.close(self.pipe)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(status, tuple(self._text.split("\n")[:-1]))

    def _hear(self, seconds: float) -> bool:
        """Read what it says next; False where it ended, or nothing came in time."""
        if not select.select([self.pipe], [], [], max(seconds, 0))[0]:
            return False
        piece = os.read(self.pipe, 1 << 16).decode()
        self._text += piece
        return bool(piece)


def run(task: Task) -> Ended:
    """A task from begin to end, in a child."""
    return Child.of(task).end()


def _write(pipe: int, line: str) -> None:
    data = (line + "\n").encode()
    while data:
        data = data[os.write(pipe, data) :]
