"""Generations of small files, published for tests of the sealed folder."""

from __future__ import annotations

from pathlib import Path

from hashlens.indexer.generations.generation import Generation, writer
from hashlens.indexer.verify.verify import VerifyReport
from hashlens.indexer.verify.verify import verify as verify_index
from tests.reliability.crash_writer import content, publish

ROOT = Path(__file__).parents[2]
FILES = ("images/0001.bin", "posts.bin", "words/all/vectors.bin")


def published(index: Path, times: int = 1) -> Generation:
    for _ in range(times):
        with writer(index) as new:
            generation = publish(new)
    return generation


def check_whole(generation: Generation) -> None:
    """Every file is the one written for this generation."""
    number, folder = generation.number, generation.folder
    assert generation.manifest.counts == {"posts": number}
    assert (folder / "posts.bin").read_bytes() == content(number)
    assert (folder / "words/all/vectors.bin").read_bytes() == content(-number)
    assert (folder / "images/0001.bin").read_bytes() == b"first pictures"


def verify(index: Path) -> VerifyReport:
    """Of files alone: these are not those of an index."""
    return verify_index(index, contents=False)


def names(index: Path) -> list[str]:
    return sorted(path.name for path in index.iterdir())
