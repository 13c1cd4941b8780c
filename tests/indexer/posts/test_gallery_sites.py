"""Posts of gallery-dl from sites with fields of their own, and from sites without a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hashlens.indexer.posts.formats.gallery_sites import find_site
from tests.support.scrape_files import put_json, read

SITES: dict[str, tuple[dict[str, Any], tuple[str, str, str, tuple[str, ...]]]] = {
    "vk": (
        {"id": "457", "num": 1, "description": "Осень #парк", "user": {"name": "ann", "id": "3"}},
        ("vk:457", "ann", "Осень", ("парк",)),
    ),
    "bilibili": (
        {
            "opus_id": "888",
            "id": "1",
            "title": "",
            "content": ["今天的猫 ", "#猫咪#", " 很可爱"],
            "username": "ann",
            "tags": None,
        },
        ("bilibili:888", "ann", "今天的猫 很可爱", ("猫咪",)),
    ),
    "cara": (
        {"id": "0-a", "title": "Heron", "content": "Study #birds", "name": "Ann K", "slug": "ann"},
        ("cara:0-a", "ann", "Heron\nStudy", ("birds",)),
    ),
    "nijie": (
        {
            "image_id": 77,
            "title": "Moon",
            "description": "Long &amp; late",
            "artist_id": 5,
            "user_id": 5,
            "user_name": "ann",
            "tags": ["long hair"],
        },
        ("nijie:77", "ann", "Moon\nLong & late", ("longhair",)),
    ),
    "livedoor": (
        {
            "post": {
                "id": 5,
                "title": "雨の日",
                "body": "<p>雨です<br>#雨</p>",
                "description": "傘",
                "tags": ["傘"],
                "user": "ann",
            },
            "hash": "ab",
        },
        ("livedoor:5", "ann", "雨の日\n雨です", ("雨",)),
    ),
    "civitai": (
        {
            "id": 1,
            "post": {"id": 44, "title": "Castle", "detail": "<p>fog</p>"},
            "user": {"username": "ann"},
            "tags": ["old castle"],
        },
        ("civitai:44", "ann", "Castle\nfog", ("oldcastle",)),
    ),
    "arena": (
        {
            "block": {"id": 4, "title": "Tape", "description": "x #retro", "user": {"slug": "ann"}},
            "user": {"username": "bob"},
        },
        ("arena:4", "ann", "Tape\nx", ("retro",)),
    ),
    "wikimediacommons": (
        {
            "pageid": 55,
            "title": "File:Bridge.jpg",
            "user": "Ann",
            "comment": "upload",
            "extmetadata": {"ImageDescription": {"value": "<b>Old</b> bridge"}},
        },
        ("wikimediacommons:55", "Ann", "Old bridge", ()),
    ),
    "poipiku": (
        {"post_id": "99", "user_id": "12", "user_name": "ann", "description": "今日 #落書き"},
        ("poipiku:99", "ann", "今日", ("落書き",)),
    ),
    "photovogue": (
        {"id": 5, "title": "Fog #fog", "photographer": {"name": "ann", "id": 3}},
        ("photovogue:5", "ann", "Fog", ("fog",)),
    ),
    "foriio": (
        {"work_id": 5, "title": "Poster", "description": "<p>Ink &amp; #print</p>", "author": {}}
        | {"author": {"name": "ann", "id": 3}},
        ("foriio:5", "ann", "Poster\nInk &", ("print",)),
    ),
}


@pytest.mark.parametrize("site", SITES)
def test_a_post_of_another_site(tmp_path: Path, site: str) -> None:
    value, expected = SITES[site]
    frame = {"category": site, "subcategory": "post", "extension": "jpg"}
    put_json(tmp_path / "1.jpg.json", frame | value)
    (post,), rejections = read(tmp_path)
    assert (post.post_id, post.author, post.caption, post.hashtags) == expected
    assert [rejection for rejection in rejections if not rejection.is_note] == []
    has_table = site not in ("poipiku", "photovogue", "foriio")
    assert find_site(frame | value).is_known is has_table
