"""A small panel for the tests, written into a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

POST: dict[str, Any] = {
    "id": "p1",
    "kind": "caption",
    "subject": "cake",
    "lang": "en",
    "caption": "Lemon cake for my sister",
    "good": ["lemoncake", "Baking"],
    "fair": ["sister"],
    "bad": ["lemon", "!wedding"],
}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_panel(folder: Path, *posts: dict[str, Any], **files: list[dict[str, Any]]) -> Path:
    """Write posts, each `POST` with changes, and other files by their stem; return the folder."""
    write_lines(folder / "posts.jsonl", [POST | post for post in posts])
    for stem, rows in files.items():
        write_lines(folder / f"{stem}.jsonl", rows)
    return folder
