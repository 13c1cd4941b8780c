"""Run commands in forked children of a warm process, each with one fault of the system.

Run it as a program under the shim (`faultshim.c`). It writes a tiny index at the place that its
argument names, and says `ready`. Then it reads jobs from stdin, one JSON object a line, and writes
how each ended. A job is
`{"argv", "folder", "kind", "at", "errno", "sticky", "encoding", "port"}`. A server gets a question
at its port, and then Ctrl-C.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

KINDS = (
    *("open", "read", "write", "sync", "stat", "rename", "make", "remove"),
    *("link", "list", "lock", "resize", "map"),
)
INTERRUPT, GARBLE = -1, -2  # in place of an error's number, as in the shim
SECONDS = 60.0  # that a child may take
PATIENCE = 10.0  # seconds until a server must listen
QUESTION = b'{"caption": "a walk", "seeds": ["dog"]}'
LIBRARIES = (
    *("duckdb", "faiss", "safetensors.numpy", "rich.progress", "platformdirs", "pyarrow"),
    *("gensim.models", "scipy.sparse", "numpy.random", "uvicorn", "sklearn"),
)


def warm() -> None:
    """Import what commands import, so that a child costs no imports."""
    import hashlens

    for part in ("indexer", "retriever", "evaluation"):
        places = [f"{place}/{part}" for place in hashlens.__path__]
        for module in pkgutil.walk_packages(places, f"hashlens.{part}."):
            importlib.import_module(module.name)
    for name in (*LIBRARIES, "hashlens.cli"):
        importlib.import_module(name)
    # The starter index has hundreds of common hashtags: a matrix of them is inverted for seconds.
    setattr(sys.modules["hashlens.indexer.storage.count_matrices"], "EASE_POSTS", 10**6)  # noqa: B010 (a module of ours)
    gc.freeze()  # a child that looks through all of this memory would copy it


def work(shim: Any, job: dict[str, Any], out: int, err: int) -> None:
    """Run the command of a job in this child, and end the child."""
    os.chdir(job["folder"])
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["hashlens", *job["argv"]]
    from hashlens.cli import main

    code: Any = 1
    kind = KINDS.index(job["kind"]) if job.get("kind") else -1
    if encoding := job.get("encoding"):
        sys.stdout.reconfigure(encoding=encoding)  # type: ignore[union-attr]
        sys.stderr.reconfigure(encoding=encoding)  # type: ignore[union-attr]
    if port := job.get("port"):
        threading.Thread(target=ask, args=(port,), daemon=True).start()
    shim.fault_folder(job["folder"].encode())
    shim.fault_arm(kind, job.get("at", 0), job.get("errno", 0), job.get("sticky", 0))
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    shim.fault_folder(b"")
    seen = {name: shim.fault_seen(number) for number, name in enumerate(KINDS)}
    Path(job["counts"]).write_text(json.dumps(seen))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def ask(port: int) -> None:
    """Ask a server a question once it listens, and stop it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as line:
            head = f"Host: localhost\r\nContent-Length: {len(QUESTION)}\r\nConnection: close\r\n"
            head += "Content-Type: application/json\r\n"
            line.sendall(f"POST /v1/recommend HTTP/1.1\r\n{head}\r\n".encode() + QUESTION)
            while line.recv(1 << 16):
                pass
            break
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def run(shim: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Return how one job ended: its status, its output, and the calls that it made."""
    with tempfile.TemporaryDirectory() as place:
        job["counts"] = f"{place}/counts"
        names = [f"{place}/out", f"{place}/err"]
        files = [os.open(name, os.O_RDWR | os.O_CREAT) for name in names]
        pid = os.fork()
        if not pid:
            try:
                work(shim, job, *files)
            finally:
                os._exit(99)
        status = _wait(pid)
        for file in files:
            os.close(file)
        out, err = (Path(name).read_text(errors="replace") for name in names)
        counts = Path(job["counts"])
        seen = json.loads(counts.read_text()) if counts.exists() else {}
    return {"status": status, "out": out, "err": err, "seen": seen}


def _wait(pid: int) -> int:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -999


def make_index(place: Path) -> None:
    """Write the tiny index from a child: threads of libraries would not outlive a fork."""
    from tests.support import tiny_index

    pid = os.fork()
    if not pid:
        status = 1
        try:
            tiny_index.published(place)
            status = 0
        finally:
            os._exit(status)
    if status := os.waitpid(pid, 0)[1]:
        raise SystemExit(f"{place}: no index came of it ({status})")


def main() -> None:
    """Answer jobs until stdin ends."""
    shim = ctypes.CDLL(None)
    shim.fault_seen.restype = ctypes.c_long
    shim.fault_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    warm()
    make_index(Path(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(shim, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
