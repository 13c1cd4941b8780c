"""Rows and derived counts, against counts worked by hand and by plain Python."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.derived import derive
from indexer.errors import IndexCorruptError
from indexer.schema import Post
from indexer.store import MIGRATIONS, Store


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
    for number, (tags, author) in enumerate(rows):
        for pair in itertools.permutations(tags, 2):
            expected[pair] += 1
            authors[pair].add(author or str(number))
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
