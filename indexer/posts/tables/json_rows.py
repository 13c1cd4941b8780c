"""Reads rows of JSON: an object a line, or lists of objects in a file of any size."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hashlens.indexer.posts.tables.encodings import UTF8, find_json_encoding
from hashlens.indexer.posts.tables.rows import (
    MAX_LINE,
    TELLING,
    TOO_LONG,
    Columns,
    Row,
    kind,
    split_lines,
)
from hashlens.indexer.text.escaping import count_noun, safe

MAX_DEPTH = 8  # objects around a list of posts
_CHUNK = 1 << 16  # characters
_MAX_NAME = 80  # characters of a list's name in a note
_BLANK = re.compile(r"\s*")
_LIST = re.compile(rb"\s*\[\s*[{\]]")
_DECODER = json.JSONDecoder()


class _TornError(ValueError):
    """The rest of the text is not JSON; the message has the reason."""


def read_lines(path: Path, columns: Columns, notes: list[str]) -> Iterator[Row]:
    """Yield the rows of a file with an object a line; `read_lists` reads one with a list.

    Raises:
        OSError: the file cannot be read.
    """
    encoding = find_json_encoding(path)
    with path.open("rb") as file:
        head = file.read(_CHUNK)
        start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        is_list = bool(_LIST.match(head[start:]))
        file.seek(start)
        if encoding == UTF8 and not is_list:
            for number, line in split_lines(file):
                if line is None:
                    yield Row(number, problem=TOO_LONG)
                elif line.strip():
                    try:
                        yield _build_row(number, json.loads(line.decode("utf-8")), columns)
                    except UnicodeDecodeError as error:
                        reason = f"({error.reason}), save the file as UTF-8"
                        yield Row(number, problem=f"found bytes that are not UTF-8 {reason}")
                    except (ValueError, RecursionError) as error:
                        yield Row(number, problem=f"found malformed JSON ({error})")
            return
    yield from read_lists(path, columns, notes)


def _build_row(number: int, value: object, columns: Columns) -> Row:
    """Return the row of a JSON value."""
    if not isinstance(value, dict):
        return Row(number, problem=f"found {kind(value)}, expected a JSON object")
    return columns.row(number, value)


def read_lists(path: Path, columns: Columns, notes: list[str]) -> Iterator[Row]:
    """Yield the rows of a JSON file: objects, a list of objects, or lists inside an object.

    Inside an object, a list is of posts if its first entry has a caption, hashtags or a picture;
    `notes` names the others. Memory has one post at a time. A row's line is the number of its
    object.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(encoding=find_json_encoding(path), errors="replace") as file:
        text = _Text(file)
        number = 0
        try:
            while text.peek():
                for value in _read_posts(text, columns, notes, ""):
                    number += 1
                    yield _build_row(number, value, columns)
        except (_TornError, RecursionError) as error:
            yield Row(number + 1, problem=f"found malformed JSON ({error}), left out the rest")


def _read_posts(text: _Text, columns: Columns, notes: list[str], name: str) -> Iterator[Any]:
    """Yield the posts of the next value."""
    mark = text.peek()
    if mark == "[":
        yield from _read_list(text, columns, notes, name)
    elif mark == "{" and not text.is_short():
        yield from _read_object(text, columns, notes, name)
    else:
        value = text.value()
        if isinstance(value, dict) and not columns.row(None, value).fields.keys() & TELLING:
            inside = list(_find_posts(value, columns, notes, name, 0))
            yield from inside or [value]
        else:
            yield value


def _find_posts(
    value: dict[str, Any], columns: Columns, notes: list[str], name: str, depth: int
) -> Iterator[Any]:
    """Yield the posts of lists inside an object."""
    for key, inner in value.items():
        where = f"{name}.{key}" if name else key
        if isinstance(inner, dict) and depth < MAX_DEPTH:
            yield from _find_posts(inner, columns, notes, where, depth + 1)
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            if columns.row(None, inner[0]).fields.keys() & TELLING:
                yield from inner
            else:
                notes.append(_describe_unused(where, len(inner)))


def _describe_unused(name: str, number: int) -> str:
    return f"unused list {safe(name[:_MAX_NAME])!r} of {count_noun(number, 'entries')}"


def _read_object(text: _Text, columns: Columns, notes: list[str], name: str) -> Iterator[Any]:
    """Yield the posts of lists inside an object that is too large for memory."""
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        text.take(":")
        where = f"{name}.{key}" if name else str(key)
        if where.count(".") > MAX_DEPTH:
            raise _TornError(f"lists nested deeper than {MAX_DEPTH} objects")
        if text.peek() == "[":
            yield from _read_list(text, columns, notes, where)
        elif text.peek() == "{" and not text.is_short():
            yield from _read_object(text, columns, notes, where)
        else:
            value = text.value()
            if isinstance(value, dict):
                yield from _find_posts(value, columns, notes, where, 0)
        if text.peek() != ",":
            break
        text.take(",")
    text.take("}")


def _read_list(text: _Text, columns: Columns, notes: list[str], name: str) -> Iterator[Any]:
    """Yield the entries of a list; a list inside an object must be of posts."""
    text.take("[")
    number, is_of_posts = 0, not name
    while text.peek() != "]":
        value = text.value()
        number += 1
        if number == 1 and name:
            first = columns.row(None, value).fields if isinstance(value, dict) else {}
            is_of_posts = bool(first.keys() & TELLING)
        if is_of_posts:
            yield value
        if text.peek() != ",":
            break
        text.take(",")
    text.take("]")
    if number and not is_of_posts:
        notes.append(_describe_unused(name, number))


class _Text:
    """A text that is parsed value by value, with a small part in memory."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._place = 0
        self._is_whole = False

    def _fill(self, more: int = _CHUNK) -> None:
        part = self._file.read(more)
        self._text, self._place = self._text[self._place :] + part, 0
        self._is_whole = len(part) < more

    def peek(self) -> str:
        """Return the next character that is not a space; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self._place)
            self._place = blank.end() if blank else self._place
            if self._place < len(self._text) or self._is_whole:
                return self._text[self._place : self._place + 1]
            self._fill()

    def take(self, mark: str) -> None:
        """Skip a mark that must come next.

        Raises:
            _TornError: another mark comes next.
        """
        if (found := self.peek()) != mark:
            raise _TornError(f"found {found!r}, expected {mark!r}" if found else "the file is torn")
        self._place += 1

    def is_short(self) -> bool:
        """Whether the rest of the text fits into memory."""
        while not self._is_whole and len(self._text) - self._place <= MAX_LINE:
            self._fill()
        return len(self._text) - self._place <= MAX_LINE

    def value(self) -> Any:  # noqa: ANN401 (any JSON value)
        """Return the next value.

        Raises:
            _TornError: the value is malformed, or longer than `MAX_LINE`.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except ValueError as error:
                if self._is_whole:
                    raise _TornError(str(error)) from error
            else:
                # At the end of the text, a number may continue.
                if end < len(self._text) or self._is_whole:
                    self._place = end
                    return value
            if len(self._text) - self._place > MAX_LINE:
                raise _TornError(f"an entry is longer than {MAX_LINE:,} characters, or malformed")
            self._fill(max(_CHUNK, len(self._text) - self._place))
