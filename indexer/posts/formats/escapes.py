"""Restores text that a program escaped for HTML or JSON."""

from __future__ import annotations

import re
from html import unescape

from hashlens.indexer.posts.formats.markup import has_markup, strip_markup

MAX_ROUNDS = 3  # levels of nested escapes that are undone
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MISREAD = re.compile(r"[ÂÃÄÅÐÑØÙâäåæçèéìíðï][^\sA-Za-z]")  # UTF-8 read as Windows-1252
_CODES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\U000[0-9a-fA-F]{5}|\\U0010[0-9a-fA-F]{4}")
_PATH = re.compile(r"(?<![^\W\d_])[A-Za-z]:\\|(?<!\S)\\\\\w|\\[\w\\-]+\.[A-Za-z]\w{1,4}\b")
_UNKNOWN = re.compile(r"\\(?:[nrt\"'/\\]|u[0-9a-fA-F]{4}|U00[01][0-9a-fA-F]{5})|(\\)", re.DOTALL)
_WORD = re.compile(r"(?<!\S)\\[nrt][a-z]")  # of a path or formula
_DOUBTFUL = re.compile(r"\\[rt][a-z]")  # `\today` of a path, if nothing else is escaped
_SIMPLE = {"n": "\n", "r": "\n", "t": " ", '"': '"', "'": "'", "/": "/", "\\": "\\"}
_ESCAPE = re.compile(r"\\r\\n|\\([nrt\"'/\\])")


def plain_text(text: str) -> str:
    r"""Return a text with its clear escapes undone, and otherwise unchanged.

    A character reference of HTML ends with a semicolon. Elements are those that format text (see
    `has_markup`). Either may be escaped once more. Escapes of JSON are undone only if every
    backslash begins one and none looks like a path: `C:\new` and `¯\_(ツ)_/¯` stay. ftfy repairs
    UTF-8 that was read in another encoding.
    """
    is_escaped = (
        "\\" in text
        and not (_PATH.search(text) or _WORD.search(text))
        and "\\" in _DOUBTFUL.sub("", text)
        and not any(found[1] for found in _UNKNOWN.finditer(text))
    )
    if is_escaped:
        text = _CODES.sub(
            lambda found: (
                found[0]
                .encode("ascii")
                .decode("unicode_escape")
                .encode("utf-16-le", "surrogatepass")
                .decode("utf-16-le", "replace")
            ),
            text,
        )
        text = _ESCAPE.sub(lambda found: _SIMPLE[found[1]] if found[1] else "\n", text)
    if _MISREAD.search(text):
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
