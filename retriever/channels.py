"""The channels: one function per kind of evidence, from a batch of queries to scored candidates.

Each returns rows (query, tag, score), higher is better, and is silent for a query that lacks its
input. All work on the whole batch at once, in SQL or FAISS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.config import ALL_TOPICS
from indexer.schema import Floats, Ids, Neighbors, TopicProbs
from indexer.textvectors import text_vectors
from retriever.prepare import QueryBatch
from retriever.reading import IndexReader

NEIGHBOURS = 100  # posts that may vote
AROUND = 300  # hashtags taken around a text vector in each space
OFF_TOPIC = 0.3  # what a picture neighbour's hashtag counts that is in none of the query's topics
PRIOR = 0.1  # weight of a hashtag's log post count beside a cosine: rare ones crowd every corner
DISCOUNT = 0.7  # authors taken off each count of a word beside a hashtag
MOST = 300  # candidates a channel may name for one query
LIKELY = 0.15  # topics at least this probable have their space searched
MOST_TOPICS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Rows of (query, tag, score): `queries` and `tags` int64 (r,), `scores` float32 (r,)."""

    queries: Ids
    tags: Ids
    scores: Floats


Channel = Callable[[IndexReader, QueryBatch], Scored]

NO_NEIGHBOURS: dict[str, Any] = {"query": [], "post_key": [], "similarity": []}
SILENT = Scored(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def _ask(index: IndexReader, query: str, **tables: dict[str, Any]) -> Scored:
    """The best rows, per query, of columns query, tag_id, score; silent where a table is empty."""
    if not all(len(next(iter(columns.values()))) for columns in tables.values()):
        return SILENT
    columns = index.store.arrays(
        f"""select * from ({query})
        qualify row_number() over (partition by query order by score desc, tag_id) <= {MOST}""",  # noqa: S608
        **tables,
    )
    return Scored(
        columns["query"].astype(np.int64),
        columns["tag_id"].astype(np.int64),
        columns["score"].astype(np.float32),
    )


def _pairs(rows: Iterable[Sequence[Any]], name: str) -> dict[str, Any]:
    """Columns (query, `name`) of one sequence of values per query."""
    pairs = [(query, value) for query, values in enumerate(rows) for value in values]
    return {"query": [q for q, _ in pairs], name: [value for _, value in pairs]}


def seed_columns(batch: QueryBatch) -> dict[str, Any]:
    """Columns (query, tag_id) of the known seeds."""
    return _pairs(batch.seeds, "tag_id")


def word_columns(batch: QueryBatch) -> dict[str, Any]:
    """Columns (query, word, weight) of each query's different words, weighed by idf."""
    pairs = _pairs([tuple(dict.fromkeys(words)) for words in batch.words], "word")
    return pairs | {"weight": [batch.idf.get(word, 0.0) for word in pairs["word"]]}


def _neighbor_columns(queries: Ids, neighbors: Neighbors, name: str) -> dict[str, Any]:
    """Columns (query, `name`, similarity) of the real neighbours of each query."""
    real = np.arange(neighbors.ids.shape[1]) < neighbors.counts[:, None]
    return {
        "query": np.repeat(queries, neighbors.counts),
        name: neighbors.ids[real],
        "similarity": neighbors.scores[real],
    }


def nearest_images(index: IndexReader, batch: QueryBatch) -> dict[str, Any]:
    """Columns (query, post_key, similarity): posts with the nearest pictures."""
    if batch.images is None or index.images is None:
        return NO_NEIGHBOURS
    near = index.images.search(batch.images.vectors, NEIGHBOURS)
    return _neighbor_columns(batch.images.ids, near, "post_key")


def nearest_captions(index: IndexReader, batch: QueryBatch) -> dict[str, Any]:
    """Columns (query, post_key, similarity): posts with the nearest captions."""
    space = index.space(ALL_TOPICS)
    if space is None or index.captions is None:
        return NO_NEIGHBOURS
    texts = text_vectors(space, batch.words, batch.idf, batch.unseen_idf)
    if not len(texts.ids):
        return NO_NEIGHBOURS
    return _neighbor_columns(
        texts.ids, index.captions.search(texts.vectors, NEIGHBOURS), "post_key"
    )


def _vote(index: IndexReader, neighbours: dict[str, Any]) -> Scored:
    """Hashtags of neighbouring posts; an author's many alike posts count once, by the nearest."""
    return _ask(
        index,
        """with ballots as (
            select query, tag_id, coalesce(author, '#' || post_key) as author,
                   max(similarity) as weight
            from neighbours join post_hashtags using (post_key) join posts using (post_key)
            where similarity > 0 group by all)
        select query, tag_id, sum(weight ** 4) as score from ballots group by all""",
        neighbours=neighbours,
    )


def image_neighbours(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags of the posts whose pictures are nearest (cosine of encoder features).

    Those that belong to the query's topics count more: what looks alike may mean something else.
    """
    votes = _vote(index, nearest_images(index, batch))
    return _ask(
        index,
        f"""with shares as (
            select query, tag_id, sum(prob * t.posts / h.posts) as share
            from votes join likely using (query) join hashtag_topics t using (topic, tag_id)
            join hashtag_counts h using (tag_id) group by all)
        select query, tag_id, vote * ({OFF_TOPIC} + coalesce(share, 0)) as score
        from votes left join shares using (query, tag_id)""",  # noqa: S608
        votes={"query": votes.queries, "tag_id": votes.tags, "vote": votes.scores},
        likely=_topic_columns(batch.topics),
    )


def caption_neighbours(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags of the posts whose captions are nearest (cosine of idf-weighted mean vectors)."""
    return _vote(index, nearest_captions(index, batch))


def caption_vectors(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags around the caption's vector, in the space of each likely topic."""
    return _around(index, batch, batch.words)


def seed_vectors(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags around the seeds' vector, in the space of each likely topic."""
    return _around(index, batch, batch.seed_tokens)


def _around(index: IndexReader, batch: QueryBatch, texts: Sequence[Sequence[str]]) -> Scored:
    parts = []
    for topic, shares in _shares(batch.topics).items():
        space, hashtags = index.space(topic), index.hashtags(topic)
        asked = np.flatnonzero(shares > 0)
        if space is None or hashtags is None or not len(asked):
            continue
        found = text_vectors(space, [texts[int(q)] for q in asked], batch.idf, batch.unseen_idf)
        if not len(found.ids):
            continue
        queries = asked[found.ids]
        near = _neighbor_columns(queries, hashtags.search(found.vectors, AROUND), "tag_id")
        parts.append(near | {"share": shares[near["query"]]})
    if not parts:
        return SILENT
    columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return _ask(
        index,
        f"""select query, tag_id, sum(share * (similarity + {PRIOR} * ln(posts))) as score
            from around join hashtag_counts using (tag_id) where similarity > 0 group by all""",  # noqa: S608
        around=columns,
    )


def _shares(topics: TopicProbs) -> dict[str, Floats]:
    """How much each space speaks, float32 (q,): likely topics by probability, all the rest."""
    top = np.sort(topics.probs, axis=1)[:, -MOST_TOPICS:].min(axis=1, keepdims=True)
    likely = np.where(topics.probs >= np.maximum(top, LIKELY), topics.probs, 0)
    rest = np.maximum(1 - likely.sum(axis=1), 0.25)
    return {ALL_TOPICS: rest} | dict(zip(topics.topics, likely.T, strict=True))


def cooccurrence(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags used with the seeds: the sum of P(tag given seed), shrunk for rare seeds."""
    return _ask(
        index,
        """select query, other_id as tag_id, sum(c.authors / (s.authors + 2)) as score
            from seeds join cooccurrences c using (tag_id) join hashtag_counts s using (tag_id)
            group by all""",
        seeds=seed_columns(batch),
    )


def word_counts(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags used with the caption's words: the sum of idf(word)^2 * P(tag given word).

    The probability is discounted (Ney et al. 1994): one author's pairing is mostly chance.
    """
    return _ask(
        index,
        f"""select query, tag_id,
                sum(weight * weight * (h.authors - {DISCOUNT}) / (w.authors + 5)) as score
            from asked join word_counts w using (word) join word_hashtags h using (word_id)
            group by all""",  # noqa: S608
        asked=word_columns(batch),
    )


def spelled(index: IndexReader, batch: QueryBatch) -> Scored:
    """Hashtags that the caption's words spell, alone or two or three joined."""
    texts = [_joined(words, batch) for words in batch.words]
    spelt = [(q, term, weight) for q, text in enumerate(texts) for term, weight in text.items()]
    return _ask(
        index,
        """select query, tag_id, weight * ln(1 + authors) as score
            from spelt join hashtag_counts using (key)""",
        spelt={
            "query": [q for q, _, _ in spelt],
            "key": [term for _, term, _ in spelt],
            "weight": [weight for _, _, weight in spelt],
        },
    )


def _joined(words: Sequence[str], batch: QueryBatch) -> dict[str, float]:
    """Every run of one to three words as a key, weighed by its rarest word."""
    runs = (words[i : i + n] for n in (1, 2, 3) for i in range(len(words) - n + 1))
    return {"".join(run): max(batch.idf.get(w, batch.unseen_idf) for w in run) for run in runs}


def _topic_columns(topics: TopicProbs) -> dict[str, Any]:
    """Columns (query, topic, prob) of the topics that are possible at all."""
    queries, places = np.nonzero(topics.probs > 0.01)
    names = [topics.topics[place] for place in places]
    return {"query": queries, "topic": names, "prob": topics.probs[queries, places]}


def topic_top(index: IndexReader, batch: QueryBatch) -> Scored:
    """Each topic's own top hashtags, by share of its authors times the topic's probability."""
    return _ask(
        index,
        f"""with ranked as (
                select topic, tag_id, authors / sum(authors) over (partition by topic) as share,
                       row_number() over (partition by topic order by authors desc, tag_id) as place
                from hashtag_topics)
            select query, tag_id, sum(prob * share) as score
            from likely join ranked using (topic) where place <= {NEIGHBOURS} group by all""",  # noqa: S608
        likely=_topic_columns(batch.topics),
    )


CHANNELS: dict[str, Channel] = {
    "image neighbours": image_neighbours,
    "caption neighbours": caption_neighbours,
    "caption vectors": caption_vectors,
    "seed vectors": seed_vectors,
    "co-occurrence": cooccurrence,
    "word counts": word_counts,
    "spelled": spelled,
    "topic": topic_top,
}
