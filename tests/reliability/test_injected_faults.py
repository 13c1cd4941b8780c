"""Faults of the system at any call, in every command: one line and an exit status, no traceback.

The quick run takes a few faults of each command; `HASHLENS_INJECT=200` takes 200 of each.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.fault_injection import GARBLE, INTERRUPT
from tests.support import tiny_index as tiny

ROOT = Path(__file__).parents[2]
FAULTS = int(os.environ.get("HASHLENS_INJECT", "3"))  # of each command
ERRORS = {
    "open": (errno.EACCES, errno.EIO, errno.EMFILE, errno.ENOENT, errno.EROFS, errno.ENOSPC),
    "read": (errno.EIO, errno.ESTALE),
    "write": (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT),
    "sync": (errno.EIO, errno.ENOSPC),
    "stat": (errno.EACCES, errno.EIO, errno.ESTALE),
    "rename": (errno.EACCES, errno.EIO, errno.ENOSPC),
    "make": (errno.EACCES, errno.ENOSPC, errno.EROFS),
    "remove": (errno.EACCES, errno.EIO, errno.EROFS),
    "link": (errno.EACCES, errno.EIO, errno.ENOSPC),
    "list": (errno.EACCES, errno.EIO, errno.EMFILE),
    "lock": (errno.ENOLCK, errno.EIO),
    "resize": (errno.ENOSPC, errno.EIO),
    "map": (errno.ENOMEM, errno.EACCES),
}
SMALL = ("--vectors", "report-word2vec")
COMMANDS = {
    "build": ["build", "posts.jsonl", "--index", "new", *SMALL],
    "build again": ["build", "posts.jsonl", "--index", "index", *SMALL, "--json"],
    "build from the starter": ["build", "posts.jsonl", "--index", "new", "--from-starter"],
    "update": ["update", "more.jsonl", "--index", "index"],
    "update anew": ["update", "more.jsonl", "--index", "index", "--retrain"],
    "delete": ["update", "--delete", "ids.txt", "--index", "index"],
    "forget": ["forget", "--author", "dan", "--index", "index"],
    "compact": ["compact", "--index", "index", "--keep", "1"],
    "rollback": ["rollback", "--index", "two"],
    "verify": ["verify", "--index", "index"],
    "history": ["history", "--index", "index"],
    "inspect": ["inspect", "--index", "index"],
    "recommend": ["recommend", "--caption", "a walk #dog", "--index", "index", "--explain"],
    "recommend checked": ["recommend", "--seed", "dog", "--index", "index", "--check", "--json"],
    "batch": ["batch", "rows.jsonl", "--out", "answers.jsonl", "--index", "index"],
    "batch csv": ["batch", "rows.jsonl", "--out", "answers.csv", "--index", "index", "--resume"],
    "evaluate": ["evaluate", "unseen.jsonl", "--index", "index", "--inputs", "caption,seeds:1"],
    "sample": ["sample", "sample"],
    "config": ["config"],
    "encoders": ["encoders", "--json"],
    "serve": ["serve", "--index", "index", "--port", "PORT"],
}
CALLS = 8  # of ten faults, that are errors of calls; one is Ctrl-C, and one is bad bytes


class Runner:
    """Runs commands with faults, each on a fresh copy of a small index and posts."""

    def __init__(self, place: Path, shim: Path) -> None:
        self.place = place
        self.made = place / "made"
        self.made.mkdir()
        tiny.published(self.made / "index")
        rows = [
            {"id": f"n{n}", "author": "gil", "caption": f"walk {n} #dog #fun"} for n in range(4)
        ]
        _write(self.made / "posts.jsonl", [*rows, {"id": "x", "caption": "#park sun"}])
        _write(self.made / "more.jsonl", rows)
        _write(self.made / "rows.jsonl", [{"id": "a", "caption": "a walk"}, {"seeds": ["dog"]}])
        unseen = "we took a long walk in the park and then home again #dog #park #walk"
        _write(self.made / "unseen.jsonl", [{"id": f"u{n}", "caption": unseen} for n in range(3)])
        (self.made / "ids.txt").write_text("p1\np3\n")
        (self.made / "hashlens.toml").write_text("k = 3\n")
        environment = os.environ | {
            "LD_PRELOAD": str(shim),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HASHLENS_CACHE": "cache",
            "TORCH_HOME": "torch",
            "XDG_CONFIG_HOME": str(place / "none"),
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("HASHLENS_CONFIG", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.fault_injection"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        first = self.run(["update", "more.jsonl", "--index", "index"], keep="two")
        assert first["status"] == 0, first
        shutil.copytree(self.place / "two" / "index", self.made / "two")

    def run(self, argv: list[str], keep: str = "work", **fault: Any) -> dict[str, Any]:
        work = self.place / keep
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.made, work)
        job = {"argv": argv, "folder": str(work)} | fault
        if "PORT" in argv:
            job["port"] = port = free_port()
            job["argv"] = [str(port) if word == "PORT" else word for word in argv]
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, on Linux")
    place = tmp_path_factory.mktemp("injected")
    shim, source = place / "shim.so", ROOT / "tests" / "faultshim.c"
    command = [compiler, "-O1", "-w", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"]
    subprocess.run(command, check=True)
    made = Runner(place, shim)
    with made.process:
        yield made
        made.process.kill()


def faults(seen: dict[str, int], name: str) -> Iterator[dict[str, Any]]:
    """Faults spread over the kinds of calls that a command makes; the same ones each time."""
    drawn = random.Random(name)
    kinds = [kind for kind, count in seen.items() if count]
    for number in range(FAULTS):
        kind = kinds[(number + len(name)) % len(kinds)]
        is_call = number % 10 < CALLS
        is_text = number % 10 == CALLS + 1
        if is_text and seen["read"]:
            kind = "read"
        fault = {"kind": kind, "at": 1 + drawn.randrange(seen[kind])}
        if is_call:
            code = drawn.choice(ERRORS[kind])
            yield fault | {"errno": code, "sticky": int(drawn.random() < 0.3)}
        else:
            encoding = drawn.choice(("ascii", "latin-1", "utf-8"))
            yield fault | {"errno": GARBLE if is_text else INTERRUPT, "encoding": encoding}


def trouble(argv: list[str], found: dict[str, Any], fault: dict[str, Any]) -> str:
    """Why an end is not as promised, or nothing."""
    status, err = found["status"], found["err"]
    if "Traceback" in err or "Exception ignored" in err:
        return "traceback"
    if "nobody foresaw" in err:
        return "unforeseen"
    stopped = (130,) if fault["errno"] == INTERRUPT or "serve" in argv else ()
    if status not in (0, 1, 2, 3, 4, 5, *stopped):
        return f"status {status}"
    lines = [line for line in err.splitlines() if line.startswith("hashlens: ")]
    if status in (1, 2, 5, 130) and len(lines) < 1:
        return "no line"
    return ""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_any_call_is_one_line(runner: Runner, name: str) -> None:
    sound = runner.run(COMMANDS[name])
    assert sound["status"] == (130 if name == "serve" else 0), sound
    assert sound["seen"]["stat"] + sound["seen"]["open"] + sound["seen"]["make"] > 0
    wrong = []
    for fault in faults(sound["seen"], name):
        found = runner.run(COMMANDS[name], **fault)
        if why := trouble(COMMANDS[name], found, fault):
            wrong.append((why, fault, found["status"], found["err"][-300:]))
    assert not wrong, "\n".join(map(str, wrong))
