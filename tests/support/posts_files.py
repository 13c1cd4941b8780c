"""Posts written as a user's files are, and read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Post, Rejection


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        names = ["id", "image", "caption", "hashtags", "author", "taken_at", "topic", "origin"]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows:
            tags = row.get("hashtags")
            writer.writerow(row | {"hashtags": ", ".join(tags) if tags else ""})
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def read(*sources: Path, rule: str = "instagram") -> tuple[list[Post], list[Rejection]]:
    rejections: list[Rejection] = []
    return list(read_posts(sources, rule=rule, rejections=rejections)), rejections


def one(folder: Path, **fields: Any) -> tuple[list[Post], list[Rejection]]:
    return read(write_jsonl(folder / "posts.jsonl", [fields]))
