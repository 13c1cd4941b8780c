"""The author's own hashtags: counted by hand, and in an index that extends the bundled one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hashlens.evaluation.methods.hashlens import write_posts
from hashlens.indexer.config import BASE_RANKER, RANKER
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.types import Post
from hashlens.retriever.index.author_prior import MAX_OWN_POSTS, PRIOR_POSTS, AuthorPrior
from hashlens.retriever.index.default import bundled_index
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query, Recommendation, ScoredTag
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from tests.support import tiny_index as tiny

MINE: tuple[tiny.Row, ...] = (
    ("ann", "one", ["dog", "park"]),
    ("ann", "two", ["dog"]),
    ("ann", "three", ["dog", "beach"]),
    ("ann", "four words", []),
)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> IndexReader:
    return tiny.reader(MINE, tmp_path_factory.mktemp("mine"))


def test_one_persons_posts_correct_the_chances(mine: IndexReader) -> None:
    habits = mine.sole_author_prior
    assert habits is not None
    ids = mine.tag_ids(["dog", "park", "beach"])
    assert habits.posts == len(MINE)
    assert {tag: habits.uses_of(ids[tag]) for tag in ids} == {"dog": 3, "park": 1, "beach": 1}
    assert habits.usual.tolist() == sorted(ids.values())
    strange = mine.hashtag_count + 5
    assert habits.uses_of(strange) == 0
    tags = np.array([ids["dog"], ids["park"], strange])
    chances, shares = habits.posterior(tags, np.array([0.1, 0.5, 0.3], np.float32))
    expected = [
        (PRIOR_POSTS * p + n) / (PRIOR_POSTS + 4) for p, n in ((0.1, 3), (0.5, 1), (0.3, 0))
    ]
    assert chances == pytest.approx(expected)
    assert shares == pytest.approx([3 / (PRIOR_POSTS * 0.1 + 3), 1 / (PRIOR_POSTS * 0.5 + 1), 0])
    assert chances.dtype == shares.dtype == np.float32


def test_however_many_posts_what_is_asked_keeps_its_say() -> None:
    many = AuthorPrior(np.array([3]), np.array([800]), 1_000)
    chances, _ = many.posterior(np.array([3, 4]), np.array([0, 0.6], np.float32))
    assert chances == pytest.approx(
        [
            0.8 * MAX_OWN_POSTS / (PRIOR_POSTS + MAX_OWN_POSTS),
            0.6 * PRIOR_POSTS / (PRIOR_POSTS + MAX_OWN_POSTS),
        ]
    )


def test_several_peoples_posts_are_nobodys_habits(tiny_index: IndexReader, tmp_path: Path) -> None:
    assert tiny_index.sole_author_prior is None
    nameless = [(None, caption, tags) for _, caption, tags in MINE]
    assert tiny.reader(nameless, tmp_path / "nameless").sole_author_prior is None
    assert tiny.reader([("ann", "one two", [])], tmp_path / "bare").sole_author_prior is None


def test_an_author_is_known_by_name(tiny_index: IndexReader) -> None:
    dan = tiny_index.prior_of("dan")
    assert dan is not None
    ids = tiny_index.tag_ids(["kitten", "home", "mybrand", "dog"])
    assert dan.posts == 2
    assert {key: dan.uses_of(ids[key]) for key in ids} == {
        "kitten": 1,
        "home": 2,
        "mybrand": 1,
        "dog": 0,
    }
    for name in ("Dan", "@dan"):
        same = tiny_index.prior_of(name)
        assert same is not None
        assert (same.posts, same.uses.tolist()) == (dan.posts, dan.uses.tolist())
    assert tiny_index.prior_of("da%") is None
    assert tiny_index.prior_of("") is None


def test_who_asks_is_offered_what_they_use_brands_of_their_own_too(tiny_index: IndexReader) -> None:
    recommender = Recommender(tiny_index)

    def asked(author: str | None) -> dict[str, ScoredTag]:
        selection = Selection(k=9, author=author)
        answer = recommender.recommend(caption="sunset", selection=selection, explain=True)
        assert not answer.notes
        return {tag.tag: tag for tag in answer.tags}

    nobody, ann, dan = asked(None), asked("ann"), asked("dan")
    assert not {"mybrand", "park"} & nobody.keys()
    assert "mybrand" in dan
    assert "mybrand" not in ann
    assert "park" in ann
    assert dan["home"].probability > nobody["home"].probability
    assert "2 of your 2 posts have it" in dan["home"].reason
    assert dan["home"].evidence[0].channel == "habits"
    assert not any(part.channel == "habits" for part in nobody["home"].evidence)
    assert [tag.tag for tag in recommender.recommend(caption="sunset", k=9).tags] == list(nobody)


def test_what_nobody_is_offered_is_no_habit_either(tmp_path: Path) -> None:
    rows: tuple[tiny.Row, ...] = (("ann", "walk", ["likeforlike", "park"]), ("bob", "b", ["dog"]))
    recommender = Recommender(tiny.reader(rows, tmp_path))
    answer = recommender.recommend(caption="x", selection=Selection(k=9, author="ann"))
    assert {tag.tag for tag in answer.tags} >= {"park"}
    assert "likeforlike" not in {tag.tag for tag in answer.tags}


def test_an_author_that_is_not_there_is_told(tiny_index: IndexReader, tmp_path: Path) -> None:
    recommender = Recommender(tiny_index)
    answer = recommender.recommend(caption="my kitten", selection=Selection(author="zoe"))
    (note,) = answer.notes
    assert "'zoe'" in note
    assert answer.tags == recommender.recommend(caption="my kitten").tags
    alone = Recommender(tiny.reader(MINE, tmp_path))
    assert alone.selection_notes(Selection(author="ann")) == ()
    assert alone.selection_notes(Selection(author="zoe")) == (note,)


def test_one_answer_after_the_other_each_has_its_author(tiny_index: IndexReader) -> None:
    recommender = Recommender(tiny_index)
    queries = [Query(caption="sunset")] * 2
    for author, brand in (("dan", True), ("bob", False), (None, False), ("dan", True)):
        for answer in recommender.recommend_many(queries, 9, selection=Selection(author=author)):
            assert isinstance(answer, Recommendation)
            assert ("mybrand" in {tag.tag for tag in answer.tags}) == brand


def _posts(*authors: str) -> list[Post]:
    captions = ("rye loaves", "first croissants", "buns with cream", "opening at seven")
    return [
        Post(
            f"p{number}",
            None,
            captions[number],
            ("bäckereilotte", "bread"),
            ("bäckereilotte", "bread"),
            authors[number % len(authors)],
            content_hash=f"h{number}",
        )
        for number in range(4)
    ]


@pytest.fixture
def index(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write_posts(_posts(*request.param), tmp_path / "posts")
    with copy_index(tmp_path / "index", bundled_index()):
        update([tmp_path / "posts"], tmp_path / "index")
    return tmp_path / "index"


@pytest.mark.parametrize("index", [("lotte",)], indirect=True)
def test_what_a_person_always_tags_comes_first(index: Path) -> None:
    recommender = Recommender.open(index)
    answer = recommender.recommend(caption="sunset over the beach", explain=True)
    usual = {tag.tag: tag for tag in answer.tags[:2]}
    assert usual.keys() == {"bäckereilotte", "bread"}
    brand = usual["bäckereilotte"]
    assert brand.reason == "because 4 of your 4 posts have it"
    assert brand.evidence[0].channel == "habits"
    assert brand.evidence[0].share > 0.9
    assert sum(part.share for part in brand.evidence) == pytest.approx(1, abs=0.05)
    assert {"sunset", "beach"} <= {tag.tag for tag in answer.tags}
    seeded = recommender.recommend(Query(seeds=("bäckereilotte",)))
    assert "bäckereilotte" not in {tag.tag for tag in seeded.tags}


def test_a_ranker_that_learned_from_them_knows_better(tmp_path: Path) -> None:
    alone = Recommender(tiny.reader(MINE, tmp_path))
    assert alone.author_prior() is alone.index.sole_author_prior is not None
    learned = Recommender(alone.index)
    (alone.index.generation.folder / RANKER).mkdir()
    assert learned.author_prior() is None


@pytest.mark.parametrize("index", [("lotte",)], indirect=True)
def test_a_ranker_that_was_lent_knows_nothing_of_them(index: Path) -> None:
    lent, learned = Recommender.open(index), Recommender.open(index)
    assert lent.author_prior() is not None
    (learned.index.generation.folder / BASE_RANKER).mkdir()
    assert learned.author_prior() is None


def test_one_post_has_it(tmp_path: Path) -> None:
    alone = Recommender(tiny.reader(MINE, tmp_path))
    reasons = {tag.tag: tag.reason for tag in alone.recommend(caption="x", explain=True).tags}
    assert reasons["dog"] == "because 3 of your 4 posts have it"
    assert "1 of your 4 posts has it" in reasons["park"]


@pytest.mark.parametrize("index", [("lotte", "otto")], indirect=True)
def test_what_several_always_tag_is_no_habit(index: Path) -> None:
    answer = Recommender.open(index).recommend(caption="sunset over the beach")
    assert "bäckereilotte" not in {tag.tag for tag in answer.tags}


def test_a_daily_series_is_one_habit(tmp_path: Path) -> None:
    series = [("ann", f"day {day} of my drawing challenge", ["ink"]) for day in range(1, 41)]
    others = [("ann", "a walk", ["dog"]), ("ann", "a swim", ["dog"])]
    habits = tiny.reader([*series, *others], tmp_path).sole_author_prior
    assert habits is not None
    assert (habits.posts, habits.uses.tolist()) == (3, [1, 2])
    several = tiny.reader([*series, *others, ("bob", "a nap", ["cat"])], tmp_path / "b")
    ann = several.prior_of("@Ann")
    assert ann is not None
    assert (ann.posts, ann.uses.tolist()) == (3, [1, 2])
