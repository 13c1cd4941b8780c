"""Lessons from aggregates that somebody's own posts joined, on real small indexes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation import grown
from evaluation.grown import lessons_of_growth
from indexer.config import RankingConfig
from indexer.corpus import Corpus
from indexer.generation import Generation
from indexer.progress import Progress, Silent
from indexer.schema import Post
from indexer.store import BORROWED
from retriever.lessons import Lessons, Questions
from retriever.reading import IndexReader
from tests import tiny

CONFIG = RankingConfig(folds=3)
KINDS = ("sea", "cat", "city")
OF_KIND, SHARED = 48, ("photo", "day")


def corpus_of_kinds() -> tuple[Corpus, np.ndarray]:
    """Posts of three kinds, of many authors each, with hashtags of their kind and shared ones."""
    rows: list[tiny.Row] = [
        (
            f"{kind}-author{number % 16}",
            f"a {kind} walk number {chr(97 + number % 26)}{number}",
            [kind, f"{kind}life", SHARED[number % 2]],
        )
        for kind in KINDS
        for number in range(OF_KIND)
    ]
    return tiny.corpus(rows), np.repeat(np.arange(len(KINDS)), OF_KIND)


Put = tuple[list[Post], dict[str, str], dict[str, int]]


@pytest.fixture(scope="module")
def taught() -> tuple[list[Lessons], list[Put]]:
    """The lessons, and for each the posts asked about, the index's posts and its counts."""
    put: list[Put] = []
    ask = Questions.put

    def watched(self: Questions, generation: Generation, progress: Progress) -> Lessons:
        index = IndexReader(generation)
        held = dict(index.store.rows("select post_id, author from posts"))
        asked = [self.corpus.posts[question.post] for question in self.asked]
        put.append((asked, held, generation.manifest.counts))
        index.store.close()
        return ask(self, generation, progress)

    corpus, kinds = corpus_of_kinds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grown, "OWN", (3, 12))
        patch.setattr(Questions, "put", watched)
        found = list(lessons_of_growth(corpus, kinds, tiny.generation, CONFIG, Silent()))
    return found, put


def test_own_posts_are_of_the_kind_asked_about_and_of_other_authors(
    taught: tuple[list[Lessons], list[Put]],
) -> None:
    lessons, put = taught
    assert len(lessons) == len(put) >= 3 * 2  # each kind unknown, with 3 posts and with 12
    for asked, held, counts in put:
        assert len(held) in (3, 12)
        kinds = {post.author.split("-")[0] for post in asked if post.author}
        assert len(kinds) == 1
        assert {author.split("-")[0] for author in held.values()} == kinds
        assert not {post.author for post in asked} & set(held.values())
        assert counts[BORROWED] > 0


def test_unknown_kinds_are_unknown_to_the_aggregates(
    taught: tuple[list[Lessons], list[Put]],
) -> None:
    _, put = taught
    lent = [counts[BORROWED] for _, _, counts in put]
    assert lent.count((len(KINDS) - 1) * OF_KIND) >= 3 * 2  # a kind is missing, and no post more


def test_lessons_tell_how_many_posts_are_ones_own(
    taught: tuple[list[Lessons], list[Put]],
) -> None:
    for lessons, (_, held, _) in zip(*taught, strict=True):
        candidates = lessons.candidates
        places = [
            candidates.columns.index(f"{name}: own posts") for name in ("query", "popularity")
        ]
        all_own, own = candidates.scores[:, places].T
        np.testing.assert_allclose(all_own, np.log1p(len(held)))
        assert 0 <= own.min() < own.max() <= all_own[0]
        assert lessons.right.any()
        assert set(lessons.folds.tolist()) <= {0, 1, 2}


def test_an_index_that_lends_nothing_says_nothing_of_own_posts(tmp_path: Path) -> None:
    corpus, _ = corpus_of_kinds()
    rows = np.arange(len(corpus.posts))
    folds = np.zeros(len(rows), np.int64)
    questions = Questions.about(corpus, rows[:5], folds, np.random.default_rng(1))
    made = tiny.generation(corpus.part(rows[5:]), tmp_path)
    candidates = questions.put(made, Silent()).candidates
    own = [column.endswith("own posts") for column in candidates.columns]
    assert sum(own) == 2
    assert np.isnan(candidates.scores[:, own]).all()
