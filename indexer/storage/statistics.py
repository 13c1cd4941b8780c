"""The tables that are counted from the base tables of a store, each one SQL statement over them.

Whoever changes posts has them made anew, or has only that changed which can have changed: numbers
of posts and of authors add up over authors, and an author's change a pair only where the changed
posts hold both its sides. So the same statement over the hashtags and words that changed posts
hold, in all posts of their authors, before and after, gives the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from hashlens.indexer.posts.columns import tag_columns, word_columns
from hashlens.indexer.posts.dedup import mark
from hashlens.indexer.storage.near_texts import group_voices, move_voices, note_moves
from hashlens.indexer.storage.store import BASE_COUNTS, Store
from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.types import Ids, Post

# Every use of a hashtag or word in some posts; the tables are counted over these.
_USES_IN = {
    "tagged": """
        select post_key, h.tag_id, h.form, p.topic, {known} as known_author, {voice} as author
        from post_hashtags h join {posts} p using (post_key)""",
    "said": """
        select post_key, w.word_id, {voice} as author
        from post_words w join {posts} p using (post_key)""",
}
USES = tuple(_USES_IN)


def uses_of(store: Store, posts: str = "posts") -> dict[str, str]:
    """The query of each view `USES`, as a store counts authors."""
    voice, known = store.voice
    return {
        view: query.format(posts=posts, voice=voice, known=known)
        for view, query in _USES_IN.items()
    }


# How each hashtag is written most often, and by how many posts it is used at all.
_WRITTEN = """
    select tag_id, arg_max(form, (uses, form)) as display, sum(uses)::bigint as posts
    from (select tag_id, form, count(*) as uses from post_hashtags group by all) group by all"""
# What of a table's rows adds up, where that is not all of them.
_NUMBERS = {
    "hashtag_counts": """
        select tag_id, key, count(*) as posts, count(distinct author) as authors,
               count(distinct known_author) as known_authors
        from tagged join hashtags using (tag_id) group by all"""
}
DERIVED: dict[str, str] = {
    "hashtag_counts": f"""
        select tag_id, key, display, n.posts, authors, known_authors
        from ({_NUMBERS["hashtag_counts"]}) n join ({_WRITTEN}) using (tag_id) order by tag_id""",  # noqa: S608
    "hashtag_topics": """
        select topic, tag_id, count(*) as posts, count(distinct author) as authors
        from tagged where topic is not null group by all order by topic, tag_id""",
    "cooccurrences": """
        select a.tag_id, b.tag_id as other_id, count(*) as posts,
               count(distinct a.author) as authors
        from tagged a join tagged b using (post_key) where a.tag_id <> b.tag_id
        group by all order by a.tag_id, other_id""",
    "word_counts": """
        with used as (
            select word_id, count(*) as posts, count(distinct author) as authors
            from said group by all)
        select word_id, word, posts, authors from used join words using (word_id)
        order by word_id""",
    "word_hashtags": """
        select w.word_id, t.tag_id, count(*) as posts, count(distinct t.author) as authors
        from said w join tagged t using (post_key)
        group by all order by w.word_id, t.tag_id""",
}
KEYS = {
    "hashtag_counts": ("tag_id", "key"),
    "hashtag_topics": ("topic", "tag_id"),
    "cooccurrences": ("tag_id", "other_id"),
    "word_counts": ("word_id", "word"),
    "word_hashtags": ("word_id", "tag_id"),
}
# The columns that add up.
SUMMED: dict[str, tuple[str, ...]] = dict.fromkeys(KEYS, ("posts", "authors"))
SUMMED["hashtag_counts"] = ("posts", "authors", "known_authors")
# Of a hashtag that is written in several ways: as it is in most posts.
_DISPLAY = "arg_max(display, (posts, display)) as display"
# Of each view the id it counts, and the table and column of the terms.
SIDES = {"tagged": ("tag_id", "hashtags", "key"), "said": ("word_id", "words", "word")}
# The large ones, and the pair of ids that each row is of.
PAIRS = {"cooccurrences": ("tag_id", "other_id"), "word_hashtags": ("word_id", "tag_id")}


def derive(store: Store, names: Iterable[str] = tuple(DERIVED)) -> None:
    """Make every derived table anew from the base tables, or those of some names."""
    lent = "select view_name from duckdb_views() where not internal and not temporary"
    for (name,) in store.rows(lent):
        store.connection.execute(f"drop view {name}")
    group_voices(store)
    run = store.connection.execute
    for view, query in uses_of(store).items():
        run(f"create or replace temp view {view} as {query}")
    prior = store.has_base_counts
    for name in names:
        run(f"create or replace table {name} as {statement(name, prior=prior)}")
    run("checkpoint")


def pairs_as_views(store: Store) -> None:
    """Where a store has a prior and no posts, have its large tables read from there: half the size.

    `derive` makes tables of them again, before anything is changed.
    """
    for name in PAIRS:
        store.connection.execute(f"drop table {name}")
        store.connection.execute(f"create view {name} as select * from {BASE_COUNTS}.{name}")  # noqa: S608


def statement(name: str, *, prior: bool) -> str:
    """The query that gives a derived table from the views `USES`, and prior counts where held."""
    return sum_sql(name, f"({DERIVED[name]})", prior=True) if prior else DERIVED[name]


def sum_sql(name: str, rows: str, *, prior: bool) -> str:
    """The query that adds up rows of a derived table, which several parts of posts gave."""
    keys, held = ", ".join(KEYS[name]), f" union all by name select * from {BASE_COUNTS}.{name}"  # noqa: S608
    display = f"{_DISPLAY}, " if name == "hashtag_counts" else ""
    return (
        f"select {keys}, {display}{_added_up(name)} from ({rows}{held if prior else ''}) "  # noqa: S608
        f"group by {keys} order by {keys}"
    )


def _added_up(name: str) -> str:
    return ", ".join(f"sum({column})::bigint as {column}" for column in SUMMED[name])


@contextmanager
def update_counts(
    store: Store, posts: Sequence[Post], words: Sequence[Sequence[str]], removed: Ids
) -> Iterator[None]:
    """Bring derived tables up to date with what happens to the base tables inside.

    Args:
        store: open for writing, with its derived tables.
        posts: that will be added, in order.
        words: of their captions.
        removed: keys int64 (r,) of posts that will be removed.
    """
    run, first = store.connection.execute, store.next_id("post")
    _begin_deltas(store)
    run(
        "create or replace temp table leaving as select unnest(?::bigint[]) as post_key",
        [removed.tolist()],
    )
    _mark_affected(store, "post_key in (select post_key from leaving)")
    if posts:
        _mark_affected_by_new(store, posts, words, first)
    _collect_delta(store, -1)
    yield
    _mark_affected(store, f"post_key >= {first}")
    _collect_delta(store, 1)
    _apply_deltas(store)
    if note_moves(store):
        _regroup(store)
    _display(store)
    for view in USES:
        run(f"drop table temp.{view}")
    run("checkpoint")


def _begin_deltas(store: Store) -> None:
    """Create the empty tables of what changes."""
    run = store.connection.execute
    for view, (number, *_) in SIDES.items():
        run(f"create or replace temp table touched_{view} (author varchar, {number} bigint)")
    for name in DERIVED:
        run(f"create or replace temp table {name}_change as select * from {name} limit 0")  # noqa: S608


def _regroup(store: Store) -> None:
    """Give the posts of the table `moved` their voices, and update the derived tables."""
    store.connection.execute(
        """create or replace temp table regrouped as
        select p.* replace (m.voice as voice) from posts p join moved m using (post_key)"""
    )
    _begin_deltas(store)
    _mark_affected(store, "post_key in (select post_key from moved)")
    _mark_affected(store, "true", "regrouped")
    _collect_delta(store, -1)
    move_voices(store)
    _collect_delta(store, 1)
    _apply_deltas(store)


def _mark_affected(store: Store, condition: str, posts: str = "posts") -> None:
    """Note what some posts hold, by author."""
    uses = uses_of(store, posts)
    for view, (number, *_) in SIDES.items():
        store.connection.execute(
            f"""insert into touched_{view}
            select distinct author, {number} from ({uses[view]}) where {condition}"""  # noqa: S608
        )


def _mark_affected_by_new(
    store: Store, posts: Sequence[Post], words: Sequence[Sequence[str]], first: int
) -> None:
    """Note what coming posts will hold of the hashtags and words that are there already."""
    keys = np.arange(first, first + len(posts), dtype=np.int64)
    owners = {
        "post_key": keys,
        "author": [post.author for post in posts],
        "owner": [post.author and fold_author(post.author) for post in posts],
        "signature": list(map(mark, posts, words)),
        "voice": np.full(len(posts), None, object),
    }
    coming = {"tagged": tag_columns(posts, keys), "said": word_columns(words, keys)}
    for view, (number, table, term) in SIDES.items():
        with store.registered(owners=owners, coming=coming[view]):
            store.connection.execute(
                f"""insert into touched_{view} select distinct {store.voice[0]}, {number}
                from coming join owners using (post_key) join {table} on {term} = term"""  # noqa: S608
            )


def _collect_delta(store: Store, sign: int) -> None:
    """Add to the changes, or take off, what the posts say now that touches them."""
    run = store.connection.execute
    touching = " union all ".join(f"select author from touched_{view}" for view in SIDES)  # noqa: S608
    # The posts of few authors: what they hold is looked up among them alone.
    run(
        f"""create or replace temp table theirs as
        select * from posts where {store.voice[0]} in ({touching})"""  # noqa: S608
    )
    uses = uses_of(store, "theirs")
    for view, (number, *_) in SIDES.items():
        run(
            f"""create or replace temp table {view} as
            select * from ({uses[view]})
            semi join touched_{view} using (author, {number})"""  # noqa: S608
        )
    for name in DERIVED:
        keys, sums = ", ".join(KEYS[name]), SUMMED[name]
        run(
            f"""insert into {name}_change by name
            select {keys}, {", ".join(f"{sign} * {column} as {column}" for column in sums)}
            from ({_NUMBERS.get(name, DERIVED[name])})"""  # noqa: S608
        )


def _apply_deltas(store: Store) -> None:
    """Add the changes of every derived table to it."""
    for name in DERIVED:
        _apply_delta(store, name)


def _apply_delta(store: Store, name: str) -> None:
    """Add a table's changes to it; a row that no post is left of goes."""
    run, keys, sums = store.connection.execute, KEYS[name], SUMMED[name]
    listed = ", ".join(keys)
    run(
        f"""create or replace temp table net as
        select {listed}, {_added_up(name)} from {name}_change group by all
        having {" or ".join(f"sum({column}) <> 0" for column in sums)}"""  # noqa: S608
    )
    run(
        f"""create or replace temp table fresh as
        select n.* replace ({", ".join(f"n.{c} + coalesce(t.{c}, 0) as {c}" for c in sums)})
        from net n left join {name} t using ({listed})"""  # noqa: S608
    )
    same = " and ".join(f"t.{key} = n.{key}" for key in keys)
    run(f"delete from {name} t using net n where {same}")  # noqa: S608
    run(f"insert into {name} by name select * from fresh where posts > 0 order by {listed}")  # noqa: S608


def _display(store: Store) -> None:
    """Have every hashtag written as it is most often."""
    written = _WRITTEN
    if store.has_base_counts:
        written = f"""
            select tag_id, {_DISPLAY}
            from ({_WRITTEN} union all by name
                  select tag_id, display, posts from {BASE_COUNTS}.hashtag_counts) group by all"""  # noqa: S608
    store.connection.execute(
        f"""update hashtag_counts t set display = w.display from ({written}) w
        where t.tag_id = w.tag_id and t.display is distinct from w.display"""  # noqa: S608
    )
