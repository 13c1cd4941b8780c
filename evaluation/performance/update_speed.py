"""How long an update takes.

    python -m hashlens.evaluation.performance.update_speed FOLDER... [--new 1000]

Builds an index of all posts of the folders but some, and one of half of them, adds the same new
posts to both, and prints JSON: seconds of each stage, of the processor (steadier where the machine
is shared), and of copying DuckDB's file, which grows with the index. The ranker is not fitted, so
a real build takes longer than the one shown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hashlens.evaluation.methods.hashlens import write_posts
from hashlens.evaluation.performance.isolated import Stages, seconds_of
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.types import Post

ROUNDS = 3


def update_speed(folders: Sequence[Path], new: int, place: Path) -> dict[str, Any]:
    """Times of an update of `new` posts into an index of the others, and into one of half.

    Args:
        folders: of posts.
        new: posts that are added.
        place: an empty folder for the indexes.
    """
    config = BuildConfig()
    posts = sorted(usable(folders, config.hashtag_rule, []), key=_drawn)
    write_posts(posts[:new], place / "new")
    found: dict[str, Any] = {"posts": len(posts), "new": new}
    for name, some in (("whole", posts[new:]), ("half", posts[new : (len(posts) + new) // 2])):
        write_posts(some, place / name)
        watch = Stages()
        report = build([place / name], place / f"{name}-index", config=config, progress=watch)
        found[name] = {"counts": report.counts, "build": report.seconds, "stages": watch.seconds()}
        found[name]["rounds"] = [_round(place, name) for _ in range(ROUNDS)]
        best = min(found[name]["rounds"], key=lambda each: each["seconds"])
        found[name] |= {"update": best["seconds"], "without_copy": best["seconds"] - best["copy"]}
    found["ratio"] = found["whole"]["without_copy"] / found["half"]["without_copy"]
    found["share_of_build"] = found["whole"]["update"] / found["whole"]["build"]
    return found


def _round(place: Path, name: str) -> dict[str, Any]:
    """One update of a copy of an index."""
    index = place / f"{name}-copy"
    shutil.rmtree(index, ignore_errors=True)
    shutil.copytree(place / f"{name}-index", index)
    database = open_current(index).folder / "posts.duckdb"
    copied = seconds_of(lambda: shutil.copyfile(database, place / "copied.duckdb"))
    watch, began = Stages(), time.process_time()
    report = update([place / "new"], index, retrain=False, progress=watch)
    return {
        "seconds": report.seconds,
        "processor": time.process_time() - began,
        "copy": copied,
        "added": report.added,
        "copies": report.copies,
        "stages": watch.seconds(),
    }


def _drawn(post: Post) -> bytes:
    return hashlib.sha256(post.post_id.encode()).digest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--new", type=int, default=1000)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="hashlens-") as temporary:
        figures = update_speed(given.folders, given.new, Path(temporary))
        json.dump(figures, sys.stdout, indent=1)
        sys.stdout.write("\n")
