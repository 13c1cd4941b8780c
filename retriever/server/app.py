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
from hashlens.indexer.types import Recommendation
from hashlens.retriever.index.lookup import completions, hashtag_facts, post_facts, post_thumbnail
from hashlens.retriever.json_format import FORMAT, answer_json, row_json
from hashlens.retriever.selection.platforms import platforms
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
from hashlens.retriever.server.request_body import body_described, read_asked
from hashlens.retriever.server.schemas import AnswerForm, BadRow, BatchForm, Row, Rows, query_of
from hashlens.retriever.server.serving import TOGETHER, BusyError, Desk, Live, Question
from hashlens.retriever.server.static_files import add_pages
from hashlens.retriever.server.uploads import Upload
from hashlens.retriever.summary import summary_of

WITHIN = 10.0  # seconds within which a question is answered, waiting included
LAST_ANSWERS = 2  # seconds that requests have when the server is told to stop
LAST_WORDS = 4.5  # seconds after which the kernel ends it
THUMBNAILS = 2  # pictures of posts that are decoded at the same time
TOLD = ("generation", "version", "created", "bytes", "counts", "encoder", "ranker", "topics")


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share."""

    live: Live
    desk: Desk
    meters: Meters
    thumbnails: asyncio.Semaphore

    async def answer(self, question: Question, picture: Upload | None = None) -> Recommendation:
        """The answer to one question, in time; its picture goes once nobody looks at it.

        Raises:
            BusyError: too many wait, or it took too long.
            HashlensError: it cannot be answered.
        """
        answer = self.desk.ask(question)
        if picture:
            answer.add_done_callback(lambda _: picture.close())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), WITHIN)
        except TimeoutError:
            raise BusyError(f"found no time within {WITHIN:g} s: ask again in a moment") from None


async def _service(request: Request) -> Service:  # on no thread, as `health`
    found: Service = request.app.state.service
    return found


class Jpeg(Response):
    """A picture."""

    media_type = "image/jpeg"


class Text(Response):
    """Prometheus' text format."""

    media_type = "text/plain"


class _Whole(PathConvertor):
    """The rest of a path; line breaks may be in it."""

    regex = "(?s:.*)"


register_url_convertor("whole", _Whole())

Shared = Annotated[Service, Depends(_service)]


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
    return PlainJson({"format": FORMAT, "id": None} | answer_json(answer, evidence=True))


async def batch(service: Shared, asked: Rows) -> Response:
    """Answer many captions and seeds, in order, as `hashlens batch` does."""
    selection = asked.options.selection()
    answers: list[dict[str, Any]] = []
    # Few at a time, so that others need not wait for all of them.
    for start in range(0, len(asked.rows), TOGETHER):
        rows = asked.rows[start : start + TOGETHER]
        found = await asyncio.gather(*(_row(service, row, selection) for row in rows))
        answers += [
            row_json(str(start + n) if row.id is None else row.id, answer)
            for n, (row, answer) in enumerate(zip(rows, found, strict=True), start=1)
        ]
    return PlainJson({"format": FORMAT, "answers": answers})


def hashtag(service: Shared, tag: str) -> Response:
    """Counts, tier, neighbours by topic and what goes with a hashtag."""
    facts = hashtag_facts(service.live.recommender.index, tag)
    return PlainJson({"format": FORMAT} | facts)


def search(service: Shared, q: Annotated[str, Query(min_length=1, max_length=150)]) -> Response:
    """Hashtags that begin so, the most used first."""
    found = completions(service.live.recommender.index, q)
    return PlainJson({"format": FORMAT, "tags": found})


def index(service: Shared) -> Response:
    """What the index holds, and what each platform takes."""
    summary = summary_of(service.live.recommender.index)
    taken = [
        {"name": p.name, "limit": p.limit, "since": p.since, "recommended": p.recommended}
        for p in platforms().values()
    ]
    told = {name: summary[name] for name in TOLD}
    return PlainJson({"format": FORMAT} | told | {"platforms": taken})


def post(service: Shared, post_id: str) -> Response:
    """A post of the index that stands behind a hashtag."""
    facts = post_facts(service.live.recommender.index, post_id)
    return PlainJson({"format": FORMAT} | facts)


async def post_picture(request: Request, service: Shared, post_id: str) -> Response:
    """A small JPEG of a post's picture, where that is still there."""
    if not request.scope.get("raw_path", b"/thumbnail").endswith(b"/thumbnail"):
        # The slash was sent as %2F, so that it is one of the post's id.
        return await run_in_threadpool(post, service, f"{post_id}/thumbnail")
    async with service.thumbnails:
        small = await run_in_threadpool(post_thumbnail, service.live.recommender.index, post_id)
    return Jpeg(small, headers={"Cache-Control": "private, max-age=600"})


async def health(service: Shared) -> Response:  # on no thread: these may all be busy
    """That it answers, and from which generation."""
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
    """The application over the index in a folder.

    Args:
        index_folder: folder of the index.
        weights: the encoder's weights file, where it is not in its usual place.
        rules: who may ask.
        check: whether every file of a generation is hashed before it answers.
        root_path: path below which a reverse proxy shows it, such as `/tags`.

    Raises:
        HashlensError: the index cannot be answered from.
    """
    live = Live(index_folder, weights, check=check)
    desk = Desk(lambda: live.recommender)
    meters = Meters(desk.__len__, lambda: live.recommender.index.generation.number)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(live, desk, meters, asyncio.Semaphore(THUMBNAILS))
        live.follow()
        yield
        live.close()  # nothing else is to be done any more
        desk.close()

    app = FastAPI(
        title="hashlens",
        version=str(FORMAT),
        description="Hashtags for a picture, a caption or some seed hashtags.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=running,
    )
    for method, path, answered, kind, form in ROUTES:
        responses = dict(REFUSALS if kind is PlainJson else JSON_REFUSALS)
        responses |= {200: {"model": form}} if form else {}
        app.add_api_route(
            path,
            answered,
            methods=[method],
            responses=responses,
            response_class=kind,
            openapi_extra=body_described() if answered is recommend else None,
        )
    add_pages(app)
    add_refusals(app)
    app.add_middleware(Guard, rules=rules or Rules(), told=meters.told, root_path=root_path)
    return app


def serve(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        app: what `create_app` made.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        ready: told the address when it can be asked.

    Raises:
        HashlensError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise HashlensError(
            f"{host}, port {port}: cannot listen there ({error}); name another with --port"
        ) from error
    with listening:
        # Inherited by each connection: asyncio sets it on sockets of its own making alone, and
        # without it answers wait 40 ms for the other side's acknowledgement.
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
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
        _PromptServer(config).run(sockets=[listening])


class _PromptServer(uvicorn.Server):
    """uvicorn's server; the kernel ends the process if it has not ended in time.

    Threads cannot be ended, and one inside a library may even keep Python from running.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and have the kernel see to it."""
        super().handle_exit(sig, frame)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS)


async def _row(
    service: Service, row: Row | BadRow, selection: Selection
) -> Recommendation | HashlensError:
    if isinstance(row, BadRow):
        return row.error
    try:
        return await service.answer(Question(row.query(), selection, explain=False))
    except BusyError:  # then the whole batch shall come again
        raise
    except HashlensError as error:
        return error
