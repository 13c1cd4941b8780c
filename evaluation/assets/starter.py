"""Makes the index that ships.

    python -m hashlens.evaluation.assets.starter FOLDER... --out data/starter

The index holds aggregates only; see `hashlens.evaluation.assets.aggregates`. Its ranker is trained
on indexes with posts and on indexes without. It ignores evidence from posts that are added later,
until `hashlens.retriever.training.continue_training` decides otherwise.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.assets.aggregates import write_aggregates
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


def make_starter(
    sources: Sequence[Path], out: Path, progress: Progress | None = None, full: Path | None = None
) -> None:
    """Build an index of all posts, and write its aggregates as an index into `out`.

    Args:
        sources: files or folders of posts.
        out: folder of the index that ships; its content is replaced.
        progress: receives the stages.
        full: folder for the index of all posts; None to delete it.

    Raises:
        InputError: a source is missing or has no posts.
    """
    with TemporaryDirectory(prefix="hashlens-starter-") as place:
        index, ranker = full or Path(place) / "index", Path(place) / RANKER
        build(
            sources,
            index,
            config=BuildConfig(),
            fit_ranker=partial(_fit_rankers, ranker),
            progress=progress,
            workers=1,
        )
        whole = open_current(index)
        shutil.rmtree(out, ignore_errors=True)
        with writer(out) as new:
            counts = write_aggregates(whole, new.folder, without=_find_unshipped(whole))
            save_ranker(replace(Ranker.open(ranker), excluded=POST_CHANNELS), new.folder / RANKER)
            new.publish_like(whole.manifest, counts)


def _find_unshipped(whole: Generation) -> frozenset[str]:
    """Return the hashtags of an index that should not be recommended to anyone."""
    with Store.open(whole.folder / "posts.duckdb") as store:
        keys = [key for (key,) in store.rows("select key from hashtags")]
    return blocked_keys() | unshipped_keys() | truncated_keys(keys) | dated_keys(keys)


def _fit_rankers(shipped: Path, task: RankerTask, folder: Path) -> tuple[str, ...]:
    """Fit the full index's ranker, and the shipped one, for indexes with posts and without.

    A ranker of indexes without posts alone learns too little about pictures.
    """

    def assemble_bare(part: Corpus, place: Path) -> Generation:
        (place / "full").mkdir()
        whole = task.build_part(part, place / "full")
        counts = write_aggregates(whole, place / "bare", without=_find_unshipped(whole))
        return temporary_generation(
            place / "bare", whole.manifest.topics, whole.manifest.config, counts
        )

    tasks = (task, replace(task, build_part=assemble_bare))
    collected = (collect_examples(each) for each in tasks)
    examples = [found for found in collected if found]
    task.progress.stage("Learning to rank")
    save_ranker(fit_to_examples(examples[0], task.config), folder)
    both = concat_examples(examples)
    examples.clear()  # gigabytes, now twice in memory
    save_ranker(fit_to_examples(both, task.config), shipped)
    return ()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with progress_bar() as bar:
        make_starter(arguments.folders, arguments.out, bar)
