"""Readers that ask in a loop while a writer updates: each answer is of one generation, whole."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

from hashlens.indexer.errors import HashlensError
from hashlens.indexer.generations.generation import history
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommender import Recommender
from tests.reliability.faults.posts import QUERIES, Bench, Row, post
from tests.reliability.forked import Child, Say, run

READERS = 4
FIRST = 30  # posts of the first generation; each update adds one


def readers(updates: int, seed: int, place: Path) -> str:
    """Update an index while four readers ask it; one line of what came of it.

    Raises:
        AssertionError: a reader failed, or read of two generations at once.
    """
    draw, bench = random.Random(seed), Bench(place)
    rows = [post(number, draw) for number in range(FIRST)]
    assert run(lambda _: _begin(bench, rows)).status == 0
    reading = [
        Child.of(lambda say: _read(bench.index, place / "stop", say)) for _ in range(READERS)
    ]
    assert all(child.says("reading") for child in reading)
    for number in range(updates):
        ended = run(partial(_update, bench, post(FIRST + number, draw)))
        assert ended.status == 0, ended
    (place / "stop").touch()
    seen: defaultdict[int, set[str]] = defaultdict(set)
    asked: Counter[int] = Counter()
    for child in reading:
        ended = child.end()
        assert ended.status == 0, ended
        for name, digest in (line.split() for line in ended.said if line != "reading"):
            seen[int(name)].add(digest)
            asked[int(name)] += 1
    mixed = {number for number, digests in seen.items() if len(digests) > 1}
    assert not mixed, f"answers of generation {mixed} differ"
    after = run(lambda say: _after(bench.index, seen, say))
    assert after.status == 0, after
    return (
        f"{READERS} readers through {updates} updates: {asked.total():,} rounds of questions to "
        f"{len(seen)} generations, no error, one answer a generation"
    )


def _begin(bench: Bench, rows: list[Row]) -> None:
    bench.build(rows)


def _update(bench: Bench, row: Row, _: Say) -> None:
    bench.update([row])


def _read(index: Path, stop: Path, say: Say) -> None:
    """Open, ask, ask again, and look at all there is; now and then keep a generation for long."""
    draw, turn = random.Random(), 0
    say("reading")
    while not stop.exists():
        turn += 1
        reader = IndexReader.open(index, check=turn % 5 == 0)
        recommender = Recommender(reader)
        for _ in range(draw.choice((1, 2, 12))):
            say(f"{reader.generation.number} {_told(recommender)}")


def _told(recommender: Recommender) -> str:
    """A digest of the answers; what stands in the generation's files is of one number of posts."""
    reader = recommender.index
    number = reader.generation.number
    posts = FIRST + number - 1
    counts, told = reader.store.counts(), reader.manifest.counts
    held = (counts["posts"] + counts["copies"], told["posts"] + told["copies"])
    assert held == (posts, posts), (number, held)
    assert reader.counts.size == counts["posts"], (number, reader.counts.size, counts)
    assert len(reader.images or ()) == told["pictures"]
    answers = recommender.recommend_many(QUERIES, 5, explain=True)
    assert not any(isinstance(answer, HashlensError) for answer in answers), answers
    return hashlib.sha256(repr(answers).encode()).hexdigest()[:16]


def _after(index: Path, seen: dict[int, set[str]], say: Say) -> None:
    """What readers saw of the generations that are left is what is in them."""
    assert verify(index).sound
    for generation in history(index):
        if generation.number in seen:
            assert seen[generation.number] == {_told(Recommender(IndexReader(generation)))}
