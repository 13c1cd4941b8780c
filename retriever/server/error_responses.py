"""Errors as answers: in the documented form, with no path and no trace of ours."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hashlens.indexer.errors import ConfigError, HashlensError, IndexMismatchError, InputError
from hashlens.retriever.index.lookup import UnknownError
from hashlens.retriever.server.middleware import refusal
from hashlens.retriever.server.schemas import ErrorForm, problems_of
from hashlens.retriever.server.serving import BusyError
from hashlens.retriever.server.uploads import Upload

_REASONS = {
    400: "what is asked cannot be answered",
    401: "the API key is missing or wrong",
    403: "another site's page asked",
    404: "the index does not hold it",
    405: "the path takes another method",
    408: "the request came too slowly",
    413: "the request is too large",
    415: "the content type is another one",
    421: "another host's name was asked for",
    422: "a field is of the wrong type or out of range",
    429: "too much is being asked; Retry-After says when to come again",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorForm, "description": reason} for status, reason in _REASONS.items()
}
_FORM = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorForm.__name__}"}}}
# The same, of routes whose other answers are no JSON.
JSON_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"content": _FORM, "description": reason} for status, reason in _REASONS.items()
}
# What people can put right; any other error is ours, and its words may hold paths.
_THEIRS: tuple[tuple[type[HashlensError], int], ...] = (
    (UnknownError, 404),
    (BusyError, 429),
    (InputError, 400),
    (ConfigError, 400),
    (IndexMismatchError, 400),
)

log = logging.getLogger("hashlens")


def add_refusals(app: FastAPI) -> None:
    """Have the application answer every error in the documented form."""
    app.add_exception_handler(HashlensError, _ours)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)


def without_path(error: HashlensError, picture: Upload | None) -> HashlensError:
    """The same error, of a picture that was sent, which has no path."""
    if picture is None or not isinstance(error, InputError):
        return error
    return InputError(str(error).replace(str(picture.path), "the picture"))


def _ours(request: Request, error: Exception) -> Response:
    for kind, status in _THEIRS:
        if isinstance(error, kind):
            return refusal(status, str(error))
    log.error("could not answer: %s", error)
    return refusal(500, "could not answer: see the log of the server")


def _plain(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    answer = refusal(status, detail)
    answer.headers.update((error.headers or {}) if isinstance(error, HTTPException) else {})
    return answer


def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError | ValidationError) else ()
    return refusal(422, problems_of(list(found)))
