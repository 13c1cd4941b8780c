"""Turns HTML into the text that a browser shows."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

MAX_MARKUP = 200_000  # characters that are parsed; few captions have a hundredth

_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "br", "center", "dd", "details"),
        *("div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2"),
        *("h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
        *("section", "summary", "table", "td", "th", "tr", "ul"),
    )
)
_SILENT = frozenset(("iframe", "noscript", "object", "script", "style", "svg", "template", "title"))
_TAG = re.compile(
    r"</?(?:a|abbr|article|b|big|blockquote|body|br|center|code|dd|del|div|dl|dt|em|figcaption"
    r"|figure|font|h[1-6]|hr|html|i|iframe|img|ins|li|mark|ol|p|pre|q|s|script|section|small|span"
    r"|strike|strong|style|sub|sup|table|td|th|tr|tt|u|ul|wbr)"
    r"""(?:\s+[a-z-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*\s*/?>""",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(r"<[!?][^>]*>")
_SPACES = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")


class _Text(HTMLParser):
    """Collects the visible text; each block is on a line of its own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent: str | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._silent is None and tag in _SILENT:
            self._silent = tag
        self._depth += tag == self._silent
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._depth -= 1
            self._silent = self._silent if self._depth else None
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._silent is None:
            self.pieces.append(data)

    def _break(self, tag: str) -> None:
        if self._silent is None and tag in _BLOCKS:
            self.pieces.append("\n")


def has_markup(text: str) -> bool:
    """Whether a text has an element that formats text; `a <b and c>` has none."""
    return "<" in text and _TAG.search(text) is not None


def strip_markup(text: str) -> str:
    """Return the text that a browser shows of HTML.

    Blocks and `<br>` begin lines, entities become letters, scripts and comments are dropped.
    Elements in a line leave nothing: `#<span>cat</span>` becomes `#cat`. Text after `MAX_MARKUP`
    characters stays unchanged, so that the work is bounded.
    """
    text, rest = text[:MAX_MARKUP], text[MAX_MARKUP:]
    if "<" in text:
        parser = _Text()
        parser.feed(_drop_declarations(text))
        parser.close()
        text = "".join(parser.pieces)
    else:
        text = unescape(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _BREAKS.sub("\n", _SPACES.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip() + rest


def _drop_declarations(text: str) -> str:
    """Return HTML without comments and declarations; a `<` that no `>` closes is a letter.

    For each open declaration, the standard library's parser searches the whole rest for its end.
    Many of them would take quadratic time.
    """
    closed, mark, tail = text.rpartition("-->")
    text = _COMMENT.sub("", closed + mark) + tail.replace("<!--", "&lt;!--")
    closed, mark, tail = text.rpartition(">")
    return _DECLARATION.sub("", closed + mark) + tail.replace("<", "&lt;")
