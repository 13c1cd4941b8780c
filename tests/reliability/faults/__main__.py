"""Faults on purpose: `python -m tests.reliability.faults kills --rounds 300`.

The others are `flips`, `forgeries` and `readers`.

Each prints one line of counts, or fails with what was found. `docs/reliability.md` has the figures.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

# Children are forked: the parent runs no thread, and has imported all that they need.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
IMPORTED = (
    *("duckdb", "faiss", "gensim.models", "safetensors.numpy", "scipy.linalg"),
    *(
        "scipy.sparse",
        "scipy.optimize",
        "hashlens.indexer.topics.training",
        "hashlens.indexer.embeddings.space_training",
    ),
    *("hashlens.retriever.recommender", "hashlens.indexer.verify.verify"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="+", choices=("kills", "flips", "forgeries", "readers"))
    parser.add_argument("--rounds", type=int, default=6, help="of kills, flips or forgeries")
    parser.add_argument("--updates", type=int, default=3, help="while readers read")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)
        os.execv(
            sys.executable,
            [sys.executable, "-m", "tests.reliability.faults", *sys.argv[1:]],
        )
    for name in IMPORTED:
        importlib.import_module(name)
    for fault in given.faults:
        print(_told(fault, given.updates if fault == "readers" else given.rounds, given.seed))  # noqa: T201
    return 0


def _told(fault: str, times: int, seed: int) -> str:
    run = getattr(importlib.import_module(f"tests.reliability.faults.{fault}"), fault)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hashlens-faults-") as place:
        told = run(times, seed, Path(place))
    return f"{fault}, seed {seed}: {told} in {time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
