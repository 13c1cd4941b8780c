"""hashlens works without a network: it connects to nothing else, and writes only where it says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep
from urllib.request import Request, urlopen

import pytest

from tests.support.web_client import jpeg

ROOT = Path(__file__).parents[2]
HTTP_DEADLINE = 60  # seconds

# Runs the command line, and notes each connection and each file that Python opens for writing.
WATCHED = """
import os, sys

log = open(sys.argv.pop(1), "a", buffering=1)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def watch(event, args):
    if event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        print("connect", args[1][0], file=log)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print("connect", args[0], file=log)
    elif event == "open" and isinstance(args[0], (str, bytes)) and args[2] & WRITING:
        print("write", os.path.abspath(os.fsdecode(args[0])), file=log)
    elif event == "os.mkdir":
        print("write", os.path.abspath(os.fsdecode(args[0])), file=log)

sys.addaudithook(watch)
from hashlens.cli import main
main()
"""


class Place:
    """A folder in which one command runs with a home, cache and temporary folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.cache, self.temporary = (folder / n for n in ("home", "cache", "tmp"))
        self.index, self.log, self.calls = (folder / n for n in ("index", "log", "calls"))
        for path in (self.home, self.temporary, folder / "work"):
            path.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        dropped = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        places = {"HOME": self.home, "HASHLENS_CACHE": self.cache, "TMPDIR": self.temporary}
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return kept | {name: str(path) for name, path in places.items()} | {"PYTHONPATH": paths}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command under the watch, and under strace where that is installed."""
        command = [sys.executable, "-c", WATCHED, str(self.log), *words]
        return subprocess.Popen(
            [*_strace(self.calls), *command],
            cwd=self.folder / "work",
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> str:
        """The output of a command, which must succeed."""
        with self.start(*words) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def strange_writes(self) -> list[str]:
        """Files that were written outside the cache, the index and the null device."""
        lines = self.log.read_text().splitlines()
        paths = [line.removeprefix("write ") for line in lines if line.startswith("write ")]
        allowed = (str(self.cache), str(self.index), str(self.temporary), "/dev/null")
        # Uploads lie in memory and are opened by their descriptor.
        own = [path for path in paths if not path.startswith((*allowed, "/proc/self/fd"))]
        # Native code opens files unseen by Python's hook, so look at the folders as well.
        folders = (self.home, self.folder / "work", self.temporary)
        left = [str(path) for folder in folders for path in folder.rglob("*")]
        return [path for path in own if "__pycache__" not in path] + left

    def strange_connections(self) -> list[str]:
        """Hosts that were looked up or connected to, beside this machine."""
        lines = self.log.read_text().splitlines()
        hosts = [line.removeprefix("connect ") for line in lines if line.startswith("connect ")]
        if self.calls.exists():
            hosts += re.findall(
                r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"', self.calls.read_text(errors="replace")
            )
        return [host for host in hosts if host not in ("127.0.0.1", "::1", "localhost")]


def _strace(calls: Path) -> Sequence[str]:
    if shutil.which("strace") is None:
        return ()
    watched = "trace=connect,sendto,sendmsg,sendmmsg"
    return ("strace", "-f", "-qq", "-A", "-e", watched, "-e", "signal=none", "-o", str(calls))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    posts = tmp_path / "posts"
    posts.mkdir()
    rows = []
    for number in range(3):
        (posts / f"{number}.jpg").write_bytes(jpeg())
        rows.append(f'{{"id": "{number}", "image": "{number}.jpg", "caption": "Sea #sea #sky"}}')
    (posts / "posts.jsonl").write_text("\n".join(rows))
    return found


def test_building_and_asking_with_a_picture_stay_on_this_machine(place: Place) -> None:
    posts = str(place.folder / "posts")
    place.run("build", posts, "--index", str(place.index), "--encoder", "efficientnet-lite0")
    place.run("recommend", "--image", f"{posts}/0.jpg", "--index", str(place.index), "--json")
    assert place.log.read_text()  # the watch works
    assert place.strange_writes() == []
    assert place.strange_connections() == []


def test_serving_stays_on_this_machine(place: Place) -> None:
    posts = place.folder / "posts"
    place.run("build", str(posts), "--index", str(place.index), "--encoder", "efficientnet-lite0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = place.start("serve", "--index", str(place.index), "--port", str(port))
    try:
        answer = _ask(port, (posts / "0.jpg").read_bytes())
    finally:
        _end(server)
    assert b'"tags"' in answer
    assert place.strange_writes() == []
    assert place.strange_connections() == []


def _ask(port: int, picture: bytes) -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    request = Request(
        f"http://127.0.0.1:{port}/v1/recommend",
        head + picture + b"\r\n--B--\r\n",
        {"Content-Type": "multipart/form-data; boundary=B"},
    )
    end = monotonic() + HTTP_DEADLINE
    while True:
        try:
            with urlopen(request, timeout=HTTP_DEADLINE) as response:
                body: bytes = response.read()
                return body
        except OSError:
            if monotonic() > end:
                raise
            sleep(0.2)


def _end(server: subprocess.Popen[str]) -> None:
    """Stop a server; strace passes no signal on, so its child is asked."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    pids = children.read_text().split() if shutil.which("strace") and children.exists() else []
    for pid in [int(pid) for pid in pids] or [server.pid]:
        os.kill(pid, 15)
    server.communicate(timeout=HTTP_DEADLINE)
