"""Vectors of hashtags that came after the last training: the mean of what they appear with.

Each author's posts count as one voice, however many there are. The files are written anew at each
update and searched together with the learned ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import ALL_TOPICS, VectorConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.text_vectors import text_vectors
from hashlens.indexer.generations.filesystem import folders_in
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import NEW_HASHTAGS, TrainingCounts
from hashlens.indexer.types import Embeddings, Floats, Ids
from hashlens.indexer.vectors.index import VectorIndex


def write_new_hashtag_vectors(
    folder: Path, store: Store, trained: TrainingCounts, everyone: WordSpace, config: VectorConfig
) -> None:
    """Write `new-hashtags/TOPIC.faiss` for each space in `words/` that lacks newer hashtags.

    Args:
        folder: of a generation; its `words` are there.
        store: with its base tables.
        trained: what the spaces were learned from.
        everyone: the space of all topics.
        config: how the spaces write hashtags.
    """
    used = store.arrays(
        f"select distinct tag_id from post_hashtags where post_key >= {trained.first_post}"  # noqa: S608
    )["tag_id"].astype(np.int64)
    if not (spaces := folders_in(folder / "words")):
        return
    lacking = {}
    for words in spaces:
        path = words / "hashtags.faiss"
        trained_ids = VectorIndex.open(path).ids if path.exists() else np.zeros(0, np.int64)
        lacking[words] = np.setdiff1d(used, trained_ids)
    uses = _uses(store, {words.name: tags for words, tags in lacking.items()})
    for words, tags in lacking.items():
        in_topic = words.name == ALL_TOPICS or uses.topics == words.name
        chosen = np.isin(uses.tags, tags) & in_topic
        if not chosen.any():
            continue
        space = everyone if words.name == ALL_TOPICS else WordSpace.open(words)
        found = _mean_vectors(uses, chosen, space, trained, config)
        if len(found.ids):
            (folder / NEW_HASHTAGS).mkdir(exist_ok=True)
            VectorIndex.build(found).save(folder / NEW_HASHTAGS / f"{words.name}.faiss")


@dataclass(frozen=True, slots=True, eq=False)
class _Uses:
    """Every use of some hashtags: `tags`, `posts` (keys), `authors` (numbers) int64 (u,), `topics`.

    `words` and `hashtags` are those of the posts, by key, each with its id.
    """

    tags: Ids
    posts: Ids
    authors: Ids
    topics: NDArray[Any]
    words: Mapping[int, Sequence[tuple[str, int]]]
    hashtags: Mapping[int, Sequence[tuple[str, int]]]


def _uses(store: Store, lacking: Mapping[str, Ids]) -> _Uses:
    """The uses of hashtags in the topics whose spaces lack them."""
    names = [name for name, tags in lacking.items() for _ in tags]
    found = store.arrays(
        f"""select h.tag_id, h.post_key, topic,
            dense_rank() over (order by {store.voice[0]}) as author
        from post_hashtags h join posts p using (post_key) semi join lacking l
        on h.tag_id = l.tag_id and (l.space = p.topic or l.space = '{ALL_TOPICS}')""",  # noqa: S608
        lacking={"tag_id": np.concatenate([*lacking.values()]), "space": names},
    )
    tags, posts, authors = (
        found[name].astype(np.int64) for name in ("tag_id", "post_key", "author")
    )
    asked = {"asked": {"post_key": np.unique(posts)}}
    words = _terms(store, "word", "word_id", "words", asked)
    hashtags = _terms(store, "key", "tag_id", "hashtags", asked)
    return _Uses(tags, posts, authors, found["topic"], words, hashtags)


def _mean_vectors(
    uses: _Uses,
    chosen: NDArray[np.bool_],
    space: WordSpace,
    trained: TrainingCounts,
    config: VectorConfig,
) -> Embeddings:
    """Return vectors of hashtags by id, from the chosen ones of their uses."""
    keys, places = np.unique(uses.posts[chosen], return_inverse=True)
    company = _companies(uses, keys, space, trained, config)
    row_of = np.full(len(keys), -1, np.int64)
    row_of[company.ids] = np.arange(len(company.ids))
    rows = row_of[places]
    told = rows >= 0
    pairs = np.stack([uses.tags[chosen][told], uses.authors[chosen][told]], axis=1)
    voices, spoken = _means(pairs, company.vectors[rows[told]])
    ids, vectors = _means(voices[:, :1], spoken)
    return Embeddings(ids[:, 0].copy(), vectors)


def _companies(
    uses: _Uses, keys: Ids, space: WordSpace, trained: TrainingCounts, config: VectorConfig
) -> Embeddings:
    """Return vectors of posts, by place in `keys`, from their words and trained hashtags."""
    said = [uses.words.get(post, ()) for post in keys.tolist()]
    held = [uses.hashtags.get(post, ()) for post in keys.tolist()]
    texts = [
        [*(word for word, _ in words), *(config.token(key) for key, _ in tags)]
        for words, tags in zip(said, held, strict=True)
    ]
    idf = trained.idf(
        {word: number for words in said for word, number in words},
        {f"#{key}": number for tags in held for key, number in tags},
    )
    return text_vectors(space, texts, idf, trained.unseen_idf)


def _terms(
    store: Store, term: str, number: str, table: str, asked: dict[str, dict[str, Any]]
) -> dict[int, list[tuple[str, int]]]:
    """The words, or hashtags, of each asked post with their ids, by rising id."""
    with store.registered(**asked):
        rows = store.rows(
            f"""select post_key, {term}, {number} from post_{table} semi join asked using (post_key)
            join {table} using ({number}) order by post_key, {number}"""  # noqa: S608
        )
    found: dict[int, list[tuple[str, int]]] = {}
    for post, word, place in rows:
        found.setdefault(post, []).append((word, place))
    return found


def _means(groups: Ids, vectors: Floats) -> tuple[Ids, Floats]:
    """Mean directions, unit float32 (g, d), of the rows of each group (g, c), ascending."""
    order = np.lexsort(groups.T[::-1])
    groups, vectors = groups[order], vectors[order]
    if not len(groups):
        return groups, vectors
    starts = np.flatnonzero(np.r_[True, (groups[1:] != groups[:-1]).any(axis=1)])
    sums = np.add.reduceat(vectors, starts, axis=0)
    norms = np.linalg.norm(sums, axis=1)
    real = norms > 1e-6
    return groups[starts][real], np.ascontiguousarray(sums[real] / norms[real, None])
