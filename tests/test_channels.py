"""Channels on a tiny index of known posts: every score is worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from indexer.build import build
from indexer.config import BuildConfig, VectorConfig
from indexer.schema import Query
from retriever import channels
from retriever.channels import Scored
from retriever.gather import gather
from retriever.prepare import prepare
from retriever.reading import IndexReader

POSTS = [
    ("ann", "walk in the park", ["dog", "park"]),
    ("ann", "walk again", ["dog", "park"]),
    ("bob", "long walk", ["dog", "beach"]),
    ("cat", "sleepy kitten", ["kitten", "home"]),
    ("dan", "my kitten", ["kitten", "home"]),
    ("dan", "walk home", ["home", "mybrand"]),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> IndexReader:
    folder = tmp_path_factory.mktemp("tiny")
    rows = [
        json.dumps({"id": f"p{n}", "author": author, "caption": caption, "hashtags": tags})
        for n, (author, caption, tags) in enumerate(POSTS)
    ]
    (folder / "posts.jsonl").write_text("\n".join(rows))
    config = BuildConfig(vectors=VectorConfig("word2vec", 8, min_count=1))
    build([folder], folder / "index", config=config, workers=1)
    return IndexReader.open(folder / "index")


def said(index: IndexReader, scored: Scored, query: int = 0) -> dict[str, float]:
    names = index.names(scored.tags.tolist())
    return {
        names[tag][0]: score
        for q, tag, score in zip(
            scored.queries.tolist(), scored.tags.tolist(), scored.scores.tolist(), strict=True
        )
        if q == query
    }


def test_cooccurrence_sums_shrunk_author_shares(index: IndexReader) -> None:
    batch = prepare(index, [Query(seeds=("dog",)), Query(seeds=("dog", "kitten"))], None)
    scored = channels.cooccurrence(index, batch)
    # #dog has two authors; one of them also uses #park, the other #beach.
    assert said(index, scored) == pytest.approx({"park": 1 / 4, "beach": 1 / 4})
    assert said(index, scored, 1) == pytest.approx({"park": 1 / 4, "beach": 1 / 4, "home": 2 / 4})


def test_word_counts_weigh_words_by_rarity(index: IndexReader) -> None:
    batch = prepare(index, [Query(caption="Walk, walk!")], None)
    idf = math.log1p(6 / 4)  # four of six posts hold `walk`, of three authors
    authors = {"dog": 2, "park": 1, "beach": 1, "home": 1, "mybrand": 1}
    assert said(index, channels.word_counts(index, batch)) == pytest.approx(
        {tag: idf**2 * (n - 0.7) / (3 + 5) for tag, n in authors.items()}, rel=1e-5
    )


def test_words_spell_hashtags_alone_and_joined(index: IndexReader) -> None:
    batch = prepare(index, [Query(caption="kit ten at home")], None)
    spelt = said(index, channels.spelled(index, batch))
    unseen, home = math.log1p(6), math.log1p(6 / 1)
    assert spelt == pytest.approx(
        {"kitten": unseen * math.log(3), "home": home * math.log(3)}, rel=1e-5
    )


def test_an_authors_alike_posts_vote_once(index: IndexReader) -> None:
    batch = prepare(index, [Query(caption="walk in the park")], None)
    near = channels.nearest_captions(index, batch)
    by_post = dict(zip(near["post_key"].tolist(), near["similarity"].tolist(), strict=True))
    assert by_post[0] == pytest.approx(1, abs=1e-3)
    votes = said(index, channels.caption_neighbours(index, batch))
    ann = max(by_post[0], by_post[1])
    assert votes["park"] == pytest.approx(ann**4, rel=1e-4)
    assert votes["dog"] == pytest.approx(ann**4 + max(by_post[2], 0) ** 4, rel=1e-4)


def test_caption_neighbours_are_those_of_brute_force(index: IndexReader) -> None:
    batch = prepare(index, [Query(caption="my sleepy kitten")], None)
    near = channels.nearest_captions(index, batch)
    space = index.space("all")
    assert space is not None
    captions = [text.split() for _, text, _ in POSTS]
    weights = index.idf({word for text in captions for word in text})

    def vector(words: list[str]) -> np.ndarray:
        return space.mean(words, [weights.get(w, index.unseen_idf) for w in words])

    query = vector(["my", "sleepy", "kitten"])
    cosines = {key: float(vector(text) @ query) for key, text in enumerate(captions)}
    found = dict(zip(near["post_key"].tolist(), near["similarity"].tolist(), strict=True))
    assert found == pytest.approx(cosines, abs=2e-3)


def test_candidates_hold_neither_seeds_nor_brands(index: IndexReader) -> None:
    queries = [Query(caption="walk home", seeds=("dog",)), Query(caption="walk home")]
    batch = prepare(index, queries, None)
    with_seed, without = (
        {index.names([tag])[tag][0] for tag in found.tag_ids.tolist()}
        for found in gather(index, batch)
    )
    assert "dog" in without
    assert "dog" not in with_seed
    assert not {"park", "beach", "mybrand"} & (with_seed | without)  # one author each


def test_hashtags_on_the_block_list_are_never_offered(tmp_path: Path) -> None:
    rows = [{"author": f"a{n}", "caption": f"walk {n} #ad #dog #LikeForLike"} for n in range(4)]
    (tmp_path / "posts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    build([tmp_path], tmp_path / "index", config=BuildConfig(vectors=VectorConfig("word2vec", 8)))
    index = IndexReader.open(tmp_path / "index")
    known = index.tag_ids(["ad", "dog", "likeforlike"])
    assert {key: bool(index.offered[tag]) for key, tag in known.items()} == {
        "ad": False,
        "dog": True,
        "likeforlike": False,
    }
