"""Publishes generations of the index named by its argument until it is killed.

Each is told apart by content made from its number, which is printed once it is published.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hashlens.indexer.generations.generation import Generation, GenerationWriter, writer


def content(number: int) -> bytes:
    return f"generation {number}\n".encode() * 2000


def publish(new: GenerationWriter) -> Generation:
    """Three files: one new, one new in a subfolder, one taken over from the first generation."""
    (new.folder / "posts.bin").write_bytes(content(new.number))
    (new.folder / "words" / "all").mkdir(parents=True)
    (new.folder / "words" / "all" / "vectors.bin").write_bytes(content(-new.number))
    if new.previous:
        new.link("images/0001.bin")
    else:
        (new.folder / "images").mkdir()
        (new.folder / "images" / "0001.bin").write_bytes(b"first pictures")
    return new.publish(encoder=None, topics=("pets",), config={}, counts={"posts": new.number})


def main() -> None:
    index = Path(sys.argv[1])
    while True:
        with writer(index) as new:
            number = publish(new).number
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
