"""Queries made ready for the channels: words, seed ids, vectors and topics of a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.hashtags import tokens
from indexer.schema import Embeddings, Query, TopicProbs
from retriever.reading import IndexReader

DEFINED = 0.8  # share of the topic that a query's seeds define, the rest is the text head's
Texts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class QueryBatch:
    """What the channels see of q queries.

    `words` are the caption's words and those that unknown seeds are made of; `seeds` are tag ids
    of known seeds, `seed_tokens` the seeds as the vector spaces write them; `images` are picture
    vectors whose ids are query numbers; `idf` weighs each token, `unseen_idf` any other.
    """

    words: Texts
    seeds: tuple[tuple[int, ...], ...]
    seed_tokens: Texts
    images: Embeddings | None
    topics: TopicProbs
    idf: dict[str, float]
    unseen_idf: float

    def __len__(self) -> int:
        return len(self.words)


def prepare(index: IndexReader, queries: Sequence[Query], images: Embeddings | None) -> QueryBatch:
    """Make queries ready; `images` are their pictures' vectors, ids being query numbers."""
    known = index.tag_ids([seed for query in queries for seed in query.seeds])
    words = tuple(
        tuple(tokens(query.caption))
        + index.words_inside([seed for seed in query.seeds if seed not in known])
        for query in queries
    )
    seed_tokens = tuple(tuple(index.token(seed) for seed in query.seeds) for query in queries)
    return QueryBatch(
        words=words,
        seeds=tuple(tuple(known[s] for s in query.seeds if s in known) for query in queries),
        seed_tokens=seed_tokens,
        images=images,
        topics=_topics(index, queries, words, images),
        idf=index.idf({token for text in (*words, *seed_tokens) for token in text}),
        unseen_idf=index.unseen_idf,
    )


def _topics(
    index: IndexReader, queries: Sequence[Query], words: Texts, images: Embeddings | None
) -> TopicProbs:
    """Topics of each query, from its picture, its text, or both."""
    terms = [
        [*text, *(f"#{seed}" for seed in query.seeds)]
        for query, text in zip(queries, words, strict=True)
    ]
    text = _defined(index, queries, index.topics.from_tokens(terms))
    if images is None or not len(images.ids) or not index.topics.sees:
        return text
    told = TopicProbs(text.topics, text.probs[images.ids])
    probs = text.probs.copy()
    # Where there are no words the text is even, and the picture alone decides.
    probs[images.ids] = index.topics.combine(index.topics.from_images(images.vectors), told).probs
    return TopicProbs(text.topics, probs)


def _defined(index: IndexReader, queries: Sequence[Query], said: TopicProbs) -> TopicProbs:
    """The text head's topics, made nearly sure where seeds define one: that is what defines it."""
    probs = said.probs.copy()
    for number, query in enumerate(queries):
        topic = index.topics.table.defining(query.seeds)
        if topic:
            probs[number] *= 1 - DEFINED
            probs[number, said.topics.index(topic)] += DEFINED
    return TopicProbs(said.topics, probs)
