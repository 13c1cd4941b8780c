"""The desk answers together what waits together; the live index is followed as it moves on."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.generations.generation import rollback
from hashlens.indexer.pipeline.build import build
from hashlens.retriever.recommendation import Query, Recommendation
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.server import serving
from hashlens.retriever.server.serving import BusyError, Desk, Live, Question
from tests.support.web_client import fields, opened

SMALL = BuildConfig(vectors=VectorConfig("word2vec", 8, min_count=1, epochs=1))


class Slow(Recommender):
    """Answers with the captions; the first batch waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def recommend_batch(
        self,
        queries: Sequence[Query],
        selection: Selection,
        *,
        evidence: bool = True,
        explain: bool = False,
        hints: bool = True,
    ) -> list[Recommendation | HashlensError]:
        self.batches.append([query.caption for query in queries])
        self.begun.set()
        assert self.go_on.wait(10)
        if any(query.caption == "spoils all" for query in queries):
            raise InputError("spoilt")
        return [
            InputError("bad")
            if query.caption == "bad"
            else Recommendation((), (), (query.caption,), (str(selection.k),))
            for query in queries
        ]


def question(caption: str, k: int = 5) -> Question:
    return Question(Query(caption=caption), Selection(k=k))


def asked(desk: Desk, slow: Slow, *questions: Question) -> list[Future[Recommendation]]:
    """Queue questions while the desk is busy with another one, then let it go on."""
    desk.ask(question("first"))
    assert slow.begun.wait(10)
    futures = [desk.ask(one) for one in questions]
    slow.go_on.set()
    return futures


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_what_waits_is_answered_together_if_it_wants_the_same(slow: Slow) -> None:
    desk = Desk(lambda: slow, together=3, clerks=1)
    wanted = [question(name) for name in "abcd"]
    wanted.insert(1, question("x", k=7))
    answers = [future.result(10) for future in asked(desk, slow, *wanted)]
    assert [answer.inputs for answer in answers] == [("a",), ("x",), ("b",), ("c",), ("d",)]
    assert [answer.notes for answer in answers] == [("5",), ("7",), ("5",), ("5",), ("5",)]
    assert slow.batches == [["first"], ["a", "b", "c"], ["x"], ["d"]]
    desk.close()


def test_one_that_fails_fails_alone(slow: Slow) -> None:
    desk = Desk(lambda: slow, clerks=1)
    futures = asked(desk, slow, *map(question, ("a", "bad", "spoils all", "b")))
    assert futures[0].result(10).inputs == ("a",)
    assert futures[3].result(10).inputs == ("b",)
    for future, said in zip(futures[1:3], ("bad", "spoilt"), strict=True):
        with pytest.raises(InputError, match=said):
            future.result(10)
    desk.close()


def test_a_full_desk_sends_away_and_who_leaves_is_not_answered(slow: Slow) -> None:
    desk = Desk(lambda: slow, places=2, clerks=1)
    desk.ask(question("first"))
    assert slow.begun.wait(10)
    left, stays = desk.ask(question("left")), desk.ask(question("stays"))
    with pytest.raises(BusyError, match="2 questions"):
        desk.ask(question("too many"))
    assert left.cancel()
    slow.go_on.set()
    assert stays.result(10).inputs == ("stays",)
    assert slow.batches == [["first"], ["stays"]]
    desk.close()
    with pytest.raises(BusyError):
        desk.ask(question("late"))


def posts(folder: Path, tag: str) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        {"id": f"{tag}{n}", "author": f"a{n}", "caption": f"walk {n} in the park #dog #{tag}"}
        for n in range(12)
    ]
    path = folder / f"{tag}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    build([posts(tmp_path, "old")], tmp_path / "index", config=SMALL)
    return tmp_path / "index"


def test_a_new_generation_is_taken_and_rolled_back(index: Path, tmp_path: Path) -> None:
    live = Live(index)
    before = live.recommender
    assert not live.refresh()
    build([posts(tmp_path, "new")], index, config=SMALL)
    assert live.refresh()
    assert live.recommender.index.tag_ids(["new", "old"]).keys() == {"new"}
    assert before.recommend(Query(caption="walk in the park")).tags  # still whole
    rollback(index)
    assert live.refresh()
    assert live.recommender.index.generation.number == 1
    live.close()


def test_a_damaged_generation_is_not_taken(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = Live(index)
    build([posts(tmp_path, "new")], index, config=SMALL)
    (index / "gen-000002" / "posts.duckdb").write_bytes(b"no")
    with caplog.at_level(logging.WARNING):
        assert not live.refresh()
    assert "not taken" in caplog.text
    assert live.recommender.index.generation.number == 1
    shutil.rmtree(index)
    assert not live.refresh()
    assert live.recommender.recommend(Query(caption="walk")).tags
    live.close()


def test_no_request_fails_while_generations_change(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CHECK_PERIOD", 0.02)
    statuses: list[int] = []
    over = threading.Event()
    with opened(index) as client:

        def ask() -> None:
            while not over.is_set():
                answer = client.post("/v1/recommend", **fields(caption="walk in the park"))
                statuses.append(answer.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        for number in range(2, 5):
            build([posts(tmp_path, f"new{number}")], index, config=SMALL)
        deadline = threading.Event()
        while client.get("/healthz").json()["generation"] < 4:
            assert not deadline.wait(0.05)
        over.set()
        asking.join()
    assert len(statuses) > 3
    assert set(statuses) == {200}
