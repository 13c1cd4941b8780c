"""The rows of an index in DuckDB: base tables, which hold what was read.

`derived` counts them. Ids come from `next_ids` and are never reused: a post that changes gets a
new one. Reposts are kept beside the posts, whole, so that one can take the place of its post. This
is the only file that imports duckdb.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from hashlens.indexer.errors import DAMAGED, IndexCorruptError, check_permission
from hashlens.indexer.generations.filesystem import check_place
from hashlens.indexer.posts.columns import (
    ADDED,
    COPIES,
    STORED,
    copy_columns,
    part_columns,
    post_columns,
    post_of,
    tag_columns,
    word_columns,
)
from hashlens.indexer.posts.dedup import SIGNATURE
from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.types import Ids, Post

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
    """
    alter table posts add column origin varchar;
    alter table posts add column picture varchar;
    alter table posts add column signature varchar;
    create table copies (
        number bigint not null, post_id varchar unique not null, author varchar,
        taken_at timestamptz, topic varchar, caption varchar not null, image varchar,
        content_hash varchar not null, origin varchar, picture varchar,
        signature varchar not null, hashtags varchar[] not null, forms varchar[] not null);
    insert into next_ids values ('copy', 0);
    create table hashtag_parts (tag_id bigint primary key, words varchar[] not null);
    """,
    # Counts are by `VOICE` from here on: whoever applies this has to derive all tables anew.
    "select 1",
    # `owner` is the author by `fold_author`; `voice` the least key of the posts without an author
    # that say nearly the same, null if none does. All tables have to be derived anew.
    """
    alter table posts add column owner varchar;
    alter table posts add column voice bigint;
    """,
)
VOICES, NEAR_TEXTS = 3, 4  # numbers of those migrations

# Whose a post is: spellings of one name are one author. Posts without one are one author's where
# they say nearly the same (see `near_texts`), and otherwise each an author of its own.
KNOWN_AUTHOR = "owner"
_NAMELESS = f"'s' || signature[:{SIGNATURE}], '#' || post_key"
VOICE = f"coalesce('a' || {KNOWN_AUTHOR}, 'n' || voice, {_NAMELESS})"
SAID = f"coalesce(signature[:{SIGNATURE}], '#' || post_key)"  # the same of posts that say the same
# The same in indexes that were made before, with and without the first of the migrations above.
OLD_KNOWN_AUTHOR = "ltrim(lower(trim(author)), '@')"
OLD_VOICE = f"coalesce('a' || {OLD_KNOWN_AUTHOR}, {_NAMELESS})"
OLDEST_KNOWN_AUTHOR, OLDEST_VOICE = "author", "coalesce(author, '#' || post_key)"


MEMORY_FILE = ":memory:"  # the path of a store that no file holds
FETCHED = 10_000  # rows held at a time
MEMORY = "3GB"  # what counting may take; beyond it DuckDB writes beside its file meanwhile

# No files but its own, no networks, and no way to change that.
_SHUT: dict[str, Any] = {"enable_external_access": "false", "lock_configuration": "true"}

# An index begun from another's holds that one's counts besides, of posts it never sees: tables
# named as the derived ones, and `totals`, in a schema of this name.
BASE_COUNTS = "prior"
BASE_POSTS = "borrowed"  # name of the number of those posts, among the counts of an index


class Store(AbstractContextManager["Store"]):
    """One DuckDB file of an index, open for writing or for reading."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, path: Path, *, is_given: bool = False
    ) -> None:
        """Take a connection; `is_given` where the file was there before and may be a stranger's."""
        self.connection = connection
        self.path = path
        self._is_given = is_given
        self._turn = threading.Lock()

    @classmethod
    def create(cls, path: Path, migrations: Sequence[str] = MIGRATIONS) -> Store:
        """Return a new, empty store at `path`."""
        import duckdb

        store = cls(duckdb.connect(_file(path), config={"memory_limit": MEMORY}), path)
        store.migrate(migrations)
        return store

    @classmethod
    def change(cls, path: Path) -> Store:
        """An existing store, open for writing: a file of one's own, never one that is shared.

        Raises:
            IndexCorruptError: DuckDB cannot read the file, or it holds SQL that a query would run.
        """
        return cls._connect(path, {})

    @classmethod
    def open(cls, path: Path, spill: Path | None = None) -> Store:
        """An existing store, read-only and shut off from files, networks and settings.

        Args:
            path: its file.
            spill: an empty folder for what does not fit in memory; queries do without. It is never
                beside the file, which is sealed, and it can be read from: it must be one's own.

        Raises:
            IndexCorruptError: DuckDB cannot read the file, or it holds SQL that a query would run.
        """
        return cls._connect(
            path,
            {"access_mode": "read_only", "threads": "2", "temp_directory": str(spill or "")},
        )

    @classmethod
    def _connect(cls, path: Path, config: dict[str, str]) -> Store:
        import duckdb

        whole: Any = _SHUT | {"memory_limit": MEMORY} | config
        with _damage_told(path):
            connection = duckdb.connect(_file(path), config=whole)
            try:
                _refuse_code(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path, is_given=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what DuckDB said of a file that was given is told as damage.

        Raises:
            IndexCorruptError: DuckDB failed inside.
        """
        import duckdb

        self.close()
        if self._is_given and isinstance(error, duckdb.Error | UnicodeDecodeError):
            raise _corrupt(self.path, error) from error

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self.connection.close()

    def migrate(self, migrations: Sequence[str] = MIGRATIONS) -> bool:
        """Apply the migrations not applied yet, each in one transaction with its note.

        Returns:
            Whether there were any.
        """
        run = self.connection.execute
        run("create table if not exists migrations (number integer primary key)")
        done = {number for (number,) in run("select number from migrations").fetchall()}
        for number, statements in enumerate(migrations, start=1):
            if number in done:
                continue
            with self.transaction():
                run(statements)
                if number == NEAR_TEXTS:
                    self._fill_owners()
                run("insert into migrations values (?)", [number])
        return len(done) < len(migrations)

    def _fill_owners(self) -> None:
        """Write the folded name of every author."""
        query = "select distinct author from posts where author is not null"
        names = [name for (name,) in self.rows(query)]
        with self.registered(names={"author": names, "folded": list(map(fold_author, names))}):
            self.connection.execute(
                "update posts set owner = n.folded from names n where posts.author = n.author"
            )

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

    @property
    def has_base_counts(self) -> bool:
        """Whether counts of another index's posts are added to those of its own."""
        query = "select count(*) from duckdb_schemas() where schema_name = ? and not internal"
        return bool(self.rows(query, [BASE_COUNTS])[0][0])

    @property
    def voice(self) -> tuple[str, str]:
        """Return the expressions over `posts` by which this store counts authors and known ones."""
        if not self.has_migration(VOICES):
            return OLDEST_VOICE, OLDEST_KNOWN_AUTHOR
        if not self.has_migration(NEAR_TEXTS):
            return OLD_VOICE, OLD_KNOWN_AUTHOR
        return VOICE, KNOWN_AUTHOR

    def has_migration(self, number: int) -> bool:
        """Return whether a migration was applied."""
        query = "select count(*) from migrations where number = ?"
        return bool(self.rows(query, [number])[0][0])

    def totals(self) -> tuple[int, int]:
        """Numbers of posts and of authors that the counts are of."""
        query = f"select count(*), count(distinct {self.voice[0]}) from posts"  # noqa: S608
        posts, authors = self._numbers(query)
        if self.has_base_counts:
            more, others = self._numbers(f"select posts, authors from {BASE_COUNTS}.totals")  # noqa: S608
            posts, authors = posts + more, authors + others
        return posts, authors

    def next_id(self, kind: str) -> int:
        """The id that the next `post`, `hashtag`, `word` or `copy` gets."""
        (found,) = self._numbers("select next_id from next_ids where kind = ?", [kind])
        return found

    def _numbers(self, query: str, parameters: Sequence[Any] = ()) -> tuple[int, ...]:
        """The one row of a query, of whole numbers.

        Raises:
            IndexCorruptError: it has another number of rows, or no such values.
        """
        rows = self.rows(query, parameters)
        if len(rows) != 1 or not all(isinstance(n, int) and 0 <= n < 1 << 53 for n in rows[0]):
            found = f"{len(rows)} rows, or no numbers,"
            raise IndexCorruptError(f"{self.path}: found {found} for `{query}`; {DAMAGED}")
        return tuple(rows[0])

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as tuples; threads that answer at once take turns.

        Raises:
            IndexCorruptError: DuckDB finds the file damaged.
        """
        with self._turn, _damage_told(self.path):
            return self.connection.execute(query, list(parameters)).fetchall()

    def arrays(self, query: str, /, **tables: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """The columns of a query as NumPy arrays; `tables` are column dictionaries it may read.

        Raises:
            IndexCorruptError: DuckDB finds the file damaged.
        """
        with self.registered(**tables), _damage_told(self.path):
            result = self.connection.execute(query).fetchnumpy()
        return {name: np.asarray(column) for name, column in result.items()}

    @contextmanager
    def registered(self, **tables: dict[str, Any]) -> Iterator[None]:
        """Let statements inside read column dictionaries as tables of these names.

        Args:
            tables: columns of each, of one length: arrays of numbers or times, or lists of text,
                where None is null.
        """
        import duckdb

        for name, columns in tables.items():
            arrays = {
                key: values if isinstance(values, np.ndarray) else np.array(values, object)
                for key, values in columns.items()
            }
            self.connection.register(name, arrays)
        try:
            yield
        finally:
            for name in tables:
                # Where a transaction failed they go with it, and what it failed of is to be told.
                with suppress(duckdb.TransactionException):
                    self.connection.unregister(name)

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
            self._insert("posts", post_columns(posts, words, topics, keys))
            self._add_terms("hashtag", tag_columns(posts, keys))
            self._add_terms("word", word_columns(words, keys))
            self._set_next_id("post", first + len(posts))
        return keys

    def add_copies(self, posts: Sequence[Post]) -> None:
        """Add reposts of posts."""
        if not posts:
            return
        first = self.next_id("copy")
        with self.transaction():
            self._insert("copies", copy_columns(posts, first))
            self._set_next_id("copy", first + len(posts))

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        changed = f"replace ({', '.join(ADDED[table])})"
        with self.registered(incoming=columns):
            self.connection.execute(
                f"insert into {table} by name select * {changed} from incoming"  # noqa: S608
            )

    def _set_next_id(self, kind: str, following: int) -> None:
        self.connection.execute("update next_ids set next_id = ? where kind = ?", [following, kind])

    def remove(self, post_keys: Ids, copies: Sequence[str]) -> None:
        """Remove posts by key int64 (r,), and reposts by post id, from the base tables."""
        with self.registered(gone={"post_key": post_keys}), self.transaction():
            for table in ("posts", "post_hashtags", "post_words"):
                self.connection.execute(
                    f"delete from {table} where post_key in (select post_key from gone)"  # noqa: S608
                )
            self.connection.execute(
                "delete from copies where post_id in (select unnest(?::varchar[]))",
                [list(copies)],
            )

    def move_pictures(self, images: Mapping[str, Path]) -> None:
        """Keep new paths of pictures, by post id."""
        columns = {"post_id": list(images), "image": list(map(str, images.values()))}
        with self.registered(elsewhere=columns), self.transaction():
            for table in ("posts", "copies"):
                self.connection.execute(
                    f"update {table} t set image = e.image from elsewhere e "  # noqa: S608
                    "where t.post_id = e.post_id and t.image is not null"
                )

    def forget_unused(self) -> None:
        """Remove the hashtags and words that no post is left of; their ids stay theirs."""
        counted = {"hashtags": "hashtag_counts", "words": "word_counts"}
        kept = self.has_base_counts
        with self.transaction():
            for table, number in (("hashtags", "tag_id"), ("words", "word_id")):
                used = f"select {number} from post_{table}"  # noqa: S608
                if kept:
                    used += f" union all select {number} from {BASE_COUNTS}.{counted[table]}"  # noqa: S608
                self.connection.execute(f"delete from {table} where {number} not in ({used})")  # noqa: S608
            self.connection.execute(
                "delete from hashtag_parts where tag_id not in (select tag_id from hashtags)"
            )

    def _add_terms(self, kind: str, columns: dict[str, Any]) -> None:
        """Give unseen terms their ids, by first appearance, and link posts to all of them."""
        table, id_name, term, extra = {
            "hashtag": ("hashtags", "tag_id", "key", ", form, place"),
            "word": ("words", "word_id", "word", ""),
        }[kind]
        run = self.connection.execute
        with self.registered(incoming=columns):
            run(
                f"""insert into {table}
                select row_number() over (order by min(position)) - 1 + ?, term from incoming
                where term not in (select {term} from {table}) group by term""",  # noqa: S608
                [self.next_id(kind)],
            )
            run(
                f"""insert into post_{table}
                select post_key, {id_name}{extra} from incoming join {table} on term = {term}
                order by position""",  # noqa: S608
            )
        run(
            f"""update next_ids set next_id = greatest(next_id,
                (select coalesce(max({id_name}) + 1, 0) from {table})) where kind = ?""",  # noqa: S608
            [kind],
        )

    def add_parts(self, parts: Mapping[int, Sequence[str]]) -> None:
        """Keep the words that hashtags are made of, by id."""
        if parts:
            self._insert("hashtag_parts", part_columns(parts))

    def posts(self) -> Iterator[Post]:
        """All posts as they were read, by rising key; others may ask meanwhile."""
        with _damage_told(self.path):
            found = self.connection.cursor().execute(STORED)
            while rows := found.fetchmany(FETCHED):
                yield from map(post_of, rows)

    def copies(self, post_ids: Sequence[str] | None = None) -> list[Post]:
        """The reposts as they were read, in order of arrival; those of some ids where named."""
        chosen = "" if post_ids is None else " where post_id in (select unnest(?::varchar[]))"
        given = [] if post_ids is None else [list(post_ids)]
        return list(map(post_of, self.rows(f"{COPIES}{chosen} order by number", given)))

    def tag_ids(self) -> dict[str, int]:
        """Id of every hashtag key."""
        return dict(self.rows("select key, tag_id from hashtag_counts order by tag_id"))

    def word_ids(self, words: Collection[str]) -> dict[str, int]:
        """Ids of those words that captions hold."""
        query = "select word, word_id from words where word in (select unnest(?::varchar[]))"
        return dict(self.rows(query, [list(words)]))

    def counts(self) -> dict[str, int]:
        """Numbers of posts, hashtags, words, known authors, reposts, and of posts borrowed."""
        names = ("posts", "hashtags", "words", "authors", "copies")
        (values,) = self.rows(
            f"""select (select count(*) from posts), (select count(*) from hashtag_counts),
                (select count(*) from word_counts),
                (select count(distinct {self.voice[1]}) from posts),
                (select count(*) from copies)"""  # noqa: S608
        )
        found = dict(zip(names, values, strict=True))
        if self.has_base_counts:
            found[BASE_POSTS] = self.totals()[0] - found["posts"]
        return found

    @staticmethod
    def compact(path: Path, target: Path) -> None:
        """Write a store into a new file, without the room that removed rows took."""
        import duckdb

        places = {"old": path.resolve(), "new": target.resolve()}
        with (
            TemporaryDirectory(prefix="hashlens-") as spill,
            _damage_told(path),
            duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spill}) as connection,
        ):
            folders = ", ".join(_quoted(place.parent) for place in places.values())
            connection.execute(f"set allowed_directories = [{folders}]")
            connection.execute("set enable_external_access = false")
            for name, place in places.items():
                mode = "read_only" if name == "old" else "read_write"
                connection.execute(f"attach {_quoted(place)} as {name} ({mode})")
            _refuse_code(connection, path, "old")
            connection.execute("copy from database old to new")
            connection.execute("checkpoint new")


# What a file may hold that computes when it is read or written, and where DuckDB lists it. Views
# come first: some of the other lists look into them.
_CODE = (
    "select 'view ' || view_name, sql from duckdb_views() where not internal and database_name = ?",
    """select 'function ' || function_name, '' from duckdb_functions()
    where not internal and database_name = ?""",
    """select 'column ' || column_name || ' of ' || table_name, '' from duckdb_columns()
    where not internal and column_default is not null and database_name = ?""",
    """select 'generated column of ' || table_name, '' from duckdb_tables()
    where sql ilike '%generated always%' and database_name = ?""",
    """select 'constraint of ' || table_name, '' from duckdb_constraints()
    where constraint_type not in ('NOT NULL', 'PRIMARY KEY', 'UNIQUE') and database_name = ?""",
    "select 'index ' || index_name, '' from duckdb_indexes() where database_name = ?",
)
# DuckDB 2 has triggers, and so the list of them.
_TRIGGERS = "select 'trigger ' || trigger_name, '' from duckdb_triggers() where database_name = ?"
# `pairs_as_views` makes views that read a table of the prior counts, whole.
_LENT = re.compile(r'CREATE VIEW (\w+) AS SELECT \* FROM "?prior"?\.\1;?', re.ASCII | re.IGNORECASE)


def _refuse_code(
    connection: duckdb.DuckDBPyConnection, path: Path, database: str | None = None
) -> None:
    """Refuse a file that holds SQL of its own: a stranger's would run without bound.

    Raises:
        IndexCorruptError: it holds a view, macro, computed column, check, index or trigger.
    """
    import duckdb

    if database is None:
        ((database,),) = connection.execute("select current_database()").fetchall()
    for query in _CODE:
        for what, sql in connection.execute(query, [database]).fetchall():
            if not _LENT.fullmatch(sql):
                raise _foreign(path, what)
    with suppress(duckdb.CatalogException):
        for what, _ in connection.execute(_TRIGGERS, [database]).fetchall():
            raise _foreign(path, what)


def _foreign(path: Path, what: str) -> IndexCorruptError:
    return IndexCorruptError(
        f"{path}: found other tables, views or functions than hashlens makes ({what[:100]!r}), "
        f"whose SQL is not run; {DAMAGED}"
    )


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Turn what DuckDB says of a damaged file, or of one of another make, into our error."""
    import duckdb

    try:
        yield
    # A damaged file's own bytes, which are no text, may stand in DuckDB's message.
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise _corrupt(path, error) from error


def _file(path: Path) -> str:
    """The path as DuckDB takes it for a file's, and for nothing else, as `md:` and `s3:` are."""
    if str(path) == MEMORY_FILE:
        return MEMORY_FILE
    check_place(path)
    return str(path.absolute())


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _corrupt(path: Path, error: Exception) -> IndexCorruptError:
    check_permission(path, error)
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return IndexCorruptError(f"{path}: DuckDB cannot read it ({reason}); {DAMAGED}")
