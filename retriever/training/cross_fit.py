"""An index without some authors is asked about their posts, so that the ranker learns from it.

Nothing of a post, nor of its author's others, is in the index that answers for it: what the
channels say in training is as strange to them as a real query is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.pipeline.ranker_training import Assemble
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import Progress
from hashlens.indexer.text.authors import folded
from hashlens.indexer.types import Ids, Post
from hashlens.retriever.training.examples import FEWEST, Lessons, Questions, joined

MOST_DRAWS = 6  # questions of a post, where there are few posts
RARE = 0.5  # share of the questions that are enough, up to which pictures and captions are too few


def rehearse(
    corpus: Corpus, assemble: Assemble, config: RankingConfig, progress: Progress
) -> Lessons | None:
    """Ask about one part of the posts after another, until enough was asked; None without posts.

    Where few posts have a picture, or a caption, the other parts are asked about these alone: what
    few say is else lost among what the many do.
    """
    parts = fold_numbers(corpus.posts, config)
    rng = np.random.default_rng(config.seed)
    # Few posts are asked about more often.
    draws = int(np.clip(2 * config.enough // max(len(corpus.posts), 1), FEWEST, MOST_DRAWS))
    wanted = np.ones(len(corpus.posts), np.bool_)
    given: Counter[str] = Counter()  # questions by input
    found: list[Lessons] = []
    for fold in range(config.folds):
        rows = np.flatnonzero((parts == fold) & wanted)
        questions = Questions.about(corpus, rows, parts, rng, draws)
        if not questions.asked or (parts == fold).all():
            continue
        progress.stage(f"Rehearsing, part {fold + 1}", len(questions.asked))
        with TemporaryDirectory(prefix="hashlens-") as folder:
            index = assemble(corpus.part(np.flatnonzero(parts != fold)), Path(folder))
            found.append(questions.put(index, progress))
        given.update(name for question in questions.asked for name in question.query.inputs)
        if sum(len(lessons.folds) for lessons in found) >= config.enough:
            wanted = _rare(corpus, given, config)
            if not wanted.any():
                break
    return joined(found) if found else None


def _rare(corpus: Corpus, given: Mapping[str, int], config: RankingConfig) -> NDArray[np.bool_]:
    """Which posts, bool (n,), have an input that was seldom given, though many enough have it."""
    posts = corpus.posts
    having = {"image": corpus.pictured, "caption": corpus.words.lengths > 0}
    wanted = np.zeros(len(posts), np.bool_)
    for name, there in having.items():
        tagged = there & (posts.hashtags.lengths > 0)
        if given[name] < RARE * config.enough and np.count_nonzero(tagged) >= config.fewest:
            wanted |= tagged
    return wanted


def fold_numbers(posts: Posts, config: RankingConfig) -> Ids:
    """Return the fold of each post: an author's posts share one, as do posts of the same words.

    Where all posts are one author's, it is that author who will ask: then words alone decide.
    """
    alone = len({author and folded(author) for author in posts.authors.tolist()}) == 1

    def number(post: Post) -> int:
        words = " ".join(sorted(set(post.caption.lower().split())))
        owner = f"w{words}" if words else f"p{post.post_id}"
        owner = f"a{folded(post.author)}" if post.author and not alone else owner
        digest = hashlib.sha256(f"{config.seed}\n{owner}".encode()).digest()
        return int.from_bytes(digest[:8]) % config.folds

    return np.array([number(post) for post in posts], np.int64)
