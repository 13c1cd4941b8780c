"""Queries made ready for the channels: words, seed ids, vectors and topics of a whole batch."""

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
from hashlens.retriever.query.glossary import Meant, understood
from hashlens.retriever.query.spelling import OWNED, Spelt, spell
from hashlens.retriever.recommendation import Query

DEFINED = 0.8  # share of the topic that a query's seeds define, the rest is the text head's
Texts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class QueryBatch:
    """What the channels see of q queries.

    `words` are the caption's words, those that unknown seeds are made of, what the glossary knows
    them to mean (`meant`), and what is left of them without `'s`; `seeds` are tag ids of known
    seeds, `seed_tokens` the seeds as the vector spaces write them; `images`, `texts` and
    `seed_texts` are vectors of pictures, words and seeds whose ids are query numbers; `classes`
    float32 (p, 1000) are the pictures' probabilities of ImageNet's classes; `word_pairs` and
    `seed_pairs` are the different known words (by id, with idf) and seeds of each query; `spelt`
    are the hashtags that its words spell; `idf` weighs each token, `unseen_idf` others; `text_idf`
    weighs tokens in vectors, as when the index learned; `habits` are of who asks. `found` keeps
    what is asked `once`, such as the posts near the queries, which vote and are then named as
    evidence.
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
    found: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words)


Found = TypeVar("Found")


def once(
    ask: Callable[[IndexReader, QueryBatch], Found],
) -> Callable[[IndexReader, QueryBatch], Found]:
    """The same function, which a batch is put to once."""

    @wraps(ask)
    def asked(index: IndexReader, batch: QueryBatch) -> Found:
        if ask.__name__ not in batch.found:
            batch.found[ask.__name__] = ask(index, batch)
        found: Found = batch.found[ask.__name__]
        return found

    return asked


def prepare(
    index: IndexReader,
    queries: Sequence[Query],
    images: Embeddings | None,
    classes: Floats | None = None,
    habits: AuthorPrior | None = None,
) -> QueryBatch:
    """Make queries ready.

    Args:
        index: what is asked.
        queries: q queries.
        images: vectors of their pictures, ids being query numbers.
        classes: of each vector's picture, its probabilities of ImageNet's classes, where the
            encoder has them.
        habits: what who asks usually tags.
    """
    known = index.tag_ids([seed for query in queries for seed in query.seeds])
    spoken = [tuple(tokens(query.caption)) for query in queries]
    meant = tuple(understood(query.caption) for query in queries)
    unknown = [[seed for seed in query.seeds if seed not in known] for query in queries]
    said = [text + index.words_inside(each) for text, each in zip(spoken, unknown, strict=True)]
    words = tuple(text + _besides(text, each) for text, each in zip(said, meant, strict=True))
    seed_tokens = tuple(tuple(index.token(seed) for seed in query.seeds) for query in queries)
    seeds = tuple(tuple(known[s] for s in query.seeds if s in known) for query in queries)
    idf, text_idf = index.idf({token for text in (*words, *seed_tokens) for token in text})
    return QueryBatch(
        queries=tuple(queries),
        words=words,
        seeds=seeds,
        seed_tokens=seed_tokens,
        images=images,
        classes=classes,
        texts=index.text_vectors(ALL_TOPICS, words, text_idf),
        seed_texts=index.text_vectors(ALL_TOPICS, seed_tokens, text_idf),
        topics=index.apply_gate(
            _corrected(queries, _topics(index, queries, words, images, classes))
        ),
        word_pairs=_word_pairs(index, words, idf),
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


def _besides(text: Sequence[str], meant: Sequence[Meant]) -> tuple[str, ...]:
    """The words that a text means besides those that it holds: in English, and without `'s`."""
    words = [word for each in meant for word in each.english_words]
    words += [word.removesuffix(OWNED) for word in text if word.endswith(OWNED)]
    return tuple(word for word in dict.fromkeys(words) if word not in text)


def _word_pairs(index: IndexReader, words: Texts, idf: dict[str, float]) -> ScoredPairs:
    """The words that posts hold, by id, with their idf."""
    ids = index.word_ids({word for text in words for word in text})
    return _pairs([{ids[w]: idf.get(w, 0.0) for w in text if w in ids} for text in words])


def _pairs(rows: Sequence[dict[int, float]]) -> ScoredPairs:
    """Entries of one mapping from id to weight for each query."""
    found = [(query, i, row[i]) for query, row in enumerate(rows) for i in sorted(row)]
    ids: Ids = np.array([(query, i) for query, i, _ in found], np.int64).reshape(-1, 2)
    weights = np.array([[weight] for *_, weight in found], np.float32).reshape(-1, 1)
    return ScoredPairs(ids[:, 0].copy(), ids[:, 1].copy(), weights)


def _topics(
    index: IndexReader,
    queries: Sequence[Query],
    words: Texts,
    images: Embeddings | None,
    classes: Floats | None,
) -> TopicProbs:
    """Topics of each query, from its picture, its text, or both."""
    terms = [
        [*text, *(f"#{seed}" for seed in query.seeds)]
        for query, text in zip(queries, words, strict=True)
    ]
    text = _defined(index, queries, index.topics.from_tokens(terms))
    if images is None or not len(images.ids) or not index.topics.has_image_model:
        return text
    told = TopicProbs(text.topics, text.probs[images.ids])
    probs = text.probs.copy()
    # Where there are no words the text is even, and the picture alone decides.
    seen = index.topics.from_images(images.vectors, classes)
    probs[images.ids] = index.topics.combine(seen, told).probs
    return TopicProbs(text.topics, probs)


def _corrected(queries: Sequence[Query], found: TopicProbs) -> TopicProbs:
    """Topics as people set them by hand; those not named share what is left as they did before."""
    probs = found.probs.copy()
    for row, query in zip(probs, queries, strict=True):
        if not query.topics:
            continue
        unknown = [name for name, _ in query.topics if name not in found.topics]
        if unknown:
            raise InputError(
                f"topics: found {unknown[0]!r}, expected some of {', '.join(found.topics)}"
            )
        named = [found.topics.index(name) for name, _ in query.topics]
        shares = np.array([share for _, share in query.topics], np.float32)
        row[named] = 0
        row *= max(0, 1 - float(shares.sum())) / max(float(row.sum()), 1e-9)
        row[named] = shares
        row /= row.sum() or 1
        if not row.any():
            raise InputError("topics: found all of them 0, expected one at least above it")
    return TopicProbs(found.topics, probs)


def _defined(index: IndexReader, queries: Sequence[Query], said: TopicProbs) -> TopicProbs:
    """The text head's topics, made nearly sure where seeds define one: that is what defines it."""
    probs = said.probs.copy()
    for number, query in enumerate(queries):
        topic = index.topics.table.defining(query.seeds)
        if topic:
            probs[number] *= 1 - DEFINED
            probs[number, said.topics.index(topic)] += DEFINED
    return TopicProbs(said.topics, probs)
