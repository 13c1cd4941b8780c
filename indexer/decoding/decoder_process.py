"""The process that decodes pictures for another.

    python -m hashlens.indexer.decoding.decoder_process

Pictures come from strangers, so this process has limits of memory and processor time, and may be
killed. Standard input is a socket. A request is one line of JSON with the picture's open file; an
answer is a kind, a length and as many bytes. The process ends when the socket is closed.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from hashlens.indexer.decoding.loading import MAX_BYTES, decode_image, prepare_pillow
from hashlens.indexer.decoding.pixels import crop_image, make_thumbnail
from hashlens.indexer.errors import ImageError

MAX_MEMORY = 2_500_000_000  # bytes; pictures are refused long before by `MAX_DECODED_BYTES`
MAX_REQUEST = 4096  # bytes

# Kinds of answers: ready for requests; a result; a failure with its reason; a large picture,
# which waits for one byte before it is decoded.
READY, RESULT, FAILURE, LARGE = b"r", b"=", b"!", b"l"
LENGTH = 4  # bytes of an answer's length


def main() -> None:
    """Answer requests until the socket is closed."""
    # These signals stop the parent, which then closes the socket.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    _limit(resource.RLIMIT_DATA, MAX_MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    with socket.socket(fileno=0) as line:
        prepare_pillow()
        _send(line, READY, b"")
        while True:
            content, files, _, _ = socket.recv_fds(line, MAX_REQUEST, 1)
            if not content:
                return
            with open(files[0], "rb") as file:
                _answer(line, json.loads(content), file)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _answer(line: socket.socket, request: dict[str, Any], file: IO[bytes]) -> None:
    # The kernel ends this process when its time is over, even inside a decoder.
    signal.setitimer(signal.ITIMER_PROF, request["processor_seconds"])
    try:
        kind, answer = RESULT, _decode(line, request, file)
    except ImageError as error:
        kind, answer = FAILURE, str(error).encode("utf-8", "backslashreplace")
    except MemoryError:
        kind, answer = FAILURE, b"too large for the memory at hand: scale it down"
    signal.setitimer(signal.ITIMER_PROF, 0)
    _send(line, kind, answer)


def _decode(line: socket.socket, request: dict[str, Any], file: IO[bytes]) -> bytes:
    @contextmanager
    def allowed() -> Iterator[None]:
        _send(line, LARGE, b"")
        line.recv(1)
        yield

    picture = decode_image(
        file.read(MAX_BYTES), side=request["side"], suffix=request["suffix"], wait=allowed
    )
    wanted = request.get("cropped")
    if wanted is None:
        return make_thumbnail(picture, request["side"])
    return crop_image(picture, **wanted).tobytes()


def _send(line: socket.socket, kind: bytes, answer: bytes) -> None:
    line.sendall(kind + len(answer).to_bytes(LENGTH) + answer)


if __name__ == "__main__":
    main()
