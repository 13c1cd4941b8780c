"""Which index answers where none is named: the one place that decides it."""

from __future__ import annotations

from pathlib import Path

from indexer.errors import IndexMissingError

HERE = Path("index")  # what a build writes, and what answers, where no folder is named
FIRST_STEPS = (
    ("hashlens sample demo-posts", "writes a small folder of posts to try things on"),
    ("hashlens build demo-posts --index demo-index", "learns from them"),
    ('hashlens recommend --caption "walking the dog" --index demo-index', "asks"),
)


def index_default() -> Path:
    """`./index` where there is one.

    Raises:
        IndexMissingError: there is none; the message names the three commands to try.
    """
    if HERE.is_dir():
        return HERE
    steps = ", ".join(f"`{command}`" for command, _ in FIRST_STEPS)
    raise IndexMissingError(
        f"found no ./index here, expected one, or --index DIR; to make one, try {steps}"
    )
