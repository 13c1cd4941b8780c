"""Checks of a store's rows, and of its derived tables against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from hashlens.indexer.arrays.sparse import open_npy
from hashlens.indexer.errors import unreadable
from hashlens.indexer.storage.near_texts import count_misgrouped
from hashlens.indexer.storage.statistics import (
    DERIVED,
    KEYS,
    SUMMED,
    USES,
    derive,
    pairs_as_views,
    statement,
    uses_of,
)
from hashlens.indexer.storage.store import BASE_COUNTS, MIGRATIONS, NEAR_TEXTS, Store
from hashlens.indexer.vectors.segments import live_ids

# Queries that must count none.
_STRAYS: dict[str, str] = {
    "hashtags of posts that are not there": (
        "select count(*) from post_hashtags anti join posts using (post_key)"
    ),
    "posts' hashtags that are not there": (
        "select count(*) from post_hashtags anti join hashtags using (tag_id)"
    ),
    "words of posts that are not there": (
        "select count(*) from post_words anti join posts using (post_key)"
    ),
    "posts' words that are not there": (
        "select count(*) from post_words anti join words using (word_id)"
    ),
    "hashtags that no post has": (
        "select count(*) from hashtags anti join hashtag_counts using (tag_id)"
    ),
    "words that no post has": "select count(*) from words anti join word_counts using (word_id)",
    "posts that hold a hashtag twice": """
        select count(*) from (
            select post_key from post_hashtags group by post_key, tag_id having count(*) > 1)""",
    "posts that hold a word twice": """
        select count(*) from (
            select post_key from post_words group by post_key, word_id having count(*) > 1)""",
    "posts and reposts of one id": "select count(*) from posts semi join copies using (post_id)",
    "parts of hashtags that are not there": (
        "select count(*) from hashtag_parts anti join hashtags using (tag_id)"
    ),
}
# The table and column of the ids of each kind.
_NEXT = {
    "post": ("posts", "post_key"),
    "hashtag": ("hashtags", "tag_id"),
    "word": ("words", "word_id"),
    "copy": ("copies", "number"),
}
# The file of counts with a row for each id in use.
_COUNTED = {"post": "posts", "hashtag": "hashtags", "word": "words"}
# The columns of ids in the other tables; those of derived tables are in `statistics`.
_IDS = {"post_key": "post", "tag_id": "hashtag", "other_id": "hashtag", "word_id": "word"}
_BASE = {"post_hashtags": ("post_key", "tag_id"), "post_words": ("post_key", "word_id")}
MAX_COUNT = 2**31 - 1  # of posts or authors, as the files of counts hold them
_SCHEMA = """
    select table_schema, table_name, column_name, data_type from information_schema.columns
    where table_catalog = current_database() order by table_schema, table_name, ordinal_position"""
_VIEWS = "select view_name, sql from duckdb_views() where not internal order by all"
_FUNCTIONS = "select count(*) from duckdb_functions() where not internal"


def check_rows(store: Store, folder: Path) -> None:
    """Check the tables and next ids of a store before it is changed.

    Arrays have room for every id, so a forged one would take all memory.

    Args:
        store: open for reading.
        folder: `counts` of its generation, which has a row for each id in use.

    Raises:
        IndexCorruptError: it has other tables, or an id beyond.
    """
    columns, _ = _schema(prior=store.has_base_counts, level=_level(store))
    if store.rows(_SCHEMA) != columns:
        raise unreadable(store.path, "found other tables than hashlens makes")
    for kind, name in _COUNTED.items():
        found, counted = store.next_id(kind), len(open_npy(folder / f"{name}.npy"))
        if found != counted:
            raise unreadable(
                store.path, f"found {found} as the next id of a {kind}, expected {counted}"
            )
    for kind, (table, column) in _NEXT.items():
        ((least, last),) = store.rows(f"select min({column}), max({column}) from {table}")  # noqa: S608
        following = store.next_id(kind)
        if last is not None and not 0 <= least <= last < following:
            raise unreadable(
                store.path, f"found {kind} {least} to {last}, expected ids below {following}"
            )
    for problem in find_range_problems(store):
        raise unreadable(store.path, problem)


def find_range_problems(store: Store) -> Iterator[str]:
    """Yield columns with ids or numbers out of range, which would become places in arrays.

    Args:
        store: with the tables that hashlens makes.
    """
    schemas = ("", f"{BASE_COUNTS}.") if store.has_base_counts else ("",)
    tables = {**_BASE, **{f"{schema}{name}": KEYS[name] for schema in schemas for name in DERIVED}}
    for table, keys in tables.items():
        numbers = SUMMED[table.split(".")[-1]] if table not in _BASE else ()
        limits = {key: store.next_id(_IDS[key]) - 1 for key in keys if key in _IDS}
        for column, most in (limits | dict.fromkeys(numbers, MAX_COUNT)).items():
            query = f"select min({column}), max({column}) from {table}"  # noqa: S608
            ((least, last),) = store.rows(query)
            if last is not None and not 0 <= least <= last <= most:
                yield f"{table}: found {least} to {last} as {column}, expected 0 to {most}"


def find_row_problems(folder: Path, counts: Mapping[str, int]) -> Iterator[str]:
    """Yield problems of the tables of a generation, and of its manifest's counts.

    Args:
        folder: of the generation.
        counts: of the manifest.
    """
    with Store.open(folder / "posts.duckdb") as store:
        yield from _table_problems(store)
        numbers = store.counts() | {"pictures": len(live_ids(folder / "images"))}
    for name, number in numbers.items():
        if counts.get(name) != number:
            yield f"{folder}: found {number} {name}, the manifest has {counts.get(name)}"


def _table_problems(store: Store) -> Iterator[str]:
    path = store.path
    columns, views = _schema(prior=store.has_base_counts, level=_level(store))
    known = store.rows(_SCHEMA) == columns and store.rows(_VIEWS) in ([], views)
    if not known or store.rows(_FUNCTIONS) != [(0,)]:
        yield f"{path}: found other tables, views or functions than hashlens makes"
        return
    for what, query in _STRAYS.items():
        ((number,),) = store.rows(query)
        if number:
            yield f"{path}: found {number} {what}, expected none"
    for kind, (table, column) in _NEXT.items():
        ((last,),) = store.rows(f"select max({column}) from {table}")  # noqa: S608
        if last is not None and last >= store.next_id(kind):
            yield f"{path}: found {kind} {last}, expected ids below {store.next_id(kind)}"
    if number := count_misgrouped(store):
        yield f"{path}: found {number} posts of another voice than their texts give"
    tables = ", ".join(f"{view} as ({query})" for view, query in uses_of(store).items())
    for name in DERIVED:
        given = statement(name, prior=store.has_base_counts)
        query = f"""
            with {tables}, made as materialized ({given})
            select (select count(*) from (from {name} except all from made)),
                   (select count(*) from (from made except all from {name}))"""  # noqa: S608
        ((more, fewer),) = store.rows(query)
        if more or fewer:
            yield f"{path}: {name}: found {more} rows that its posts do not give, and {fewer} lack"


def _level(store: Store) -> int:
    """Return how many of the migrations a store's tables come from."""
    return len(MIGRATIONS) if store.has_migration(NEAR_TEXTS) else NEAR_TEXTS - 1


@cache
def _schema(*, prior: bool, level: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return schema, table, name and type of every column of a store; and its possible views.

    Views are of a store that has nothing but another index's counts.
    """
    with Store.create(Path(":memory:"), MIGRATIONS[:level]) as store:
        derive(store)
        if not prior:
            return store.rows(_SCHEMA), []
        run = store.connection.execute
        run(f"create schema {BASE_COUNTS}")
        for name in DERIVED:
            run(f"create table {BASE_COUNTS}.{name} as from {name}")
        run(f"create table {BASE_COUNTS}.totals (posts bigint, authors bigint)")
        columns = store.rows(_SCHEMA)
        for view in USES:
            run(f"drop view {view}")
        pairs_as_views(store)
        return columns, store.rows(_VIEWS)
