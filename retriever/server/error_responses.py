"""Turns errors into answers of the documented form, without paths or tracebacks."""

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
    400: "the question cannot be answered",
    401: "the API key is missing or wrong",
    403: "another site's page asked",
    404: "the index does not have it",
    405: "the path takes another method",
    408: "the request came too slowly",
    413: "the request is too large",
    415: "the content type is wrong",
    421: "the request names another host",
    422: "a field is of the wrong type or out of range",
    429: "the server is busy; Retry-After says when to ask again",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorForm, "description": reason} for status, reason in _REASONS.items()
}
_FORM = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorForm.__name__}"}}}
# The same for routes whose other answers are not JSON.
JSON_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"content": _FORM, "description": reason} for status, reason in _REASONS.items()
}
# Errors that people can correct; the message of any other error may have paths of this machine.
_ERRORS_OF_CLIENTS: tuple[tuple[type[HashlensError], int], ...] = (
    (UnknownError, 404),
    (BusyError, 429),
    (InputError, 400),
    (ConfigError, 400),
    (IndexMismatchError, 400),
)

log = logging.getLogger("hashlens")


def add_refusals(app: FastAPI) -> None:
    """Let the application answer every error in the documented form."""
    app.add_exception_handler(HashlensError, answer_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)


def without_path(error: HashlensError, picture: Upload | None) -> HashlensError:
    """Return the same error without the temporary path of an uploaded picture."""
    if picture is None or not isinstance(error, InputError):
        return error
    return InputError(str(error).replace(str(picture.path), "the picture"))


def answer_error(request: Request, error: Exception) -> Response:
    """Return the answer for an error of hashlens."""
    for kind, status in _ERRORS_OF_CLIENTS:
        if isinstance(error, kind):
            return refusal(status, str(error))
    log.error("could not answer: %s", error)
    return refusal(500, "could not answer: see the log of the server")


def answer_http_error(request: Request, error: Exception) -> Response:
    """Return the answer for an error of the HTTP layer."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    answer = refusal(status, detail)
    answer.headers.update((error.headers or {}) if isinstance(error, HTTPException) else {})
    return answer


def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError | ValidationError) else ()
    return refusal(422, problems_of(list(found)))
