"""Forgeries: files changed and sealed again, as by a stranger: hashes tell nothing of them."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

from hashlens.indexer.errors import HashlensError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommender import Recommender
from tests.reliability.faults.flips import made
from tests.reliability.faults.posts import QUERIES, Bench
from tests.reliability.forked import Say, run
from tests.support.forged import reseal_files


def forgeries(rounds: int, seed: int, place: Path) -> str:
    """Forge a file `rounds` times; one line of what came of it.

    Raises:
        AssertionError: a process was ended by a signal, or by what is no error of ours.
    """
    draw, bench = random.Random(seed), Bench(place)
    assert run(partial(_begin, bench, seed)).status == 0
    whole = place / "whole"
    shutil.copytree(bench.index, whole)
    live = sorted(path for path in (whole / "gen-000002").rglob("*") if path.is_file())
    files = [path for path in live if path.name != "manifest.json"]
    results: Counter[str] = Counter()
    for _ in range(rounds):
        shutil.rmtree(bench.index)
        shutil.copytree(whole, bench.index)
        path = bench.index / draw.choice(files).relative_to(whole)
        what = _forged(path, draw)
        reseal_files(bench.index / "gen-000002")
        found = run(lambda say: _verified(bench.index, say))
        assert found.status == 0, (path, what, found)
        asked = run(lambda say: _asked(bench.index, say))
        assert asked.status == 0, (path, what, asked)
        results[f"verify: {found.said[0]}"] += 1
        results[f"asked: {asked.said[0]}"] += 1
    counts = ", ".join(f"{name} {count}" for name, count in sorted(results.items()))
    return f"{rounds} rounds: {counts}; no process crashed"


def _begin(bench: Bench, seed: int, _: Say) -> None:
    made(bench, random.Random(seed))


def _forged(path: Path, draw: random.Random) -> str:
    """Change some bytes, or numbers, of a file; half of the time near its beginning."""
    whole = bytearray(path.read_bytes())
    kind = draw.choice(("bytes", "bytes", "words", "cut", "empty"))
    if not whole:
        return "nothing"
    first = draw.randrange(min(len(whole), 200) if draw.random() < 0.5 else len(whole))
    if kind == "bytes":
        for place in range(first, min(first + draw.randrange(1, 4), len(whole))):
            whole[place] = draw.randrange(256)
    elif kind == "words":
        word = draw.choice((b"\xff" * 4, b"\x00" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\xc0\x7f"))
        first -= first % 4
        whole[first : first + 4] = word
    else:
        del whole[(0 if kind == "empty" else first) :]
    path.unlink()
    path.write_bytes(whole)
    return f"{kind} at {first}"


def _verified(index: Path, say: Say) -> None:
    troubles = verify(index, open_ranker=Ranker.open).generations[2]
    say("troubles" if troubles else "sound")


def _asked(index: Path, say: Say) -> None:
    try:
        open_current(index, deep=True)
        answers = Recommender.open(index).recommend_many(QUERIES, 5, explain=True)
    except HashlensError:
        say("refused")
    else:
        say("refused" if any(isinstance(a, HashlensError) for a in answers) else "answered")
