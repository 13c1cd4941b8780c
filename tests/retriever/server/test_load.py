"""What one client may hold: connections, seats, the log, and the time that a stop takes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hashlens.retriever.server import header_timeout as heads
from hashlens.retriever.server.logs import SafeLines
from tests.support.web_client import CAPTION, served

SLOW_BODY = (
    b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n-"
)
# The clerk is inside a library, and so is a thread of the pool that Python waits for at its end.
STUCK = """
import time, hashlens.retriever.server.app, hashlens.retriever.server.serving
hashlens.retriever.server.serving._warm_caches = lambda recommender: None
hashlens.retriever.server.serving.Desk._answer = lambda desk, batch: time.sleep(60)
hashlens.retriever.server.app.post_facts = lambda index, post_id: time.sleep(60)
"""


def place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").partition(":")
    return host, int(port)


def status(address: str, path: str, asked: object = None, timeout: float = 10) -> int:
    """The status of an answer; 0 where none comes."""
    body = None if asked is None else json.dumps(asked).encode()
    request = urllib.request.Request(f"{address}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextlib.contextmanager
def connections(address: str, count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(socket.create_connection(place(address), timeout=10)))
            opened[-1].sendall(sent)
        yield opened


def test_idle_connections_beyond_the_limit_of_files_cost_neither_log_nor_answers(
    sample_index: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        served(sample_index, log=log, files=256) as (address, process),
        connections(address, 300),
    ):
        for _ in range(5):
            assert status(address, "/healthz") == 200
            time.sleep(0.2)
        assert status(address, "/v1/recommend", {"caption": CAPTION}) == 200
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < 256
        assert log.stat().st_size == 0


def test_slow_bodies_hold_no_seats(sample_index: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(sample_index, log=log) as (address, process):
        with connections(address, 100, SLOW_BODY):
            assert status(address, "/healthz") == 200
            assert status(address, "/v1/recommend", {"caption": CAPTION}) == 200
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert time.monotonic() - began < 5
        assert log.stat().st_size < 1_000


def test_slow_bodies_on_all_connections_make_room_for_others(sample_index: Path) -> None:
    with (
        served(sample_index, files=256) as (address, _),
        connections(address, 120, SLOW_BODY),
        connections(address, 60),
    ):
        assert status(address, "/v1/recommend", {"caption": CAPTION}) == 200


def test_bounds_follow_the_limit_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {
        1024: (512, 64),
        256: (128, 16),
        65_536: (512, 64),
        resource.RLIM_INFINITY: (512, 64),
    }
    for files, wanted in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert heads.bounds() == wanted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_takes_five_seconds_while_all_threads_are_busy(
    sample_index: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with (
        served(sample_index, program=STUCK, log=tmp_path / "log") as (address, process),
        ThreadPoolExecutor(50) as threads,
    ):
        threads.submit(status, address, "/v1/recommend", {"caption": CAPTION})
        for _ in range(45):  # more than the pool has
            threads.submit(status, address, "/v1/posts/a")
        time.sleep(1)
        assert status(address, "/healthz", timeout=2) == 200
        began = time.monotonic()
        process.send_signal(number)
        process.wait(10)
        assert time.monotonic() - began < 5


def test_malformed_requests_leave_no_log(sample_index: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(sample_index, log=log) as (address, _):
        for sent in (b"\x1b]52;c;x\x07 / HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
            with connections(address, 20, sent) as opened:
                for one in opened:
                    with contextlib.suppress(ConnectionError):
                        one.recv(1_000)
        upgrade = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        with connections(address, 1, upgrade) as (one,):
            assert one.recv(1_000).startswith(b"HTTP/1.1 200")
    assert log.read_bytes() == b""


def test_the_log_holds_what_was_sent_in_no_line_of_its_own() -> None:
    try:
        raise ValueError("sent \x1b[2J\nERROR hashlens: forged\x9b")
    except ValueError as error:
        record = logging.LogRecord(
            *("hashlens", logging.ERROR, "", 0, "bad %s", ("a\nERROR hashlens: forged\u202e",)),
            exc_info=(ValueError, error, error.__traceback__),
        )
    first, *others = SafeLines("%(levelname)s %(name)s: %(message)s").format(record).split("\n")
    assert first == "ERROR hashlens: bad a"
    assert "  ERROR hashlens: forged\ufffd" in others
    assert all(line.startswith("  ") and line.isprintable() for line in others)
