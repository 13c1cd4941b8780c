"""The application over an index, asked as a browser on this machine would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from hashlens.retriever.server.app import create_app
from hashlens.retriever.server.middleware import Rules

ROOT = Path(__file__).parents[2]
CAPTION = "coffee and breakfast in my favourite cafe"


@contextmanager
def opened(index: Path, rules: Rules | None = None) -> Iterator[TestClient]:
    """A client of the application, started and stopped."""
    app = create_app(index, rules=rules)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def served(
    index: Path, *options: str, program: str = "", log: Path | None = None, files: int = 0
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own, and the process.

    Args:
        index: its index.
        options: of `hashlens serve`.
        program: Python that runs before.
        log: file for its stderr.
        files: files that it may open; the usual number where 0.
    """
    program = f"{program}\nfrom cli import main; main()"
    if files:
        limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))"
        program = f"import resource; {limit}\n{program}"
    words = [sys.executable, "-c", program, "serve", "--index", str(index), "--port", "0", *options]
    with log.open("wb") if log else nullcontext(subprocess.PIPE) as errors:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=os.environ
        )
    try:
        assert process.stdout
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, log.read_text() if log else process.communicate()[1]
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
