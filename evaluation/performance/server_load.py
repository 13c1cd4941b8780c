"""The speed of `hashlens serve`, measured by requests to a server process.

    python -m hashlens.evaluation.performance.server_load --index DIR --out FILE

Requests are sent on schedule, even if earlier ones are not answered. A latency counts from the
scheduled time, so that a server that falls behind cannot hide it.
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
from urllib.parse import urlsplit

import numpy as np

from hashlens.evaluation.performance.isolated import measure_seconds, read_memory
from hashlens.evaluation.result_files import Json
from hashlens.indexer.config import data_path
from hashlens.indexer.decoding.pixels import save_jpeg
from hashlens.indexer.errors import HashlensError

MAX_THREADS = 32  # requests under way
CLIENTS = 8  # that send their next request once answered
BOUNDARY = "x-hashlens"
_PICTURE_SIZE = (816, 1224)  # pixels: 1 megapixel
_WARM_UP_REQUESTS = 30  # before the clock starts

Body = tuple[bytes, str]  # content and content type of a request


def measure_server(
    index: Path, *, seconds: float = 20, rates: Sequence[float] = (50, 15), memory: int = 2_000
) -> Json:
    """Return latencies at two rates, the highest rate, and memory over many requests.

    Args:
        index: folder of the index.
        seconds: duration of each rate.
        rates: requests a second with captions, and with pictures of one megapixel.
        memory: number of requests during which memory is measured.

    Returns:
        JSON values: `captions`, `captions_short` (without evidence) and `pictures`. Each has
        `p50_ms`, `p95_ms` and `statuses` of scheduled requests; `server_cpu_ms` of one answer,
        which a busy machine changes less; and `most`, answers a second to eight clients that wait
        for each answer. `memory_mib` is the memory of the server's process, measured eleven times.

    Raises:
        HashlensError: the server does not start.
    """
    draw = random.Random(1)  # noqa: S311 (nothing is kept secret)
    lines = data_path("sample/posts.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [str(json.loads(line).get("caption") or "") for line in lines]  # in ten languages
    captions = [text.partition("#")[0].strip() for text in texts if text]
    height, width = _PICTURE_SIZE
    tiles = np.random.default_rng(1).integers(0, 255, (height // 24, width // 24, 3))
    pixels = np.kron(tiles, np.ones((24, 24, 1))).astype(np.uint8)  # smooth as photos are
    with TemporaryDirectory(prefix="hashlens-") as folder:
        save_jpeg(pixels, Path(folder) / "picture.jpg")
        picture = (Path(folder) / "picture.jpg").read_bytes()

    def mix_captions() -> str:
        """Return words of two captions, so that no request equals an earlier one."""
        words = " ".join(draw.sample(captions, 2)).split()
        return " ".join(draw.sample(words, min(len(words), 14)))

    kinds: dict[str, tuple[float, Callable[[], Body]]] = {
        "captions": (rates[0], lambda: _encode_form(caption=mix_captions())),
        "captions_short": (
            rates[0],
            lambda: _encode_form(caption=mix_captions(), explain="false"),
        ),
        "pictures": (rates[1], lambda: _encode_form(image=picture)),
    }
    figures: Json = {}
    with _run_server(index) as (address, process):
        for name, (rate, make_body) in kinds.items():
            count = max(_WARM_UP_REQUESTS, round(rate * seconds))
            bodies = [make_body() for _ in range(count)]
            _send_in_turn(address, bodies[:_WARM_UP_REQUESTS])
            before = _read_cpu_seconds(process)
            figures[name] = _send_on_schedule(address, bodies, rate)
            cpu_ms = 1000 * (_read_cpu_seconds(process) - before) / count
            figures[name]["server_cpu_ms"] = round(cpu_ms, 1)
            figures[name]["most"] = _send_in_turn(address, bodies)
        memory_mib = []
        for _ in range(10):
            memory_mib.append(read_memory(process))
            _send_in_turn(address, [kinds["captions_short"][1]() for _ in range(memory // 10)])
        figures["memory_mib"] = [*memory_mib, read_memory(process)]
    return figures


@contextmanager
def _run_server(index: Path) -> Iterator[tuple[str, int]]:
    """Yield the address and the process id of a server."""
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


def _connect(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)


def _post(connection: http.client.HTTPConnection, body: Body) -> int:
    """Send a request, read the answer, and return its status."""
    content, kind = body
    connection.request("POST", "/v1/recommend", content, {"Content-Type": kind})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _send_on_schedule(address: str, bodies: Sequence[Body], rate: float) -> Json:
    """Send requests at a rate, and return latencies and statuses."""
    # Used in turn: a server closes connections that stay unused.
    clients = deque(_connect(address) for _ in range(MAX_THREADS))
    start = time.perf_counter() + 0.1

    def send(number: int) -> tuple[float, int]:
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        client = clients.popleft()
        try:
            status = _post(client, bodies[number])
        finally:
            clients.append(client)
        return time.perf_counter() - due, status

    with ThreadPoolExecutor(MAX_THREADS) as threads:
        answers = list(threads.map(send, range(len(bodies))))
    duration = time.perf_counter() - start
    for client in clients:
        client.close()
    p50, p95 = np.quantile([latency for latency, _ in answers], (0.5, 0.95))
    statuses = [status for _, status in answers]
    return {
        "asked_a_second": rate,
        "answered_a_second": round(len(answers) / duration, 1),
        "p50_ms": round(1000 * float(p50)),
        "p95_ms": round(1000 * float(p95)),
        "statuses": {str(status): statuses.count(status) for status in sorted(set(statuses))},
    }


def _send_in_turn(address: str, bodies: Sequence[Body]) -> float:
    """Return answers a second to clients that wait for each answer."""

    def send(part: int) -> None:
        with closing(_connect(address)) as connection:
            for body in bodies[part::CLIENTS]:
                _post(connection, body)

    with ThreadPoolExecutor(CLIENTS) as threads:
        seconds = measure_seconds(lambda: list(threads.map(send, range(CLIENTS))))
    return round(len(bodies) / seconds, 1)


def _encode_form(**fields: str | bytes) -> Body:
    """Return a multipart form; bytes are an uploaded file."""
    parts = []
    for name, value in fields.items():
        file = '; filename="picture"' if isinstance(value, bytes) else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        content = value if isinstance(value, bytes) else value.encode()
        parts.append(head.encode() + content + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def _read_cpu_seconds(process: int) -> float:
    """Return the seconds that a process has used of all cores."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--memory", type=int, default=2_000)
    arguments = parser.parse_args()
    figures = measure_server(arguments.index, seconds=arguments.seconds, memory=arguments.memory)
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
