"""What hashlens costs, by size, beside its limits and its peers: `make bench POSTS=FOLDER`.

    python -m hashlens.evaluation.performance.speed FOLDER... --out bench [--sizes 10000 100000]

Posts of the sizes are synthesised from those of the folders (`synthesis`), without pictures. Each
measurement runs in a process of its own. DIR gets `speed.json`, `speed.md` and a plot.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hashlens.evaluation.benchmark.libraries import check_libraries
from hashlens.evaluation.performance.isolated import apart
from hashlens.evaluation.performance.library_limits import limits
from hashlens.evaluation.performance.peers import compared_on
from hashlens.evaluation.performance.profiling import profiled
from hashlens.evaluation.performance.sizes import (
    asked,
    built,
    captions_of,
    cold,
    recalled,
    size_of,
    updated,
)
from hashlens.evaluation.performance.speed_report import COSTS, speed_markdown, speed_plot
from hashlens.evaluation.performance.synthetic_posts import SEED, write_synthesised
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.types import Post

SIZES = (10_000, 100_000, 1_000_000)
NEW = 1_000  # posts of an update
SINGLE, MANY = 300, 2_000  # questions one by one, and all that are asked
PEERS_AT = 100_000  # size at which peers are asked, or the largest below

Figures = dict[str, Any]


def measured(
    posts: Sequence[Post],
    sizes: Sequence[int],
    place: Path,
    keep: Callable[[Figures], None] = lambda _: None,
) -> Figures:
    """All figures, as JSON values.

    Args:
        posts: real ones, from which those of each size are made.
        sizes: numbers of posts, rising.
        place: an empty folder, with room for the indexes.
        keep: given what there is after each size, since the next may take an hour.

    Raises:
        InputError: no post has a caption or hashtags.
        HashlensError: a measurement fails.
    """
    told = [replace(post, image=None) for post in posts if post.caption or post.hashtags]
    if not told:
        raise InputError("found no post with a caption or hashtags, expected some to draw from")
    write_synthesised(told, NEW, place / "new", seed=SEED + 1)
    write_synthesised(told, 8 * MANY, place / "asked", seed=SEED + 2)
    captions = captions_of(place / "asked", MANY)
    pictures = [post.image for post in posts if post.image]
    found: Figures = {"machine": machine(), "real_posts": len(posts), "sizes": {}}
    compare = max([size for size in sizes if size <= PEERS_AT], default=sizes[0])
    for size in sizes:
        _say(f"{size:,} posts")
        folder = place / str(size)
        write_synthesised(told, size, folder / "posts")
        found["sizes"][str(size)] = _of_size(folder, place / "new", captions, size)
        if size == compare:
            _say("profiles")
            given = folder / "index", captions[:SINGLE], SINGLE
            found["profiles"] = {
                "build": apart(profiled, built, folder / "posts", folder / "profiled").value,
                "query": apart(profiled, asked, *given).value,
            }
            _say("limits and peers")
            found["limits"] = apart(limits, folder / "posts", pictures).value
            found["peers"] = apart(compared_on, folder / "index", folder / "posts", captions).value
        shutil.rmtree(folder)
        found["growth"] = _growth(found["sizes"])
        keep(found)
    return found


def _of_size(folder: Path, new: Path, captions: Sequence[str], size: int) -> Figures:
    index = folder / "index"
    build = apart(built, folder / "posts", index)
    _say(f"  built in {build.value['seconds']:.0f} s, {build.peak_mib:,.0f} MiB")
    found: Figures = {
        "build": build.value | {"peak_mib": build.peak_mib},
        "bytes": size_of(open_current(index).folder),
        "query": apart(asked, index, captions, SINGLE).value,
        "neighbours": apart(recalled, index, captions[:SINGLE]).value,
        "cold_s": cold(index, captions[0]),
    }
    shutil.copytree(index, folder / "copy")
    update = apart(updated, new, folder / "copy")
    shutil.rmtree(folder / "copy")
    found["update"] = update.value | {"peak_mib": update.peak_mib}
    _say(f"  {found['query']['median_ms']:.1f} ms a question, update {update.seconds:.1f} s")
    return found


def _growth(sizes: dict[str, Figures]) -> Figures:
    """How often more each cost is at the largest size than at the smallest, and what n log n is."""
    small, large = min(map(int, sizes)), max(map(int, sizes))
    first, last = sizes[str(small)], sizes[str(large)]
    times = {name: cost(last) / cost(first) for name, cost in COSTS.items()}
    bound = large * math.log(large) / (small * math.log(small)) if small > 1 else 1.0
    return {"from": small, "to": large, "times": times, "n_log_n": bound}


def machine() -> Figures:
    """What this ran on."""
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return {"processor": name, "cores": os.cpu_count(), "python": sys.version.split()[0]}


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("posts", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    given = parser.parse_args(arguments)
    check_libraries()
    given.out.mkdir(parents=True, exist_ok=True)

    def keep(figures: Figures) -> None:
        text = json.dumps(figures, indent=1) + "\n"
        (given.out / "speed.json").write_text(text, encoding="utf-8")

    with TemporaryDirectory(prefix="hashlens-") as place:
        posts = usable(given.posts, "instagram", [])
        figures = measured(posts, sorted(given.sizes), Path(place), keep)
    text = speed_markdown(figures)
    (given.out / "speed.md").write_text(text, encoding="utf-8")
    (given.out / "speed.svg").write_bytes(speed_plot(figures))
    sys.stdout.write(text)


if __name__ == "__main__":
    try:
        main()
    except HashlensError as error:
        sys.exit(f"speed: {error}")
