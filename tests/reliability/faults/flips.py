"""Damage: bytes flipped, files cut short or lost, one at a time, in every file of an index."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hashlens.indexer.errors import HashlensError, IndexUnusableError
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommender import Recommender
from tests.reliability.faults.posts import QUERIES, Bench, post
from tests.reliability.forked import Say, run

KINDS = ("flipped", "flipped", "cut", "lost")


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to one file, and undone."""

    path: Path
    kind: str
    place: int
    byte: int

    @contextmanager
    def done(self, spare: Path) -> Iterator[None]:
        """The damage, while the context lasts; the file keeps its inode, which others may share."""
        whole = self.path.read_bytes()
        os.link(self.path, spare)
        try:
            if self.kind == "lost":
                self.path.unlink()
            elif self.kind == "cut":
                os.truncate(self.path, self.place)
            else:
                changed = bytes([whole[self.place] ^ self.byte])
                self.path.write_bytes(whole[: self.place] + changed + whole[self.place + 1 :])
            yield
        finally:
            spare.write_bytes(whole)
            os.replace(spare, self.path) if self.kind == "lost" else spare.unlink()


def drawn(files: list[Path], draw: random.Random) -> Damage:
    path, kind = draw.choice(files), draw.choice(KINDS)
    size = path.stat().st_size
    return Damage(path, kind, draw.randrange(size), draw.randrange(1, 256))


def made(bench: Bench, draw: random.Random) -> list[Path]:
    """An index with all kinds of files: two generations, segments, dead and young vectors."""
    rows = [post(number, draw) for number in range(40)]
    bench.build(rows)
    fresh = {"id": "n", "caption": "sunday sea", "hashtags": ["brandnew", "seaday"]}
    bench.update([fresh, *(post(50 + number, draw) for number in range(4))], ["p0", "p5"])
    files = [path for path in bench.index.rglob("*") if path.is_file() and path.stat().st_size]
    return sorted(path for path in files if path.name != "writer.lock")


def flips(rounds: int, seed: int, place: Path) -> str:
    """Damage a file `rounds` times; one line of what came of it.

    Raises:
        AssertionError: damage was not found, or was served, or ended a process.
    """
    draw, bench = random.Random(seed), Bench(place)
    files: list[Path] = []
    answers: list[str] = []

    def first(say: Say) -> None:
        for path in made(bench, draw):
            say(str(path))

    files = [Path(line) for line in _ran(first)]
    answers = list(_ran(lambda say: _answer(bench.index, say, check=True)))
    live = f"{bench.index}/gen-000002/"
    results: Counter[str] = Counter()
    for number in range(rounds):
        damage = drawn(files, draw)
        with damage.done(place / "spare"):
            # What hashes find needs no look at the contents of what is sound: one in five has it.
            _ran(partial(_found, bench.index, damage, contents=number % 5 == 0))
            touched = str(damage.path).startswith(live) or damage.path.name == "CURRENT"
            touched |= damage.kind != "lost" and any(
                other.exists() and str(other).startswith(live) and other.samefile(place / "spare")
                for other in files
            )
            checked = _outcome(bench.index, check=True, answers=answers)
            assert checked == ("refused" if touched else "right answers"), (damage, checked)
            served = _outcome(bench.index, check=False, answers=answers)
            assert served in ("refused", "right answers", "other answers"), (damage, served)
        results[damage.kind] += 1
        results[f"unchecked: {served}"] += 1
        results["touched"] += touched
        if number % 50 == 49:
            assert list(_ran(lambda say: _answer(bench.index, say, check=True))) == answers
    kinds = ", ".join(f"{results[kind]} {kind}" for kind in dict.fromkeys(KINDS))
    served_counts = ", ".join(
        f"{count} {name.removeprefix('unchecked: ')}"
        for name, count in sorted(results.items())
        if name.startswith("unchecked: ")
    )
    return (
        f"{rounds} rounds over {len(files)} files ({kinds}): verify named every damaged file, "
        f"--check refused all {results['touched']} that touched the live generation; "
        f"without --check {served_counts}; no process crashed"
    )


def _found(index: Path, damage: Damage, say: Say, *, contents: bool) -> None:
    verdict = verify(index, contents=contents, open_ranker=Ranker.open)
    assert any(str(damage.path) in line for line in verdict.troubles), (damage, verdict)


def _answer(index: Path, say: Say, *, check: bool) -> None:
    for answer in Recommender.open(index, check=check).recommend_many(QUERIES, 5, explain=True):
        if isinstance(answer, HashlensError):
            raise answer
        say(" ".join(f"{tag.tag}={tag.probability:.6f}" for tag in answer.tags))


def _outcome(index: Path, *, check: bool, answers: list[str]) -> str:
    """What became of opening and asking, in a process of its own."""

    def ask(say: Say) -> None:
        try:
            _answer(index, say, check=check)
        except IndexUnusableError:
            say("refused")
        except HashlensError as error:
            say(f"refused {type(error).__name__} {error}")

    ended = run(ask)
    if ended.status:
        return f"ended by {ended.status}: {ended.said}"
    if ended.said and ended.said[-1].startswith("refused"):
        return "refused"
    return "right answers" if list(ended.said) == answers else "other answers"


def _ran(task: Callable[[Say], None]) -> tuple[str, ...]:
    ended = run(task)
    assert ended.status == 0, ended
    return ended.said
