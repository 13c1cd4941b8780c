"""The speed of updates.

    python -m hashlens.evaluation.performance.update_speed FOLDER... [--new 1000]

Some posts of the folders are new. One index is built of all others, another of half of them, and
the new posts are added to both. The JSON has the seconds of each stage and of the processor, which
vary less on a shared machine. It also has the seconds of copying DuckDB's file, which grows with
the index. The ranker is not trained, so a real build takes longer than the one shown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.methods.hashlens import write_posts
from hashlens.evaluation.performance.isolated import StageTimer, measure_seconds
from hashlens.evaluation.result_files import Json
from hashlens.evaluation.tasks.inputs import draw_key
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.config import BuildConfig
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update

ROUNDS = 3


def measure_update_speed(folders: Sequence[Path], new: int, place: Path) -> Json:
    """Return times of an update of `new` posts to an index of all others, and to one of half.

    Args:
        folders: of posts.
        new: number of added posts.
        place: an empty folder for the indexes.
    """
    config = BuildConfig()
    posts = read_all_posts(folders, config.hashtag_rule)
    posts.sort(key=lambda post: draw_key(post.post_id))
    write_posts(posts[:new], place / "new")
    figures: Json = {"posts": len(posts), "new": new}
    for name, part in (("whole", posts[new:]), ("half", posts[new : (len(posts) + new) // 2])):
        write_posts(part, place / name)
        timer = StageTimer()
        report = build([place / name], place / f"{name}-index", config=config, progress=timer)
        rounds: list[Json] = []
        for number in range(ROUNDS):
            index = place / f"{name}-{number}"
            shutil.copytree(place / f"{name}-index", index)
            database = open_current(index).folder / "posts.duckdb"
            copy = partial(shutil.copyfile, database, place / "copied.duckdb")
            copy_seconds = measure_seconds(copy)
            stages, began = StageTimer(), time.process_time()
            updated = update([place / "new"], index, retrain=False, progress=stages)
            rounds.append(
                {
                    "seconds": updated.seconds,
                    "processor": time.process_time() - began,
                    "copy": copy_seconds,
                    "added": updated.added,
                    "copies": updated.copies,
                    "stages": stages.seconds(),
                }
            )
            shutil.rmtree(index)
        best = min(rounds, key=lambda each: each["seconds"])
        figures[name] = {
            "counts": report.counts,
            "build": report.seconds,
            "stages": timer.seconds(),
            "rounds": rounds,
            "update": best["seconds"],
            "without_copy": best["seconds"] - best["copy"],
        }
    figures["ratio"] = figures["whole"]["without_copy"] / figures["half"]["without_copy"]
    figures["share_of_build"] = figures["whole"]["update"] / figures["whole"]["build"]
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--new", type=int, default=1000)
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="hashlens-") as temporary:
        figures = measure_update_speed(arguments.folders, arguments.new, Path(temporary))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
