"""Cross-fitting: no index is asked about posts, or authors, that it contains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.config import BuildConfig, RankingConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import Generation, open_current
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import NullProgress
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Post
from hashlens.retriever.candidates.generate import generate_candidates
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommendation import Candidates, Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.training.cross_fit import assign_folds, collect_examples
from hashlens.retriever.training.examples import QuestionSet, TrainingExamples
from hashlens.retriever.training.fit import fit_ranker
from tests.support import tiny_index as tiny

CONFIG = RankingConfig(folds=3)
TAGS = ("dog", "park", "beach", "kitten", "home", "sea")


def rows() -> list[tiny.Row]:
    """24 posts of 10 authors and of nobody, each with a caption of its own and one to four tags."""
    return [
        (
            f"a{number % 11}" if number % 11 < 10 else None,
            f"walk number{chr(97 + number)} {TAGS[number % 6]}",
            [TAGS[(number + step) % 6] for step in range(number % 4 + 1)],
        )
        for number in range(24)
    ]


@dataclass
class Spied:
    """Everything that a cross-fitting did."""

    parts: list[Corpus] = field(default_factory=list)
    questions: list[Query] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # of each candidate


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    pictures = np.eye(12, dtype=np.float32)
    return tiny.corpus(rows(), pictures)


@pytest.fixture(scope="module")
def collected(corpus: Corpus) -> tuple[TrainingExamples, Spied]:
    spied = Spied()

    def assemble(part: Corpus, folder: Path) -> Generation:
        spied.parts.append(part)
        return tiny.generation(part, folder)

    def watched(index: IndexReader, batch: QueryBatch) -> Candidates:
        found = generate_candidates(index, batch)
        names = dict(index.store.rows("select tag_id, key from hashtags"))
        names |= dict(enumerate(batch.spelt.coined, start=index.hashtag_count))
        spied.keys += [names[tag] for tag in found.tag_ids.tolist()]
        spied.questions += batch.queries
        if batch.images is not None:
            spied.pictures += list(batch.images.vectors)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashlens.retriever.training.examples.generate_candidates", watched)
        # Captions tell which post a question is of; where a picture is alone, that does.
        patch.setattr(
            "hashlens.retriever.training.examples.INPUT_SHARES",
            {"image": 0.5, "caption": 1.0, "seeds": 0.6},
        )
        examples = collect_examples(RankerTask(corpus, assemble, CONFIG, NullProgress()))
    assert examples is not None
    return examples, spied


def by_input(corpus: Corpus) -> Callable[[Query], Post]:
    """Return a function that finds the post of a question."""
    held = {post.caption: post for post in corpus.posts} | {p.image: p for p in corpus.posts}
    return lambda query: held[query.caption or query.image]


def test_no_index_holds_the_posts_or_authors_it_is_asked_about(
    corpus: Corpus, collected: tuple[TrainingExamples, Spied]
) -> None:
    examples, spied = collected
    post_of = by_input(corpus)
    folds = assign_folds(corpus.posts, CONFIG)
    assert len(spied.parts) == CONFIG.folds
    assert sorted(set(examples.folds)) == list(range(CONFIG.folds))
    for number, part in enumerate(spied.parts):
        mine = np.flatnonzero(examples.folds == number)
        asked = [post_of(spied.questions[question]) for question in mine]
        assert asked
        assert not {post.post_id for post in asked} & {post.post_id for post in part.posts}
        authors = {post.author for post in asked if post.author}
        assert not authors & {post.author for post in part.posts}
        # All others are in it, with their words and their pictures.
        others = [post for post, fold in zip(corpus.posts, folds, strict=True) if fold != number]
        assert list(part.posts) == others
        assert list(part.words) == [corpus.words[corpus.posts.index(post)] for post in others]
        shown = [corpus.posts.index(post) for post in others if post.image]
        assert part.images is not None
        assert [part.posts[i] for i in part.images.ids] == [corpus.posts[i] for i in shown]
        np.testing.assert_array_equal(part.images.vectors.argmax(axis=1), shown)
    asked_about = {post_of(query).post_id for query in spied.questions}
    assert asked_about == {post.post_id for post in corpus.posts}


def test_right_are_the_posts_own_hashtags_less_the_seeds_given(
    corpus: Corpus, collected: tuple[TrainingExamples, Spied]
) -> None:
    examples, spied = collected
    post_of = by_input(corpus)
    answers = []
    for query in spied.questions:
        held = post_of(query).hashtags
        assert set(query.seeds) < set(held)
        answers.append(set(held) - set(query.seeds))
    queries = examples.candidates.queries.tolist()
    assert queries == sorted(queries)
    expected = [key in answers[query] for query, key in zip(queries, spied.keys, strict=True)]
    assert examples.right.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    for query, key in zip(queries, spied.keys, strict=True):
        assert key not in spied.questions[query].seeds


def test_pictures_of_the_questions_are_the_posts_own(
    corpus: Corpus, collected: tuple[TrainingExamples, Spied]
) -> None:
    shown = [query for query in collected[1].questions if query.image]
    by_image = {post.image: place for place, post in enumerate(corpus.posts)}
    assert shown
    expected = [by_image[query.image] for query in shown]
    assert [int(vector.argmax()) for vector in collected[1].pictures] == expected


def test_inputs_are_left_out_at_random_but_never_all(corpus: Corpus) -> None:
    posts = [
        *(replace(post, post_id=f"{post.post_id}.{n}") for n in range(20) for post in corpus.posts)
    ]
    pictures = corpus.images
    many = Corpus(Posts.of(posts), TokenLists.of([*corpus.words] * 20), pictures)
    rng = np.random.default_rng(1)
    folds = np.zeros(len(posts), np.int64)
    questions = QuestionSet.draw(many, np.arange(len(posts)), folds, rng, 3).questions
    inputs = Counter(question.query.inputs for question in questions)
    assert set(inputs) == {
        ("image",),
        ("caption",),
        ("seeds",),
        ("image", "caption"),
        ("image", "seeds"),
        ("caption", "seeds"),
        ("image", "caption", "seeds"),
    }
    for question in questions:
        post = posts[question.post]
        assert question.answers
        assert set(question.query.seeds) | set(question.answers) == set(post.hashtags)
        assert len(question.query.seeds) + len(question.answers) == len(post.hashtags)
        assert question.query.caption in ("", post.caption)
        assert question.query.image in (None, post.image)
        if question.query.image:
            assert question.post < len(pictures.ids)  # type: ignore[union-attr]
    # A picture alone says little: each is asked about, not only where that is drawn.
    alone = {q.post for q in questions if q.query.inputs == ("image",)}
    pictured = pictures.ids.tolist()  # type: ignore[union-attr]
    assert alone == {place for place in pictured if posts[place].hashtags}
    # The same question is asked once.
    pairs = [(question.post, question.query.inputs) for question in questions]
    assert len(set(pairs)) == len(pairs)


def test_posts_without_hashtags_or_inputs_are_not_asked_about() -> None:
    silent = tiny.corpus([("a", "words only", []), ("b", "", ["single"]), ("c", "both", ["sea"])])
    rng = np.random.default_rng(1)
    questions = QuestionSet.draw(silent, np.arange(3), np.zeros(3, np.int64), rng, 3).questions
    assert {(q.post, q.query, q.answers) for q in questions} == {
        (2, Query(caption="both"), ("sea",))
    }


def test_cross_fitting_ends_when_enough_was_asked(corpus: Corpus) -> None:
    made = []

    def assemble(part: Corpus, folder: Path) -> Generation:
        made.append(len(part.posts))
        return tiny.generation(part, folder)

    examples = collect_examples(
        RankerTask(corpus, assemble, replace(CONFIG, enough=1), NullProgress())
    )
    assert len(made) == 1
    assert examples is not None
    assert set(examples.folds.tolist()) == {0}


def test_posts_of_rare_inputs_are_asked_about_in_every_part() -> None:
    many = [(f"b{n}", f"walk number{n} of many", ["dog", "park"]) for n in range(200)]
    lists = [(f"c{n}", "", ["dog", "sea"]) for n in range(200)]
    some = tiny.corpus([*rows(), *many, *lists], np.eye(12, dtype=np.float32))
    alike = tiny.corpus([*many, *lists])

    def shown(corpus: Corpus, fewest: int) -> Counter[tuple[int, bool]]:
        """Questions by part, and whether they have a picture."""
        config = replace(CONFIG, enough=60, fewest=fewest)
        examples = collect_examples(RankerTask(corpus, tiny.generation, config, NullProgress()))
        assert examples is not None
        of_query = examples.candidates.columns.index("query: picture")
        _, first = np.unique(examples.candidates.queries, return_index=True)
        pictured = examples.candidates.scores[first, of_query] == 1
        return Counter(zip(examples.folds.tolist(), pictured.tolist(), strict=True))

    found = shown(some, 12)
    assert {part for part, _ in found} == {0, 1, 2}
    # After enough was asked, only of the twelve with pictures, and without their pictures, too.
    assert found[0, False] > 100
    assert all(found[part, True] and found[part, False] < 12 for part in (1, 2))
    # Too few to learn from, or none: once enough was asked, that is all.
    assert {part for part, _ in shown(some, 13)} == {0}
    assert {part for part, _ in shown(alike, 1)} == {0}


post_of = st.builds(
    lambda author, words, number: Post(
        str(number), caption=" ".join(words), author=author, hashtags=("x",), forms=("x",)
    ),
    st.sampled_from([None, "ann", "bob", "w"]),
    st.lists(st.sampled_from(["sea", "SEA", "sky", "a"]), max_size=3),
    st.integers(0, 1_000_000),
)


@given(st.lists(post_of, max_size=20), st.integers(2, 7), st.integers(0, 9))
def test_an_authors_posts_and_posts_of_the_same_words_share_a_fold(
    posts: list[Post], folds: int, seed: int
) -> None:
    config = RankingConfig(folds=folds, seed=seed)
    numbers = assign_folds(Posts.of(posts), config).tolist()
    assert all(0 <= number < folds for number in numbers)
    owners: dict[object, set[int]] = {}
    alone = len({post.author for post in posts}) == 1  # then its words part an author's posts
    for post, number in zip(posts, numbers, strict=True):
        words = frozenset(post.caption.lower().split())
        owner = (not alone and post.author) or words or (post.post_id,)
        owners.setdefault(owner, set()).add(number)
    assert all(len(found) == 1 for found in owners.values())
    # Neither the order of the posts nor their number decides.
    assert assign_folds(Posts.of(posts[::-1]), config).tolist() == numbers[::-1]


def test_folds_are_nearly_even_and_follow_the_seed() -> None:
    posts = [Post(str(n), caption="x", author=f"author {n}") for n in range(1000)]
    numbers = assign_folds(Posts.of(posts), RankingConfig(folds=4))
    assert np.bincount(numbers, minlength=4).tolist() == pytest.approx([250] * 4, abs=60)
    assert (assign_folds(Posts.of(posts), RankingConfig(folds=4, seed=2)) != numbers).mean() > 0.6


def test_questions_do_not_depend_on_the_hashes_of_strings() -> None:
    program = (
        "import numpy as np\n"
        "from tests.support import tiny_index as tiny\n"
        "from tests.retriever.training import test_cross_fit\n"
        "from hashlens.retriever.training.examples import QuestionSet\n"
        "corpus = tiny.corpus(test_cross_fit.rows())\n"
        "rows, rng = np.arange(24), np.random.default_rng(1)\n"
        "print(QuestionSet.draw(corpus, rows, rows, rng, 3).questions)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    ]
    assert said[0] == said[1] == said[2] != b""


def test_too_few_posts_leave_a_note_and_no_ranker(corpus: Corpus, tmp_path: Path) -> None:
    few = corpus.part(np.arange(6))
    task = RankerTask(few, tiny.generation, CONFIG, NullProgress())
    notes = fit_ranker(task, tmp_path / "ranker")
    assert notes[0].startswith("6 posts with hashtags are too few")
    assert "ranker that ships" in notes[0]
    assert not (tmp_path / "ranker").exists()


def test_posts_of_one_author_alone_are_parted_by_their_words() -> None:
    alone = tiny.corpus([("ann", f"walk {n // 2}", ["dog", "park"]) for n in range(40)])
    folds = assign_folds(alone.posts, CONFIG)
    assert len(set(folds.tolist())) > 1
    assert (folds[::2] == folds[1::2]).all()  # those of the same words share one


def test_a_build_fits_its_own_ranker_where_posts_are_enough(
    tmp_path: Path,
) -> None:
    from hashlens.evaluation.methods.hashlens import write_posts

    posts = [replace(post, image=None) for post in tiny.corpus(rows()).posts]
    write_posts(posts, tmp_path / "posts")

    def made(name: str, fewest: int) -> tuple[str, ...]:
        ranking = RankingConfig(folds=2, fewest=fewest)
        config = BuildConfig(vectors=tiny.SMALL.vectors, ranking=ranking)
        sources = [tmp_path / "posts"]
        report = build(sources, tmp_path / name, config=config, fit_ranker=fit_ranker, workers=1)
        return report.notes

    assert made("own", 20) == ()
    folder = open_current(tmp_path / "own").folder
    own = Ranker.open(folder / "ranker")
    assert own.facts["questions"] >= 20
    recommender = Recommender.open(tmp_path / "own")
    assert recommender.ranker.calibration.text == own.calibration.text
    assert recommender.recommend(Query(caption="walk", seeds=("dog",)), 2).tags
    assert len(made("none", 1000)) == 1
    assert not (open_current(tmp_path / "none").folder / "ranker").exists()
