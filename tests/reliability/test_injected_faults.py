"""A fault at any call of the system, in every command, ends in one line and an exit status.

No command ends in a traceback, and each leaves its index whole. The quick run injects a few faults
into each command; `HASHLENS_INJECT=200` injects 200.
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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hashlens.cli import app
from hashlens.indexer.errors import HashlensError
from hashlens.indexer.generations.generation import live_number, open_current
from tests.reliability.fault_injection import GARBLE, INTERRUPT

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
BENCHMARK = ["benchmark", "parted.jsonl", "--out", "report", "--inputs", "caption"]
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
    "benchmark": [*BENCHMARK, "--methods", "popularity,post-vote"],
    "usefulness": ["usefulness", "panel", "--index", "index", "--ungraded", "ungraded.jsonl"],
    "sample": ["sample", "sample"],
    "config": ["config"],
    "encoders": ["encoders", "--json"],
    "serve": ["serve", "--index", "index", "--port", "PORT"],
}
CALLS = 8  # of ten faults, that are errors of calls; one is Ctrl-C, and one is bad bytes
STATUSES = (0, 1, 2, 3, 4, 5)
WORDS = (
    *("walk", "park", "sun", "sea", "home", "cat", "long", "rain", "city", "night", "coffee"),
    *("train", "wood", "river", "bread", "song", "tree", "lamp", "road", "snow", "wind", "moon"),
)


class Runner:
    """Runs commands with faults, each on a fresh copy of a small index and posts."""

    def __init__(self, place: Path, shim: Path) -> None:
        self.place = place
        self.work = place / "work"
        self.made = place / "made"
        self.made.mkdir()
        self.numbers: dict[str, int] = {}  # of the live generations that commands find
        write_inputs(self.made)
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
            [sys.executable, "-m", "tests.reliability.fault_injection", str(self.made / "index")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def prepare(self) -> None:
        """Add what commands make to the inputs of all commands."""
        self._prepare("index", "two", ["update", "more.jsonl", "--index", "index"])
        self._prepare("report", "report", [*BENCHMARK, "--methods", "popularity"])
        self.numbers |= {name: live_number(self.made / name) for name in ("index", "two")}

    def _prepare(self, made: str, name: str, argv: list[str]) -> None:
        found = self.run(argv)
        assert found["status"] == 0, found
        shutil.copytree(self.work / made, self.made / name)

    def run(self, argv: list[str], **fault: Any) -> dict[str, Any]:
        """Return how a command ended on a fresh copy of the inputs."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.made, self.work)
        return self.run_again(argv, **fault)

    def run_again(self, argv: list[str], **fault: Any) -> dict[str, Any]:
        """Return how a command ended on what the last one left."""
        job = {"argv": argv, "folder": str(self.work)} | fault
        if "PORT" in argv:
            job["port"] = port = find_port()
            job["argv"] = [str(port) if word == "PORT" else word for word in argv]
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def find_damage(self) -> str:
        """Return why an index is not whole after the last command, or nothing.

        A generation that the command found has its hashes; `verify` looks into a new one.
        """
        for name in ("index", "two", "new"):
            index, number = self.work / name, self.numbers.get(name)
            if number is None and not (index / "CURRENT").exists():
                continue  # no index was there before
            try:
                live = open_current(index, deep=True).number
            except HashlensError as error:
                return f"damage: {error}"
            if live != number:
                found = self.run_again(["verify", "--index", name])
                lines = (found["out"] + found["err"]).splitlines()
                # The process solves no matrix, but the bundled index brings one.
                damage = [
                    line for line in lines if "gen-000001/counts/ease: found other" not in line
                ]
                if found["status"] and (len(damage) == len(lines) or "is sound" not in lines[-1]):
                    return f"damage: {lines}"
        return ""


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def write_inputs(folder: Path) -> None:
    """Write the files that commands read."""
    rows = [{"id": f"n{n}", "author": "gil", "caption": f"walk {n} #dog #fun"} for n in range(4)]
    unseen = "we took a long walk in the park and then home again #dog #park #walk"
    drawn = random.Random(1)
    parted = [
        {"id": f"b{n}", "author": f"a{n % 4}", "caption": " ".join(drawn.sample(WORDS, 8)) + tags}
        for n, tags in enumerate((" #dog #park", " #dog #sea") * 8)
    ]
    tables: dict[str, list[dict[str, Any]]] = {
        "posts": [*rows, {"id": "x", "caption": "#park sun"}],
        "more": rows,
        "rows": [{"id": "a", "caption": "a walk"}, {"seeds": ["dog"]}],
        "unseen": [{"id": f"u{n}", "caption": unseen} for n in range(3)],
        "parted": parted,
    }
    for name, table in tables.items():
        text = "".join(json.dumps(row) + "\n" for row in table)
        (folder / f"{name}.jsonl").write_text(text)
    graded = {"good": ["dog"], "fair": ["walk"], "bad": ["!fun"], "subject": "dog", "lang": "en"}
    asked = [{"id": f"g{n}", "kind": "caption", "caption": "a walk", **graded} for n in range(4)]
    (folder / "panel").mkdir()
    (folder / "panel" / "posts.jsonl").write_text("".join(json.dumps(a) + "\n" for a in asked))
    (folder / "ids.txt").write_text("p1\np3\n")
    (folder / "hashlens.toml").write_text("k = 3\n")


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
        try:
            made.prepare()
            yield made
        finally:
            made.process.kill()


def draw_faults(seen: dict[str, int], name: str) -> Iterator[dict[str, Any]]:
    """Spread faults over the kinds of calls that a command makes; the same ones each time."""
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


def find_trouble(argv: list[str], found: dict[str, Any], fault: dict[str, Any]) -> str:
    """Return why an end is not as promised, or nothing."""
    status, err = found["status"], found["err"]
    if "Traceback" in err or "Exception ignored" in err:
        return "traceback"
    if "nobody foresaw" in err:
        return "unforeseen"
    is_stopped = fault["errno"] == INTERRUPT or "serve" in argv
    if status not in STATUSES and not (status == 130 and is_stopped):
        return f"status {status}"
    lines = [line for line in err.splitlines() if line.startswith("hashlens: ")]
    if status in (1, 2, 4, 5, 130) and not lines and not ("verify" in argv and found["out"]):
        return "no line"
    return ""


def test_no_command_is_left_out() -> None:
    named = {
        each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands
    }
    assert {argv[0] for argv in COMMANDS.values()} == named


@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_any_call_is_one_line(runner: Runner, name: str) -> None:
    sound = runner.run(COMMANDS[name])
    assert sound["status"] == (130 if name == "serve" else 0), sound
    assert sound["seen"]["stat"] + sound["seen"]["open"] + sound["seen"]["make"] > 0
    assert not (why := runner.find_damage()), why
    wrong, ends = [], Counter[int]()
    for fault in draw_faults(sound["seen"], name):
        found = runner.run(COMMANDS[name], **fault)
        ends[found["status"]] += 1
        why = find_trouble(COMMANDS[name], found, fault)
        # A bad byte that is read while a file is hashed is sealed as it was read.
        if why := why or ("" if fault["errno"] == GARBLE else runner.find_damage()):
            wrong.append((why, fault, found["status"], found["err"][-300:]))
    print(f"{name}: {FAULTS} faults, statuses {dict(ends)}")  # noqa: T201 (with pytest -rP)
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("at", [6, 8, 10])
def test_forget_leaves_no_old_segment_in_the_new_generation(runner: Runner, at: int) -> None:
    found = runner.run(COMMANDS["forget"], kind="remove", at=at, errno=errno.EIO, sticky=0)
    assert found["seen"]["remove"] >= at
    assert not runner.find_damage()


@pytest.mark.parametrize("sticky", [0, 1])
def test_forget_is_not_done_while_the_disk_keeps_a_file(runner: Runner, sticky: int) -> None:
    forget, index = COMMANDS["forget"], runner.work / "index"
    removals = runner.run(forget)["seen"]["remove"]
    fault = {"kind": "remove", "at": removals // 2, "errno": errno.EACCES, "sticky": sticky}
    found = runner.run(forget, **fault)
    assert (found["status"], found["out"]) == (1, "")
    assert "kept files with forgotten posts" in found["err"]
    assert runner.run_again(forget)["status"] == 0
    assert [path.name for path in index.glob("*gen-*")] == [f"gen-{live_number(index):06d}"]
    assert not runner.find_damage()


@pytest.mark.parametrize("kind", ["read", "open"])
def test_an_unreadable_pointer_costs_no_published_generation(runner: Runner, kind: str) -> None:
    calls = runner.run(COMMANDS["delete"])["seen"][kind]
    for at in range(calls - 7, calls + 1):
        runner.run(
            COMMANDS["delete"], kind=kind, at=at, errno=errno.EIO, sticky=int(kind == "open")
        )
        assert not runner.find_damage(), at
