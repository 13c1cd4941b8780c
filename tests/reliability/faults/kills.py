"""Kills: all that writes to an index, ended at random instants by SIGKILL, over and over."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hashlens.indexer.generations.generation import live_number, open_current, writer
from hashlens.indexer.generations.manifest import numbers_of
from hashlens.indexer.progress import NullProgress
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommender import Recommender
from tests.reliability.faults.posts import QUERIES, Bench, Row, expected, held, post
from tests.reliability.forked import Child, Say, run

KINDS = ("build", "update", "compact", "forget")
FORGOTTEN = "forgotten.json"
PUBLISHING = "Publishing"


class Told(NullProgress):
    """Says each stage, so that a kill can wait for one."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def stage(self, name: str, total: int | None = None) -> None:
        self._say(name)


@dataclass(slots=True)
class Work:
    """One piece of writing: what it does, the posts there are after it, and how long it takes."""

    kind: str
    task: Callable[[Say], None]
    after: list[Row]
    victim: str = ""


@dataclass(slots=True)
class Kills:
    """Rounds of work that is killed."""

    bench: Bench
    draw: random.Random
    rows: list[Row] = field(default_factory=list)
    number: int = 0
    posts: int = 0
    lasted: dict[str, list[float]] = field(default_factory=dict)
    results: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Let every kind of work run through once, to see how long it takes."""
        self.rows = self._posts(30)
        for kind in KINDS:
            work = self._work(kind)
            began = time.monotonic()
            child = Child.of(work.task)
            assert child.says(PUBLISHING), child.end()
            published = time.monotonic()
            ended = child.end()
            assert ended.status == 0, ended
            self.lasted[kind] = [published - began, time.monotonic() - published]
            self._went_through(work)

    def round(self) -> None:
        """Begin some work, kill it, and look at what it left."""
        kinds = KINDS if any(map(_is_victim, self.rows)) else KINDS[:-1]
        work, following = self._work(self.draw.choice(kinds)), self._following()
        before, publication = self.lasted[work.kind]
        child = Child.of(work.task)
        if self.draw.random() < 0.5:
            assert child.says(PUBLISHING), child.end()
            time.sleep(self.draw.uniform(0, 1.3 * publication))
        else:
            time.sleep(self.draw.uniform(0, before))
        child.kill()
        ended = child.end()
        assert ended.status in (0, -9), ended
        done = "done" in ended.said
        self.results["survived" if ended.status == 0 else "killed"] += 1
        if ended.status and PUBLISHING in ended.said:
            self.results["killed while publishing"] += 1
        found = run(lambda say: self._check(work, following, say))
        assert found.status == 0, (work.kind, ended, found)
        number = int(found.said[-1])
        assert number == following or not done, (work.kind, "acknowledged, but lost")
        if work.victim:
            self._erase_again(work, number)
        elif number != self.number:
            self.results[f"new after {work.kind}"] += 1
            self._went_through(work, number)
        else:
            self.results[f"old after {work.kind}"] += 1

    def _erase_again(self, work: Work, number: int) -> None:
        """Repeat an erasure that was killed: it ends well, and leaves no byte of the person."""
        age = "new" if number != self.number else "old"
        self.results[f"{age} after {work.kind}"] += 1
        again = run(work.task)
        assert again.status == 0, again
        rows = {row["id"]: row for row in self.rows}
        rare = [rows[name]["caption"].split()[0] for name in rows if rows[name] not in work.after]
        for path in self.bench.index.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not any(word.encode() in content for word in (work.victim, *rare)), path
        self._went_through(work, live_number(self.bench.index))

    def end(self) -> None:
        """The next writer works, and leaves nothing of the killed ones."""
        work, following = self._work("update"), self._following()
        ended = run(work.task)
        assert ended.status == 0, ended
        found = run(lambda say: self._check(work, following, say))
        assert found.status == 0, found

    def _check(self, work: Work, following: int, say: Say) -> None:
        """In a child: the index is the old one or the new one, whole, and ready to go on."""
        index = self.bench.index
        generation = open_current(index, deep=True)
        wanted = {self.number: self.rows, following: work.after}[generation.number]
        found, wanted_posts = held(generation.folder), expected(wanted)
        differing = dict(set(found.items()) ^ set(wanted_posts.items()))
        assert found == wanted_posts, (generation.number, following, differing)
        verdict = verify(index, open_ranker=Ranker.open)
        assert verdict.sound, verdict.troubles
        answers = Recommender.open(index, check=True).recommend_many(QUERIES, 3)
        assert all(answer.tags for answer in answers), answers  # type: ignore[union-attr]
        with writer(index):  # the dead one holds no lock, and what it left is cleared
            pass
        names = {path.name for path in index.iterdir()}
        generations = {f"gen-{number:06d}" for number in verdict.generations}
        assert names - {FORGOTTEN} == {"CURRENT", "writer.lock"} | generations, names
        say(str(generation.number))

    def _work(self, kind: str) -> Work:
        rows = self.rows
        if kind == "build":
            after = [*rows[len(rows) // 4 :], *self._posts(4)]
            return Work(
                kind, lambda say: self._done(say, self.bench.build(after, Told(say))), after
            )
        if kind == "compact":
            return Work(kind, lambda say: self._done(say, self.bench.compact(Told(say))), rows)
        if kind == "forget":
            victim = self.draw.choice([row["author"] for row in rows if _is_victim(row)])
            after = [row for row in rows if row.get("author") != victim]
            return Work(
                kind,
                lambda say: self._done(say, self.bench.forget(victim, Told(say))),
                after,
                victim,
            )
        gone = self.draw.sample([row for row in rows if not _is_victim(row)], 3)
        changed = gone[0] | {"caption": f"{gone[0]['caption']} again".strip()}
        given, deleted = [changed, *self._posts(3)], [row["id"] for row in gone[1:]]
        after = [row for row in rows if row not in gone] + given
        return Work(
            kind,
            lambda say: self._done(say, self.bench.update(given, deleted, Told(say))),
            after,
        )

    def _done(self, say: Say, _: object) -> None:
        say("done")

    def _following(self) -> int:
        """The next number: one that was sealed, but not made the live one, is not used again."""
        return numbers_of(self.bench.index)[-1] + 1

    def _posts(self, count: int) -> list[Row]:
        self.posts += count
        found = [post(n, self.draw) for n in range(self.posts - count, self.posts)]
        # One of each batch is somebody's who alone uses a word, in the caption and as a hashtag.
        rare = f"zuleika{self.posts}q"
        found[-1] |= {
            "author": f"victim{self.posts}q",
            "caption": f"{rare} on a sunday in the moonlight",
            "hashtags": [rare, "dog"],
        }
        return found

    def _went_through(self, work: Work, number: int | None = None) -> None:
        self.rows = work.after
        self.number = self.number + 1 if number is None else number


def _is_victim(row: Row) -> bool:
    return str(row.get("author", "")).startswith("victim")


def kills(rounds: int, seed: int, place: Path) -> str:
    """Kill work `rounds` times; one line of what came of it.

    Raises:
        AssertionError: the index was not whole, or something was lost.
    """
    found = Kills(Bench(place), random.Random(seed))
    found.begin()
    for _ in range(rounds):
        found.round()
    found.end()
    results = found.results
    old, new = (sum(results[f"{age} after {kind}"] for kind in KINDS) for age in ("old", "new"))
    kinds = ", ".join(
        f"{kind} {results[f'old after {kind}']}/{results[f'new after {kind}']}" for kind in KINDS
    )
    return (
        f"{rounds} rounds: {results['killed']} killed, {results['killed while publishing']} of "
        f"them while publishing, {results['survived']} done before; {old} found the old "
        f"generation, {new} the new one (old/new: {kinds}); every one opened, verified clean, "
        "lost nothing, and let the next writer work"
    )
