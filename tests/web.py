"""The application over an index, asked as a browser on this machine would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from retriever.guards import Rules
from retriever.server import create_app

ROOT = Path(__file__).parents[1]
CAPTION = "coffee and breakfast in my favourite cafe"


@contextmanager
def opened(index: Path, rules: Rules | None = None) -> Iterator[TestClient]:
    """A client of the application, started and stopped."""
    app = create_app(index, rules=rules)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def served(index: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own, and the process."""
    program = "from cli import main; main()"
    words = [sys.executable, "-c", program, "serve", "--index", str(index), "--port", "0", *options]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    )
    try:
        assert process.stdout
        assert process.stderr
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, process.stderr.read()
        yield found[0], process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def fields(**values: Any) -> dict[str, Any]:
    """A multipart form; lists are repeated, dictionaries written as JSON."""
    files: list[tuple[str, tuple[str | None, Any]]] = []
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            content = json.dumps(one) if isinstance(one, dict) else one
            named = "picture" if isinstance(content, bytes) else None
            files.append((name, (named, content if isinstance(content, bytes) else str(content))))
    return {"files": files}


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A picture of noise."""
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()
