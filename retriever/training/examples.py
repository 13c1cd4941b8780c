"""Training examples for the ranker: questions about posts, answered by an index without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import Generation
from hashlens.indexer.progress import Progress
from hashlens.indexer.types import Embeddings, Floats, Ids, Post
from hashlens.retriever.candidates.candidate_features import FEATURE_COLUMNS
from hashlens.retriever.candidates.generate import generate_candidates
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import PAIR_BASE
from hashlens.retriever.query.batch import prepare
from hashlens.retriever.recommendation import Candidates, Query, column_channels

BATCH = 256  # questions answered at a time
MIN_DRAWS = 2  # questions drawn of a post, with different inputs
MAX_POSTS = 16_000  # posts asked about at once: more add hours and memory, not quality
MAX_SEEDS = 4
INPUT_SHARES = {"image": 0.7, "caption": 0.8, "seeds": 0.4}  # how often each input is given
PICTURE_ALONE = ("image",)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingExamples:
    """Candidates of many questions, numbered consecutively, and which of them are right.

    `right` bool (c,); `folds` int64 (n,) of each question: questions of one fold share authors.
    """

    candidates: Candidates
    right: NDArray[np.bool_]
    folds: Ids


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """A question about a post, by its place in the corpus, and the hashtags that answer it."""

    post: int
    query: Query
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class QuestionSet:
    """Questions about posts of a corpus; `folds` int64 (n,) is the fold of each of its posts."""

    corpus: Corpus
    questions: Sequence[TrainingQuestion]
    folds: Ids

    @classmethod
    def draw(
        cls,
        corpus: Corpus,
        rows: Ids,
        folds: Ids,
        rng: np.random.Generator,
        draws: int = MIN_DRAWS,
    ) -> Self:
        """Draw questions about some posts, at most `MAX_POSTS`, each with some of its inputs.

        Args:
            corpus: all posts.
            rows: places of the posts that may be asked about, ascending.
            folds: see the class.
            rng: draws posts, inputs and seeds.
            draws: number of questions for a post; equal ones count once.
        """
        some = rows
        if len(rows) > MAX_POSTS:
            some = np.sort(rng.choice(rows, MAX_POSTS, replace=False))
        return cls(corpus, list(_draw_questions(corpus, some, draws, rng)), folds)

    def ask(self, generation: Generation, progress: Progress) -> TrainingExamples:
        """Return an index's candidates for the questions, of which there must be one.

        The index must not contain the posts.
        """
        index = IndexReader(generation)
        parts = []
        for start in range(0, len(self.questions), BATCH):
            some = self.questions[start : start + BATCH]
            images, classes = _picture_vectors(self.corpus, some)
            batch = prepare(index, [question.query for question in some], images, classes)
            candidates = generate_candidates(index, batch)
            ids = index.tag_ids([tag for question in some for tag in question.answers])
            coined = enumerate(batch.spelt.coined, start=index.hashtag_count)
            ids = {key: number for number, key in coined} | ids
            right = [
                number * PAIR_BASE + ids[key]
                for number, question in enumerate(some)
                for key in question.answers
                if key in ids
            ]
            pairs = candidates.queries * PAIR_BASE + candidates.tag_ids
            folds = self.folds[[question.post for question in some]]
            parts.append(TrainingExamples(candidates, np.isin(pairs, right), folds))
            progress.advance(len(some))
        index.store.close()
        return concat_examples(parts)


def _draw_questions(
    corpus: Corpus, rows: Ids, draws: int, rng: np.random.Generator
) -> Iterator[TrainingQuestion]:
    """Yield questions with some of a post's inputs, drawn at random, and with its picture alone.

    A picture alone is weak evidence, and would be rare among questions that also have words.
    """
    pictured = corpus.pictured
    for place in rows.tolist():
        post = corpus.posts[place]
        drawn = {_draw_inputs(post, bool(pictured[place]), rng) for _ in range(draws)} - {()}
        if pictured[place] and post.hashtags:
            drawn.add(PICTURE_ALONE)
        for given in sorted(drawn):
            most = min(MAX_SEEDS, len(post.hashtags) - 1)
            seeds = int(rng.integers(1, most + 1)) if "seeds" in given else 0
            order = rng.permutation(len(post.hashtags))
            query = Query(
                image=post.image if "image" in given else None,
                caption=post.caption if "caption" in given else "",
                seeds=tuple(post.hashtags[n] for n in order[:seeds]),
            )
            yield TrainingQuestion(place, query, tuple(post.hashtags[n] for n in order[seeds:]))


def _draw_inputs(post: Post, pictured: bool, rng: np.random.Generator) -> tuple[str, ...]:
    """Return names of the inputs to give; none if nothing can be asked."""
    usable = {
        "image": pictured and bool(post.hashtags),
        "caption": bool(post.caption.strip() and post.hashtags),
        "seeds": len(post.hashtags) > 1,
    }
    names = [name for name, is_usable in usable.items() if is_usable]
    while names:
        given = tuple(name for name in names if rng.random() < INPUT_SHARES[name])
        if given:
            return given
    return ()


def _picture_vectors(
    corpus: Corpus, questions: Sequence[TrainingQuestion]
) -> tuple[Embeddings | None, Floats | None]:
    """Return vectors of the given pictures, by place in the batch, and their classes."""
    shown = [place for place, question in enumerate(questions) if question.query.image]
    if not shown or corpus.images is None:
        return None, None
    rows = np.searchsorted(corpus.images.ids, [questions[place].post for place in shown])
    classes = None if corpus.classes is None else corpus.classes[rows]
    return Embeddings(np.array(shown, np.int64), corpus.images.vectors[rows]), classes


def concat_examples(parts: Sequence[TrainingExamples]) -> TrainingExamples:
    """Return all examples in one, their questions numbered consecutively."""
    firsts = np.cumsum([0, *(len(part.folds) for part in parts)])
    queries = [first + part.candidates.queries for first, part in zip(firsts, parts, strict=False)]
    return TrainingExamples(
        Candidates(
            np.concatenate(queries),
            np.concatenate([part.candidates.tag_ids for part in parts]),
            parts[0].candidates.columns,
            np.concatenate([part.candidates.scores for part in parts]),
        ),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.folds for part in parts]),
    )


def select_rows(examples: TrainingExamples, rows: NDArray[np.bool_]) -> TrainingExamples:
    """Return some rows; their questions keep their numbers."""
    return replace(examples, candidates=examples.candidates.rows(rows), right=examples.right[rows])


def drop_channels(examples: TrainingExamples, *channels: str) -> TrainingExamples:
    """Return the examples without some channels' scores, and without their own candidates."""
    candidates = examples.candidates
    dropped = np.isin(column_channels(candidates.columns), channels)
    others = ~dropped & ~np.isin(candidates.columns, FEATURE_COLUMNS)
    scores = candidates.scores.copy()
    scores[:, dropped] = np.nan
    rows = np.count_nonzero(np.isfinite(scores[:, others]), axis=1) > 0
    return select_rows(replace(examples, candidates=replace(candidates, scores=scores)), rows)
