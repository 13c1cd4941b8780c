"""Counts of the large derived tables in parts, each of some authors' posts.

Numbers of posts and of authors are additive over authors, so the sums over all parts are the
counts of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashlens.indexer.storage.statistics import DERIVED, PAIRS, derive, sum_sql
from hashlens.indexer.storage.store import Store

Columns = dict[str, Any]  # of a table: int64 (rows,) each


@dataclass(frozen=True, slots=True, eq=False)
class Uses:
    """Hashtags and words of some authors' posts: a row for each hashtag, and each word, of a post.

    `tagged` has the columns `post_key`, `tag_id` and `author`, a number; `said` has `word_id` in
    place of `tag_id`. All are int64.
    """

    tagged: Columns
    said: Columns


# Counts rows of each large table for every part: columns by the table's name.
CountParts = Callable[[Iterator[Uses]], Iterable[dict[str, Columns]]]


def count_uses(uses: Uses) -> dict[str, Columns]:
    """Return the rows of each large table that these posts alone give, by its name; pure."""
    with Store.create(Path(":memory:")) as store:
        store.connection.execute("set threads = 1")
        return {
            name: store.arrays(DERIVED[name], tagged=uses.tagged, said=uses.said) for name in PAIRS
        }


def derive_in_parts(store: Store, parts: int, count: CountParts) -> None:
    """Make every derived table, as `derive` does, with the large ones counted in parts.

    Args:
        store: with its base tables.
        parts: number of parts; all posts of an author are in one.
        count: returns `count_uses` of each part, in any order.
    """
    derive(store, [name for name in DERIVED if name not in PAIRS])
    run = store.connection.execute
    for name, (left, right) in PAIRS.items():
        run(
            f"""create or replace temp table {name}_parts (
            {left} bigint, {right} bigint, posts bigint, authors bigint)"""
        )

    def uses_in_parts() -> Iterator[Uses]:
        run(
            f"""create or replace temp table owners as
            select post_key, dense_rank() over (order by {store.voice[0]}) as author from posts"""  # noqa: S608
        )
        for part in range(parts):
            tagged, said = (
                store.arrays(
                    f"""select post_key, {kind}_id, author from {linked}
                    join owners using (post_key) where author % {parts} = {part}"""  # noqa: S608
                )
                for kind, linked in (("tag", "post_hashtags"), ("word", "post_words"))
            )
            yield Uses(tagged, said)
        run("drop table owners")

    for part in count(uses_in_parts()):
        for name, columns in part.items():
            with store.registered(counted=columns):
                run(f"insert into {name}_parts by name select * from counted")  # noqa: S608
    for name in PAIRS:
        rows = sum_sql(name, f"select * from {name}_parts", prior=store.has_base_counts)  # noqa: S608
        run(f"create or replace table {name} as {rows}")
        run(f"drop table {name}_parts")
    run("checkpoint")
