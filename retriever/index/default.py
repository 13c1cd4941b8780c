"""The index that answers if none is named."""

from __future__ import annotations

from pathlib import Path

from hashlens.indexer.config import data_path
from hashlens.indexer.errors import IndexMissingError

DEFAULT_INDEX = Path("index")  # written by a build, and answering, if no folder is named
FIRST_STEPS = (
    ('hashlens recommend --caption "walking the dog"', "answers from the index that ships"),
    ("hashlens build my-posts --from-starter", "adds a folder of your posts, into ./index"),
    ("hashlens recommend --image photo.jpg --explain", "asks it about a photo, and why"),
)


def bundled_index() -> Path:
    """Return the index that ships: aggregates of public posts, see docs/bundled-index.md."""
    return data_path("starter")


def find_index() -> Path:
    """Return `./index` if it exists, otherwise the bundled index.

    Raises:
        IndexMissingError: there is neither; the message names three commands to try.
    """
    if DEFAULT_INDEX.is_dir():
        return DEFAULT_INDEX
    if (bundled_index() / "CURRENT").exists():
        return bundled_index()
    steps = ", ".join(f"`{command}`" for command, _ in FIRST_STEPS)
    raise IndexMissingError(
        f"found no ./index here, expected one, or --index DIR; to make one, try {steps}"
    )
