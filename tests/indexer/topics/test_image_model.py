"""Connections that say nothing, or half a head, are closed; others are served as ever."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI

from hashlens.retriever.server import header_timeout as heads

HEAD = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server that gives a head half a second, and takes one second to answer."""
    monkeypatch.setattr(heads, "ARRIVAL", 0.5)
    app = FastAPI()

    @app.get("/slow")
    def slow() -> str:
        time.sleep(1)
        return "done"

    server = uvicorn.Server(uvicorn.Config(app, http=heads.TimelyHeads, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD])
def test_what_does_not_come_in_time_is_not_waited_for(
    address: tuple[str, int], sent: bytes
) -> None:
    with connected(address) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        assert connection.recv(100) == b""  # closed
        assert 0.2 < time.monotonic() - began < 5


def test_a_byte_now_and_then_does_not_help(address: tuple[str, int]) -> None:
    with connected(address) as connection, contextlib.suppress(ConnectionError):
        began = time.monotonic()
        for byte in HEAD:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)
            assert time.monotonic() - began < 5


def test_answers_may_take_longer_and_connections_go_on(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"\r\n")
            answer = b""
            while not answer.endswith(b'"done"'):
                answer += connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.2)
        connection.sendall(b"GET /sl")
        assert connection.recv(100) == b""
