"""The rows of an index in DuckDB: base tables, and the counts derived from them.

Base tables hold what was read; every derived table is one SQL statement over them, so counts
after an update are by construction those of a rebuild. Ids come from `next_ids` and are never
reused. This is the only file that imports duckdb.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.errors import IndexCorruptError
from indexer.schema import Ids, Post

if TYPE_CHECKING:
    import duckdb

# Each entry is applied once, in order, in its own transaction together with the note that it was.
MIGRATIONS: tuple[str, ...] = (
    """
    create table posts (
        post_key bigint primary key, post_id varchar unique not null, author varchar,
        taken_at timestamptz, topic varchar, topic_source varchar,
        caption varchar not null, image varchar, content_hash varchar not null);
    create table hashtags (tag_id bigint primary key, key varchar unique not null);
    create table words (word_id bigint primary key, word varchar unique not null);
    create table post_hashtags (
        post_key bigint not null, tag_id bigint not null, form varchar not null,
        position integer not null);
    create table post_words (post_key bigint not null, word_id bigint not null);
    create table next_ids (kind varchar primary key, next_id bigint not null);
    insert into next_ids values ('post', 0), ('hashtag', 0), ('word', 0);
    """,
)

# A post without a known author counts as an author of its own.
DERIVED: dict[str, str] = {
    "tagged": """
        select h.post_key, h.tag_id, h.form, p.topic, p.author as known_author,
               coalesce(p.author, '#' || p.post_key) as author
        from post_hashtags h join posts p using (post_key)""",
    "hashtag_counts": """
        with forms as (
            select tag_id, form, count(*) as uses from tagged group by all),
        best as (
            select tag_id, arg_max(form, (uses, form)) as display from forms group by all)
        select tag_id, key, display, count(*) as posts, count(distinct author) as authors,
               count(distinct known_author) as known_authors
        from tagged join hashtags using (tag_id) join best using (tag_id)
        group by all order by tag_id""",
    "hashtag_topics": """
        select topic, tag_id, count(*) as posts, count(distinct author) as authors
        from tagged where topic is not null group by all order by topic, tag_id""",
    "cooccurrences": """
        select a.tag_id, b.tag_id as other_id, count(*) as posts,
               count(distinct a.author) as authors
        from tagged a join tagged b using (post_key) where a.tag_id <> b.tag_id
        group by all order by a.tag_id, other_id""",
    "word_counts": """
        select word_id, word, count(*) as posts, count(distinct author) as authors
        from post_words join words using (word_id)
        join (select post_key, coalesce(author, '#' || post_key) as author from posts)
            using (post_key)
        group by all order by word_id""",
    "word_hashtags": """
        select w.word_id, t.tag_id, count(*) as posts, count(distinct t.author) as authors
        from post_words w join tagged t using (post_key)
        group by all order by w.word_id, t.tag_id""",
}


class Store(AbstractContextManager["Store"]):
    """One DuckDB file of an index, open for writing or for reading."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self._turn = threading.Lock()

    @classmethod
    def create(cls, path: Path) -> Store:
        """A new, empty store at `path`."""
        import duckdb

        store = cls(duckdb.connect(str(path)), path)
        store.migrate()
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing store, read-only and shut off from files, networks and settings.

        Raises:
            IndexCorruptError: DuckDB cannot read the file.
        """
        import duckdb

        safe: Any = {
            "enable_external_access": "false",
            "lock_configuration": "true",
            "threads": "2",
        }
        try:
            return cls(duckdb.connect(str(path), read_only=True, config=safe), path)
        except duckdb.Error as error:
            raise IndexCorruptError(
                f"{path}: DuckDB cannot read it ({str(error).splitlines()[0]}); "
                "run `hashlens verify`, then `hashlens rollback` or build again"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self.connection.close()

    def migrate(self, migrations: Sequence[str] = MIGRATIONS) -> None:
        """Apply the migrations not applied yet, each in one transaction with its note."""
        run = self.connection.execute
        run("create table if not exists migrations (number integer primary key)")
        done = {number for (number,) in run("select number from migrations").fetchall()}
        for number, statements in enumerate(migrations, start=1):
            if number in done:
                continue
            with self.transaction():
                run(statements)
                run("insert into migrations values (?)", [number])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing."""
        self.connection.execute("begin")
        try:
            yield
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")

    def next_id(self, kind: str) -> int:
        """The id that the next `post`, `hashtag` or `word` gets."""
        query = "select next_id from next_ids where kind = ?"
        return int(self.rows(query, [kind])[0][0])

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as tuples; threads that answer at once take turns."""
        with self._turn:
            return self.connection.execute(query, list(parameters)).fetchall()

    def arrays(self, query: str, /, **tables: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """The columns of a query as NumPy arrays; `tables` are column dictionaries it may read."""
        for name, columns in tables.items():
            self._register(name, columns)
        try:
            result = self.connection.execute(query).fetchnumpy()
        finally:
            for name in tables:
                self.connection.unregister(name)
        return {name: np.asarray(column) for name, column in result.items()}

    def _register(self, name: str, columns: dict[str, Any]) -> None:
        import pyarrow as pa

        self.connection.register(name, pa.table(columns))

    def add_posts(
        self,
        posts: Sequence[Post],
        words: Sequence[Sequence[str]],
        topics: Sequence[tuple[str | None, str | None]],
    ) -> Ids:
        """Add posts with their caption words and (topic, source of the topic).

        Returns:
            Keys int64 (n,), in order.
        """
        first = self.next_id("post")
        keys = np.arange(first, first + len(posts), dtype=np.int64)
        with self.transaction():
            self._insert("posts", _post_columns(posts, topics, keys))
            self._add_terms("hashtag", _tag_columns(posts, keys))
            self._add_terms("word", _word_columns(words, keys))
            self.connection.execute(
                "update next_ids set next_id = ? where kind = 'post'", [first + len(posts)]
            )
        return keys

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        self._register("incoming", columns)
        self.connection.execute(f"insert into {table} select * from incoming")  # noqa: S608
        self.connection.unregister("incoming")

    def _add_terms(self, kind: str, columns: dict[str, Any]) -> None:
        """Give unseen terms their ids, by first appearance, and link posts to all of them."""
        table, id_name, term, extra = {
            "hashtag": ("hashtags", "tag_id", "key", ", form, place"),
            "word": ("words", "word_id", "word", ""),
        }[kind]
        self._register("incoming", columns)
        self.connection.execute(
            f"""insert into {table}
            select row_number() over (order by min(position)) - 1 + ?, term from incoming
            where term not in (select {term} from {table}) group by term""",  # noqa: S608
            [self.next_id(kind)],
        )
        self.connection.execute(
            f"""insert into post_{table}
            select post_key, {id_name}{extra} from incoming join {table} on term = {term}
            order by position""",  # noqa: S608
        )
        self.connection.execute(
            f"""update next_ids set next_id = greatest(next_id,
                (select coalesce(max({id_name}) + 1, 0) from {table})) where kind = ?""",  # noqa: S608
            [kind],
        )
        self.connection.unregister("incoming")

    def tag_ids(self) -> dict[str, int]:
        """Id of every hashtag key."""
        return dict(self.rows("select key, tag_id from hashtag_counts order by tag_id"))

    def word_posts(self) -> dict[str, int]:
        """Number of posts whose caption holds each word."""
        return dict(self.rows("select word, posts from word_counts"))

    def counts(self) -> dict[str, int]:
        """Numbers of posts, hashtags, caption words and known authors."""
        names = ("posts", "hashtags", "words", "authors")
        (values,) = self.rows(
            """select (select count(*) from posts), (select count(*) from hashtag_counts),
                (select count(*) from word_counts), (select count(distinct author) from posts)"""
        )
        return dict(zip(names, values, strict=True))

    def derive(self) -> None:
        """Make every derived table anew from the base tables."""
        for name, query in DERIVED.items():
            kind = "temp view" if name == "tagged" else "table"
            self.connection.execute(f"create or replace {kind} {name} as {query}")
        self.connection.execute("checkpoint")


def _post_columns(
    posts: Sequence[Post], topics: Sequence[tuple[str | None, str | None]], keys: Ids
) -> dict[str, Any]:
    import pyarrow as pa

    def text(values: Iterable[str | None]) -> Any:  # noqa: ANN401 (pyarrow has no types)
        return pa.array(list(values), pa.string())

    return {
        "post_key": keys,
        "post_id": text(post.post_id for post in posts),
        "author": text(post.author for post in posts),
        "taken_at": pa.array([post.taken_at for post in posts], pa.timestamp("us", tz="UTC")),
        "topic": text(topic for topic, _ in topics),
        "topic_source": text(source for _, source in topics),
        "caption": text(post.caption for post in posts),
        "image": text(str(post.image) if post.image else None for post in posts),
        "content_hash": text(post.content_hash for post in posts),
    }


def _tag_columns(posts: Sequence[Post], keys: Ids) -> dict[str, Any]:
    lengths = np.array([len(post.hashtags) for post in posts], dtype=np.int64)
    ends = np.cumsum(lengths)
    position = np.arange(lengths.sum(), dtype=np.int64)
    return {
        "post_key": np.repeat(keys, lengths),
        "term": _strings(tag for post in posts for tag in post.hashtags),
        "form": _strings(form for post in posts for form in post.forms),
        "place": position - np.repeat(ends - lengths, lengths),
        "position": position,
    }


def _word_columns(words: Sequence[Sequence[str]], keys: Ids) -> dict[str, Any]:
    unique = [list(dict.fromkeys(row)) for row in words]
    lengths = np.array([len(row) for row in unique], dtype=np.int64)
    return {
        "post_key": np.repeat(keys, lengths),
        "term": _strings(word for row in unique for word in row),
        "position": np.arange(lengths.sum(), dtype=np.int64),
    }


def _strings(values: Iterable[str]) -> Any:  # noqa: ANN401 (pyarrow has no types)
    import pyarrow as pa

    return pa.array(list(values), pa.string())
