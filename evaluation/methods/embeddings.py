"""The embedding methods of the course report: hashtags nearest to the mean of the query's words.

Word2Vec: Mikolov et al. 2013. GloVe: Pennington et al. 2014. Each method trains one space of words
and hashtags, or one for each topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Scores, ScoringMethod, TermIndex, sum_columns
from hashlens.evaluation.methods.feature_learning import post_terms, query_terms
from hashlens.indexer.config import VECTOR_PRESETS, TopicConfig, VectorConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.space_training import train_space
from hashlens.indexer.embeddings.text_vectors import text_vectors
from hashlens.indexer.text.hashtags import strip_sign
from hashlens.indexer.types import Floats, Ids, Post
from hashlens.retriever.recommendation import Query

WORD2VEC = VECTOR_PRESETS["report-word2vec"]
GLOVE = VECTOR_PRESETS["report-glove"]
PRETRAINED = VECTOR_PRESETS["report-pretrained"]

_load_pretrained = cache(load_pretrained)  # used once a topic


@dataclass(frozen=True, slots=True, eq=False)
class HashtagSpace:
    """A trained space, with the vectors of hashtags at `columns` of the vocabulary.

    `signed` is true if hashtags are trained as `#hashtag`, apart from the plain word.
    """

    words: WordSpace
    columns: Ids
    tags: Floats
    signed: bool

    @classmethod
    def fit(
        cls, sentences: Sequence[Sequence[str]], config: VectorConfig, vocabulary: TermIndex
    ) -> HashtagSpace:
        """Train on sentences of words and `#hashtags`, in one thread so that it is repeatable."""
        pretrained = None
        if config.method == "pretrained+word2vec":
            # Training ignores pretrained words that no sentence holds, but needs one at least.
            pretrained = _load_pretrained()
            used = sorted({strip_sign(word) for sentence in sentences for word in sentence})
            rows = np.sort(pretrained.lookup(used)[1])
            rows = rows if len(rows) else np.zeros(1, np.int64)
            words = tuple(pretrained.words[row] for row in rows)
            pretrained = WordSpace(words, pretrained.vectors[rows], pretrained.counts[rows])
        space = train_space(sentences, config, pretrained=pretrained).without_pretrained()
        signed = not config.hashtags_as_text
        columns, rows = space.lookup([f"#{t}" if signed else t for t in vocabulary.terms])
        return cls(space, columns, space.vectors[rows], signed)

    def cosines(self, queries: Sequence[Query]) -> tuple[Ids, Floats]:
        """Return positions of the m queries with a known word, and cosines (m, columns)."""
        texts = query_terms(queries)
        if not self.signed:
            texts = [[strip_sign(word) for word in text] for text in texts]
        means = text_vectors(self.words, texts, {}, 1.0)
        return means.ids, means.vectors @ self.tags.T


class NearestHashtags(ScoringMethod):
    """Hashtags by the cosine between their vector and the mean of the query's words and seeds."""

    inputs = frozenset({"caption", "seeds"})

    def __init__(self, name: str, config: VectorConfig) -> None:
        """Set the name and the settings of the training."""
        self.name = name
        self._config = config

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Train the space; see `Method`."""
        self._vocabulary = TermIndex.count(post.hashtags for post in posts)
        self._space = HashtagSpace.fit(post_terms(posts), self._config, self._vocabulary)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = self._zeros(queries)
        rows, cosines = self._space.cosines(queries)
        scores[np.ix_(rows, self._space.columns)] = cosines
        return scores


class NearestInTopic(NearestHashtags):
    """The same in a space that is trained on the posts of the query's topic alone.

    The topic is the likeliest by `Features`, from picture or text. If its space holds no word of
    the query or no hashtag, the answer is the topic's most used hashtags. Their scores are shares
    of the topic's posts. A query of unknown topic, or of one without posts, has an empty answer.
    """

    inputs = frozenset({"image", "caption", "seeds"})

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Train a space for each topic; see `Method`."""
        self._vocabulary = TermIndex.count(post.hashtags for post in posts)
        self._queries = features.query_topics if features else None
        topics = posts_by_topic(posts, features)
        terms = post_terms(posts)
        self._spaces = {
            topic: HashtagSpace.fit([terms[row] for row in rows], self._config, self._vocabulary)
            for topic, rows in topics.items()
        }
        self._shares = topic_shares(posts, topics, self._vocabulary)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = self._zeros(queries)
        if self._queries is None:
            return scores
        known, probs = self._queries.lookup(queries)
        best = probs.argmax(axis=1)
        for topic, space in self._spaces.items():
            rows = known[best == topic]
            scores[rows] = self._shares[topic]
            if not len(space.columns):  # too few posts for a vector of any hashtag
                continue
            with_words, cosines = space.cosines([queries[row] for row in rows])
            scores[rows[with_words]] = 0
            scores[np.ix_(rows[with_words], space.columns)] = cosines
        return scores


def posts_by_topic(posts: Sequence[Post], features: Features | None) -> dict[int, list[int]]:
    """Return the rows of the posts of each topic that has any.

    As in a build, a post has no topic if the likeliest is below `TopicConfig.min_probability`.
    """
    if features is None or features.post_topics is None:
        return {}
    known, probs = features.post_topics.lookup([post.post_id for post in posts])
    likely = probs.max(axis=1, initial=0) >= TopicConfig().min_probability
    best = np.where(likely, probs.argmax(axis=1), -1) if probs.shape[1] else np.zeros(0)
    return {
        topic: known[best == topic].tolist()
        for topic in range(len(features.topics))
        if (best == topic).any()
    }


def topic_shares(
    posts: Sequence[Post], topics: dict[int, list[int]], vocabulary: TermIndex
) -> dict[int, NDArray[np.float64]]:
    """Return the share of each topic's posts that use each hashtag, float64 (v,)."""
    uses = vocabulary.matrix([post.hashtags for post in posts])
    return {topic: sum_columns(uses[rows]) / len(rows) for topic, rows in topics.items()}
