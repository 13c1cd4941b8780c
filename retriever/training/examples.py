"""Questions about posts, put to an index that does not hold them: lessons for the ranker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import Generation
from hashlens.indexer.progress import Progress
from hashlens.indexer.types import Candidates, Embeddings, Floats, Ids, Post, Query
from hashlens.retriever.candidates.features import NAMES as FACT_NAMES
from hashlens.retriever.candidates.generate import gather
from hashlens.retriever.index.pairs import WIDTH
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch, prepare

BATCH = 256  # questions asked at a time
FEWEST = 2  # questions drawn of a post, with other inputs given
MOST = 16_000  # posts that are asked about at once: more add hours and memory, not quality
MOST_SEEDS = 4
GIVEN = {"image": 0.7, "caption": 0.8, "seeds": 0.4}  # how often each is given, where it is there
PICTURE_ALONE = ("image",)


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Candidates of many questions, numbered through, and which of them were right.

    `right` bool (c,); `folds` int64 (n,) of each question: those of one fold share their authors.
    """

    candidates: Candidates
    right: NDArray[np.bool_]
    folds: Ids


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a post, by its place in the corpus, and the hashtags that answer it."""

    post: int
    query: Query
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Questions about posts of a corpus; `folds` int64 (n,) is the fold of each of its posts."""

    corpus: Corpus
    asked: Sequence[Question]
    folds: Ids

    @classmethod
    def about(
        cls,
        corpus: Corpus,
        rows: Ids,
        folds: Ids,
        rng: np.random.Generator,
        draws: int = FEWEST,
    ) -> Self:
        """Questions about some posts, at most `MOST`, each with some of its inputs.

        Args:
            corpus: all posts.
            rows: places of those that may be asked about, ascending.
            folds: see the class.
            rng: draws posts, inputs and seeds.
            draws: of questions for a post; those alike are put once.
        """
        some = rows if len(rows) <= MOST else np.sort(rng.choice(rows, MOST, replace=False))
        return cls(corpus, list(_questions(corpus, some, draws, rng)), folds)

    def put(self, generation: Generation, progress: Progress) -> Lessons:
        """What an index says to them, which has none of these posts; there must be a question."""
        index = IndexReader(generation)
        parts = []
        for start in range(0, len(self.asked), BATCH):
            some = self.asked[start : start + BATCH]
            queries = [question.query for question in some]
            batch = prepare(index, queries, *_pictures(self.corpus, some))
            candidates = gather(index, batch)
            right = _right(index, batch, candidates, [question.answers for question in some])
            folds = self.folds[[question.post for question in some]]
            parts.append(Lessons(candidates, right, folds))
            progress.advance(len(some))
        index.store.close()
        return joined(parts)


def _questions(
    corpus: Corpus, asked: Ids, draws: int, rng: np.random.Generator
) -> Iterator[Question]:
    """Questions of posts, each with some of its inputs, drawn at random, and with a picture alone.

    What a picture alone says is weak, and is lost among questions that have words besides.
    """
    pictured = corpus.pictured
    for place in asked.tolist():
        post = corpus.posts[place]
        drawn = {_drawn(post, bool(pictured[place]), rng) for _ in range(draws)} - {()}
        if pictured[place] and post.hashtags:
            drawn.add(PICTURE_ALONE)
        for given in sorted(drawn):
            most = min(MOST_SEEDS, len(post.hashtags) - 1)
            seeds = int(rng.integers(1, most + 1)) if "seeds" in given else 0
            order = rng.permutation(len(post.hashtags))
            query = Query(
                image=post.image if "image" in given else None,
                caption=post.caption if "caption" in given else "",
                seeds=tuple(post.hashtags[n] for n in order[:seeds]),
            )
            yield Question(place, query, tuple(post.hashtags[n] for n in order[seeds:]))


def _drawn(post: Post, pictured: bool, rng: np.random.Generator) -> tuple[str, ...]:
    """Names of the inputs that are given; none where nothing can be asked."""
    there = {
        "image": pictured and bool(post.hashtags),
        "caption": bool(post.caption.strip() and post.hashtags),
        "seeds": len(post.hashtags) > 1,
    }
    names = [name for name, is_there in there.items() if is_there]
    while names:
        given = tuple(name for name in names if rng.random() < GIVEN[name])
        if given:
            return given
    return ()


def _pictures(
    corpus: Corpus, questions: Sequence[Question]
) -> tuple[Embeddings | None, Floats | None]:
    """Vectors of the pictures that are given, ids being places in the batch; and their classes."""
    shown = [place for place, question in enumerate(questions) if question.query.image]
    if not shown or corpus.images is None:
        return None, None
    rows = np.searchsorted(corpus.images.ids, [questions[place].post for place in shown])
    classes = None if corpus.classes is None else corpus.classes[rows]
    return Embeddings(np.array(shown, np.int64), corpus.images.vectors[rows]), classes


def _right(
    index: IndexReader, batch: QueryBatch, candidates: Candidates, answers: Sequence[Sequence[str]]
) -> NDArray[np.bool_]:
    ids = index.tag_ids([tag for tags in answers for tag in tags])
    coined = {key: index.tags + number for number, key in enumerate(batch.spelt.coined)}
    true = [
        query * WIDTH + tag
        for query, tags in enumerate(answers)
        for key in tags
        if (tag := ids.get(key, coined.get(key))) is not None
    ]
    right: NDArray[np.bool_] = np.isin(candidates.queries * WIDTH + candidates.tag_ids, true)
    return right


def joined(parts: Sequence[Lessons]) -> Lessons:
    """All lessons in one, their questions numbered through."""
    firsts = np.cumsum([0, *(len(part.folds) for part in parts)])
    queries = [first + part.candidates.queries for first, part in zip(firsts, parts, strict=False)]
    return Lessons(
        Candidates(
            np.concatenate(queries),
            np.concatenate([part.candidates.tag_ids for part in parts]),
            parts[0].candidates.columns,
            np.concatenate([part.candidates.scores for part in parts]),
        ),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.folds for part in parts]),
    )


def part_of(lessons: Lessons, rows: NDArray[np.bool_]) -> Lessons:
    """Some rows of the lessons; their questions keep their numbers."""
    found = lessons.candidates
    part = Candidates(found.queries[rows], found.tag_ids[rows], found.columns, found.scores[rows])
    return replace(lessons, candidates=part, right=lessons.right[rows])


def without(lessons: Lessons, *channels: str) -> Lessons:
    """The lessons as they are without some channels: these silent, their own candidates gone."""
    candidates = lessons.candidates
    mine = np.array([column.split(":")[0] in channels for column in candidates.columns])
    others = ~mine & ~np.isin(candidates.columns, FACT_NAMES)
    scores = candidates.scores.copy()
    scores[:, mine] = np.nan
    rows = np.count_nonzero(np.isfinite(scores[:, others]), axis=1) > 0
    left = part_of(lessons, rows)
    return replace(left, candidates=replace(left.candidates, scores=scores[rows]))
