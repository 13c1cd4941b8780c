"""Makes the index that ships: `python -m evaluation.starter FOLDER... --out data/starter`.

It holds aggregates only (see `indexer.starter`). Its ranker learned from indexes with posts, from
such without, and from such that somebody's own posts joined (`evaluation.grown`).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from evaluation.grown import aggregates, lessons_of_growth, stripped
from evaluation.suite import usable
from indexer.build import build
from indexer.config import BuildConfig, RankingConfig
from indexer.corpus import Corpus
from indexer.generation import Generation, open_current
from indexer.progress import Progress
from indexer.rankers import Assemble
from retriever.bar import progress_bar
from retriever.fitting import fit, save
from retriever.lessons import joined
from retriever.rehearsal import rehearse


def make(
    sources: Sequence[Path], out: Path, progress: Progress | None = None, full: Path | None = None
) -> None:
    """Build an index of all posts and write its aggregates as an index into `out`.

    Args:
        sources: files or folders of posts, each of another kind.
        out: folder of the index that may ship; what is in it goes.
        progress: told of the stages.
        full: folder for the index of all posts, where that is wanted too.

    Raises:
        InputError: a source is missing or has no posts.
    """
    config = BuildConfig()
    kinds = {
        post.post_id: number
        for number, source in enumerate(sources)
        for post in usable([source], config.hashtag_rule, [])
    }

    def fit_all(
        corpus: Corpus,
        assemble: Assemble,
        config: RankingConfig,
        folder: Path,
        progress: Progress,
        _: Path | None = None,
    ) -> tuple[str, ...]:
        """Fit a ranker to what indexes say with posts, without, and with somebody's own."""

        def bare(part: Corpus, place: Path) -> Generation:
            return open_current(stripped(part, assemble, place))

        lessons = [rehearse(corpus, how, config, progress) for how in (assemble, bare)]
        of_posts = np.array([kinds[post.post_id] for post in corpus.posts], np.int64)
        lessons += lessons_of_growth(corpus, of_posts, assemble, config, progress)
        progress.stage("Learning to rank")
        save(fit(joined([found for found in lessons if found]), config), folder)
        return ()

    with TemporaryDirectory(prefix="hashlens-starter-") as place:
        index = full or Path(place) / "index"
        build(sources, index, config=config, fit_ranker=fit_all, progress=progress, workers=1)
        shutil.rmtree(out, ignore_errors=True)
        aggregates(open_current(index), out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with progress_bar() as bar:
        make(given.folders, given.out, bar)
