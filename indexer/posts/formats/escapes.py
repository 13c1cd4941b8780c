"""Text that a program escaped for HTML or JSON, as its author wrote it."""

from __future__ import annotations

import re
from html import unescape

from hashlens.indexer.posts.formats.markup import has_markup, strip_markup

MAX_ROUNDS = 3  # of escapes within escapes that are undone
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MISTAKEN = re.compile(r"[ÂÃÄÅÐÑØÙâäåæçèéìíðï][^\sA-Za-z]")  # UTF-8 taken for Windows-1252
_CODES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\U000[0-9a-fA-F]{5}|\\U0010[0-9a-fA-F]{4}")
_PATH = re.compile(r"(?<![^\W\d_])[A-Za-z]:\\|(?<!\S)\\\\\w|\\[\w\\-]+\.[A-Za-z]\w{1,4}\b")
_UNKNOWN = re.compile(r"\\(?:[nrt\"'/\\]|u[0-9a-fA-F]{4}|U00[01][0-9a-fA-F]{5})|(\\)", re.DOTALL)
_WORD = re.compile(r"(?<!\S)\\[nrt][a-z]")  # of a path or formula
_DOUBTFUL = re.compile(r"\\[rt][a-z]")  # `\today` of a path, where nothing else is escaped
_SIMPLE = {"n": "\n", "r": "\n", "t": " ", '"': '"', "'": "'", "/": "/", "\\": "\\"}
_ESCAPE = re.compile(r"\\r\\n|\\([nrt\"'/\\])")


def plain_text(text: str) -> str:
    r"""The text with what clearly is an escape undone, and no other change.

    Character references of HTML end with a semicolon, and elements are those that people format
    text with (see `has_markup`); either may be escaped once more. Escapes of JSON are undone where
    every backslash of the text begins one, and none looks like a path: `C:\new` stays, and so does
    `¯\_(ツ)_/¯`. ftfy mends letters of UTF-8 that were taken for another encoding's.
    """
    if "\\" in text:
        text = _without_backslashes(text)
    if _MISTAKEN.search(text):
        from ftfy import fix_encoding

        text = fix_encoding(text)
    for _ in range(MAX_ROUNDS):
        if has_markup(text):
            text = strip_markup(text)
        elif "&" in text:
            text = _REFERENCE.sub(lambda found: unescape(found[0]), text)
        else:
            break
    return text


def _without_backslashes(text: str) -> str:
    if _PATH.search(text) or _WORD.search(text) or "\\" not in _DOUBTFUL.sub("", text):
        return text
    if any(found[1] for found in _UNKNOWN.finditer(text)):
        return text
    text = _CODES.sub(lambda found: _decoded(found[0]), text)
    return _ESCAPE.sub(lambda found: _SIMPLE[found[1]] if found[1] else "\n", text)


def _decoded(codes: str) -> str:
    if codes.startswith("\\U"):
        return chr(int(codes[2:], 16))
    units = b"".join(int(code, 16).to_bytes(2, "little") for code in codes.split("\\u")[1:])
    return units.decode("utf-16-le", "replace")
