"""What incoming posts, and ids to be deleted, change in an index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashlens.indexer.config import check_file
from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.columns import question_columns
from hashlens.indexer.posts.dedup import SIGNATURE, Marked
from hashlens.indexer.posts.tables.tables import read_rows
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Ids, Post

_TABLES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class PostDiff:
    """What is to be done, and what that means for a person.

    `removed` int64 (r,) are keys of posts that leave the index, `copies` ids of reposts that do;
    `arriving` are posts to be put in, in order: first the reposts that take the place of a post
    that leaves, then what is added or changed. `held` are marks and authors of the posts that stay
    (see `duplicates`).
    `moved` are the new paths of known pictures, by the id of a post that stays as it is.
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


def diff_posts(store: Store, posts: Sequence[Post], deleted: Collection[str]) -> PostDiff:
    """Compare posts with those of an index, by id and content hash.

    Args:
        store: of the index.
        posts: incoming, each id once; those that are to be deleted as well stay out.
        deleted: ids of posts, or of reposts.
    """
    posts = [post for post in posts if post.post_id not in deleted]
    new, changed, there, elsewhere = _compared(store, posts)
    gone_ids = [*deleted, *(posts[place].post_id for place in changed)]
    removed, copies = _named(store, gone_ids)
    arriving = sorted([*new, *changed])
    heirs = _heirs(store, removed, copies)
    found = {*_ids(store, removed), *copies}
    return PostDiff(
        removed=removed,
        copies=(*copies, *(post.post_id for post in heirs)),
        arriving=[*heirs, *(posts[place] for place in arriving)],
        held=_held(store, removed),
        added=len(new),
        changed=len(changed),
        unchanged=there - len(changed),
        deleted=len(found & set(deleted)),
        not_found=tuple(name for name in dict.fromkeys(deleted) if name not in found),
        moved=_moved(posts, elsewhere),
    )


def _moved(posts: Sequence[Post], places: Sequence[int]) -> dict[str, Path]:
    found = ((post.post_id, post.image) for post in map(posts.__getitem__, places))
    return {name: image for name, image in found if image}


def _compared(store: Store, posts: Sequence[Post]) -> tuple[list[int], list[int], int, list[int]]:
    """Places of new posts and of changed ones, how many posts are known, and places of moved ones.

    A moved post is as it was, and so is its picture (the content hash holds the picture's), but
    the picture lies elsewhere.
    """
    if not posts:
        return [], [], 0, []
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
    return new, changed, len(posts) - len(new), moved


def _named(store: Store, ids: Sequence[str]) -> tuple[Ids, tuple[str, ...]]:
    """Keys of those ids that are posts, and those ids that are reposts."""
    query = "select post_key from posts where post_id in (select unnest(?::varchar[])) order by 1"
    keys = [key for (key,) in store.rows(query, [list(ids)])]
    query = "select post_id from copies where post_id in (select unnest(?::varchar[])) order by 1"
    return np.array(keys, np.int64), tuple(name for (name,) in store.rows(query, [list(ids)]))


def _ids(store: Store, keys: Ids) -> Iterator[str]:
    query = "select post_id from posts where post_key in (select unnest(?::bigint[]))"
    yield from (name for (name,) in store.rows(query, [keys.tolist()]))


def _heirs(store: Store, removed: Ids, copies: Collection[str]) -> list[Post]:
    """The reposts of removed posts that stay: the first of them takes its place.

    Others may be kept as well, such as the next of an author's series.
    """
    query = f"""select post_id from copies
        where signature[:{SIGNATURE}] in (select signature[:{SIGNATURE}] from posts
                where post_key in (select unnest(?::bigint[])))
            and post_id not in (select unnest(?::varchar[]))"""  # noqa: S608
    names = [name for (name,) in store.rows(query, [removed.tolist(), list(copies)])]
    return store.copies(names) if names else []


def _held(store: Store, removed: Ids) -> Sequence[Marked]:
    query = """select signature, author from posts where signature is not null
        and post_key not in (select unnest(?::bigint[])) order by post_key"""
    return [(name, author) for name, author in store.rows(query, [removed.tolist()])]


def read_ids(path: Path) -> list[str]:
    """Post ids in a file, one a line, or in the column `id` of JSONL, CSV or Parquet.

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
    return [
        _id(path, row.line, row.fields.get("id"), row.problem) for row in read_rows(path, ["id"])
    ]


def _id(path: Path, line: int | None, value: object, problem: str | None) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if problem or not isinstance(value, str) or not value.strip():
        raise InputError(f"{path}:{line}: {problem or 'found no id, expected one in each row'}")
    return value.strip()
