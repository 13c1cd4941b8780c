"""Ranking that goes on to learn from the posts of an index begun from another's aggregates."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from hashlens.evaluation.assets.aggregates import write_aggregates
from hashlens.indexer.config import BASE_RANKER, data_path
from hashlens.indexer.generations.generation import Generation, open_current, writer
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.pipeline.ranker_update import RANKED_POSTS
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.store import BASE_POSTS
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.examples import QuestionSet, TrainingExamples
from hashlens.retriever.training.fit import MIN_POSTS_TO_CONTINUE, fit_ranker
from tests.indexer.pipeline.random_updates import Rows, built, drawn, updated
from tests.indexer.pipeline.test_starter import ALL, files_of, rows_of

MINE = MIN_POSTS_TO_CONTINUE + 40


def my_rows(first: int, count: int) -> Rows:
    """Posts that all have hashtags, of many authors."""
    draw = random.Random(first)
    rows = [drawn(first + number, draw) for number in range(count)]
    return [
        row | {"author": f"me-{place % 30}", "hashtags": row["hashtags"] or ["dog"]}
        for place, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def lending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aggregates of posts, with the ranker that ships."""
    place = tmp_path_factory.mktemp("lending")
    full = open_current(built(rows_of(0, 80, "a-"), place))
    with writer(place / "bare") as new:
        counts = write_aggregates(full, new.folder, ALL)
        shutil.copytree(data_path("ranker"), new.folder / "ranker")
        new.publish_like(full.manifest, counts)
    return place / "bare"


class Watched:
    """Fits a ranker, and remembers what with."""

    def __init__(self) -> None:
        self.bases: list[dict[str, bytes]] = []
        self.asked: list[tuple[set[str], set[str], int]] = []

    def __call__(self, task: RankerTask, folder: Path) -> tuple[str, ...]:
        base = task.base
        assert base is not None
        self.bases.append({path.name: path.read_bytes() for path in base.iterdir()})
        ask = QuestionSet.ask

        def watched(
            questions: QuestionSet, generation: Generation, bar: Progress
        ) -> TrainingExamples:
            index = IndexReader(generation)
            held = {name for (name,) in index.store.rows("select post_id from posts")}
            asked = {questions.corpus.posts[q.post].post_id for q in questions.questions}
            self.asked.append((asked, held, generation.manifest.counts[BASE_POSTS]))
            index.store.close()
            return ask(questions, generation, bar)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(QuestionSet, "ask", watched)
            return fit_ranker(task, folder)


def counts(index: Path) -> dict[str, int]:
    return open_current(index).manifest.counts


def test_ranking_learns_from_posts_that_joined_and_begins_with_what_was_lent(
    lending: Path, tmp_path: Path
) -> None:
    index, fitted = tmp_path / "own", Watched()
    given: dict[str, Any] = {"retrain": None, "fit_ranker": fitted}
    shipped = {path.name: path.read_bytes() for path in data_path("ranker").iterdir()}
    with copy_index(index, lending):
        report = updated(my_rows(1_000, MINE), index, **given)
    assert f"ranking went on to learn from {report.counts['posts']:,} posts" in report.notes
    assert report.counts[RANKED_POSTS] == report.counts["posts"] > MIN_POSTS_TO_CONTINUE
    # Those asked about are not in the index, which has all that was lent.
    assert fitted.asked
    for asked, held, borrowed in fitted.asked:
        assert asked
        assert held
        assert not asked & held
        assert borrowed == counts(lending)[BASE_POSTS]
    first = files_of(index, "ranker", BASE_RANKER)
    assert {name.split("/")[1] for name in first if name.startswith(BASE_RANKER)} == set(shipped)
    assert verify(index, open_ranker=Ranker.open).sound
    assert Recommender.open(index).recommend(caption="sunday seaday").tags

    # A few more change nothing, and many more do: from what was lent, not from what was learned.
    updated(my_rows(3_000, 10), index, **given)
    assert files_of(index, "ranker", BASE_RANKER) == first
    updated(my_rows(4_000, 60), index, **given)
    again = files_of(index, "ranker", BASE_RANKER)
    assert {n: h for n, h in again.items() if n.startswith(BASE_RANKER)} == {
        n: h for n, h in first.items() if n.startswith(BASE_RANKER)
    }
    assert again != first
    assert fitted.bases == [shipped] * 2
    assert counts(index)[RANKED_POSTS] == counts(index)["posts"]


def test_too_few_posts_are_ranked_as_was_lent_even_when_there_were_more(
    lending: Path, tmp_path: Path
) -> None:
    index = tmp_path / "own"
    with copy_index(index, lending):
        few = updated(my_rows(1_000, 20), index, retrain=None, fit_ranker=fit_ranker)
    assert any("posts with hashtags are too few" in note for note in few.notes)
    assert few.counts[RANKED_POSTS] == 0
    lent = files_of(index, "ranker")
    assert updated(my_rows(2_000, MINE), index, retrain=True, fit_ranker=fit_ranker).counts[
        RANKED_POSTS
    ]
    assert files_of(index, "ranker") != lent
    gone = [row["id"] for row in my_rows(2_000, MINE)]
    back = updated([], index, gone, retrain=True, fit_ranker=fit_ranker)
    assert back.counts[RANKED_POSTS] == 0
    assert files_of(index, "ranker", BASE_RANKER) == lent
    assert verify(index, open_ranker=Ranker.open).sound


def test_no_ranking_is_learned_where_it_is_put_off(lending: Path, tmp_path: Path) -> None:
    index = tmp_path / "own"
    with copy_index(index, lending):
        updated(my_rows(1_000, MINE), index, retrain=False, fit_ranker=fit_ranker)
    assert counts(index)[RANKED_POSTS] == 0
    assert not files_of(index, BASE_RANKER)
