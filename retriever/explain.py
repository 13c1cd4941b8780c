"""Which posts stand behind a recommended hashtag, for each channel that rests on posts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from indexer.errors import HashlensError
from indexer.schema import Recommendation, ScoredTag
from retriever.channels import nearest_captions, nearest_images, seed_columns, word_columns
from retriever.prepare import QueryBatch
from retriever.reading import IndexReader

POSTS = 3  # posts named for each channel of a hashtag

Supports = dict[tuple[int, str], tuple[str, ...]]  # posts by (query, hashtag key)

# Each gives rows (query, post_key, weight) from the table that its channel started from.
_WEIGHED = {
    "neighbours": "select query, post_key, similarity as weight from given",
    "seeds": """select query, post_key, count(*) as weight
        from given join post_hashtags using (tag_id) group by all""",
    "words": """select query, post_key, sum(weight) as weight
        from given join words using (word) join post_words using (word_id) group by all""",
}


def explained(
    index: IndexReader, batch: QueryBatch, answers: Sequence[Recommendation | HashlensError]
) -> list[Recommendation | HashlensError]:
    """The same answers, their evidence naming up to three posts a channel, strongest first."""
    chosen = {
        "query": [n for n, a in enumerate(answers) for _ in getattr(a, "tags", ())],
        "key": [t.tag for a in answers for t in getattr(a, "tags", ())],
    }
    if not chosen["query"]:
        return list(answers)
    given = {
        "image neighbours": ("neighbours", nearest_images(index, batch)),
        "caption neighbours": ("neighbours", nearest_captions(index, batch)),
        "co-occurrence": ("seeds", seed_columns(batch)),
        "word counts": ("words", word_columns(batch)),
    }
    supports = {
        channel: _strongest(index, _WEIGHED[kind], columns, chosen)
        for channel, (kind, columns) in given.items()
    }
    return [
        answer
        if isinstance(answer, HashlensError)
        else replace(answer, tags=tuple(_supported(tag, n, supports) for tag in answer.tags))
        for n, answer in enumerate(answers)
    ]


def _supported(tag: ScoredTag, query: int, supports: dict[str, Supports]) -> ScoredTag:
    evidence = tuple(
        replace(part, posts=supports.get(part.channel, {}).get((query, tag.tag), ()))
        for part in tag.evidence
    )
    return replace(tag, evidence=evidence)


def _strongest(
    index: IndexReader, weighed: str, given: dict[str, Any], chosen: dict[str, Any]
) -> Supports:
    """The posts of greatest weight that hold each chosen hashtag, by (query, key)."""
    if not len(given["query"]):
        return {}
    found = index.store.arrays(
        f"""with weighed as ({weighed})
        select query, key, arg_max(post_id, weight, {POSTS}) as posts
        from weighed join post_hashtags using (post_key) join hashtags using (tag_id)
        join chosen using (query, key) join posts using (post_key) group by all""",  # noqa: S608
        given=given,
        chosen=chosen,
    )
    return {
        (int(query), key): tuple(posts)
        for query, key, posts in zip(found["query"], found["key"], found["posts"], strict=True)
    }
