"""The costs of hashlens by number of posts, with library limits and peers: `make bench`.

    python -m hashlens.evaluation.performance.speed FOLDER... --out bench [--sizes 10000 100000]

Posts of each size are synthesised from those of the folders, without pictures. Each measurement
runs in a process of its own. The output folder gets `speed.json`, `speed.md` and a plot.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.methods.method_registry import check_libraries
from hashlens.evaluation.performance.isolated import run_isolated
from hashlens.evaluation.performance.library_limits import measure_limits
from hashlens.evaluation.performance.peers import compare_on_index
from hashlens.evaluation.performance.profiling import profile_work
from hashlens.evaluation.performance.sizes import (
    count_bytes,
    measure_build,
    measure_cold_starts,
    measure_queries,
    measure_recall,
    measure_update,
    read_captions,
)
from hashlens.evaluation.performance.speed_report import COSTS, format_speed, plot_speed
from hashlens.evaluation.performance.synthetic_posts import SEED, write_synthetic_posts
from hashlens.evaluation.result_files import Json, write_file
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.types import Post

SIZES = (10_000, 100_000, 1_000_000)
UPDATE_POSTS = 1_000
SINGLE_QUERIES, BATCH_QUERIES = 300, 2_000
MAX_PEER_SIZE = 100_000  # of the index that peers are compared on


def measure_all_sizes(
    posts: Sequence[Post],
    sizes: Sequence[int],
    place: Path,
    save: Callable[[Json], None] = lambda _: None,
) -> Json:
    """Return all figures as JSON values.

    Args:
        posts: real ones, from which synthetic ones are made.
        sizes: numbers of posts, rising.
        place: an empty folder, with room for the indexes.
        save: receives the figures after each size, since the next may take an hour.

    Raises:
        InputError: no post has a caption or hashtags.
        HashlensError: a measurement fails.
    """
    sources = [replace(post, image=None) for post in posts if post.caption or post.hashtags]
    if not sources:
        raise InputError("found no post with a caption or hashtags, expected some to draw from")
    write_synthetic_posts(sources, UPDATE_POSTS, place / "new", seed=SEED + 1)
    write_synthetic_posts(sources, 8 * BATCH_QUERIES, place / "asked", seed=SEED + 2)
    captions = read_captions(place / "asked", BATCH_QUERIES)
    pictures = [post.image for post in posts if post.image]
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    machine = {"processor": processor[1] if processor else "unknown", "cores": os.cpu_count()}
    machine["python"] = sys.version.split()[0]
    figures: Json = {"machine": machine, "real_posts": len(posts), "sizes": {}}
    peer_size = max([size for size in sizes if size <= MAX_PEER_SIZE], default=sizes[0])
    for size in sizes:
        _log(f"{size:,} posts")
        folder = place / str(size)
        write_synthetic_posts(sources, size, folder / "posts")
        figures["sizes"][str(size)] = _measure_size(folder, place / "new", captions)
        if size == peer_size:
            _log("profiles")
            index, source = folder / "index", folder / "posts"
            queries = (measure_queries, index, captions[:SINGLE_QUERIES], SINGLE_QUERIES)
            figures["profiles"] = {
                "build": run_isolated(
                    profile_work, measure_build, source, folder / "profiled"
                ).value,
                "query": run_isolated(profile_work, *queries).value,
            }
            _log("limits and peers")
            figures["limits"] = run_isolated(measure_limits, source, pictures).value
            figures["peers"] = run_isolated(compare_on_index, index, source, captions).value
        shutil.rmtree(folder)
        first, last = figures["sizes"][str(sizes[0])], figures["sizes"][str(size)]
        figures["growth"] = {
            "from": sizes[0],
            "to": size,
            "times": {name: cost(last) / cost(first) for name, cost in COSTS.items()},
            "n_log_n": size * math.log(size) / (sizes[0] * math.log(max(sizes[0], 2))),
        }
        save(figures)
    return figures


def _measure_size(folder: Path, new: Path, captions: Sequence[str]) -> Json:
    """Return the costs of an index of the posts in `folder`, which stays at `folder/index`."""
    index = folder / "index"
    build = run_isolated(measure_build, folder / "posts", index)
    _log(f"  built in {build.value['seconds']:.0f} s, {build.peak_mib:,.0f} MiB")
    single = captions[:SINGLE_QUERIES]
    figures: Json = {
        "build": build.value | {"peak_mib": build.peak_mib},
        "bytes": count_bytes(open_current(index).folder),
        "query": run_isolated(measure_queries, index, captions, SINGLE_QUERIES).value,
        "neighbours": run_isolated(measure_recall, index, single).value,
        "cold_s": measure_cold_starts(index, captions[0]),
    }
    shutil.copytree(index, folder / "copy")
    update = run_isolated(measure_update, new, folder / "copy")
    shutil.rmtree(folder / "copy")
    figures["update"] = update.value | {"peak_mib": update.peak_mib}
    _log(f"  {figures['query']['median_ms']:.1f} ms a query, update {update.seconds:.1f} s")
    return figures


def _log(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("posts", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args(arguments)
    check_libraries()
    options.out.mkdir(parents=True, exist_ok=True)

    def save(figures: Json) -> None:
        write_file(options.out / "speed.json", json.dumps(figures, indent=1) + "\n")

    with TemporaryDirectory(prefix="hashlens-") as place:
        posts = read_all_posts(options.posts)
        figures = measure_all_sizes(posts, sorted(options.sizes), Path(place), save)
    text = format_speed(figures)
    write_file(options.out / "speed.md", text)
    write_file(options.out / "speed.svg", plot_speed(figures))
    sys.stdout.write(text)


if __name__ == "__main__":
    try:
        main()
    except HashlensError as error:
        sys.exit(f"speed: {error}")
