"""The course report's methods by vectors: the hashtags nearest to the mean of what is given.

Word2Vec: Mikolov et al. 2013. GloVe: Pennington et al. 2014. Both learn one space of words and
hashtags, or one a topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Ranking, Scores, Vocabulary, answers
from hashlens.evaluation.methods.feature_learning import post_terms, query_terms
from hashlens.indexer.config import VECTOR_PRESETS, TopicConfig, VectorConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.text import text_vectors
from hashlens.indexer.embeddings.training import train
from hashlens.indexer.topics.model import bare
from hashlens.indexer.types import Floats, Ids, Post, Query

WORD2VEC = VECTOR_PRESETS["report-word2vec"]
GLOVE = VECTOR_PRESETS["report-glove"]
PRETRAINED = VECTOR_PRESETS["report-pretrained"]


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """A space, and which of its rows are hashtags: `columns` of the vocabulary, their `tags`."""

    words: WordSpace
    columns: Ids
    tags: Floats
    signed: bool

    @classmethod
    def learned(
        cls, sentences: Sequence[Sequence[str]], config: VectorConfig, vocabulary: Vocabulary
    ) -> Space:
        """Train on sentences of words and `#hashtags`, in one thread so that it is repeatable."""
        pretrained = None
        if config.method == "pretrained+word2vec":
            pretrained = _known_among(sentences)
        words = train(sentences, config, pretrained=pretrained).trained()
        signed = not config.hashtags_as_text
        columns, rows = words.found([f"#{t}" if signed else t for t in vocabulary.terms])
        return cls(words, columns, words.vectors[rows], signed)

    def cosines(self, queries: Sequence[Query]) -> tuple[Ids, Floats]:
        """Places of the m queries with a known word, and cosines (m, columns) of their mean."""
        texts = query_terms(queries)
        if not self.signed:
            texts = [[bare(word) for word in text] for text in texts]
        means = text_vectors(self.words, texts, {}, 1.0)
        return means.ids, means.vectors @ self.tags.T


def _known_among(sentences: Sequence[Sequence[str]]) -> WordSpace:
    """The pretrained words that the posts hold; training does nothing with the others.

    One word is kept in any case, since training asks for some.
    """
    pretrained = _pretrained()
    held = sorted({bare(word) for sentence in sentences for word in sentence})
    rows = np.sort(pretrained.found(held)[1])
    if not len(rows):
        rows = np.zeros(1, np.int64)
    words = tuple(pretrained.words[row] for row in rows)
    return WordSpace(words, pretrained.vectors[rows], pretrained.counts[rows])


@cache
def _pretrained() -> WordSpace:
    return load_pretrained()


class NearestHashtags:
    """Hashtags by the cosine between their vector and the mean of the query's words and seeds."""

    inputs = frozenset({"caption", "seeds"})

    def __init__(self, name: str, config: VectorConfig) -> None:
        """Take a name, and how vectors are learned."""
        self.name = name
        self._config = config

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn the space; see `Method`."""
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        self._space = Space.learned(post_terms(posts), self._config, self._vocabulary)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        places, cosines = self._space.cosines(queries)
        scores[np.ix_(places, self._space.columns)] = cosines
        return scores


class NearestInTopic:
    """The same in a space of the query's topic alone, learned from that topic's posts.

    The topic is the likeliest by `Features`, from picture or text. A query that gives no word or
    seed known to the topic's space gets the topic's most used hashtags, with scores that are
    shares of its posts, and so does each query of a topic whose space holds no hashtag. A query
    of unknown topic, or of one without posts, gets nothing.
    """

    inputs = frozenset({"image", "caption", "seeds"})

    def __init__(self, name: str, config: VectorConfig) -> None:
        """Take a name, and how vectors are learned."""
        self.name = name
        self._config = config

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn a space for each topic; see `Method`."""
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        self._queries = features.query_topics if features else None
        self._topics = topic_posts(posts, features)
        terms = post_terms(posts)
        self._spaces = {
            topic: Space.learned([terms[row] for row in rows], self._config, self._vocabulary)
            for topic, rows in self._topics.items()
        }
        self._shares = topic_shares(posts, self._topics, self._vocabulary)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        if self._queries is None:
            return scores
        known, probs = self._queries.of(queries)
        best = probs.argmax(axis=1)
        for topic, space in self._spaces.items():
            rows = known[best == topic]
            scores[rows] = self._shares[topic]
            if not len(space.columns):  # too few posts for a vector of any hashtag
                continue
            places, cosines = space.cosines([queries[row] for row in rows])
            scores[rows[places]] = 0
            scores[np.ix_(rows[places], space.columns)] = cosines
        return scores


def topic_posts(posts: Sequence[Post], features: Features | None) -> dict[int, list[int]]:
    """Rows of the posts of each topic, where a topic is likely enough; topics without are absent.

    As in a build, a post whose likeliest topic is below `TopicConfig.min_probability` has none.
    """
    if features is None or features.post_topics is None:
        return {}
    places, probs = features.post_topics.of([post.post_id for post in posts])
    sure = probs.max(axis=1, initial=0) >= TopicConfig().min_probability
    best = np.where(sure, probs.argmax(axis=1), -1) if probs.shape[1] else np.zeros(0)
    return {
        topic: places[best == topic].tolist()
        for topic in range(len(features.topics))
        if (best == topic).any()
    }


def topic_shares(
    posts: Sequence[Post], topics: dict[int, list[int]], vocabulary: Vocabulary
) -> dict[int, NDArray[np.float64]]:
    """Share of each topic's posts that use each hashtag, float64 (v,)."""
    uses = vocabulary.matrix([post.hashtags for post in posts])
    return {
        topic: np.asarray(uses[rows].sum(axis=0)).ravel() / len(rows)
        for topic, rows in topics.items()
    }
