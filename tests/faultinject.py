"""Runs commands in forked children of a warmed process, each with one fault of the system.

Run as a program under the shim (`faultshim.c`): it reads jobs from stdin, one JSON object a line,
and writes how each ended. A job is `{"argv", "folder", "kind", "at", "errno", "sticky", "signal"}`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = (
    *("open", "read", "write", "sync", "stat", "rename", "make", "remove"),
    *("link", "list", "lock", "resize", "map"),
)
SECONDS = 60.0  # that a child may take
LIBRARIES = (
    *("duckdb", "faiss", "safetensors.numpy", "rich.progress", "platformdirs", "pyarrow"),
    *("gensim.models", "scipy.sparse", "numpy.random", "uvicorn", "sklearn"),
)


def warm() -> None:
    """Import what commands import, so that a child costs no imports."""
    import evaluation
    import indexer
    import retriever

    for package in (indexer, retriever, evaluation):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in (*LIBRARIES, "cli"):
        importlib.import_module(name)


def work(shim: Any, job: dict[str, Any], out: int, err: int) -> None:
    """Be the command, in a child; never returns."""
    os.chdir(job["folder"])
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["hashlens", *job["argv"]]
    from cli import main

    code: Any = 1
    kind = KINDS.index(job["kind"]) if job.get("kind") else -1
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


def run(shim: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Run one job in a child, and say how it ended."""
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
        if job.get("signal"):
            time.sleep(job["signal"])
            os.kill(pid, signal.SIGINT)
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


def main() -> None:
    """Answer jobs until stdin ends."""
    shim = ctypes.CDLL(None)
    shim.fault_seen.restype = ctypes.c_long
    shim.fault_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    warm()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(shim, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
