"""Makes the index that ships.

    python -m hashlens.evaluation.assets.starter FOLDER... --out data/starter

It holds aggregates only (see `hashlens.evaluation.assets.aggregates`). Its ranker learned both
from indexes with posts and from such without. It has no posts speak, of which few join at
first; later `hashlens.retriever.training.continue_training` decides.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.assets.aggregates import strip
from hashlens.evaluation.assets.unfit_hashtags import dated_keys, truncated_keys
from hashlens.indexer.config import RANKER, BuildConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.generations.generation import (
    Generation,
    open_current,
    temporary_generation,
    writer,
)
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.progress import Progress
from hashlens.indexer.storage.store import Store
from hashlens.retriever.candidates.channels import POST_CHANNELS
from hashlens.retriever.cli.progress_bar import progress_bar
from hashlens.retriever.index.blocklist import blocked_keys, unshipped_keys
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.training.cross_fit import collect_examples
from hashlens.retriever.training.examples import concat_examples
from hashlens.retriever.training.fit import fit_to_examples, save_ranker


def make(
    sources: Sequence[Path], out: Path, progress: Progress | None = None, full: Path | None = None
) -> None:
    """Build an index of all posts and write its aggregates as an index into `out`.

    Args:
        sources: files or folders of posts.
        out: folder of the index that may ship; what is in it goes.
        progress: told of the stages.
        full: folder for the index of all posts, where that is wanted too.

    Raises:
        InputError: a source is missing or has no posts.
    """
    with TemporaryDirectory(prefix="hashlens-starter-") as place:
        index, lent = full or Path(place) / "index", Path(place) / RANKER
        build(
            sources,
            index,
            config=BuildConfig(),
            fit_ranker=partial(_fit_each, lent),
            progress=progress,
            workers=1,
        )
        whole = open_current(index)
        shutil.rmtree(out, ignore_errors=True)
        with writer(out) as new:
            counts = strip(whole, new.folder, without=_left_out(whole))
            save_ranker(replace(Ranker.open(lent), excluded=POST_CHANNELS), new.folder / RANKER)
            new.publish_like(whole.manifest, counts)


def _left_out(whole: Generation) -> frozenset[str]:
    """Hashtags of an index that nobody should be offered."""
    with Store.open(whole.folder / "posts.duckdb") as store:
        keys = [key for (key,) in store.rows("select key from hashtags")]
    return blocked_keys() | unshipped_keys() | truncated_keys(keys) | dated_keys(keys)


def _fit_each(lent: Path, task: RankerTask, folder: Path) -> tuple[str, ...]:
    """Fit an index's own ranker, and one to what indexes say with their posts and without: `lent`.

    Without alone it learned little of pictures, and told cats from dogs no more.
    """

    def bare(part: Corpus, place: Path) -> Generation:
        (place / "full").mkdir()
        whole = task.build_part(part, place / "full")
        counts = strip(whole, place / "bare", without=_left_out(whole))
        return temporary_generation(
            place / "bare", whole.manifest.topics, whole.manifest.config, counts
        )

    tasks = (task, replace(task, build_part=bare))
    rehearsed = (collect_examples(each) for each in tasks)
    lessons = [found for found in rehearsed if found]
    task.progress.stage("Learning to rank")
    save_ranker(fit_to_examples(lessons[0], task.config), folder)
    both = concat_examples(lessons)
    lessons.clear()  # gigabytes, now twice in memory
    save_ranker(fit_to_examples(both, task.config), lent)
    return ()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with progress_bar() as bar:
        make(given.folders, given.out, bar)
