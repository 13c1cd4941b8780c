"""Requests that no client would send: none is answered by an error of ours, and all go on after.

`HASHLENS_MALFORMED=2000` sends as many as that; a few hundred otherwise.
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.web_client import CAPTION, fields, jpeg, opened

# A multipart body that is cut short leaves Starlette's buffer, which is in memory, to be collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Corrupt EXIF"),
]
ROUNDS = int(os.environ.get("HASHLENS_MALFORMED", "200"))
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a" * 9_999,
        "a" * 20_000,
        "#" * 500,
        "#a" * 400,
        "null",
        "NaN",
        "-1",
        "1e999",
    ),
    *("9" * 5_000, "é" * 300, "\u202e\ufeff#x", "😀" * 200, "' or 1=1 --", "<script>", "../../x"),
    *("{", "[]", "{}", '{"a":' * 500, "[" * 5_000, '{"k": 1e99}', '{"pets": NaN}', '"\\ud800"'),
    *('{"pin": ["\\ud800"]}', '{"\\ud800": 1}', '{"mix": {"broad": 1e30}}', '{"block": [[]]}'),
)
NAMES = (
    *("caption", "seeds", "k", "platform", "topics", "options", "explain"),
    *("image", "none", "__class__"),
)


@pytest.fixture(scope="module")
def client(sample_index: Path) -> Iterator[TestClient]:
    with opened(sample_index) as client:
        yield client


def bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that says it has side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        sealed = kind + body
        return struct.pack(">I", len(body)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 2_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def pictures() -> list[bytes]:
    whole, gif = jpeg(300, 200), BytesIO()
    Image.new("P", (9, 9)).save(
        gif, "GIF", save_all=True, append_images=[Image.new("P", (9, 9))] * 3
    )
    return [
        *(b"", b"\0" * 5_000, whole[:100], whole[:-2_000], whole[:2] + b"\xff" * 999, bomb(6_000)),
        *(bomb(60_000), bomb(2**31 - 1), gif.getvalue(), b"PK\x03\x04" + b"\0" * 999, b"<svg/>"),
        *(b"GIF89a" + b"\xff" * 40, b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"II*\0\xff\xff\xff\xff"),
    ]


def some_form(draw: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in draw.sample(NAMES, draw.randint(1, 4)):
        values[name] = draw.choice(TEXTS)
    if draw.random() < 0.4:
        values["image"] = draw.choice(pictures())
    return fields(**values)


def some_multipart(draw: random.Random) -> dict[str, Any]:
    """A multipart body that is cut short or changed at some bytes."""
    body = bytearray(
        b'--x\r\nContent-Disposition: form-data; name="caption"\r\n\r\ncoffee\r\n--x\r\n'
        b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + jpeg()
        + b"\r\n--x--\r\n"
    )
    for _ in range(draw.randint(0, 5)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    cut = draw.choice([len(body), draw.randrange(len(body))])
    kinds = (
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
    )
    return {"content": bytes(body[:cut]), "headers": {"Content-Type": draw.choice(kinds)}}


def some_json(draw: random.Random) -> dict[str, Any]:
    bodies: list[Any] = [
        *(b"", b"{", b"[]", b"null", b"1e999", b"\xff\xfe", b'{"rows":' + b"[" * 3_000),
        *(b'{"rows": {}}', b'{"rows": [1]}', b'{"rows": [{"caption": NaN}]}'),
        *(b'{"rows": [{"id": "\\ud800", "caption": "x"}]}', b'{"rows": [{"\\ud800": 1}]}'),
        b'{"rows": [{"caption": "\\u0000"}, {"seeds": ["\\u0000"]}]}',
        b'{"rows": [{"caption": "x", "topics": {"pets": -1}}]}',
        b'{"rows": [' + b"{}," * 300 + b"{}]}",
        b'{"rows": [], "options": {"k": 1' + b"0" * 400 + b"}}",
    ]
    return {"content": draw.choice(bodies), "headers": {"Content-Type": "application/json"}}


def some_path(draw: random.Random) -> str:
    odd = (
        "%00",
        "%ff",
        "..%2f..%2fetc%2fpasswd",
        "%F0%9F%98%80",
        "a" * 3_000,
        "%25",
        "'",
        "?q=",
        "*",
    )
    start = ("/v1/hashtags/", "/v1/posts/", "/v1/search?q=", "/page/", "/", "/v1/index/")
    end = draw.choice(("", "/thumbnail", "/"))
    return f"{draw.choice(start)}{draw.choice(odd)}{end}"


def sent(client: TestClient, draw: random.Random) -> int:
    """The status that one malformed request is answered by."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: client.post("/v1/recommend", **some_form(draw)),
        lambda: client.post("/v1/recommend", **some_multipart(draw)),
        lambda: client.post("/v1/recommend/batch", **some_json(draw)),
        lambda: client.get(some_path(draw)),
        lambda: client.request(draw.choice(("PUT", "DELETE", "PATCH", "TRACE")), some_path(draw)),
    )
    return int(draw.choice(kinds)().status_code)


def test_malformed_requests_are_never_an_error_of_ours(client: TestClient) -> None:
    draw = random.Random(1)
    found: dict[int, int] = {}
    for _ in range(ROUNDS):
        status = sent(client, draw)
        found[status] = found.get(status, 0) + 1
    assert max(found) < 500, found
    assert {400, 404, 405, 422} <= set(found)
    good = client.post("/v1/recommend", **fields(caption=CAPTION, image=jpeg()))
    assert good.status_code == 200


def test_every_bad_picture_is_refused_and_told_of(client: TestClient) -> None:
    for picture in pictures():
        answer = client.post("/v1/recommend", **fields(image=picture))
        assert answer.status_code in (200, 400), picture[:40]
        assert "/proc" not in answer.text


def test_the_api_keeps_to_its_description(client: TestClient) -> None:
    """Schemathesis draws requests from the OpenAPI description and checks the answers by it."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", client.app, headers={"Host": "localhost"}
    )
    checks = [
        *(not_a_server_error, status_code_conformance),
        *(content_type_conformance, response_schema_conformance),
    ]
    for operation in (result.ok() for result in schema.get_all_operations()):

        @given(case=operation.as_strategy())
        @settings(
            max_examples=max(5, ROUNDS // 40),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: Any) -> None:
            case.call_and_validate(headers={"Host": "localhost"}, checks=checks)

        holds()
