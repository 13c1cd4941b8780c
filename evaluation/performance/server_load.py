"""How fast `hashlens serve` answers: requests from this process to a server in one of its own.

    python -m hashlens.evaluation.performance.server_load --index DIR --out FILE

Requests are sent by a clock, whether answers have come or not, and a latency counts from when its
request was due: a server that falls behind cannot hide it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from hashlens.evaluation.performance.isolated import resident
from hashlens.indexer.config import data_path
from hashlens.indexer.decoding.loading import save_jpeg
from hashlens.indexer.errors import HashlensError

THREADS = 32  # requests under way at most
BOUNDARY = "x-hashlens"
_PICTURE = (816, 1224)  # pixels: 1 megapixel
_WARM = 30  # requests before the clock runs

Body = tuple[bytes, str]  # what is posted, and its content type


def server_speed(
    index: Path, *, seconds: float = 20, rates: Sequence[float] = (50, 15), memory: int = 2_000
) -> dict[str, Any]:
    """Latencies at two rates, the most that is answered, and memory over many requests.

    Args:
        index: folder of the index.
        seconds: how long each rate is held.
        rates: requests a second with captions, and with pictures of one megapixel.
        memory: requests over which memory is watched.

    Returns:
        JSON values: `captions`, `captions_short` (without evidence) and `pictures`, each with
        `p50_ms`, `p95_ms` and `statuses` by the clock, `server_cpu_ms` of one answer, which a busy
        machine changes less, and `most`, answers a second where eight ask as fast as they are
        answered; `memory_mib` of the server's process, eleven times.

    Raises:
        HashlensError: the server does not start.
    """
    draw = random.Random(1)  # noqa: S311 (nothing is kept secret)
    captions, picture = _captions(), _picture()
    kinds: dict[str, tuple[float, Callable[[], Body]]] = {
        "captions": (rates[0], lambda: _form(caption=_mixed(captions, draw))),
        "captions_short": (
            rates[0],
            lambda: _form(caption=_mixed(captions, draw), explain="false"),
        ),
        "pictures": (rates[1], lambda: _form(image=picture)),
    }
    found: dict[str, Any] = {}
    with _served(index) as (address, process):
        for name, (rate, body) in kinds.items():
            bodies = [body() for _ in range(max(_WARM, round(rate * seconds)))]
            _closed(address, bodies[:_WARM], 8)
            before = _worked(process)
            found[name] = _open(address, bodies, rate)
            found[name]["server_cpu_ms"] = round(
                1000 * (_worked(process) - before) / len(bodies), 1
            )
            found[name]["most"] = _closed(address, bodies, 8)
        watched = []
        for _ in range(10):
            watched.append(resident(process))
            _closed(address, [kinds["captions_short"][1]() for _ in range(memory // 10)], 8)
        found["memory_mib"] = [*watched, resident(process)]
    return found


@contextmanager
def _served(index: Path) -> Iterator[tuple[str, int]]:
    """Address and process id of a server."""
    program = "from hashlens.cli import main; main()"
    words = [sys.executable, "-c", program, "serve", "--index", str(index), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (our own command)
        try:
            line = process.stdout.readline() if process.stdout else ""
            address = re.search(r"http://\S+", line)
            if not address:
                raise HashlensError(f"{index}: the server did not start")
            yield address[0], process.pid
        finally:
            process.terminate()


class _Client:
    """One connection that is kept."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)

    def post(self, body: Body) -> int:
        """The status of one answer, read whole."""
        content, kind = body
        self._connection.request("POST", "/v1/recommend", content, {"Content-Type": kind})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _open(address: str, bodies: Sequence[Body], rate: float) -> dict[str, Any]:
    """What comes of requests that are sent by the clock."""
    # Taken in turn: a server ends connections that stay unused.
    clients = deque(_Client(address) for _ in range(THREADS))
    start = time.perf_counter() + 0.1

    def ask(number: int) -> tuple[float, int]:
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        client = clients.popleft()
        try:
            status = client.post(bodies[number])
        finally:
            clients.append(client)
        return time.perf_counter() - due, status

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(ask, range(len(bodies))))
    took = time.perf_counter() - start
    for client in clients:
        client.close()
    p50, p95 = np.quantile([latency for latency, _ in answers], (0.5, 0.95))
    statuses = [status for _, status in answers]
    return {
        "asked_a_second": rate,
        "answered_a_second": round(len(answers) / took, 1),
        "p50_ms": round(1000 * float(p50)),
        "p95_ms": round(1000 * float(p95)),
        "statuses": {str(status): statuses.count(status) for status in sorted(set(statuses))},
    }


def _closed(address: str, bodies: Sequence[Body], at_once: int) -> float:
    """Answers a second where each asks again once answered."""
    start = time.perf_counter()

    def ask(part: int) -> None:
        with closing(_Client(address)) as client:
            for body in bodies[part::at_once]:
                client.post(body)

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(ask, range(at_once)))
    return round(len(bodies) / (time.perf_counter() - start), 1)


def _captions() -> list[str]:
    """Captions of the sample posts, in ten languages."""
    lines = data_path("sample/posts.jsonl").read_text(encoding="utf-8").splitlines()
    found = [str(json.loads(line).get("caption") or "") for line in lines]
    return [caption.partition("#")[0].strip() for caption in found if caption]


def _mixed(captions: Sequence[str], draw: random.Random) -> str:
    """Words of two captions, so that no request is like one before it."""
    words = " ".join(draw.sample(captions, 2)).split()
    return " ".join(draw.sample(words, min(len(words), 14)))


def _picture() -> bytes:
    """A JPEG of one megapixel, smooth as photos are."""
    height, width = _PICTURE
    rough = np.random.default_rng(1).integers(0, 255, (height // 24, width // 24, 3))
    pixels = np.kron(rough, np.ones((24, 24, 1))).astype(np.uint8)
    with TemporaryDirectory(prefix="hashlens-") as folder:
        save_jpeg(pixels, Path(folder) / "picture.jpg")
        return (Path(folder) / "picture.jpg").read_bytes()


def _form(**fields: str | bytes) -> Body:
    parts = []
    for name, value in fields.items():
        named = '; filename="picture"' if isinstance(value, bytes) else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        content = value if isinstance(value, bytes) else value.encode()
        parts.append(head.encode() + content + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def _worked(process: int) -> float:
    """Seconds that a process has used of all cores."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--memory", type=int, default=2_000)
    given = parser.parse_args()
    speed = server_speed(given.index, seconds=given.seconds, memory=given.memory)
    given.out.write_text(json.dumps(speed, indent=1) + "\n")
