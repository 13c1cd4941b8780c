"""The index that ships."""

from __future__ import annotations

import pytest

from hashlens.evaluation.assets.unfit_hashtags import dated_keys
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.storage.store import Store
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.blocklist import blocked_keys, unshipped_keys
from hashlens.retriever.index.default import bundled_index
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender

MOST = 25 << 20  # bytes


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.open(bundled_index())


def test_it_is_sound_small_and_without_posts() -> None:
    assert verify(bundled_index()).sound
    assert sum(path.stat().st_size for path in bundled_index().rglob("*") if path.is_file()) <= MOST
    with Store.open(open_current(bundled_index()).folder / "posts.duckdb") as store:
        for table in ("posts", "copies", "post_hashtags", "post_words"):
            assert store.rows(f"select count(*) from {table}") == [(0,)]
        fewest = "select min(posts), min(authors) from hashtag_counts"
        ((posts, authors),) = store.rows(fewest)
        keys = {key for (key,) in store.rows("select key from hashtags")}
    assert posts >= 5
    assert authors >= 3
    assert not keys & (blocked_keys() | unshipped_keys() | dated_keys(keys))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("hiking in the mountains, fresh snow", {"hiking", "mountains", "snow"}),
        ("our newborn baby girl is finally home", {"baby", "newborn", "babygirl"}),
        ("Desayuno con café y tostadas", {"desayuno"}),
    ],
)
def test_it_answers_as_a_person_would(
    recommender: Recommender, caption: str, expected: set[str]
) -> None:
    answer = recommender.recommend(Query(caption=caption), k=5)
    assert expected <= {tag.tag for tag in answer.tags}


def test_seeds_bring_related_hashtags(recommender: Recommender) -> None:
    answer = recommender.recommend(Query(seeds=("catsofinstagram", "kitten")), k=5, explain=True)
    assert {"cat", "cats"} <= {tag.tag for tag in answer.tags}
    assert all(tag.reason for tag in answer.tags)
