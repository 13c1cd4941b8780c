"""Files as scrapers and exports write them, made by hand from what these tools document."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Post, Rejection

JPEG = b"\xff\xd8\xff\xe0 begins as a JPEG does"
PNG = b"\x89PNG\r\n\x1a\n begins as a PNG does"
NOON = 1458993600  # 2016-03-26T12:00:00Z


def read(*sources: Path, **options: Any) -> tuple[list[Post], list[Rejection]]:
    rejections: list[Rejection] = []
    return list(read_posts(sources, rejections=rejections, **options)), rejections


def put(path: Path, content: bytes | str = JPEG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_json(path: Path, value: Any, *, escaped: bool = True) -> Path:
    """JSON, packed where the name says so."""
    content = json.dumps(value, ensure_ascii=escaped).encode()
    if path.suffix == ".xz":
        content = lzma.compress(content, check=lzma.CHECK_NONE)
    return put(path, content)


def signed(node: Any, node_type: str = "Post") -> dict[str, Any]:
    """What Instaloader saves of a node."""
    return {"node": node, "instaloader": {"version": "4.14", "node_type": node_type}}


def graph_node(code: str, caption: str | None, **more: Any) -> dict[str, Any]:
    """A post as Instagram's GraphQL has it."""
    edges = [] if caption is None else [{"node": {"text": caption}}]
    return {
        "__typename": "GraphImage",
        "id": "2466077356296318741",
        "shortcode": code,
        "edge_media_to_caption": {"edges": edges},
        "taken_at_timestamp": NOON,
        "display_url": "https://example.org/a.jpg",
        "is_video": False,
        "owner": {"id": "35155306", "username": "ann"},
        **more,
    }


def phone_node(code: str, caption: str | None, **more: Any) -> dict[str, Any]:
    """A post as newer Instaloaders make it of what Instagram tells phones."""
    said = None if caption is None else {"pk": "1", "text": caption}
    phone = {"code": code, "pk": 1, "taken_at": NOON, "caption": said, "media_type": 1}
    phone["user"] = {"pk": 35155306, "username": "ann"}
    node = {"shortcode": code, "id": 1, "__typename": "GraphImage", "date": NOON}
    return node | {"caption": caption, "iphone_struct": phone} | more


def sidecar(code: str, media_id: str, caption: str, **more: Any) -> dict[str, Any]:
    """What gallery-dl writes beside a file of an Instagram post."""
    return {
        "category": "instagram",
        "subcategory": "posts",
        "post_id": "3597631270905977008",
        "post_shortcode": code,
        "shortcode": f"{code}-{media_id}",
        "post_url": f"https://www.instagram.com/p/{code}/",
        "media_id": media_id,
        "num": 1,
        "count": 1,
        "description": caption,
        "tags": ["#ca", "#only-from-the-scraper"],
        "username": "ann",
        "owner_id": "35155306",
        "date": "2016-03-26 12:00:00",
        "post_date": "2016-03-26 12:00:00",
        "extension": "jpg",
        "filename": "../../../etc/passwd",
        "display_url": "https://example.org/a.jpg",
        "video_url": None,
        **more,
    }


def broken(text: str) -> str:
    """A text as Instagram's export spells it: each byte of its UTF-8 for a letter."""
    return text.encode().decode("latin-1")
