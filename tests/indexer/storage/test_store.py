"""Rows and derived counts, against counts worked by hand and by plain Python."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.storage.statistics import derive
from hashlens.indexer.storage.store import MIGRATIONS, Store
from hashlens.indexer.types import Post


def post(number: int, tags: str, author: str | None, caption: str = "") -> Post:
    forms = tuple(tags.split())
    keys = tuple(form.casefold() for form in forms)
    return Post(f"p{number}", None, caption or "x", keys, forms, author, content_hash="h")


def filled(path: Path, posts: list[Post], topics: list[str | None], batches: int = 1) -> Store:
    store = Store.create(path)
    size = -(-len(posts) // batches)
    for start in range(0, len(posts), size):
        part = slice(start, start + size)
        given_topics = [(topic, "given") for topic in topics[part]]
        store.add_posts(posts[part], [p.caption.split() for p in posts[part]], given_topics)
    derive(store)
    return store


POSTS = [
    post(0, "Dog Park", "ann", "walk in the park"),
    post(1, "dog cat", "ann", "walk"),
    post(2, "dog", "bob", "the dog"),
    post(3, "cat", None),
]
TOPICS: list[str | None] = ["pets", "pets", None, "pets"]


def test_counts_are_those_worked_by_hand(tmp_path: Path) -> None:
    with filled(tmp_path / "a.duckdb", POSTS, TOPICS) as store:
        counts = store.rows("select key, display, posts, authors from hashtag_counts")
        assert sorted(counts) == [
            ("cat", "cat", 2, 2),
            ("dog", "dog", 3, 2),
            ("park", "Park", 1, 1),
        ]
        pairs = store.rows(
            """select a.key, b.key, posts, authors from cooccurrences c
            join hashtags a using (tag_id) join hashtags b on b.tag_id = other_id"""
        )
        assert sorted(pairs) == [
            ("cat", "dog", 1, 1),
            ("dog", "cat", 1, 1),
            ("dog", "park", 1, 1),
            ("park", "dog", 1, 1),
        ]
        topics = store.rows(
            "select key, posts, authors from hashtag_topics join hashtags using (tag_id)"
        )
        assert sorted(topics) == [("cat", 2, 2), ("dog", 2, 1), ("park", 1, 1)]
        words = store.rows(
            """select word, key, posts, authors from word_hashtags
            join words using (word_id) join hashtags using (tag_id) where word = 'walk'"""
        )
        assert sorted(words) == [
            ("walk", "cat", 1, 1),
            ("walk", "dog", 2, 1),
            ("walk", "park", 1, 1),
        ]
        assert store.counts() == {"posts": 4, "hashtags": 3, "words": 6, "authors": 2, "copies": 0}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcde"), max_size=4), st.sampled_from(["u", "v", None])),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_cooccurrences_equal_plain_counting_however_posts_arrive(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[set[str], str | None]],
    batches: int,
) -> None:
    posts = [post(n, " ".join(sorted(tags)), author) for n, (tags, author) in enumerate(rows)]
    expected: Counter[tuple[str, str]] = Counter()
    authors: dict[tuple[str, str], set[str]] = defaultdict(set)
    for tags, author in rows:
        for pair in itertools.permutations(tags, 2):
            expected[pair] += 1
            authors[pair].add(author or f"nameless {sorted(tags)}")
    path = tmp_path_factory.mktemp("store") / "a.duckdb"
    with filled(path, posts, [None] * len(posts), batches) as store:
        found = store.rows(
            """select a.key, b.key, posts, authors from cooccurrences c
            join hashtags a using (tag_id) join hashtags b on b.tag_id = other_id"""
        )
    assert {(a, b): n for a, b, n, _ in found} == expected
    assert {(a, b): n for a, b, _, n in found} == {p: len(who) for p, who in authors.items()}


def test_ids_are_given_by_first_appearance_and_kept(tmp_path: Path) -> None:
    with filled(tmp_path / "a.duckdb", POSTS, TOPICS, batches=4) as store:
        assert store.tag_ids() == {"dog": 0, "park": 1, "cat": 2}
        assert store.next_id("hashtag") == 3
        assert store.next_id("post") == 4


def test_a_failing_migration_is_undone_whole(tmp_path: Path) -> None:
    done = [(number,) for number in range(1, len(MIGRATIONS) + 1)]
    with Store.create(tmp_path / "a.duckdb") as store:
        with pytest.raises(Exception, match="nonsense"):
            store.migrate([*MIGRATIONS, "create table extra (n integer); select nonsense"])
        tables = {name for (name,) in store.rows("select table_name from duckdb_tables()")}
        assert "extra" not in tables
        assert store.rows("select number from migrations") == done
        store.migrate([*MIGRATIONS, "create table extra (n integer)"])
        assert store.rows("select number from migrations") == [*done, (len(done) + 1,)]


def test_answering_can_neither_write_nor_reach_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    filled(tmp_path / "a.duckdb", POSTS, TOPICS).close()
    with Store.open(tmp_path / "a.duckdb") as store:
        for forbidden in (
            "insert into words values (99, 'x')",
            f"select * from read_csv('{secret}')",
            "set enable_external_access = true",
        ):
            with pytest.raises(Exception, match=r"read-only|disabled|locked|permission"):
                store.rows(forbidden)
        assert store.rows("select count(*) from posts") == [(4,)]


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "posts.duckdb"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(IndexCorruptError, match=r"posts\.duckdb"):
        Store.open(path)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_posts_and_reposts_come_back_as_they_were(tmp_path: Path, zone: str) -> None:
    east = timezone(timedelta(hours=9))
    moments = [
        datetime(2024, 3, 10, 2, 30, 0, 123456, UTC),  # no such hour in New York
        datetime(2024, 11, 3, 1, 30, tzinfo=east),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        None,
    ]
    texts = ["a\0b", "😀 👩‍👩‍👧", "日本語 e\u0301", "'; drop table posts; --", "1"]
    posts = [
        Post(f"p{n}", None, text, tags, tags, taken_at=moment, picture=f"{n}")
        for n, (text, moment, tags) in enumerate(
            zip(texts, moments, [(), ("東京", "💅"), (), ("a_b",), ("x", "y", "z")], strict=True)
        )
    ]
    with Store.create(tmp_path / "a.duckdb") as store:
        store.connection.execute(f"set TimeZone = '{zone}'")
        store.add_posts(posts, [post.caption.split() for post in posts], [(None, None)] * 5)
        store.add_copies(posts)
        assert list(store.posts()) == store.copies() == posts


def test_a_value_far_down_a_column_of_nothing_is_kept(tmp_path: Path) -> None:
    # DuckDB tells a column's type from a thousand of its rows, where these are not all nothing.
    posts = [Post(f"p{n}", None, "x", author="7" if n == 4_321 else None) for n in range(5_000)]
    with Store.create(tmp_path / "a.duckdb") as store:
        store.add_posts(posts, [["x"]] * 5_000, [(None, None)] * 5_000)
        assert [post.author for post in store.posts()] == [post.author for post in posts]


def test_columns_of_nothing_and_tables_of_no_rows_can_be_lent(tmp_path: Path) -> None:
    empty = {"number": np.zeros(0, np.int64), "text": [], "time": np.zeros(0, "datetime64[us]")}
    nothing = {"number": np.arange(2), "text": [None, None], "time": np.zeros(2, "datetime64[us]")}
    with (
        Store.create(tmp_path / "a.duckdb") as store,
        store.registered(empty=empty, nothing=nothing),
    ):
        store.connection.execute("create table held (number bigint, text varchar, time timestamp)")
        for name, rows in (("empty", 0), ("nothing", 2)):
            store.connection.execute(f"insert into held select * from {name}")
            assert store.rows("select count(*), count(text), count(time) from held") == [
                (rows, 0, rows)
            ]
            assert store.rows(f"select number from {name} where text = 'x'") == []


def test_what_fails_in_a_transaction_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    lent = {"incoming": {"post_key": np.arange(3)}}
    with Store.create(tmp_path / "store.duckdb") as store:
        told = pytest.raises(duckdb.CatalogException, match="missing")
        with told, store.transaction(), store.registered(**lent):
            store.connection.execute("insert into missing select * from incoming")
        with pytest.raises(IndexCorruptError, match="incoming"):
            store.rows("select * from incoming")
        assert store.arrays("select post_key from incoming", **lent)["post_key"].tolist() == [
            0,
            1,
            2,
        ]


def test_words_of_hashtags_come_back_also_where_there_are_none(tmp_path: Path) -> None:
    with Store.create(tmp_path / "a.duckdb") as store:
        store.add_parts({3: ("golden", "hour", "❤"), 5: (), 4: ("東京",)})
        assert store.rows("select * from hashtag_parts order by tag_id") == [
            (3, ["golden", "hour", "❤"]),
            (4, ["東京"]),
            (5, []),
        ]
