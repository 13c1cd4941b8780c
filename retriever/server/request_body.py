"""Reads the body of `POST /v1/recommend`: a form or JSON, with or without a picture."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from hashlens.retriever.server.middleware import JSON, MOST_BODY, MULTIPART
from hashlens.retriever.server.schemas import Asked, AskedForm, AskedJson

REPEATED = "seeds"
MAX_FIELDS = 100  # parts of a form


class _Parts(MultiPartParser):
    """Starlette's parser; a picture's part is a file, with or without a file name."""

    spool_max_size = MOST_BODY  # larger ones would be spooled to a file on disk

    def on_headers_finished(self) -> None:
        """Name a picture's part that has no plain `filename`."""
        _, options = parse_options_header(self._current_part.content_disposition)
        if b"filename" not in options and (
            options.get(b"name") == b"image" or b"filename*" in options
        ):
            disposition = self._current_part.content_disposition or b""
            self._current_part.content_disposition = disposition + b'; filename=""'
        super().on_headers_finished()


async def read_asked(request: Request) -> tuple[Asked, bytes | None]:
    """Return the question of a request, and the bytes of its picture.

    Raises:
        HTTPException: the body is no form, too large or too slow.
        ValidationError, InputError: a field has a wrong value.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON:
        asked = AskedJson.model_validate_json(await request.body())
        return asked, asked.picture()
    parts = _Parts(request.headers, request.stream(), max_files=2, max_fields=MAX_FIELDS)
    try:
        form = await parts.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"found no sound form: {error.message}") from error
    fields: dict[str, Any] = {}
    picture: bytes | None = None
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                # A form without a chosen picture sends an empty part without a name.
                if name == "image" and (value.filename or value.size):
                    picture = await value.read()
            elif name == REPEATED:
                fields.setdefault(name, []).append(value)
            elif value:
                fields[name] = value
    finally:
        await form.close()
    return AskedForm.model_validate(fields), picture


def describe_body() -> dict[str, Any]:
    """Return the description of both forms of the body for OpenAPI."""
    form = _schema(AskedForm)
    form["properties"] |= {
        "image": {"type": "string", "format": "binary", "description": "A picture; not stored."}
    }
    content = {MULTIPART: {"schema": form}, JSON: {"schema": _schema(AskedJson)}}
    return {"requestBody": {"content": content, "required": True}}


def _schema(form: type[Asked]) -> dict[str, Any]:
    """Return a form's schema; its parts are components that `POST .../batch` defines."""
    schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema
