"""The body of `POST /v1/recommend`, which is a form or JSON, with or without a picture."""

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
    """Starlette's parser; parts of pictures are files, whatever name they have or lack."""

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
    """The question of a request, and its picture's bytes.

    Raises:
        HTTPException: the body is no form, too large or too slow.
        ValidationError, InputError: a field is not as it should be.
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
    try:
        return await _of_form(form.multi_items())
    finally:
        await form.close()


async def _of_form(items: list[tuple[str, UploadFile | str]]) -> tuple[Asked, bytes | None]:
    fields: dict[str, Any] = {}
    picture: bytes | None = None
    for name, value in items:
        if isinstance(value, UploadFile):
            if name == "image" and (value.filename or value.size):  # none was chosen otherwise
                picture = await value.read()
        elif name == REPEATED:
            fields.setdefault(name, []).append(value)
        elif value:
            fields[name] = value
    return AskedForm.model_validate(fields), picture


def body_described() -> dict[str, Any]:
    """The body for OpenAPI, which tells of both forms."""
    form = _schema(AskedForm)
    form["properties"] |= {
        "image": {"type": "string", "format": "binary", "description": "A picture; not stored."}
    }
    content = {MULTIPART: {"schema": form}, JSON: {"schema": _schema(AskedJson)}}
    return {"requestBody": {"content": content, "required": True}}


def _schema(form: type[Asked]) -> dict[str, Any]:
    """A form's schema, whose parts stand among the components that `POST .../batch` adds."""
    schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema
