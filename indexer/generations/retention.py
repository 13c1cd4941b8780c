"""Generations that go: those that nobody needs any more, and what killed writers left."""

from __future__ import annotations

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path

from hashlens.indexer.generations.filesystem import names_in, paths_in
from hashlens.indexer.generations.forgotten import FORGOTTEN_FILE
from hashlens.indexer.generations.manifest import MANIFEST, NAME, folder_of, numbers_of


def clear(index: Path, live: int) -> None:
    """Remove what killed writers left behind; the live generation stays, whatever it lacks."""
    for folder in paths_in(index, "gen-"):
        named = NAME.fullmatch(folder.name)
        left = folder.is_symlink() or not (folder / MANIFEST).exists()
        if named and left and int(folder.name[4:]) != live:
            remove(folder)
    for folder in paths_in(index, ".gen-"):
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("CURRENT", FORGOTTEN_FILE):
        (index / f"{name}.tmp").unlink(missing_ok=True)


def leftovers(index: Path) -> list[Path]:
    """Return the folders of removed generations that are still there: the disk kept them."""
    return [index / name for name in names_in(index) if name.startswith(".gen-")]


def prune(index: Path, keep: int, *, live: int, parent: int) -> None:
    """Keep the live generation, its parent, then the newest; and those that readers hold."""
    order = sorted(numbers_of(index), key=lambda n: (n != live, n != parent, -n))
    for number in order[max(keep, 1) :]:
        folder = folder_of(index, number)
        with (folder / MANIFEST).open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a generation's folder, or what stands in its place."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    # Renamed first: interrupted, what is left does not look like a generation that was damaged.
    left = folder.with_name(f".{folder.name}")
    shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        folder.rename(left)
    shutil.rmtree(left, ignore_errors=True)
