"""The JSON API and the web page over a live index: `hashlens serve`."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.responses import Response

from hashlens.indexer.errors import HashlensError
from hashlens.retriever.index.lookup import completions, hashtag_facts, post_facts, post_thumbnail
from hashlens.retriever.json_format import FORMAT, format_answer, format_row
from hashlens.retriever.recommendation import Recommendation
from hashlens.retriever.selection.platforms import load_platforms
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.server.error_responses import (
    JSON_REFUSALS,
    REFUSALS,
    add_refusals,
    without_path,
)
from hashlens.retriever.server.header_timeout import TimelyHeads, bounds
from hashlens.retriever.server.logs import LOGS
from hashlens.retriever.server.metrics import Meters
from hashlens.retriever.server.middleware import Guard, PlainJson, Rules
from hashlens.retriever.server.request_body import describe_body, read_asked
from hashlens.retriever.server.schemas import AnswerForm, BadRow, BatchForm, Row, Rows, query_of
from hashlens.retriever.server.serving import MAX_BATCH, BusyError, Desk, Live, Question
from hashlens.retriever.server.static_files import add_pages
from hashlens.retriever.server.uploads import Upload
from hashlens.retriever.summary import summarize_reader

MAX_WAIT = 10.0  # seconds until an answer, with the time in the queue
STOP_WAIT = 2  # seconds for open requests after the signal to stop
KILL_WAIT = 4.5  # seconds after the signal until the kernel ends the process
MAX_THUMBNAILS = 2  # pictures of posts that are decoded at the same time
SUMMARY_FIELDS = (
    "generation",
    "version",
    "created",
    "bytes",
    "counts",
    "encoder",
    "ranker",
    "topics",
)


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that the routes share."""

    live: Live
    desk: Desk
    meters: Meters
    thumbnails: asyncio.Semaphore

    async def answer(self, question: Question, picture: Upload | None = None) -> Recommendation:
        """Answer one question in time; its picture is closed when the answer is done.

        Raises:
            BusyError: the queue is full, or the answer took too long.
            HashlensError: the question cannot be answered.
        """
        answer = self.desk.ask(question)
        if picture:
            answer.add_done_callback(lambda _: picture.close())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), MAX_WAIT)
        except TimeoutError:
            raise BusyError(f"found no time within {MAX_WAIT:g} s: ask again in a moment") from None


async def get_service(request: Request) -> Service:  # async, so that it needs no thread
    """Return the service of the application that a request reached."""
    service: Service = request.app.state.service
    return service


class Jpeg(Response):
    """A JPEG picture."""

    media_type = "image/jpeg"


class Text(Response):
    """Prometheus' text format."""

    media_type = "text/plain"


class _Whole(PathConvertor):
    """The rest of a path, which may have line breaks."""

    regex = "(?s:.*)"


register_url_convertor("whole", _Whole())

Shared = Annotated[Service, Depends(get_service)]


async def recommend(request: Request, service: Shared) -> Response:
    """Recommend hashtags for a picture, a caption, seeds, or any mix of these."""
    asked, content = await read_asked(request)
    selection = asked.selection()
    picture = None if content is None else Upload(content)
    try:
        query = query_of(picture, asked.caption, asked.seeds, asked.topics)
        answer = await service.answer(Question(query, selection, asked.explain), picture)
    except HashlensError as error:
        raise without_path(error, picture) from error
    return PlainJson({"format": FORMAT, "id": None} | format_answer(answer, evidence=True))


async def batch(service: Shared, asked: Rows) -> Response:
    """Answer many captions and seeds, in order, as `hashlens batch` does."""
    selection = asked.options.selection()
    answers: list[dict[str, Any]] = []
    # A few at a time, so that other requests need not wait for all.
    for start in range(0, len(asked.rows), MAX_BATCH):
        rows = asked.rows[start : start + MAX_BATCH]
        found = await asyncio.gather(*(answer_row(service, row, selection) for row in rows))
        answers += [
            format_row(str(start + n) if row.id is None else row.id, answer)
            for n, (row, answer) in enumerate(zip(rows, found, strict=True), start=1)
        ]
    return PlainJson({"format": FORMAT, "answers": answers})


def hashtag(service: Shared, tag: str) -> Response:
    """Counts, tier, companions and neighbours by topic of a hashtag."""
    facts = hashtag_facts(service.live.recommender.index, tag)
    return PlainJson({"format": FORMAT} | facts)


def search(service: Shared, q: Annotated[str, Query(min_length=1, max_length=150)]) -> Response:
    """Hashtags that begin with these letters, the most used first."""
    found = completions(service.live.recommender.index, q)
    return PlainJson({"format": FORMAT, "tags": found})


def index(service: Shared) -> Response:
    """The contents of the index, and the limits of each platform."""
    summary = summarize_reader(service.live.recommender.index)
    platforms = [
        {"name": p.name, "limit": p.limit, "since": p.since, "recommended": p.recommended}
        for p in load_platforms().values()
    ]
    shown = {name: summary[name] for name in SUMMARY_FIELDS}
    return PlainJson({"format": FORMAT} | shown | {"platforms": platforms})


def post(service: Shared, post_id: str) -> Response:
    """A post of the index that is evidence for a hashtag."""
    facts = post_facts(service.live.recommender.index, post_id)
    return PlainJson({"format": FORMAT} | facts)


async def post_picture(request: Request, service: Shared, post_id: str) -> Response:
    """A small JPEG of a post's picture, if its file is still there."""
    if not request.scope.get("raw_path", b"/thumbnail").endswith(b"/thumbnail"):
        # The slash was sent as %2F, so it belongs to the post's id.
        return await run_in_threadpool(post, service, f"{post_id}/thumbnail")
    async with service.thumbnails:
        small = await run_in_threadpool(post_thumbnail, service.live.recommender.index, post_id)
    return Jpeg(small, headers={"Cache-Control": "private, max-age=600"})


async def health(service: Shared) -> Response:  # async: all threads may be busy
    """Whether the server answers, and from which generation."""
    generation = service.live.recommender.index.generation.number
    return PlainJson({"status": "ok", "generation": generation})


def metrics(service: Shared) -> Response:
    """Counters in Prometheus' text format."""
    return Text(service.meters.text())


# Method, path, function, class of the answer and, of a JSON one, its form.
ROUTES: tuple[tuple[str, str, Callable[..., Any], type[Response], type[BaseModel] | None], ...] = (
    ("POST", "/v1/recommend", recommend, PlainJson, AnswerForm),
    ("POST", "/v1/recommend/batch", batch, PlainJson, BatchForm),
    ("GET", "/v1/hashtags/{tag}", hashtag, PlainJson, None),
    ("GET", "/v1/search", search, PlainJson, None),
    ("GET", "/v1/index", index, PlainJson, None),
    ("GET", "/v1/posts/{post_id:whole}/thumbnail", post_picture, Jpeg, None),
    ("GET", "/v1/posts/{post_id:whole}", post, PlainJson, None),
    ("GET", "/healthz", health, PlainJson, None),
    ("GET", "/metrics", metrics, Text, None),
)


def create_app(
    index_folder: Path,
    weights: Path | None = None,
    rules: Rules | None = None,
    *,
    check: bool = False,
    root_path: str = "",
) -> FastAPI:
    """Return the application over the index in a folder.

    Args:
        index_folder: folder of the index.
        weights: the encoder's weights file, if it is not in its usual place.
        rules: who may ask.
        check: whether to hash every file of a generation first.
        root_path: path below which a reverse proxy shows the server, such as `/tags`.

    Raises:
        HashlensError: the index cannot be opened.
    """
    live = Live(index_folder, weights, check=check)
    desk = Desk(lambda: live.recommender)
    meters = Meters(desk.__len__, lambda: live.recommender.index.generation.number)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(live, desk, meters, asyncio.Semaphore(MAX_THUMBNAILS))
        live.follow()
        yield
        live.close()
        desk.close()

    app = FastAPI(
        title="hashlens",
        version=str(FORMAT),
        description="Hashtags for a picture, a caption or some seed hashtags.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=run,
    )
    for method, path, route, kind, form in ROUTES:
        responses = dict(REFUSALS if kind is PlainJson else JSON_REFUSALS)
        responses |= {200: {"model": form}} if form else {}
        app.add_api_route(
            path,
            route,
            methods=[method],
            responses=responses,
            response_class=kind,
            openapi_extra=describe_body() if route is recommend else None,
        )
    add_pages(app)
    add_refusals(app)
    app.add_middleware(
        Guard, rules=rules or Rules(), count=meters.count_request, root_path=root_path
    )
    return app


def serve(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        app: the application that `create_app` returned.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        ready: called with the address when the server listens.

    Raises:
        HashlensError: the address is not free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise HashlensError(
            f"{host}, port {port}: cannot listen there ({error}); name another with --port"
        ) from error
    with listening:
        # Each connection inherits this; asyncio sets it on its own sockets only. Without it,
        # answers wait 40 ms for the other side's acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}")
        TimelyHeads.most, accepts = bounds()
        config = uvicorn.Config(
            app,
            http=TimelyHeads,
            ws="none",
            access_log=False,
            log_config=LOGS,
            server_header=False,
            backlog=accepts,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=STOP_WAIT,
        )
        _PromptServer(config).run(sockets=[listening])


class _PromptServer(uvicorn.Server):
    """uvicorn's server; if it does not stop in time, the kernel ends the process.

    Nothing can stop a thread, and a thread inside a library may keep Python from running.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and set the kernel's alarm."""
        super().handle_exit(sig, frame)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, KILL_WAIT)


async def answer_row(
    service: Service, row: Row | BadRow, selection: Selection
) -> Recommendation | HashlensError:
    """Answer a row of a batch, or return its error.

    Raises:
        BusyError: the queue is full; the whole batch should come again.
    """
    if isinstance(row, BadRow):
        return row.error
    try:
        return await service.answer(Question(row.query(), selection, explain=False))
    except BusyError:
        raise
    except HashlensError as error:
        return error
