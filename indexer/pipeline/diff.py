"""The difference between incoming posts, with ids to delete, and an index."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashlens.indexer.config import check_file
from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.columns import question_columns
from hashlens.indexer.posts.dedup import SIGNATURE, Marked
from hashlens.indexer.posts.tables.tables import read_rows
from hashlens.indexer.storage.store import Store
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.types import Ids, Post

_TABLES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class PostDiff:
    """Posts that leave and enter an index, and their numbers.

    `removed` int64 (r,) are keys of posts that leave the index, `copies` ids of reposts that do.
    `arriving` are posts that enter, in order: first the reposts that take the place of a post that
    leaves, then added and changed posts. `held` are marks and authors of the posts that stay (see
    `posts.dedup`). `moved` are new paths of known pictures, by the id of a post that stays.
    """

    removed: Ids
    copies: tuple[str, ...]
    arriving: list[Post]
    held: Sequence[Marked]
    added: int
    changed: int
    unchanged: int
    deleted: int
    not_found: tuple[str, ...]
    moved: Mapping[str, Path]

    def __bool__(self) -> bool:
        return bool(len(self.removed) or self.copies or self.arriving or self.moved)

    def deletion_notes(self, posts: Sequence[Post], deleted: Sequence[str]) -> tuple[str, ...]:
        """Return notes on ids to delete that are unknown, or given as posts, too."""
        notes = []
        if missing := self.not_found:
            first = ", ".join(map(repr, missing[:3]))
            number, are = count_noun(len(missing), "ids"), "is" if len(missing) == 1 else "are"
            notes.append(f"{number} to delete {are} not in the index: {first}")
        if both := {post.post_id for post in posts} & set(deleted) if deleted else None:
            number, were = count_noun(len(both), "posts"), "was" if len(both) == 1 else "were"
            notes.append(f"{number} {were} given and to be deleted: not in the index now")
        return tuple(notes)


def diff_posts(store: Store, posts: Sequence[Post], deleted: Collection[str]) -> PostDiff:
    """Compare posts with those of an index, by id and content hash.

    Args:
        store: of the index.
        posts: incoming, each id once; those that are also deleted stay out.
        deleted: ids of posts, or of reposts.
    """
    leaving = frozenset(deleted)
    posts = [post for post in posts if post.post_id not in leaving]
    new, changed, moved = _compare_hashes(store, posts)
    gone_ids = [*deleted, *(posts[place].post_id for place in changed)]
    query = """select post_key, post_id from posts
        where post_id in (select unnest(?::varchar[])) order by 1"""
    gone = store.rows(query, [gone_ids])
    removed = np.array([key for key, _ in gone], np.int64)
    query = "select post_id from copies where post_id in (select unnest(?::varchar[])) order by 1"
    copies = tuple(name for (name,) in store.rows(query, [gone_ids]))
    # Of the reposts of removed posts, the first takes its post's place. Others may become posts,
    # too, such as the next of an author's series.
    query = f"""select post_id from copies
        where signature[:{SIGNATURE}] in (select signature[:{SIGNATURE}] from posts
                where post_key in (select unnest(?::bigint[])))
            and post_id not in (select unnest(?::varchar[]))"""  # noqa: S608
    names = [name for (name,) in store.rows(query, [removed.tolist(), list(copies)])]
    heirs = store.copies(names) if names else []
    found = {*(name for _, name in gone), *copies}
    query = """select signature, author from posts where signature is not null
        and post_key not in (select unnest(?::bigint[])) order by post_key"""
    held = [(name, author) for name, author in store.rows(query, [removed.tolist()])]
    elsewhere = ((posts[place].post_id, posts[place].image) for place in moved)
    return PostDiff(
        removed=removed,
        copies=(*copies, *(post.post_id for post in heirs)),
        arriving=[*heirs, *(posts[place] for place in sorted([*new, *changed]))],
        held=held,
        added=len(new),
        changed=len(changed),
        unchanged=len(posts) - len(new) - len(changed),
        deleted=len(found & leaving),
        not_found=tuple(name for name in dict.fromkeys(deleted) if name not in found),
        moved={name: image for name, image in elsewhere if image},
    )


def _compare_hashes(store: Store, posts: Sequence[Post]) -> tuple[list[int], list[int], list[int]]:
    """Return places of new posts, of changed ones, and of those whose picture has moved.

    A moved post has the same content hash, which includes the picture's, and another path.
    """
    if not posts:
        return [], [], []
    found = store.arrays(
        """select held.content_hash is null as new,
            coalesce(held.content_hash <> asked.content_hash, false) as changed,
            coalesce(held.content_hash = asked.content_hash and held.image <> asked.image, false)
                as moved
        from asked left join (
            select post_id, content_hash, image from posts union all
            select post_id, content_hash, image from copies) as held using (post_id)
        order by place""",
        asked=question_columns(posts),
    )
    new, changed, moved = (
        np.flatnonzero(found[name].astype(bool)).tolist() for name in ("new", "changed", "moved")
    )
    return new, changed, moved


def read_ids(path: Path) -> list[str]:
    """Read post ids from a file, one a line, or from the column `id` of JSONL, CSV or Parquet.

    Raises:
        InputError: the file cannot be read, or a row has no id.
    """
    check_file(path, "ids to delete")
    if path.suffix.lower() not in _TABLES:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as post ids, one a line ({error})") from error
        return [line.strip() for line in lines if line.strip()]
    ids = []
    for row in read_rows(path, ["id"]):
        value = row.fields.get("id")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if row.problem or not isinstance(value, str) or not value.strip():
            problem = row.problem or "found no id, expected one in each row"
            raise InputError(f"{path}:{row.line}: {problem}")
        ids.append(value.strip())
    return ids
