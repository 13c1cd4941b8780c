"""Makes the ranker that ships.

    python -m hashlens.evaluation.assets.bundled_ranker FOLDER... --out data/ranker

It serves an index of too few posts to train its own. Therefore it is trained on small indexes: a
few hundred to a few thousand posts of each folder, with all posts of an author together.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.methods.hashlens import build_with_examples
from hashlens.evaluation.tasks.inputs import draw_key
from hashlens.evaluation.tasks.suite import read_all_posts
from hashlens.indexer.config import BuildConfig, RankingConfig
from hashlens.indexer.types import Post
from hashlens.retriever.training.examples import TrainingExamples, concat_examples
from hashlens.retriever.training.fit import fit_to_examples, save_ranker

INDEX_SIZES = (300, 1_000, 4_000)  # posts
QUERIES_PER_INDEX = 1_500


def make_ranker(folders: Sequence[Path], out: Path) -> None:
    """Train a ranker on small indexes of the folders' posts, and write it into a new folder.

    Raises:
        InputError: a folder has no posts.
    """
    config = BuildConfig(ranking=RankingConfig(enough=QUERIES_PER_INDEX))
    examples: list[TrainingExamples] = []
    for folder in folders:
        posts = [post for post in read_all_posts([folder], config.hashtag_rule) if post.hashtags]
        for size in INDEX_SIZES:

            def author_key(post: Post, size: int = size) -> bytes:
                return draw_key(size, post.author or post.post_id)

            selected = sorted(posts, key=author_key)[:size]
            with TemporaryDirectory(prefix="hashlens-") as place:
                _, found = build_with_examples(selected, Path(place), config)
                examples += [found] if found else []
    shutil.rmtree(out, ignore_errors=True)
    save_ranker(fit_to_examples(concat_examples(examples), config.ranking), out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    make_ranker(arguments.folders, arguments.out)
