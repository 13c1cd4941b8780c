"""Prepares a batch of queries for the channels: words, seed ids, vectors and topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.errors import InputError
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Embeddings, Floats, Ids, TopicProbs
from hashlens.retriever.index.author_prior import AuthorPrior
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.pairs import ScoredPairs
from hashlens.retriever.query.glossary import Meant, translate
from hashlens.retriever.query.spelling import OWNED, Spelt, spell
from hashlens.retriever.recommendation import Query

DEFINING_SHARE = 0.8  # of the topic that a query's seeds define; the text model has the rest
Texts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class QueryBatch:
    """What the channels know of q queries.

    Attributes:
        words: of the caption, of unknown seeds and of translations; owners also without `'s`.
        seeds: tag ids of known seeds.
        seed_tokens: the seeds as the vector spaces write them.
        images, texts, seed_texts: vectors whose ids are query numbers.
        classes: float32 (p, 1000), probabilities of ImageNet's classes for each picture.
        word_pairs, seed_pairs: distinct known words by id, with idf, and distinct seeds.
        meant: words that the glossary translates.
        spelt: hashtags that the words spell.
        idf, unseen_idf: weight of each token, and of any other.
        text_idf: weight of each token in vectors, as when the index was trained.
        habits: hashtags of the author who asks.
        cache: results of functions that `ask_once` decorates.
    """

    queries: tuple[Query, ...]
    words: Texts
    seeds: tuple[tuple[int, ...], ...]
    seed_tokens: Texts
    images: Embeddings | None
    classes: Floats | None
    texts: Embeddings
    seed_texts: Embeddings
    topics: TopicProbs
    word_pairs: ScoredPairs
    seed_pairs: ScoredPairs
    meant: tuple[tuple[Meant, ...], ...]
    spelt: Spelt
    idf: dict[str, float]
    text_idf: dict[str, float]
    unseen_idf: float
    habits: AuthorPrior | None = None
    cache: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words)


Result = TypeVar("Result")


def ask_once(
    ask: Callable[[IndexReader, QueryBatch], Result],
) -> Callable[[IndexReader, QueryBatch], Result]:
    """Cache the result of a function in the batch: posts that vote are named as evidence later."""

    @wraps(ask)
    def ask_cached(index: IndexReader, batch: QueryBatch) -> Result:
        if ask.__name__ not in batch.cache:
            batch.cache[ask.__name__] = ask(index, batch)
        result: Result = batch.cache[ask.__name__]
        return result

    return ask_cached


def prepare(
    index: IndexReader,
    queries: Sequence[Query],
    images: Embeddings | None,
    classes: Floats | None = None,
    habits: AuthorPrior | None = None,
) -> QueryBatch:
    """Prepare queries for the channels.

    Args:
        index: the index that answers.
        queries: q queries.
        images: vectors of their pictures; the ids are query numbers.
        classes: each picture's probabilities of ImageNet's classes, if the encoder has them.
        habits: hashtags of the author who asks.
    """
    known = index.tag_ids([seed for query in queries for seed in query.seeds])
    spoken = [tuple(tokens(query.caption)) for query in queries]
    meant = tuple(translate(query.caption) for query in queries)
    unknown = [[seed for seed in query.seeds if seed not in known] for query in queries]
    words: Texts = ()
    for text, seeds_of_text, translations in zip(spoken, unknown, meant, strict=True):
        said = text + index.words_inside(seeds_of_text)
        more = [word for each in translations for word in each.english_words]
        more += [word.removesuffix(OWNED) for word in said if word.endswith(OWNED)]
        words += ((*said, *(word for word in dict.fromkeys(more) if word not in said)),)
    seed_tokens = tuple(tuple(index.token(seed) for seed in query.seeds) for query in queries)
    seeds = tuple(tuple(known[s] for s in query.seeds if s in known) for query in queries)
    idf, text_idf = index.idf({token for text in (*words, *seed_tokens) for token in text})
    ids = index.word_ids({word for text in words for word in text})
    return QueryBatch(
        queries=tuple(queries),
        words=words,
        seeds=seeds,
        seed_tokens=seed_tokens,
        images=images,
        classes=classes,
        texts=index.text_vectors(ALL_TOPICS, words, text_idf),
        seed_texts=index.text_vectors(ALL_TOPICS, seed_tokens, text_idf),
        topics=index.apply_gate(_estimate_topics(index, queries, words, images, classes)),
        word_pairs=_pairs([{ids[w]: idf.get(w, 0.0) for w in text if w in ids} for text in words]),
        seed_pairs=_pairs([dict.fromkeys(tags, 1.0) for tags in seeds]),
        meant=meant,
        spelt=spell(
            index,
            [query.caption for query in queries],
            spoken,
            meant,
            idf,
            [[index.sure_words_inside(seed) for seed in each] for each in unknown],
        ),
        idf=idf,
        text_idf=text_idf,
        unseen_idf=index.unseen_idf,
        habits=habits,
    )


def _pairs(rows: Sequence[dict[int, float]]) -> ScoredPairs:
    """Return the entries of one mapping from id to weight for each query."""
    found = [(query, i, row[i]) for query, row in enumerate(rows) for i in sorted(row)]
    ids: Ids = np.array([(query, i) for query, i, _ in found], np.int64).reshape(-1, 2)
    weights = np.array([[weight] for *_, weight in found], np.float32).reshape(-1, 1)
    return ScoredPairs(ids[:, 0].copy(), ids[:, 1].copy(), weights)


def _estimate_topics(
    index: IndexReader,
    queries: Sequence[Query],
    words: Texts,
    images: Embeddings | None,
    classes: Floats | None,
) -> TopicProbs:
    """Estimate the topics of each query from its picture and its text.

    Seeds that define a topic make it nearly sure. Topics that a person set by hand stay as set;
    the others share the rest in their former proportion.
    """
    terms = [
        [*text, *(f"#{seed}" for seed in query.seeds)]
        for query, text in zip(queries, words, strict=True)
    ]
    text = index.topics.from_tokens(terms)
    names, probs = text.topics, text.probs.copy()
    for row, query in zip(probs, queries, strict=True):
        if topic := index.topics.table.defining(query.seeds):
            row *= 1 - DEFINING_SHARE
            row[names.index(topic)] += DEFINING_SHARE
    if images is not None and len(images.ids) and index.topics.has_image_model:
        # Without words the text is even, and the picture alone decides.
        seen = index.topics.from_images(images.vectors, classes)
        by_text = TopicProbs(names, probs[images.ids])
        probs[images.ids] = index.topics.combine(seen, by_text).probs
    return TopicProbs(names, set_topics(queries, names, probs))


def set_topics(queries: Sequence[Query], topics: Sequence[str], probs: Floats) -> Floats:
    """Return probabilities with the topics that people set by hand, float32 (queries, topics).

    Raises:
        InputError: a topic is unknown, or all are 0.
    """
    probs = probs.copy()
    for row, query in zip(probs, queries, strict=True):
        if not query.topics:
            continue
        unknown = [name for name, _ in query.topics if name not in topics]
        if unknown:
            raise InputError(f"topics: found {unknown[0]!r}, expected some of {', '.join(topics)}")
        named = [topics.index(name) for name, _ in query.topics]
        shares = np.array([share for _, share in query.topics], np.float32)
        row[named] = 0
        row *= max(0, 1 - float(shares.sum())) / max(float(row.sum()), 1e-9)
        row[named] = shares
        row /= row.sum() or 1
        if not row.any():
            raise InputError("topics: found all of them 0, expected at least one above 0")
    return probs
