"""Posts without an author whose texts are nearly the same: they count as one voice.

Two texts are nearly the same if one word differs, or if the others of a few fixed parts of their
words are the same: texts that differ in two words are one voice often, but not always. Numbers,
case, hashtags and the order of the words do not matter. Texts of fewer than `FEWEST_WORDS` words
must be the same, with the same hashtags, and have no picture. Likeness is passed on: a chain of
such texts is one voice.

The groups depend on the posts alone, not on the order in which they came: an update and a new build
give the same counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hashlens.indexer.posts.dedup import FEWEST_WORDS
from hashlens.indexer.storage.store import NEAR_TEXTS, Store
from hashlens.indexer.text.authors import fold_author

# Words fall into four parts by their hash; each number stands for two or three of the parts.
_PARTS = "[3, 5, 6, 9, 10, 12, 7, 11, 13, 14]"
# Of each post the sets of words that it shares with nearly the same texts, as size and sum of
# hashes. The hashes are of the spelling, for ids of words differ between indexes.
_LINKS = f"""
    with nameless as (select post_key, picture from posts where author is null),
    said as (
        select post_key, md5_number_lower(word)::hugeint as code
        from post_words semi join nameless using (post_key) join words using (word_id)),
    texts as (select post_key, count(*) as size, sum(code) as total from said group by post_key),
    long_texts as (select * from texts where size >= {FEWEST_WORDS}),
    tags as (
        select post_key, sum(md5_number_lower('#' || key)::hugeint) as total
        from post_hashtags semi join nameless using (post_key) join hashtags using (tag_id)
        group by post_key),
    sets as (
        select post_key, size, total as code from long_texts
        union all
        select post_key, size - 1, total - code from said join long_texts using (post_key)
        union all
        select post_key, count(*), sum(code)
        from said join long_texts using (post_key), (select unnest({_PARTS}) as chosen)
        where (chosen >> (code % 4)::integer) & 1 = 1
        group by post_key, size, chosen
        having count(*) >= greatest({FEWEST_WORDS - 1}, size / 2)
        union all
        select post_key, -size, t.total + coalesce(g.total, 0)
        from texts t join nameless using (post_key) left join tags g using (post_key)
        where size < {FEWEST_WORDS} and picture is null),
    linked as (select post_key, min(post_key) over (partition by size, code) as first from sets)
    select distinct post_key, first from linked where post_key <> first"""  # noqa: S608


def find_voices(store: Store) -> dict[str, Any]:
    """Find the posts that share their voice with another one.

    Returns:
        Columns int64 (n,): `post_key`, and `voice`, the least key of the posts of that voice.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = store.arrays(_LINKS)
    keys, places = np.unique(
        np.concatenate([links["post_key"], links["first"]]).astype(np.int64), return_inverse=True
    )
    left, right = np.split(places, 2)
    graph = coo_array((np.ones(len(left), np.bool_), (left, right)), (len(keys), len(keys)))
    _, groups = connected_components(graph, directed=False)
    _, firsts = np.unique(groups, return_index=True)  # keys ascend
    return {"post_key": keys, "voice": keys[firsts][groups]}


def note_moves(store: Store) -> int:
    """Write a temporary table `moved` of the posts whose voice is not as noted; return its size."""
    with store.registered(near=find_voices(store)):
        store.connection.execute(
            """create or replace temp table moved as
            select post_key, n.voice from posts p left join near n using (post_key)
            where p.voice is distinct from n.voice"""
        )
    ((number,),) = store.rows("select count(*) from moved")
    return int(number)


def move_voices(store: Store) -> None:
    """Note the voices of the table `moved`."""
    store.connection.execute(
        "update posts set voice = m.voice from moved m where posts.post_key = m.post_key"
    )


def group_voices(store: Store) -> None:
    """Note of every post whose voice it shares, where the store has room for that."""
    if store.has_migration(NEAR_TEXTS) and note_moves(store):
        move_voices(store)


def count_misgrouped(store: Store) -> int:
    """Count the posts whose voice or owner is not as their texts and author give it."""
    if not store.has_migration(NEAR_TEXTS):
        return 0
    owners = store.rows("select author, owner, count(*) from posts group by all")
    wrong = sum(n for name, owner, n in owners if owner != (name and fold_author(name)))
    with store.registered(near=find_voices(store)):
        ((number,),) = store.rows(
            """select count(*) from posts p left join near n using (post_key)
            where p.voice is distinct from n.voice"""
        )
    return int(number) + int(wrong)
