"""Aggregates: an index without posts, of what it learned and counted from many authors.

It answers as the original index would without neighbouring posts. Other posts can be added, and
their counts are summed with its own. It holds no post, caption, picture or author, and no vector of
one.
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


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The support that a count needs to be kept, and limits of what is kept."""

    min_posts: int = 5
    min_authors: int = 3
    min_pair_authors: int = 2
    max_tag_companions: int = 100  # hashtags kept of a hashtag's co-occurrences
    max_word_companions: int = 100  # hashtags kept of a word's co-occurrences
    max_linear_weights: int = 100  # of a hashtag's row in the linear model
    common_words: int = 22_000  # the commonest pretrained words, whose vectors are always kept


def write_aggregates(
    full: Generation,
    folder: Path,
    thresholds: Thresholds | None = None,
    without: Collection[str] = (),
) -> dict[str, int]:
    """Write an index's aggregates into a new folder, as a generation without posts.

    Args:
        full: generation to aggregate.
        folder: created here; the caller adds `ranker`.
        thresholds: what is kept; None for the defaults.
        without: hashtags that are left out even if they are common.

    Returns:
        Counts for the manifest.
    """
    thresholds = thresholds or Thresholds()
    config = BuildConfig.from_json(full.manifest.config)
    common = set(load_pretrained(config.vectors.pretrained).words[: thresholds.common_words])
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "posts.duckdb"
    with Store.create(database) as store:
        tags, words = _copy_counts(store, full.folder / "posts.duckdb", thresholds, without)
        with Store.open(full.folder / "posts.duckdb") as source:
            posts, authors = source.totals()
        store.connection.execute(
            f"create table {BASE_COUNTS}.totals as select {posts}::bigint as posts, "
            f"{authors}::bigint as authors"
        )
        derive(store)
        trained = TrainingCounts.of(store)
        trained.save(folder / "trained")
        model = TopicModel.open(full.folder / "topics")
        if model.text is not None:  # without the rarer words in its text head
            selected = tags | words | common
            kept = {word: row for word, row in model.vocabulary.items() if word in selected}
            columns = np.array(list(kept.values()), np.int64)
            weights = np.ascontiguousarray(model.text.weights[:, columns])
            model = replace(
                model,
                text=replace(model.text, weights=weights),
                vocabulary={word: place for place, word in enumerate(kept)},
                idf=model.idf[columns],
            )
        model.save(folder / "topics")
        terms = words | {config.vectors.token(key) for key in tags}
        spaces = {}
        for path in sorted((full.folder / "words").iterdir()):
            space = WordSpace.open(path)
            wanted = terms | common if path.name == ALL_TOPICS else terms
            rows = np.array([r for r, word in enumerate(space.words) if word in wanted], np.int64)
            names = tuple(space.words[row] for row in rows)
            spaces[path.name] = WordSpace(names, space.vectors[rows], space.counts[rows])
        save_spaces(folder, spaces, store.tag_ids(), config)
        learned = TrainedModels(model, spaces[ALL_TOPICS], trained)
        counts = write_count_matrices(
            folder, store, learned, NullProgress(), thresholds.max_linear_weights
        )
        pairs_as_views(store)
    compacted = database.with_suffix(".compacted")
    Store.compact(database, compacted)
    os.replace(compacted, database)
    return counts


def _copy_counts(
    store: Store, source: Path, thresholds: Thresholds, without: Collection[str]
) -> tuple[set[str], set[str]]:
    """Copy the counts with enough support, and return their hashtags and words."""
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
            from source.{count} where posts >= {thresholds.min_posts}
            and authors >= {thresholds.min_authors}
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
    for name, columns, joins in _COPIED:
        run(f"create table {BASE_COUNTS}.{name} as select {columns} from source.{name} {joins}")  # noqa: S608
    for name, row, column, most in (
        ("cooccurrences", "tag_id", "other_id", thresholds.max_tag_companions),
        ("word_hashtags", "word_id", "tag_id", thresholds.max_word_companions),
    ):
        table = "hashtags" if row == "tag_id" else "words"
        run(
            f"""create table {BASE_COUNTS}.{name} as
            select a.new as {row}, b.new as {column}, posts, authors from source.{name}
            join kept_{table} a on {row} = a.old join kept_hashtags b on {column} = b.old
            where authors >= {thresholds.min_pair_authors}
            qualify row_number() over (partition by a.new order by authors desc, posts desc, b.new)
                <= {most} order by a.new, b.new"""  # noqa: S608
        )
    run("detach source")
    return (
        {key for (key,) in store.rows("select key from hashtags")},
        {word for (word,) in store.rows("select word from words")},
    )


_OF_HASHTAGS = "join kept_hashtags k on tag_id = old order by new"
_OF_WORDS = "join kept_words k on word_id = old order by new"
_HASHTAG_COLUMNS = "k.new as tag_id, key, display, posts, authors, known_authors"
_COPIED = (  # table, columns, join
    ("hashtag_counts", _HASHTAG_COLUMNS, _OF_HASHTAGS),
    ("hashtag_topics", "topic, k.new as tag_id, posts, authors", _OF_HASHTAGS),
    ("word_counts", "k.new as word_id, word, posts, authors", _OF_WORDS),
)
