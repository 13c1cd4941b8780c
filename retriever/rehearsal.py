"""Questions for the ranker to learn from: an index without some authors is asked about their posts.

Nothing of a post, nor of its author's others, is in the index that answers for it: what the
channels say in training is as strange to them as a real query is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from indexer.config import RankingConfig
from indexer.corpus import Corpus
from indexer.generation import Generation
from indexer.progress import Progress
from indexer.schema import Candidates, Embeddings, Floats, Ids, Post, Query
from retriever.entries import WIDTH
from retriever.gather import gather
from retriever.prepare import QueryBatch, prepare
from retriever.reading import IndexReader

BATCH = 256  # questions asked at a time
DRAWS = (2, 6)  # questions of a post, with other inputs given, at least and at most
MOST = 16_000  # posts of a part that are asked about: more add hours and memory, not quality
MOST_SEEDS = 4
GIVEN = {"image": 0.7, "caption": 0.8, "seeds": 0.4}  # how often each is given, where it is there

Assemble = Callable[[Corpus, Path], Generation]


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Candidates of many questions, numbered through, and which of them were right.

    `right` bool (c,); `folds` int64 (n,) of each question: those of one fold share their authors.
    """

    candidates: Candidates
    right: NDArray[np.bool_]
    folds: Ids


def rehearse(
    corpus: Corpus, assemble: Assemble, config: RankingConfig, progress: Progress
) -> Lessons | None:
    """Ask about one part of the posts after another, until enough was asked; None without posts."""
    parts = fold_numbers(corpus.posts, config)
    fewest, most = DRAWS
    # Few posts are asked about more often.
    draws = int(np.clip(2 * config.enough // max(len(corpus.posts), 1), fewest, most))
    rng = np.random.default_rng(config.seed)
    found: list[Lessons] = []
    for fold in range(config.folds):
        asked = _some(np.flatnonzero(parts == fold), rng)
        questions = list(_questions(corpus, asked, draws, rng))
        if not questions or (parts == fold).all():
            continue
        progress.stage(f"Rehearsing, part {fold + 1}", len(questions))
        with TemporaryDirectory(prefix="hashlens-") as folder:
            index = IndexReader(assemble(corpus.part(np.flatnonzero(parts != fold)), Path(folder)))
            found.append(_asked(index, corpus, questions, fold, progress))
            index.store.close()
        if sum(len(lessons.folds) for lessons in found) >= config.enough:
            break
    return joined(found) if found else None


def _some(rows: Ids, rng: np.random.Generator) -> Ids:
    """At most `MOST` of the rows, in order."""
    return rows if len(rows) <= MOST else np.sort(rng.choice(rows, MOST, replace=False))


def fold_numbers(posts: Sequence[Post], config: RankingConfig) -> Ids:
    """The fold of each post: an author's posts share one, and so do posts of the same words.

    Where all posts are one author's, it is that author who will ask: then words alone decide.
    """
    alone = len({post.author for post in posts}) == 1

    def number(post: Post) -> int:
        words = " ".join(sorted(set(post.caption.lower().split())))
        owner = f"w{words}" if words else f"p{post.post_id}"
        owner = f"a{post.author}" if post.author and not alone else owner
        digest = hashlib.sha256(f"{config.seed}\n{owner}".encode()).digest()
        return int.from_bytes(digest[:8]) % config.folds

    return np.array([number(post) for post in posts], np.int64)


@dataclass(frozen=True, slots=True)
class _Question:
    post: int
    query: Query
    answers: tuple[str, ...]


def _questions(
    corpus: Corpus, asked: Ids, draws: int, rng: np.random.Generator
) -> Iterator[_Question]:
    """Questions of posts, each with some of its inputs, drawn at random."""
    pictured = set(corpus.images.ids.tolist()) if corpus.images else set()
    for place in asked.tolist():
        post = corpus.posts[place]
        for given in sorted({_drawn(post, place in pictured, rng) for _ in range(draws)} - {()}):
            most = min(MOST_SEEDS, len(post.hashtags) - 1)
            seeds = int(rng.integers(1, most + 1)) if "seeds" in given else 0
            order = rng.permutation(len(post.hashtags))
            query = Query(
                image=post.image if "image" in given else None,
                caption=post.caption if "caption" in given else "",
                seeds=tuple(post.hashtags[n] for n in order[:seeds]),
            )
            yield _Question(place, query, tuple(post.hashtags[n] for n in order[seeds:]))


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


def _asked(
    index: IndexReader,
    corpus: Corpus,
    questions: Sequence[_Question],
    fold: int,
    progress: Progress,
) -> Lessons:
    parts, rights = [], []
    for start in range(0, len(questions), BATCH):
        some = questions[start : start + BATCH]
        batch = prepare(index, [question.query for question in some], *_pictures(corpus, some))
        candidates = gather(index, batch)
        rights.append(_right(index, batch, candidates, [question.answers for question in some]))
        parts.append((start, candidates))
        progress.advance(len(some))
    queries = np.concatenate([start + candidates.queries for start, candidates in parts])
    return Lessons(
        Candidates(
            queries,
            np.concatenate([candidates.tag_ids for _, candidates in parts]),
            parts[0][1].columns,
            np.concatenate([candidates.scores for _, candidates in parts]),
        ),
        np.concatenate(rights),
        np.full(len(questions), fold, np.int64),
    )


def _pictures(
    corpus: Corpus, questions: Sequence[_Question]
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
    """Lessons of all folds, their questions numbered through."""
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
