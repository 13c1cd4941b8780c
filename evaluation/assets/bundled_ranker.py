"""Makes the ranker that ships.

    python -m hashlens.evaluation.assets.bundled_ranker FOLDER... --out data/ranker

It is for an index of too few posts to fit its own, so it learns from small indexes: a few hundred
to a few thousand posts of each folder, whole authors together.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hashlens.evaluation.methods.hashlens_examples import learned_from
from hashlens.evaluation.tasks.suite import usable
from hashlens.indexer.config import BuildConfig, RankingConfig
from hashlens.indexer.types import Post
from hashlens.retriever.training.examples import Lessons, joined
from hashlens.retriever.training.fit import fit, save

SIZES = (300, 1_000, 4_000)  # posts of an index that is asked
ASKED = 1_500  # questions for each


def learn(folders: Sequence[Path], out: Path) -> None:
    """Fit a ranker to small indexes of the folders' posts, and write it into a new folder.

    Raises:
        InputError: a folder has no posts.
    """
    config = BuildConfig(ranking=RankingConfig(enough=ASKED))
    kept: list[Lessons] = []

    for folder in folders:
        posts = [post for post in usable([folder], config.hashtag_rule, []) if post.hashtags]
        for size in SIZES:
            with TemporaryDirectory(prefix="hashlens-") as place:
                _, lessons = learned_from(_drawn(posts, size), Path(place), config)
                kept += [lessons] if lessons else []
    shutil.rmtree(out, ignore_errors=True)
    save(fit(joined(kept), config.ranking), out)


def _drawn(posts: Sequence[Post], size: int) -> list[Post]:
    """Posts of authors drawn by hash, until there are enough; a post without one is its own."""

    def place(post: Post) -> bytes:
        return hashlib.sha256(f"{size}\n{post.author or post.post_id}".encode()).digest()

    return sorted(posts, key=place)[:size]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    learn(given.folders, given.out)
