"""hashlens as a method: the posts it writes, its answers, and its temporary folder."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hashlens.evaluation.methods.base import strictly_decreasing
from hashlens.evaluation.methods.hashlens import Product, run_queries, write_posts
from hashlens.indexer.config import BuildConfig, RankingConfig, VectorConfig
from hashlens.indexer.errors import ConfigError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Post, Rejection
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender

SMALL = BuildConfig(
    encoder="efficientnet-lite0",
    vectors=VectorConfig("word2vec", min_count=1, epochs=1),
    ranking=RankingConfig(enough=50, fewest=50),  # one fold of the posts is enough
)


def read(folder: Path) -> list[Post]:
    rejections: list[Rejection] = []
    posts = list(read_posts([folder], rejections=rejections))
    assert [each for each in rejections if not each.is_note] == []
    return posts


def test_written_posts_are_read_unchanged(sample_folder: Path, tmp_path: Path) -> None:
    posts = read(sample_folder)
    write_posts(posts, tmp_path / "posts")
    back = read(tmp_path / "posts")
    names = ("post_id", "caption", "hashtags", "forms", "author", "taken_at", "topic")
    for post, other in zip(posts, back, strict=True):
        assert [getattr(post, n) for n in names] == [getattr(other, n) for n in names]
        # Picture, author, time and words are equal, byte for byte.
        assert post.content_hash == other.content_hash
    assert sum(post.image is not None for post in back) == 14


def test_scores_strictly_decrease_in_single_precision_and_change_only_if_they_must() -> None:
    found = strictly_decreasing("abcd", [0.5, 0.5, 0.7, 0.25])
    below = np.nextafter(np.float32(0.5), np.float32(0))
    twice_below = np.nextafter(below, np.float32(0))
    assert found == [("a", 0.5), ("b", float(below)), ("c", float(twice_below)), ("d", 0.25)]


def test_its_answers_are_those_of_its_index_and_its_folder_is_deleted_with_it(
    sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    queries = [
        Query(caption="walking the dog at the beach"),
        Query(seeds=("cat",)),
        Query(caption="sunset over the city", seeds=("travel", "sunset")),
    ]
    product = Product(SMALL)
    product.fit([post for post in read(sample_folder) if not post.image])
    said = product.recommend(queries, 5)
    (folder,) = tmp_path.iterdir()
    assert len(read(folder / "posts")) == 177
    for ranking, answer in zip(
        said, Recommender.open(folder / "index").recommend_many(queries, 5), strict=True
    ):
        tags = answer.tags  # type: ignore[union-attr]
        assert [tag for tag, _ in ranking] == [tag.tag for tag in tags] != []
        stated = [tag.probability for tag in tags]
        np.testing.assert_allclose([score for _, score in ranking], stated, atol=1e-6)
    assert "cat" not in dict(said[1])
    assert product.failed == 0
    del product
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_refused_queries_have_empty_answers_and_are_counted(
    sample_index: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    queries = [Query(broken), Query(seeds=("dog",))]
    (silent, said), failed = run_queries(Recommender.open(sample_index), queries, 3)
    assert (silent, len(said), failed) == ([], 3, 1)


def test_k_below_one_is_refused(sample_index: Path) -> None:
    with pytest.raises(ConfigError, match="found 0, expected 1"):
        run_queries(Recommender.open(sample_index), [Query(seeds=("dog",))], 0)
