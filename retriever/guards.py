"""What every request must pass before it is looked at, and the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.images import MAX_BYTES
from retriever.forms import FORMAT

MOST_BODY = MAX_BYTES + 1_000_000  # bytes of a request: a picture, and the fields beside it
ARRIVAL = 20.0  # seconds within which a body must have come
RETRY_AFTER = 1  # seconds after which those sent away may come again
MULTIPART, JSON = "multipart/form-data", "application/json"
# Content type that each path takes; a browser sends neither, across origins, without asking.
TAKES = {"/v1/recommend": MULTIPART, "/v1/recommend/batch": JSON}
LOCKED = ("/v1/", "/metrics")  # what starts so needs the key, where there is one

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

log = logging.getLogger("hashlens")

Told = Callable[[Scope, int, float], None]


class PlainJson(JSONResponse):
    """JSON in UTF-8; half a surrogate pair, which UTF-8 cannot write, becomes a question mark."""

    def render(self, content: object) -> bytes:
        """The bytes of any JSON value."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def refusal(status: int, reason: str) -> Response:
    """The documented form of an answer that is none."""
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 429 else {}
    headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return PlainJson({"format": FORMAT, "error": reason}, status, headers)


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may ask.

    Args:
        host: address that is listened at. On a loopback one, requests that name another host are
            refused: a page elsewhere could have its own name lead here (DNS rebinding).
        api_key: what must be sent as `Authorization: Bearer KEY`; none where empty.
        most_body: bytes of a request.
        arrival: seconds within which a body must have come.
        at_once: requests that are held at the same time.
        held: bytes of their bodies, all together.
    """

    host: str = "127.0.0.1"
    api_key: str = ""
    most_body: int = MOST_BODY
    arrival: float = ARRIVAL
    at_once: int = 64
    held: int = 8 * MOST_BODY
    _names: frozenset[str] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        if is_loopback(self.host):
            names = frozenset({"localhost", "127.0.0.1", "::1", self.host.lower()})
            object.__setattr__(self, "_names", names)

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Why a request is not let in, or None."""
        host = headers.get("host", "")
        if self._names and _name(host) not in self._names:
            return refusal(
                421, "found another host's name, expected localhost: use the address shown"
            )
        if scope["method"] not in ("GET", "HEAD") and _is_foreign(headers, host):
            return refusal(403, "found a request of another site's page, expected this one's")
        if self.api_key and scope["path"].startswith(LOCKED) and not self._knows(headers):
            return refusal(401, "found no valid API key, expected it as Authorization: Bearer KEY")
        return self._unfit(scope, headers) if scope["method"] == "POST" else None

    def _knows(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        sent = given.strip().encode("latin-1")  # the bytes that were sent
        return kind.lower() == "bearer" and hmac.compare_digest(sent, self.api_key.encode())

    def _unfit(self, scope: Scope, headers: Headers) -> Response | None:
        wanted = TAKES.get(scope["path"])
        found = headers.get("content-type", "").partition(";")[0].strip().lower()
        if wanted and found != wanted:
            return refusal(415, f"found another content type, expected {wanted}")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.most_body:
            return refusal(413, self.too_large)
        return None

    @property
    def too_large(self) -> str:
        """What is said to too large a request."""
        return f"found a request of too many bytes, at most {self.most_body}: send less"


class Guard:
    """The outermost layer: refuses, bounds what is read, and adds headers; tells what it cost."""

    def __init__(self, app: ASGIApp, rules: Rules, told: Told) -> None:
        self._app = app
        self._rules = rules
        self._told = told
        self._held = 0
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def headed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._served(scope, receive, headed, lambda: status > 0)
        finally:
            self._told(scope, status, time.perf_counter() - start)

    async def _served(
        self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], bool]
    ) -> None:
        refused = self._rules.refusal(scope, Headers(scope=scope))
        if refused is None and self._held >= self._rules.at_once:
            refused = refusal(429, "too many requests at once: ask again in a moment")
        if refused is not None:
            await refused(scope, receive, send)
            return
        self._held += 1
        body = _Body(receive, self._rules, self._taken)
        try:
            await self._app(scope, body.next, send)
        except Exception:  # a bug: told in the log, not to whoever asked
            log.exception("could not answer %s", scope["path"])
            # Where an answer has begun, it stays cut short.
            if not begun():
                await refusal(500, "could not answer: see the log of the server")(
                    scope, receive, send
                )
        finally:
            self._held -= 1
            self._bytes -= body.read

    def _taken(self, count: int) -> bool:
        """Whether there is room for more bytes, which are then counted."""
        self._bytes += count
        return self._bytes <= self._rules.held


class _Body:
    """A request's messages, as long as its body is neither too large nor too slow."""

    def __init__(self, receive: Receive, rules: Rules, taken: Callable[[int], bool]) -> None:
        self.read = 0
        self._receive = receive
        self._rules = rules
        self._taken = taken
        self._whole = False
        self._deadline = time.monotonic() + rules.arrival

    async def next(self) -> Message:
        """The next message.

        Raises:
            HTTPException: the body is too large, too slow, or one too many.
        """
        if self._whole:  # what comes now is that the other side has left
            return await self._receive()
        left = max(0.0, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), left)
        except TimeoutError:
            raise HTTPException(408, "found a request that comes too slowly") from None
        count = len(message.get("body", b""))
        self.read += count
        self._whole = not message.get("more_body", False)
        fits = self._taken(count)
        if self.read > self._rules.most_body:
            raise HTTPException(413, self._rules.too_large)
        if not fits:
            raise HTTPException(429, "found too many bytes at once: ask again in a moment")
        return message


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    bracketed, _, _ = host.rpartition("]")
    return (bracketed.lstrip("[") if bracketed else host.partition(":")[0]).lower()


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that the request is of another site's page."""
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2].lower() != host.lower()
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
