"""An index without posts: what it learned and counted, of hashtags and words that many used.

It answers as the index it is made from would without neighbouring posts, and other posts can be
added to it: their counts are added to its own. No post, caption, picture or author is in it, nor a
vector of one.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hashlens.indexer.config import ALL_TOPICS, BuildConfig
from hashlens.indexer.corpus.corpus import TrainedModels, save_spaces, write_count_matrices
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.generations.generation import Generation
from hashlens.indexer.progress import NullProgress
from hashlens.indexer.storage.statistics import derive, pairs_as_views
from hashlens.indexer.storage.store import BASE_COUNTS, Store
from hashlens.indexer.storage.training_snapshot import TrainingCounts
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.types import Ids


@dataclass(frozen=True, slots=True)
class Enough:
    """How much a count must rest on to be kept, and how many of each are."""

    posts: int = 5
    authors: int = 3
    pairs: int = 2  # authors of a pair
    beside_tag: int = 100  # hashtags kept beside a hashtag
    beside_word: int = 100
    linear: int = 100  # weights kept of a hashtag's row in the linear model
    words: int = 22_000  # pretrained words whose vectors are kept besides, the commonest first


def strip(
    full: Generation,
    folder: Path,
    enough: Enough | None = None,
    without: Collection[str] = (),
) -> dict[str, int]:
    """Write an index's aggregates into a new folder, as a generation without posts.

    Args:
        full: what they are of.
        folder: to be made; `ranker` is left to the caller.
        enough: what is kept.
        without: hashtags that are left out, however much they are used.

    Returns:
        Counts for the manifest.
    """
    enough = enough or Enough()
    config = BuildConfig.from_json(full.manifest.config)
    common = set(load_pretrained(config.vectors.pretrained).words[: enough.words])
    folder.mkdir(parents=True, exist_ok=True)
    with Store.create(folder / "posts.duckdb") as store:
        tags, words = _take_counts(store, full.folder / "posts.duckdb", enough, without)
        _take_totals(store, full)
        derive(store)
        trained = TrainingCounts.of(store)
        trained.save(folder / "trained")
        model = _known(TopicModel.open(full.folder / "topics"), tags | words | common)
        model.save(folder / "topics")
        kept = words | {config.vectors.token(key) for key in tags}
        spaces = {
            path.name: _subset(
                WordSpace.open(path), kept | common if path.name == ALL_TOPICS else kept
            )
            for path in sorted((full.folder / "words").iterdir())
        }
        save_spaces(folder, spaces, store.tag_ids(), config)
        learned = TrainedModels(model, spaces[ALL_TOPICS], trained)
        counts = write_count_matrices(folder, store, learned, NullProgress(), enough.linear)
        pairs_as_views(store)
    _shrink(folder / "posts.duckdb")
    return counts


def _known(model: TopicModel, words: set[str]) -> TopicModel:
    """The model without the words of its text head that few used."""
    if model.text is None:
        return model
    kept = {word: row for word, row in model.vocabulary.items() if word in words}
    rows = np.array(list(kept.values()), np.int64)
    text = replace(model.text, weights=np.ascontiguousarray(model.text.weights[:, rows]))
    vocabulary = {word: place for place, word in enumerate(kept)}
    return replace(model, text=text, vocabulary=vocabulary, idf=model.idf[rows])


def _shrink(path: Path) -> None:
    small = path.with_suffix(".small")
    Store.compact(path, small)
    os.replace(small, path)


def _take_totals(store: Store, full: Generation) -> None:
    with Store.open(full.folder / "posts.duckdb") as source:
        posts, authors = source.totals()
    store.connection.execute(
        f"create table {BASE_COUNTS}.totals as select {posts}::bigint as posts, "
        f"{authors}::bigint as authors"
    )


def _take_counts(
    store: Store, source: Path, enough: Enough, without: Collection[str]
) -> tuple[set[str], set[str]]:
    """Copy the counts that rest on enough; returns the hashtags and words that stay."""
    run = store.connection.execute
    quoted = str(source).replace("'", "''")
    run(f"attach '{quoted}' as source (read_only)")
    for table, count, number, term in (
        ("hashtags", "hashtag_counts", "tag_id", "key"),
        ("words", "word_counts", "word_id", "word"),
    ):
        run(
            f"""create temp table kept_{table} as
            select {number} as old, row_number() over (order by authors desc, {number}) - 1 as new
            from source.{count} where posts >= {enough.posts} and authors >= {enough.authors}
            and {term} not in (select unnest(?::varchar[]))""",  # noqa: S608
            [list(without) if table == "hashtags" else []],
        )
        run(
            f"""insert into {table} select new, {term} from source.{table}
            join kept_{table} on {number} = old order by new"""  # noqa: S608
        )
    run("update next_ids set next_id = (select count(*) from hashtags) where kind = 'hashtag'")
    run("update next_ids set next_id = (select count(*) from words) where kind = 'word'")
    run(f"create schema {BASE_COUNTS}")
    for name, columns, joins in _TAKEN:
        run(f"create table {BASE_COUNTS}.{name} as select {columns} from source.{name} {joins}")  # noqa: S608
    for name, row, column, most in (
        ("cooccurrences", "tag_id", "other_id", enough.beside_tag),
        ("word_hashtags", "word_id", "tag_id", enough.beside_word),
    ):
        table = "hashtags" if row == "tag_id" else "words"
        run(
            f"""create table {BASE_COUNTS}.{name} as
            select a.new as {row}, b.new as {column}, posts, authors from source.{name}
            join kept_{table} a on {row} = a.old join kept_hashtags b on {column} = b.old
            where authors >= {enough.pairs}
            qualify row_number() over (partition by a.new order by authors desc, posts desc, b.new)
                <= {most} order by a.new, b.new"""  # noqa: S608
        )
    run("detach source")
    return (
        {key for (key,) in store.rows("select key from hashtags")},
        {word for (word,) in store.rows("select word from words")},
    )


_OF_HASHTAGS = "join kept_hashtags k on tag_id = old order by new"
_TAKEN = (
    (
        "hashtag_counts",
        "k.new as tag_id, key, display, posts, authors, known_authors",
        _OF_HASHTAGS,
    ),
    ("hashtag_topics", "topic, k.new as tag_id, posts, authors", _OF_HASHTAGS),
    (
        "word_counts",
        "k.new as word_id, word, posts, authors",
        "join kept_words k on word_id = old order by new",
    ),
)


def _subset(space: WordSpace, kept: set[str]) -> WordSpace:
    """The space of some of its words."""
    rows: Ids = np.array([r for r, word in enumerate(space.words) if word in kept], np.int64)
    words = tuple(space.words[row] for row in rows)
    return WordSpace(words, space.vectors[rows], space.counts[rows])
