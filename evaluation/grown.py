"""Lessons from aggregates that somebody's own posts joined: of a kind that they know, and not.

Who starts from the index that ships has few posts, and mostly of another kind than it counts. From
these lessons a ranker learns how far to believe a few near posts beside many far ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from evaluation.product import write_posts
from indexer.begin import begun
from indexer.config import RankingConfig
from indexer.corpus import Corpus
from indexer.generation import Generation, open_current, writer
from indexer.progress import Progress
from indexer.rankers import Assemble
from indexer.schema import Ids
from indexer.starter import strip
from indexer.update import update
from retriever.blocklist import blocked
from retriever.lessons import Lessons, Questions
from retriever.rehearsal import fold_numbers

OWN = (60, 250)  # posts that join; from more of them a ranker goes on learning by itself
ASKED = 500  # posts that are asked about, for each


def aggregates(whole: Generation, index: Path) -> Path:
    """Make an index of another's aggregates, and of its ranker if it has one; returns `index`."""
    with writer(index) as new:
        counts = strip(whole, new.folder, without=blocked())
        if (whole.folder / "ranker").is_dir():
            shutil.copytree(whole.folder / "ranker", new.folder / "ranker")
        new.publish_like(whole.manifest, counts)
    return index


def stripped(part: Corpus, assemble: Assemble, place: Path) -> Path:
    """Make, in an empty folder, an index of posts and one of its aggregates; returns the latter."""
    (place / "full").mkdir()
    return aggregates(assemble(part, place / "full"), place / "bare")


def lessons_of_growth(
    corpus: Corpus, kinds: Ids, assemble: Assemble, config: RankingConfig, progress: Progress
) -> Iterator[Lessons]:
    """What aggregates say to questions of each kind, once posts of other authors joined them.

    Args:
        corpus: all posts.
        kinds: int64 (n,), the collection that each is of.
        assemble: makes an index of some of them.
        config: of the ranking.
        progress: told of the stages.
    """
    folds = fold_numbers(corpus.posts, config)
    every = np.unique(kinds).tolist()
    # All kinds are known, less some authors of each; then one kind after the other is not.
    for aside, asked in [(folds == 0, every), *((kinds == kind, [kind]) for kind in every)]:
        if aside.all():
            continue
        with TemporaryDirectory(prefix="hashlens-") as place:
            bare = stripped(corpus.part(np.flatnonzero(~aside)), assemble, Path(place))
            for kind in asked:
                rows = np.flatnonzero(aside & (kinds == kind))
                yield from _grown(bare, Path(place), corpus, rows, folds, config, progress)


def _grown(
    bare: Path,
    place: Path,
    corpus: Corpus,
    rows: Ids,
    folds: Ids,
    config: RankingConfig,
    progress: Progress,
) -> Iterator[Lessons]:
    """More and more posts of half the authors join, and the other half's are asked about."""
    rng = np.random.default_rng(config.seed)
    other = replace(config, seed=config.seed + 1, folds=2)
    mine = fold_numbers([corpus.posts[row] for row in rows], other) == 0
    own, others = rng.permutation(rows[mine]), rng.permutation(rows[~mine])
    questions = Questions.about(corpus, np.sort(others[:ASKED]), folds, rng)
    for number in OWN:
        if len(own) < number or not questions.asked:
            return
        progress.stage(f"Rehearsing with {number:,} posts of one's own", len(questions.asked))
        with TemporaryDirectory(prefix="grown-", dir=place) as folder:
            posts, index = Path(folder) / "posts", Path(folder) / "index"
            write_posts([corpus.posts[row] for row in own[:number]], posts)
            with begun(index, bare):
                update([posts], index, retrain=False)
            yield questions.put(open_current(index), progress)
