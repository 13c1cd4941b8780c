"""What is refused, by which status, and what every answer carries; nothing that is sent is kept."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.types import Message
from typer.testing import CliRunner

from hashlens import cli
from hashlens.indexer.errors import ConfigError
from hashlens.retriever.server.middleware import Rules, is_loopback
from hashlens.retriever.server.serving import Desk
from tests.support.web_client import CAPTION, fields, jpeg, opened, served


@pytest.fixture(scope="module")
def client(sample_index: Path) -> Iterator[TestClient]:
    with opened(sample_index, Rules(most_body=100_000)) as client:
        yield client


def test_every_answer_carries_the_headers(client: TestClient) -> None:
    for path in ("/", "/page/page.js", "/v1/index", "/nothing", "/v1/posts/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert not [name for name in headers if name.startswith("access-control")]


def test_pages_hold_no_inline_script_or_style(client: TestClient) -> None:
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        assert page.count("<script") == page.count('<script type="module" src=')
        assert " onclick" not in page


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8765", "127.0.0.1.nip.io", "", "["),
        *("[::1].evil.com", "[::1]evil.com:80", "[::1]:80.evil.com", "::1", "evil.com]", "a]::1"),
        *("localhost.evil.com", "localhost:80@evil.com", "192.168.1.2", "[::2]", "somewhere"),
    ],
)
def test_another_hosts_name_is_refused_on_loopback(client: TestClient, host: str) -> None:
    assert client.get("/v1/index", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8765", "LOCALHOST"])
def test_this_machines_names_are_taken(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_loopback_is_told_from_other_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))
    assert taken(Rules("0.0.0.0"), host="somewhere")


def taken(rules: Rules, method: str = "GET", **sent: str) -> bool:
    headers = Headers({name.replace("_", "-"): value for name, value in sent.items()})
    return rules.refusal({"method": method, "path": "/"}, headers) is None


@pytest.mark.parametrize("listened", ["0.0.0.0", "::", "192.168.1.2"])
def test_other_sites_names_lead_to_no_address_of_the_network(listened: str) -> None:
    rules = Rules(listened, public_names=("Tags.example.com",))
    for host in ("evil.com", "evil.com:8765", "[::1].evil.com", "192.168.1.2.nip.io", ""):
        assert not taken(rules, host=host)
    for host in ("192.168.1.2:8765", "[fe80::1]:8765", "localhost", "tags.example.com", "nas:8765"):
        assert taken(rules, host=host)
    assert taken(rules, host=f"{socket.gethostname()}:8765")


def test_a_reverse_proxy_is_let_in_by_its_name() -> None:
    site = "https://tags.example.com"
    named, none = Rules(public_names=("tags.example.com",)), Rules()
    kept = {"host": "tags.example.com", "origin": site}
    rewritten = {"host": "127.0.0.1:8765", "origin": site}
    assert taken(named, "POST", **kept)
    assert taken(named, "POST", **rewritten)
    assert not taken(none, "POST", **kept)
    assert not taken(none, "POST", **rewritten)
    assert taken(none, "POST", **rewritten, x_forwarded_host="tags.example.com")
    for rules in (named, none):
        assert not taken(rules, "POST", host="127.0.0.1", origin="https://evil.com")
        assert not taken(rules, "POST", host="127.0.0.1", origin="null", x_forwarded_host="")
        assert not taken(rules, host="evil.com", x_forwarded_host="tags.example.com")
        assert not taken(rules, host="sub.tags.example.com")


@pytest.mark.parametrize(
    "name", ["https://tags.example.com", "a b", "", "tags.example.com:80", "*"]
)
def test_a_public_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--public-name: found .*expected a host name"):
        Rules(public_names=(name,))


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        ([], "", "empty API key"),
        ([], "  ", "empty API key"),
        (["--api-key", ""], None, "empty API key"),
        (["--root-path", "tags"], None, "--root-path"),
    ],
)
def test_an_empty_key_or_a_wrong_root_path_is_a_wrong_call(
    sample_index: Path, words: list[str], key: str | None, said: str
) -> None:
    called = ["serve", "--index", str(sample_index), "--port", "0", *words]
    result = CliRunner().invoke(cli.app, called, env={"HASHLENS_API_KEY": key})
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:99"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_cannot_ask(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/v1/recommend", headers=headers, **fields(caption=CAPTION))
    assert answer.status_code == 403


def test_this_page_can_ask(client: TestClient) -> None:
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    answer = client.post("/v1/recommend", headers=headers, **fields(caption=CAPTION))
    assert answer.status_code == 200


def test_a_key_is_needed_where_there_is_one(sample_index: Path) -> None:
    with opened(sample_index, Rules(api_key="sésame")) as client:
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        for path in ("/v1/index", "/metrics", "/v1/nothing"):
            assert client.get(path).status_code == 401
        for sent in ("Bearer no", "sésame", "Basic sésame"):
            headers = {b"Authorization": sent.encode()}
            assert client.get("/v1/index", headers=headers).status_code == 401
        right = {b"Authorization": "Bearer sésame".encode()}
        assert client.get("/v1/index", headers=right).status_code == 200


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (415, {"data": {"caption": CAPTION}}),
        (415, {"content": b"x"}),
        (413, {"files": {"image": b"x" * 200_000}}),
        (422, fields(caption="x" * 10_001)),
        (422, fields(caption=CAPTION, k=0)),
        (422, fields(caption=CAPTION, k="many")),
        (422, fields(caption=CAPTION, options={"colour": "red"})),
        (422, fields(caption=CAPTION, options="{")),
        (422, fields(caption=CAPTION, seeds=["a"] * 31)),
        (400, fields(caption=" ".join(f"#tag{n}" for n in range(31)))),
        (400, fields(caption=CAPTION, platform="myspace")),
        (400, fields(caption=CAPTION, seeds=["not a tag"])),
        (400, fields(caption=CAPTION, options={"block": ["/etc/passwd"]})),
        (400, fields(image=b"no picture")),
        (400, fields(image=jpeg()[:600])),
        (
            400,
            {
                "content": b"--x\r\nbroken",
                "headers": {"Content-Type": "multipart/form-data; boundary=x"},
            },
        ),
        (400, fields()),
    ],
)
def test_what_cannot_be_answered_is_refused_without_telling_paths(
    client: TestClient, status: int, sent: dict[str, Any]
) -> None:
    sent = sent if sent != {"files": []} else {"files": {"other": (None, "x")}}
    answer = client.post("/v1/recommend", **sent)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"format", "error"}
    assert "/proc" not in told["error"]
    assert "Traceback" not in told["error"]


def test_bodies_are_bounded_all_together(sample_index: Path) -> None:
    with opened(sample_index, Rules(held=3_000)) as client:
        for _ in range(3):  # what is done with is held no longer
            small = client.post("/v1/recommend", **fields(caption="x" * 2_000))
            assert small.status_code == 200
            large = client.post("/v1/recommend", **fields(caption="x" * 4_000))
            assert large.status_code == 429
            assert large.headers["retry-after"] == "1"


def test_a_stream_without_a_length_is_bounded_too(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/recommend", content=endless(), headers=headers)
    assert answer.status_code == 413


def test_a_bug_is_told_without_its_trace(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(desk: Desk, question: object) -> Future[Any]:
        raise RuntimeError("secret /home/me")

    monkeypatch.setattr(Desk, "ask", broken)
    answer = client.post("/v1/recommend", **fields(caption=CAPTION))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_too_many_at_once_are_sent_away(
    sample_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(sample_index, Rules(at_once=2)) as client:
        held: list[Future[Any]] = []

        def hold(desk: Desk, question: object) -> Future[Any]:
            held.append(Future())
            return held[-1]

        monkeypatch.setattr(Desk, "ask", hold)
        with ThreadPoolExecutor(2) as threads:
            waiting = [
                threads.submit(client.post, "/v1/recommend", **fields(caption=CAPTION))
                for _ in range(2)
            ]
            while len(held) < 2:
                time.sleep(0.01)
            assert client.get("/healthz").status_code == 200
            answer = client.get("/v1/index")
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            for future in held:
                future.cancel()
            for one in waiting:
                one.result()
        assert client.get("/healthz").status_code == 200


def test_pictures_that_are_sent_touch_no_disk(
    client: TestClient, sample_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))  # a file there would fail
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        answer = client.post("/v1/recommend", **fields(image=jpeg(160, 120)))
        assert answer.status_code == 200, answer.text
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_body_that_does_not_come_is_not_waited_for(
    sample_index: Path,
) -> None:
    """Half a body, and then silence."""
    parts: list[Message] = [{"type": "http.request", "body": b"--x\r\n", "more_body": True}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            await asyncio.sleep(60)
        return parts.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    head = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")]
    with opened(sample_index, Rules(arrival=0.2)) as client:
        scope = {
            **{"type": "http", "method": "POST", "path": "/v1/recommend", "query_string": b""},
            **{"headers": head, "app": client.app, "http_version": "1.1", "scheme": "http"},
        }

        async def ask() -> None:
            await client.app(scope, receive, send)

        asyncio.run(ask())
    assert sent[0]["status"] == 408


def test_a_port_that_is_taken_is_one_clear_line(sample_index: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["serve", "--index", str(sample_index), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(
            [sys.executable, "-c", "from hashlens.cli import main; main()", *words],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--port" in done.stderr


def test_without_the_extra_it_is_named(sample_index: Path) -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from hashlens.cli import main; main()"
    words = ["serve", "--index", str(sample_index)]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith('pip install "hashlens[web]"')


def test_a_real_server_stops_when_it_is_told_to(sample_index: Path) -> None:
    with (
        served(sample_index) as (address, process),
        urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer,
    ):
        assert answer.status == 200
        assert "server" not in {name.lower() for name in answer.headers}
    assert process.returncode is not None
