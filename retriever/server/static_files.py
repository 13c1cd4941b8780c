"""The files of the web page: read once, and served by name; nothing is looked up on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

PAGES = {"/": "index.html", "/docs": "docs.html"}
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def add_pages(app: FastAPI) -> None:
    """Add the pages and what they load."""
    folder = files("hashlens.retriever.server").joinpath("page")
    found = {file.name: file.read_bytes() for file in folder.iterdir() if _kind(file.name)}
    for path, name in PAGES.items():
        app.add_api_route(path, _page(name, found[name]), include_in_schema=False)

    def part(request: Request, name: str) -> Response:
        if name not in found:
            raise HTTPException(404, "found no such file of the page")
        return _answer(request, name, found[name])

    app.add_api_route("/page/{name}", part, include_in_schema=False)


def _page(name: str, content: bytes) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        return _answer(request, name, content)

    return page


def _answer(request: Request, name: str, content: bytes) -> Response:
    mark = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"ETag": mark, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_kind(name), headers=headers)


def _kind(name: str) -> str | None:
    return _KINDS.get(name.rpartition(".")[2])
