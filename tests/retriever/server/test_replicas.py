"""Servers that share one index folder, as replicas on shared storage do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from hashlens.indexer.pipeline.update import update
from tests.support.web_client import CAPTION, served


def _told(address: str) -> dict[str, Any]:
    with urlopen(f"{address}/healthz", timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _asked(address: str) -> dict[str, Any]:
    body = json.dumps({"rows": [{"id": "1", "caption": CAPTION}]}).encode()
    headers = {"Content-Type": "application/json"}
    asked = Request(f"{address}/v1/recommend/batch", body, headers)
    with urlopen(asked, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_replicas_answer_alike_and_follow_a_new_generation(index: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.jsonl"
    rows = [{"id": f"new{n}", "caption": f"{CAPTION} {n}", "hashtags": ["replica"]} for n in (1, 2)]
    later.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with served(index) as (one, _), served(index) as (other, _):
        before = _asked(one)
        assert before["answers"][0]["tags"]
        assert _asked(other) == before
        number = update([later], index, retrain=False).generation
        deadline = time.monotonic() + 30
        while {_told(one)["generation"], _told(other)["generation"]} != {number}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        after = _asked(one)
        assert _asked(other) == after
        assert after != before
