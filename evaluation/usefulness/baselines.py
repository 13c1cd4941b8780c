"""Simple systems that stand beside the product: what an answer is worth without one.

Popularity, the topic's top hashtags, word counts and co-occurrence are counted from the index that
is judged. Neighbours need posts with captions or pictures, which the bundled index does not hold:
they learn from a folder of posts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Method
from hashlens.evaluation.usefulness.figures import AnsweredTag, Answers
from hashlens.evaluation.usefulness.panel import PanelPost
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Ids, Post
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query

ANSWERED = 5  # hashtags a baseline answers, as many as the product by default
LONGEST_WORDS = "longest-words"
CHECKED = 200  # hashtags of a baseline that are looked at: seeds among them are left out

Scores = NDArray[np.float64]


def answer_longest_words(query: Query) -> list[str]:
    """Return the longest words of a caption, the earlier of equals first, no seeds."""
    words = [word for word in dict.fromkeys(tokens(query.caption)) if word not in query.seeds]
    return sorted(words, key=len, reverse=True)[:ANSWERED]


class IndexCounts:
    """Baselines that are counted from an index, with the hashtags that it may offer."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._offered = index.tag_posts > 0

    def rank_popular(self, query: Query) -> list[str]:
        """Return the hashtags of most posts."""
        return self._name(self._index.tag_posts.astype(np.float64), query)

    def rank_topic(self, query: Query, topic: str | None) -> list[str]:
        """Return the hashtags of most authors in a topic; none if the topic is None."""
        if topic is None:
            return []
        column = self._index.topic_names.index(topic)
        return self._name(self._index.counts.topics[:, column].astype(np.float64), query)

    def rank_words(self, query: Query) -> list[str]:
        """Rank by the sum over words of idf(word) * P(hashtag given word), counted by authors."""
        counts = self._index.counts
        found = self._index.word_ids(set(tokens(query.caption)))
        ids = np.array(sorted(found.values()), np.int64)
        authors = np.maximum(counts.words[ids, 1], 1)
        weights = np.log(np.maximum(counts.authors / authors, 1)) / authors
        places, tags, values = counts.word_tags.rows(ids)
        return self._name(self._sum(tags, weights[places] * values[:, 0]), query)

    def rank_company(self, query: Query) -> list[str]:
        """Rank by the sum over seeds of P(hashtag given seed), counted by authors."""
        counts = self._index.counts
        ids = np.array(sorted(self._index.tag_ids(query.seeds).values()), np.int64)
        authors = np.maximum(counts.hashtags[ids, 1], 1)
        places, tags, values = counts.tag_tags.rows(ids)
        return self._name(self._sum(tags, values[:, 0] / authors[places]), query)

    def _sum(self, tags: Ids, weights: Scores) -> Scores:
        sums: Scores = np.bincount(tags, weights, self._index.hashtag_count).astype(np.float64)
        return sums

    def _name(self, scores: Scores, query: Query) -> list[str]:
        """Return the keys of the best scores above 0, no seeds, ties by id."""
        scores = np.where(self._offered, scores, 0)
        best = np.argsort(-scores, kind="stable")[:CHECKED]
        best = best[scores[best] > 0]
        names = self._index.names(best.tolist())
        keys = (names[tag][0] for tag in best.tolist())
        return [key for key in keys if key not in query.seeds][:ANSWERED]


def answer_baselines(
    posts: Sequence[PanelPost], index: IndexReader, topics: dict[str, str | None]
) -> dict[str, Answers]:
    """Return the answers of the baselines that need no posts, by their name.

    Args:
        posts: of the panel.
        index: whose counts they use.
        topics: likeliest topic by id of post, None if no topic is likelier than others.
    """
    counts = IndexCounts(index)
    queries = {post.post_id: post.query for post in posts}

    def ask(rank: Callable[[Query], list[str]], field: str | None = None) -> Answers:
        return {
            post_id: _tags(rank(query))
            for post_id, query in queries.items()
            if field is None or field in query.inputs
        }

    return {
        LONGEST_WORDS: ask(answer_longest_words, "caption"),
        "popularity": ask(counts.rank_popular),
        "topic-top-five": {
            post_id: _tags(counts.rank_topic(query, topics[post_id]))
            for post_id, query in queries.items()
        },
        "word-counts": ask(counts.rank_words, "caption"),
        "cooccurrence": ask(counts.rank_company, "seeds"),
    }


def answer_neighbours(
    posts: Sequence[PanelPost], sources: Sequence[Path], rule: str
) -> dict[str, Answers]:
    """Return the answers of tf-idf and image neighbours, which learn from posts, by their name.

    Image neighbours are left out if no post of the sources has a picture.

    Raises:
        InputError: the sources have no usable post.
        SetupError: the benchmark's libraries are not installed.
    """
    from hashlens.evaluation.methods.caption_methods import TfidfKnn
    from hashlens.evaluation.methods.feature_learning import ENCODER, encode_pictures
    from hashlens.evaluation.methods.knn import ImageKnn
    from hashlens.evaluation.methods.method_registry import check_libraries
    from hashlens.evaluation.tasks.suite import read_all_posts
    from hashlens.indexer.images.encoder import open_encoder

    check_libraries()
    learned = read_all_posts(sources, rule, [])
    captioned = [post for post in posts if post.caption]
    found = {TfidfKnn.name: _ask_method(TfidfKnn(), learned, captioned, None)}
    pictured = [post for post in posts if post.image]
    shown = [post for post in learned if post.image]
    if pictured and shown:
        paths = [*(post.image for post in shown), *(post.image for post in pictured)]
        features = Features(encode_pictures(paths, open_encoder(ENCODER)))
        found[ImageKnn.name] = _ask_method(ImageKnn(), shown, pictured, features)
    return found


def _ask_method(
    method: Method, learned: Sequence[Post], posts: Sequence[PanelPost], features: Features | None
) -> Answers:
    method.fit(learned, features=features)
    rankings = method.recommend([post.query for post in posts], ANSWERED)
    return {
        post.post_id: _tags(tag for tag, _ in ranking)
        for post, ranking in zip(posts, rankings, strict=True)
    }


def _tags(keys: Iterable[str]) -> list[AnsweredTag]:
    return [AnsweredTag(key) for key in keys]
