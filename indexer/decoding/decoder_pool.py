"""Decode pictures in other processes, so that one that takes too long can be killed alone.

The first picture starts a process, and later pictures use it again. A caption starts none.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.decoding import decoder_process
from hashlens.indexer.decoding.decoder_process import FAILURE, LARGE, LENGTH, READY
from hashlens.indexer.decoding.loading import open_picture_file
from hashlens.indexer.errors import EncoderError, ImageError

MAX_SECONDS = 3.0  # of processor time for one picture
# Seconds until an answer; a busy machine gives a picture only a part of them. A build can wait.
MAX_WAIT = 20.0
MAX_QUERY_WAIT = 3.5

_large = Lock()  # lets one large picture be decoded at a time, which bounds the memory of all


def crop_picture(
    path: Path,
    *,
    side: int,
    shorter: int,
    crop: int,
    bicubic: bool,
    squash: bool,
    seconds: float = MAX_WAIT,
) -> NDArray[np.uint8]:
    """Return the part of a picture file that a network sees, uint8 (crop, crop, 3).

    Args:
        path: as in `images.open_image`.
        side: as there.
        shorter: with the others, as in `crop_image`.
        crop: as there.
        bicubic: as there.
        squash: as there.
        seconds: how long it may take at most.

    Raises:
        ImageError: as `images.open_image`, or decoding takes too long.
        EncoderError: no process can be started.
    """
    wanted = {"shorter": shorter, "crop": crop, "bicubic": bicubic, "squash": squash}
    content = _pool.ask(path, {"side": side, "cropped": wanted}, seconds)
    return np.frombuffer(content, np.uint8).reshape(crop, crop, 3)


def thumbnail(path: Path, side: int) -> bytes:
    """Return a picture file as a small JPEG without EXIF, no side above `side` pixels.

    Raises:
        ImageError: as `images.open_image`, or decoding takes too long.
        EncoderError: no process can be started.
    """
    return bytes(_pool.ask(path, {"side": side}, MAX_QUERY_WAIT))


def start(processes: int) -> None:
    """Start that many processes, without waiting until they are ready.

    Raises:
        EncoderError: they cannot be started.
    """
    _pool.start(processes)


def stop() -> None:
    """Kill all processes. Pictures being decoded fail; later ones get new processes."""
    _pool.stop()


class _Pool:
    """All processes, and those that are idle."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._lock = Lock()

    def start(self, processes: int) -> None:
        """Start processes until there are that many."""
        with self._lock:
            while len(self._all) < processes:
                self._idle.append(self._launch())

    def ask(self, path: Path, request: dict[str, Any], seconds: float) -> bytearray:
        """Return the answer of a process to a request about a picture file."""
        with open_picture_file(path) as file:
            process = self._take()
            try:
                answer = process.answer(file, request | {"suffix": path.suffix}, seconds)
            except ImageError as error:
                raise ImageError(f"{path}: {error}") from error
            finally:
                self._give_back(process)
        return answer

    def stop(self) -> None:
        """Kill all processes. Threads that wait for one get an error."""
        with self._lock:
            for process in self._all:
                process.kill()
            for process in self._idle:
                process.close()
            self._all.clear()
            self._idle.clear()

    def forget(self) -> None:
        """Give up the processes of a parent after a fork, without killing them."""
        for process in self._all:
            process.forget()

    def _take(self) -> _Process:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                self._all.discard(process)  # killed while it rested
                process.close()
            return self._launch()

    def _launch(self) -> _Process:
        process = _Process()
        self._all.add(process)
        return process

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            if process.is_usable and process in self._all:
                self._idle.append(process)
                return
            self._all.discard(process)
        process.close()


class _Process:
    """One process; one thread uses it at a time."""

    def __init__(self) -> None:
        """Start the process.

        Raises:
            EncoderError: it cannot be started.
        """
        self.is_usable = True
        self._is_ready = False
        self._line, theirs = socket.socketpair()
        # OpenBLAS would start threads that decoding never uses.
        settings = {"OPENBLAS_NUM_THREADS": "1"}
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 (this Python, a module of ours)
                    [sys.executable, "-P", "-m", decoder_process.__name__],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | settings,
                    start_new_session=True,  # Ctrl-C is for this process alone
                )
        except OSError as error:
            self._line.close()
            raise EncoderError(
                f"the process that decodes pictures cannot be started ({error.strerror or error}): "
                "free memory or processes, and ask again"
            ) from error

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def answer(self, file: IO[bytes], request: dict[str, Any], seconds: float) -> bytearray:
        """Return its answer about a picture file, within so many seconds once it is ready.

        Raises:
            ImageError: the picture cannot be decoded, or the process was killed. It lacks the
                file's name.
            EncoderError: the process did not start.
        """
        self.is_usable = False  # until it has answered in full
        try:
            kind, answer = self._exchange(file, request, seconds)
        except (OSError, EOFError) as error:
            self.kill()
            raise self._failure(error) from error
        except BaseException:
            self.kill()
            raise
        self.is_usable = True
        if kind == FAILURE:
            raise ImageError(answer.decode())
        return answer

    def kill(self) -> None:
        """Kill the process; the socket stays open for a thread that may be reading it."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill the process and close its socket."""
        self.kill()
        self._line.close()

    def forget(self) -> None:
        """Close the socket to a process of the parent, and leave the process alone."""
        self._line.close()
        self._process.returncode = 0

    def _exchange(
        self, file: IO[bytes], request: dict[str, Any], seconds: float
    ) -> tuple[bytes, bytearray]:
        if not self._is_ready:
            self._line.settimeout(MAX_WAIT)
            self._is_ready = self._receive()[0] == READY
        self._line.settimeout(seconds)
        limits = {"processor_seconds": MAX_SECONDS}
        socket.send_fds(self._line, [json.dumps(request | limits).encode()], [file.fileno()])
        kind, answer = self._receive()
        if kind != LARGE:
            return kind, answer
        with _large:
            self._line.sendall(b"\n")
            return self._receive()

    def _receive(self) -> tuple[bytes, bytearray]:
        head = self._read_bytes(1 + LENGTH)
        return bytes(head[:1]), self._read_bytes(int.from_bytes(head[1:]))

    def _read_bytes(self, size: int) -> bytearray:
        found = bytearray(size)
        rest = memoryview(found)
        while rest:
            count = self._line.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return found

    def _failure(self, error: OSError | EOFError) -> ImageError | EncoderError:
        """Return the reason for a missing answer, by how the process ended."""
        status = self._process.returncode
        if not self._is_ready and status >= 0:
            return EncoderError(
                f"the process that decodes pictures ended with status {status} as it started, "
                f"expected {sys.executable} to run it: install hashlens again"
            )
        if status == -signal.SIGPROF:
            return ImageError(
                f"takes more than {MAX_SECONDS:g} s to decode: save it anew as a plain JPEG"
            )
        if isinstance(error, TimeoutError):
            return ImageError(
                f"was not decoded within {self._line.gettimeout():g} s: ask again, or save it anew"
            )
        return ImageError("damaged, its decoder crashed or was stopped: fetch it again")


_pool = _Pool()
atexit.register(stop)


def _leave_processes() -> None:
    """Start afresh in a forked child, as the processes belong to the parent."""
    global _pool, _large
    _pool.forget()
    _pool, _large = _Pool(), Lock()


os.register_at_fork(after_in_child=_leave_processes)
