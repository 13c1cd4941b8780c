"""Starts an index as a copy of another one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.filesystem import paths_in
from hashlens.indexer.generations.generation import open_current, writer
from hashlens.indexer.storage.statistics import derive
from hashlens.indexer.storage.store import Store
from hashlens.indexer.vectors.milvus_location import MilvusLocation


@contextmanager
def copy_index(index: Path, source: Path) -> Iterator[None]:
    """Copy the live generation of `source` into a new index; remove it if the block fails.

    Args:
        index: folder of the new index; must hold none.
        source: folder of the index to copy.

    Raises:
        InputError: there is an index already, or the source's vectors are in Milvus.
        IndexMissingError, IndexCorruptError, IndexMismatchError: `source` cannot be used.
    """
    if (index / "CURRENT").exists():
        raise InputError(
            f"found an index at {index}: add posts to it with `hashlens update`, or name another "
            "folder with --index"
        )
    found = open_current(source, deep=True)
    if MilvusLocation.of(found.folder):
        raise InputError(
            f"{source}: found an index with its vectors in Milvus, expected one of files alone: "
            "build one from its posts"
        )
    was_there = index.exists()
    with writer(index) as new:
        for name in found.manifest.files:
            target = new.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.folder / name, target)
        with Store.change(new.folder / "posts.duckdb") as store:
            store.migrate()
            derive(store)
        new.publish_like(found.manifest)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first error is what a person needs to know
            for path in [*paths_in(index, "gen-"), index / "CURRENT", index / "writer.lock"]:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if not was_there:
                index.rmdir()
        raise
