"""Checks every request before a route sees it, and sets the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hashlens.indexer.decoding.loading import MAX_BYTES
from hashlens.indexer.errors import ConfigError
from hashlens.retriever.json_format import FORMAT

MOST_BODY = MAX_BYTES + 1_000_000  # bytes of a request: a picture, and the fields beside it
ARRIVAL = 20.0  # seconds until a whole body must have arrived
RETRY_AFTER = 1  # seconds until a refused client may ask again
MULTIPART, JSON = "multipart/form-data", "application/json"
# Content types of each path. A browser sends neither across origins without a preflight request.
TAKES = {"/v1/recommend": (MULTIPART, JSON), "/v1/recommend/batch": (JSON,)}
LOCKED = ("/v1/", "/metrics")  # beginnings of paths that need the key, if there is one
HEALTH = "/healthz"  # always answered, however busy the server is
MAX_ARRIVING = 256  # bodies that arrive at a time; a new one replaces the oldest

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

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{0,5})?")

log = logging.getLogger("hashlens")

TOO_MANY = "too many requests at once: ask again in a moment"

Count = Callable[[Scope, int, float], None]  # of a request, its status and its seconds


class PlainJson(JSONResponse):
    """JSON in UTF-8; a lone surrogate, which UTF-8 cannot write, becomes a question mark."""

    def render(self, content: object) -> bytes:
        """Return the bytes of a JSON value."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def refusal(status: int, reason: str) -> Response:
    """Return a refusal in the documented form."""
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 429 else {}
    headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return PlainJson({"format": FORMAT, "error": reason}, status, headers)


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may ask, and how much.

    Args:
        host: address of the server. A request must name it, an address, a name without a dot, this
            machine or a public name; otherwise another site's name could lead here (DNS
            rebinding). On a loopback address, other addresses are refused as well.
        api_key: key that requests send as `Authorization: Bearer KEY`; none if empty.
        most_body: largest request in bytes.
        arrival: seconds until a whole body must have arrived.
        at_once: most requests that are answered at the same time.
        held: most bytes of all bodies together.
        public_names: host names of a reverse proxy.
        arriving: most bodies that arrive at the same time.
    """

    host: str = "127.0.0.1"
    api_key: str = ""
    most_body: int = MOST_BODY
    arrival: float = ARRIVAL
    at_once: int = 64
    held: int = 8 * MOST_BODY
    public_names: tuple[str, ...] = ()
    arriving: int = MAX_ARRIVING
    _public: frozenset[str] = field(init=False, repr=False, default=frozenset())
    _names: frozenset[str] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        wrong = [name for name in self.public_names if _name(name) is None or ":" in name]
        if wrong:
            raise ConfigError(
                f"--public-name: found {wrong[0]!r}, expected a host name such as tags.example.com"
            )
        public = frozenset(name.lower() for name in self.public_names)
        own = {"localhost", "127.0.0.1", "::1", self.host.lower()}
        own |= set() if is_loopback(self.host) else {socket.gethostname().lower()}
        object.__setattr__(self, "_public", public)
        object.__setattr__(self, "_names", public | own)

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the refusal of a request, or None."""
        host, path = headers.get("host", ""), route_path(scope)
        if not self._is_ours(_name(host)):
            return refusal(
                421,
                "found another host's name, expected localhost or the address shown: "
                "name a reverse proxy with --public-name",
            )
        if scope["method"] not in ("GET", "HEAD") and self._is_foreign(headers, host):
            return refusal(
                403,
                "found a request of another site's page, expected this one's: "
                "name a reverse proxy with --public-name",
            )
        locked = path.startswith(LOCKED) or scope["path"].startswith(LOCKED)
        kind, _, given = headers.get("authorization", "").partition(" ")
        sent = given.strip().encode("latin-1")  # the bytes that were sent
        has_key = kind.lower() == "bearer" and hmac.compare_digest(sent, self.api_key.encode())
        if self.api_key and locked and not has_key:
            return refusal(401, "found no valid API key, expected it as Authorization: Bearer KEY")
        return self._refuse_body(path, headers) if scope["method"] == "POST" else None

    def _is_ours(self, name: str | None) -> bool:
        """Whether a host's name belongs to this machine or its network."""
        if name is None or name in self._names:
            return name is not None
        try:
            is_local = "." not in name or bool(ipaddress.ip_address(name))
        except ValueError:
            is_local = False
        return is_local and not is_loopback(self.host)

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Whether a browser says that another site's page sent the request.

        Such a page cannot send `X-Forwarded-Host` without a preflight request.
        """
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        said = origin.partition("://")[2].lower()
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip()
        if not said or said in (host.lower(), forwarded.lower()):
            return not said
        return _name(said) not in self._public

    def _refuse_body(self, path: str, headers: Headers) -> Response | None:
        """Return the refusal of a body that has a wrong type or is too large."""
        wanted = TAKES.get(path, ())
        found = headers.get("content-type", "").partition(";")[0].strip().lower()
        if wanted and found not in wanted:
            return refusal(415, f"found another content type, expected {' or '.join(wanted)}")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.most_body:
            return refusal(413, self.too_large)
        return None

    @property
    def too_large(self) -> str:
        """The message for a request that is too large."""
        return f"found a request of too many bytes, at most {self.most_body}: send less"


class Guard:
    """The outermost layer: refuses requests, bounds their bodies, adds headers, and counts."""

    def __init__(self, app: ASGIApp, rules: Rules, count: Count, root_path: str = "") -> None:
        self._app = app
        self._root = root_path
        self._rules = rules
        self._count = count
        self._held = 0
        self._bytes = 0
        self._arriving: dict[_Body, None] = {}  # oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        bare = scope["method"] == "HEAD"  # answered as GET, without the body
        scope = {**scope, "root_path": self._root, "method": "GET" if bare else scope["method"]}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY)
                headers.setdefault("Cache-Control", "no-store")
            elif bare:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._serve(scope, receive, send_with_headers, lambda: status > 0)
        finally:
            self._count(scope, status, time.perf_counter() - start)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, has_begun: Callable[[], bool]
    ) -> None:
        body = _Body(receive, self._rules, self)
        refused = self._rules.refusal(scope, Headers(scope=scope))
        if refused is None and scope["method"] == "GET" and route_path(scope) != HEALTH:
            refused = None if self.seat(body) else refusal(429, TOO_MANY)
        if refused is not None:
            await refused(scope, receive, send)
            return
        try:
            await self._app(scope, body.next, send)
        except asyncio.CancelledError:  # the server stops before the answer
            if not has_begun():
                await refusal(503, "the server stops")(scope, receive, send)
        except Exception:  # a bug: the log has the traceback, the client does not
            log.exception("could not answer %s %r", scope["method"], scope["path"][:200])
            # An answer that has begun ends here.
            if not has_begun():
                await refusal(500, "could not answer: see the log of the server")(
                    scope, receive, send
                )
        finally:
            self._arriving.pop(body, None)
            self._held -= body.is_seated
            self._bytes -= body.read

    def arrive(self, body: _Body) -> None:
        """Admit an arriving body; if there are too many, cut the oldest."""
        if body not in self._arriving and len(self._arriving) >= self._rules.arriving:
            next(iter(self._arriving)).cut()
        self._arriving[body] = None

    def forget(self, body: _Body) -> None:
        """Remove a body from the arriving ones."""
        self._arriving.pop(body, None)

    def seat(self, body: _Body) -> bool:
        """Take a place for a request whose body has arrived; return whether one was free."""
        self._arriving.pop(body, None)
        if self._held >= self._rules.at_once:
            return False
        self._held += 1
        body.is_seated = True
        return True

    def take(self, count: int) -> bool:
        """Count more bytes; return whether all bodies together are within the bound."""
        self._bytes += count
        return self._bytes <= self._rules.held


class _Body:
    """A request's messages, while its body is neither too large nor too slow."""

    def __init__(self, receive: Receive, rules: Rules, guard: Guard) -> None:
        self.read = 0
        self.is_seated = False
        self._receive = receive
        self._rules = rules
        self._guard = guard
        self._whole = False
        self._waiting: asyncio.Timeout | None = None
        self._deadline = time.monotonic() + rules.arrival

    def cut(self) -> None:
        """Stop waiting for the body."""
        self._guard.forget(self)
        self._deadline = 0.0
        if self._waiting is not None:
            self._waiting.reschedule(0.0)

    async def next(self) -> Message:
        """Return the next message.

        Raises:
            HTTPException: the body is too large or too slow, or there are too many.
        """
        if self._whole:  # the next message is that the client has left
            return await self._receive()
        message = await self._next()
        count = len(message.get("body", b""))
        self.read += count
        self._whole = not message.get("more_body", False)
        fits = self._guard.take(count)
        if self.read > self._rules.most_body:
            raise HTTPException(413, self._rules.too_large)
        if not fits:
            raise HTTPException(429, "found too many bytes at once: ask again in a moment")
        if self._whole and not self.is_seated and not self._guard.seat(self):
            raise HTTPException(429, TOO_MANY)
        return message

    async def _next(self) -> Message:
        if not self.is_seated:
            self._guard.arrive(self)
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()) as self._waiting:
                return await self._receive()
        except TimeoutError:
            raise HTTPException(408, "found a request that comes too slowly") from None
        finally:
            self._waiting = None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def route_path(scope: Scope) -> str:
    """Return the path below the root path, as Starlette's routes see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    below = path.removeprefix(root)
    return below if not below or below.startswith("/") else path


def _name(host: str) -> str | None:
    """Return the name in a Host header without port and brackets; None if it is malformed."""
    found = _HOST.fullmatch(host)
    return (found["six"] or found["name"]).lower() if found else None
