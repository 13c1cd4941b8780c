"""Serves the files of the web page from memory, by name."""

from __future__ import annotations

import hashlib
from functools import partial
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
    """Add the pages and the files that they load."""
    folder = files("hashlens.retriever.server").joinpath("page")
    found = {file.name: file.read_bytes() for file in folder.iterdir() if _kind(file.name)}

    def show_file(request: Request, name: str = "") -> Response:
        name = name or request.path_params["name"]
        if name not in found:
            raise HTTPException(404, "found no such file of the page")
        mark = f'"{hashlib.sha256(found[name]).hexdigest()[:20]}"'
        headers = {"ETag": mark, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(found[name], media_type=_kind(name), headers=headers)

    for path, name in PAGES.items():
        app.router.add_route(path, partial(show_file, name=name), include_in_schema=False)
    app.router.add_route("/page/{name}", show_file, include_in_schema=False)


def _kind(name: str) -> str | None:
    return _KINDS.get(name.rpartition(".")[2])
