"""Whether the rows of a store fit together, and whether its derived tables say what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hashlens.indexer.arrays.sparse import opened
from hashlens.indexer.errors import unreadable
from hashlens.indexer.storage.near_texts import count_misgrouped
from hashlens.indexer.storage.statistics import (
    DERIVED,
    KEYS,
    SUMMED,
    USES,
    derive,
    lend_pairs,
    statement,
    uses_of,
)
from hashlens.indexer.storage.store import MIGRATIONS, NEAR_TEXTS, PRIOR, Store

# What there must be none of.
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
# The id that the next row gets, and the ids that are given.
_NEXT = {
    "post": ("posts", "post_key"),
    "hashtag": ("hashtags", "tag_id"),
    "word": ("words", "word_id"),
    "copy": ("copies", "number"),
}
# The file of counts that has a row for each id given.
_COUNTED = {"post": "posts", "hashtag": "hashtags", "word": "words"}
# The columns of ids in the other tables; each derived table has its own besides (see `derived`).
_IDS = {"post_key": "post", "tag_id": "hashtag", "other_id": "hashtag", "word_id": "word"}
_BASE = {"post_hashtags": ("post_key", "tag_id"), "post_words": ("post_key", "word_id")}
MAX_COUNT = 2**31 - 1  # of posts or authors, as the files of counts hold them
_SCHEMA = """
    select table_schema, table_name, column_name, data_type from information_schema.columns
    where table_catalog = current_database() order by table_schema, table_name, ordinal_position"""
_VIEWS = "select view_name, sql from duckdb_views() where not internal order by all"
_FUNCTIONS = "select count(*) from duckdb_functions() where not internal"


def check_rows(store: Store, folder: Path) -> None:
    """Hold a store that will be changed to its tables, and its next ids to what was counted.

    Room is made for every id, so a forged one would take all memory.

    Args:
        store: open for reading.
        folder: `counts` of its generation, which has a row for each id given.

    Raises:
        IndexCorruptError: it has other tables, or an id beyond.
    """
    columns, _ = _schema(prior=store.has_prior, level=_level(store))
    if store.rows(_SCHEMA) != columns:
        raise unreadable(store.path, "found other tables than hashlens makes")
    for kind, name in _COUNTED.items():
        found, counted = store.next_id(kind), len(opened(folder / f"{name}.npy"))
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
    for trouble in range_troubles(store):
        raise unreadable(store.path, trouble)


def range_troubles(store: Store) -> Iterator[str]:
    """Each column whose ids or numbers are out of their range: they become places in arrays.

    Args:
        store: with the tables that hashlens makes.
    """
    schemas = ("", f"{PRIOR}.") if store.has_prior else ("",)
    tables = {**_BASE, **{f"{schema}{name}": KEYS[name] for schema in schemas for name in DERIVED}}
    for table, keys in tables.items():
        numbers = SUMMED[table.split(".")[-1]] if table not in _BASE else ()
        limits = {key: store.next_id(_IDS[key]) - 1 for key in keys if key in _IDS}
        for column, most in (limits | dict.fromkeys(numbers, MAX_COUNT)).items():
            query = f"select min({column}), max({column}) from {table}"  # noqa: S608
            ((least, last),) = store.rows(query)
            if last is not None and not 0 <= least <= last <= most:
                yield f"{table}: found {least} to {last} as {column}, expected 0 to {most}"


def row_troubles(store: Store) -> Iterator[str]:
    """What is wrong with the tables of a store.

    Args:
        store: open for reading.
    """
    path = store.path
    columns, views = _schema(prior=store.has_prior, level=_level(store))
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
    for name in DERIVED:
        more, fewer = _differences(store, name)
        if more or fewer:
            yield f"{path}: {name}: found {more} rows that its posts do not give, and {fewer} lack"


def _level(store: Store) -> int:
    """Return how many of the migrations a store's tables come from."""
    return len(MIGRATIONS) if store.has_migration(NEAR_TEXTS) else NEAR_TEXTS - 1


@cache
def _schema(*, prior: bool, level: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return schema, table, name and type of every column that hashlens makes, and its views.

    The views are of a store that has nothing but another's counts.
    """
    with Store.create(Path(":memory:"), MIGRATIONS[:level]) as store:
        derive(store)
        if not prior:
            return store.rows(_SCHEMA), []
        run = store.connection.execute
        run(f"create schema {PRIOR}")
        for name in DERIVED:
            run(f"create table {PRIOR}.{name} as from {name}")
        run(f"create table {PRIOR}.totals (posts bigint, authors bigint)")
        columns = store.rows(_SCHEMA)
        for view in USES:
            run(f"drop view {view}")
        lend_pairs(store)
        return columns, store.rows(_VIEWS)


def _differences(store: Store, name: str) -> tuple[int, int]:
    """Rows of a derived table that are too many, and that are too few."""
    views = ", ".join(f"{view} as ({query})" for view, query in uses_of(store).items())
    given = statement(name, prior=store.has_prior)
    query = f"""
        with {views}, made as materialized ({given})
        select (select count(*) from (from {name} except all from made)),
               (select count(*) from (from made except all from {name}))"""  # noqa: S608
    ((more, fewer),) = store.rows(query)
    return int(more), int(fewer)
