"""HTML as the text that people read."""

from __future__ import annotations

import time

import pytest

from hashlens.indexer.posts.formats.markup import MAX_MARKUP, has_markup, strip_markup


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>nobody&#39;s</p><p>b</p>", "nobody's\n\nb"),
        ("a<br>b<br/>c<BR />d", "a\nb\nc\nd"),
        ("<a href=\"x>y\" rel='t'>#<span>canal</span></a> <b>e</b>f", "#canal ef"),
        ("<ul><li>a<li>b</ul>c", "a\nb\nc"),
        ("<div><div>a</div></div>\r\n<div>b</div>", "a\n\nb"),
        ("x<script>alert('<b>')</script>y<style>b{}</style>z", "xyz"),
        ("a<!-- b > c -->d<!doctype html>e<?php f ?>g", "adeg"),
        ('<img alt="a > b" src=x>c', "c"),
        ("&lt;b&gt; &amp;amp; &uuml; &#x1F600;&nbsp;x", "<b> &amp; ü 😀 x"),
        ("<svg><title>no</title><title>nor this</title></svg>yes", "yes"),
        ("I <3 you, 1 < 2 > 0, a <b", "I <3 you, 1 < 2 > 0, a <b"),
        ("a   b \n\n\n c", "a b\n\nc"),
        ("<!-- open <b>x</b>", "<!-- open x"),
        ("", ""),
    ],
)
def test_markup_becomes_the_text_that_a_browser_shows(markup: str, text: str) -> None:
    assert strip_markup(markup) == text


@pytest.mark.parametrize(
    ("text", "has"),
    [("a<br>b", True), ("</P>", True), ("I <3 you", False), ("a <b", False), ("<name>", False)],
)
def test_markup_is_distinguished_from_signs(text: str, has: bool) -> None:
    assert has_markup(text) is has


@pytest.mark.parametrize("piece", ["<", "<a", "<!--", "</", "<a href='", "&", " ", "\n ", "<p>"])
@pytest.mark.parametrize("end", ["", ">", "-->"])
def test_work_is_bounded(piece: str, end: str) -> None:
    text = piece * (MAX_MARKUP // len(piece)) + end
    began = time.monotonic()
    strip_markup(text)
    assert time.monotonic() - began < 5
    assert strip_markup("a" * MAX_MARKUP + "<b>") == "a" * MAX_MARKUP + "<b>"
