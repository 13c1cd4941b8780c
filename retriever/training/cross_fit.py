"""Cross-fitting: an index without some authors is asked about their posts.

Neither a post nor any other post of its author is in the index that answers: in training, its
candidates are scored as those of a new query are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hashlens.indexer.config import RankingConfig
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.types import Ids, Post
from hashlens.retriever.training.examples import (
    MIN_DRAWS,
    QuestionSet,
    TrainingExamples,
    concat_examples,
)

MAX_DRAWS = 6  # questions of a post, if there are few posts
RARE_SHARE = 0.5  # of the questions wanted, up to which an input is rare


def collect_examples(task: RankerTask) -> TrainingExamples | None:
    """Ask about one fold of the posts after another until there are enough; None without posts.

    If few questions had a picture, or a caption, the later folds ask about such posts alone:
    otherwise the few are lost among the many.
    """
    corpus, config = task.corpus, task.config
    posts, total = corpus.posts, len(corpus.posts)
    folds = assign_folds(posts, config)
    rng = np.random.default_rng(config.seed)
    draws = int(np.clip(2 * config.enough // max(total, 1), MIN_DRAWS, MAX_DRAWS))
    wanted = np.ones(total, np.bool_)
    inputs: Counter[str] = Counter()  # questions by input
    found: list[TrainingExamples] = []
    for fold in range(config.folds):
        rows = np.flatnonzero((folds == fold) & wanted)
        questions = QuestionSet.draw(corpus, rows, folds, rng, draws)
        if not questions.questions or (folds == fold).all():
            continue
        task.progress.stage(f"Cross-fitting, part {fold + 1}", len(questions.questions))
        with TemporaryDirectory(prefix="hashlens-") as folder:
            index = task.build_part(corpus.part(np.flatnonzero(folds != fold)), Path(folder))
            found.append(questions.ask(index, task.progress))
        inputs.update(name for one in questions.questions for name in one.query.inputs)
        if sum(len(examples.folds) for examples in found) >= config.enough:
            wanted = np.zeros(total, np.bool_)
            usable = {"image": corpus.pictured, "caption": corpus.words.lengths > 0}
            for name, having in usable.items():
                tagged = having & (posts.hashtags.lengths > 0)
                is_rare = inputs[name] < RARE_SHARE * config.enough
                if is_rare and np.count_nonzero(tagged) >= config.fewest:
                    wanted |= tagged
            if not wanted.any():
                break
    return concat_examples(found) if found else None


def assign_folds(posts: Posts, config: RankingConfig) -> Ids:
    """Return the fold of each post; posts of one author, and of the same words, share one.

    If all posts are one author's, that author will also ask: then words alone decide.
    """
    is_alone = len({author and fold_author(author) for author in posts.authors.tolist()}) == 1

    def fold(post: Post) -> int:
        words = " ".join(sorted(set(post.caption.lower().split())))
        owner = f"w{words}" if words else f"p{post.post_id}"
        owner = f"a{fold_author(post.author)}" if post.author and not is_alone else owner
        digest = hashlib.sha256(f"{config.seed}\n{owner}".encode()).digest()
        return int.from_bytes(digest[:8]) % config.folds

    return np.array([fold(post) for post in posts], np.int64)
