"""An update that fails or is killed leaves the live index whole; readers never notice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hashlens.indexer.errors import HashlensError, IndexLockedError, IndexMissingError, InputError
from hashlens.indexer.generations.generation import open_current, writer
from hashlens.indexer.pipeline import incremental as extend
from hashlens.indexer.pipeline import update as updating
from hashlens.indexer.pipeline.diff import read_ids
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import built, drawn, rebuilt, tables, updated, written

DRAW = random.Random(5)
ROWS = [drawn(number, DRAW) for number in range(40)]
STEPS = ("diff_posts", "drop_reposts", "store_posts", "write_vectors", "write_new_hashtag_vectors")


@pytest.mark.parametrize("step", [*STEPS, "write_count_matrices"])
def test_a_step_that_fails_leaves_the_live_generation(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = built(ROWS[:30], tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(updating if hasattr(updating, step) else extend, step, fail)
        with pytest.raises(HashlensError, match="disk full"):
            updated(ROWS[30:], index, ["p1"])
    assert [path.name for path in index.glob("gen-*")] == ["gen-000001"]
    assert verify(index).sound
    assert updated(ROWS[30:], index, ["p1"]).added == 10
    assert verify(index).sound


def test_killed_at_any_moment_it_is_the_old_index_or_the_new(tmp_path: Path) -> None:
    index = built(ROWS[:30], tmp_path)
    before = tables(open_current(index).folder)
    more = written(ROWS[30:], tmp_path / "more")
    program = (
        "import sys; from pathlib import Path\n"
        "from hashlens.indexer.pipeline.update import update\n"
        "print('ready', flush=True)\n"
        f"update([Path({str(more)!r})], Path({str(index)!r}), retrain=False, workers=1)"
    )
    after = tables(rebuilt(ROWS, index, tmp_path / "b").folder)
    root = Path(__file__).parents[3]
    for wait in (0.02, 0.1, 0.2, 0.35, 0.5):
        found = subprocess.Popen(
            [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True
        )
        assert found.stdout is not None
        with found:
            assert found.stdout.readline() == "ready\n"
            time.sleep(wait)
            found.send_signal(signal.SIGKILL)
        assert tables(open_current(index, deep=True).folder) in (before, after)
    updated(ROWS[30:], index)
    assert tables(open_current(index).folder) == after
    assert all(number.name.startswith("gen-") for number in index.glob("gen-*"))
    assert verify(index).sound


def test_a_reader_keeps_its_answers_while_the_index_changes(tmp_path: Path) -> None:
    index = built(ROWS, tmp_path)
    reader = Recommender(IndexReader.open(index))
    queries = [Query(caption=row["caption"]) for row in ROWS if row["caption"].strip()][:8]
    answers = reader.recommend_many(queries, 5)
    for turn in range(5):
        updated([drawn(100 + turn, DRAW)], index, [f"p{turn}"])
    assert reader.recommend_many(queries, 5, explain=True) is not None
    assert reader.recommend_many(queries, 5) == answers
    assert open_current(index).number == 6


def test_a_second_writer_and_a_missing_index_are_told(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError):
        update([written(ROWS[:1], tmp_path / "more")], tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    index = built(ROWS[:5], tmp_path)
    with writer(index), pytest.raises(IndexLockedError, match="writing"):
        updated(ROWS[5:], index)


def test_everything_may_be_deleted_and_come_again(tmp_path: Path) -> None:
    index = built(ROWS[:8], tmp_path)
    report = updated([], index, [row["id"] for row in ROWS])
    assert (report.deleted, len(report.not_found)) == (8, 32)
    assert report.counts["posts"] == report.counts["hashtags"] == report.counts["copies"] == 0
    answer = Recommender.open(index).recommend(Query(caption="sun"), 3)
    assert [(tag.tag, tag.evidence[0].channel) for tag in answer.tags] == [("sun", "spelled")]
    with pytest.raises(InputError, match="no post left"):
        updated([], index, retrain=True)
    assert updated(ROWS[:8], index).forgotten == 8
    assert updated(ROWS[:8], index, allow_forgotten=True).added == 8
    left, right = open_current(index), rebuilt(ROWS[:8], index, tmp_path / "b")
    assert tables(left.folder) == tables(right.folder)
    assert report.summary().startswith("generation 2: 0 added, 0 changed, 0 unchanged, 8 deleted")


def test_ids_to_delete_are_lines_or_a_column(tmp_path: Path) -> None:
    text, lines, table = (tmp_path / name for name in ("ids.txt", "ids.jsonl", "ids.csv"))
    text.write_text("\ufeffa\n\n  b \n", encoding="utf-8")
    lines.write_text(json.dumps({"id": "a"}) + "\n" + json.dumps({"id": 7, "caption": "x"}))
    table.write_text("id,caption\na,x\nb,y\n")
    assert read_ids(text) == ["a", "b"]
    assert read_ids(lines) == ["a", "7"]
    assert read_ids(table) == ["a", "b"]
    lines.write_text('{"caption": "x"}')
    with pytest.raises(InputError, match="no id"):
        read_ids(lines)
    with pytest.raises(InputError, match=r"missing\.txt"):
        read_ids(tmp_path / "missing.txt")
