"""An index without some authors is asked about their posts, so that the ranker learns from it.

Nothing of a post, nor of its author's others, is in the index that answers for it: what the
channels say in training is as strange to them as a real query is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from indexer.config import RankingConfig
from indexer.corpus import Corpus
from indexer.postfile import Posts
from indexer.progress import Progress
from indexer.rankers import Assemble
from indexer.schema import Ids, Post
from retriever.lessons import FEWEST, Lessons, Questions, joined

MOST_DRAWS = 6  # questions of a post, where there are few posts


def rehearse(
    corpus: Corpus, assemble: Assemble, config: RankingConfig, progress: Progress
) -> Lessons | None:
    """Ask about one part of the posts after another, until enough was asked; None without posts."""
    parts = fold_numbers(corpus.posts, config)
    # Few posts are asked about more often.
    draws = int(np.clip(2 * config.enough // max(len(corpus.posts), 1), FEWEST, MOST_DRAWS))
    rng = np.random.default_rng(config.seed)
    found: list[Lessons] = []
    for fold in range(config.folds):
        questions = Questions.about(corpus, np.flatnonzero(parts == fold), parts, rng, draws)
        if not questions.asked or (parts == fold).all():
            continue
        progress.stage(f"Rehearsing, part {fold + 1}", len(questions.asked))
        with TemporaryDirectory(prefix="hashlens-") as folder:
            index = assemble(corpus.part(np.flatnonzero(parts != fold)), Path(folder))
            found.append(questions.put(index, progress))
        if sum(len(lessons.folds) for lessons in found) >= config.enough:
            break
    return joined(found) if found else None


def fold_numbers(posts: Posts, config: RankingConfig) -> Ids:
    """The fold of each post: an author's posts share one, and so do posts of the same words.

    Where all posts are one author's, it is that author who will ask: then words alone decide.
    """
    alone = len(set(posts.authors.tolist())) == 1

    def number(post: Post) -> int:
        words = " ".join(sorted(set(post.caption.lower().split())))
        owner = f"w{words}" if words else f"p{post.post_id}"
        owner = f"a{post.author}" if post.author and not alone else owner
        digest = hashlib.sha256(f"{config.seed}\n{owner}".encode()).digest()
        return int.from_bytes(digest[:8]) % config.folds

    return np.array([number(post) for post in posts], np.int64)
