"""A person's posts out of an index, and out of every file of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from indexer.compact import compact
from indexer.errors import CallError, InputError
from indexer.escaping import counted
from indexer.generation import history, open_current
from indexer.progress import Progress
from indexer.rankers import FitRanker
from indexer.store import Store
from indexer.update import update


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What was removed: the generation left, posts and reposts gone, and what stays."""

    generation: int
    posts: int
    counts: dict[str, int]
    notes: tuple[str, ...]
    seconds: float


def described(report: ForgetReport) -> str:
    """One line on what was removed."""
    return f"generation {report.generation}: {counted(report.posts, 'posts')} forgotten"


def forget(
    index: Path,
    *,
    author: str | None = None,
    post: str | None = None,
    retrain: bool = False,
    weights: Path | None = None,
    fit_ranker: FitRanker | None = None,
    progress: Progress | None = None,
    workers: int = 2,
) -> ForgetReport:
    """Remove an author's posts, or one post, from the tables, vectors and all older generations.

    A repost by somebody else takes the place of a removed post: those are that person's words.

    Args:
        index: folder of the index.
        author: whose posts go, as their readers gave the name.
        post: id of the post that goes.
        retrain: whether vectors, topic heads and ranker are learned anew without them; else they
            stay as they were, and the notes say so.
        weights: file of the encoder's weights, where they are not in their usual place.
        fit_ranker: as in `update`.
        progress: told of every stage.
        workers: threads for training vectors.

    Raises:
        InputError: neither or both are named, or the index holds no such post.
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no sound index.
        IndexLockedError: another process writes to this index.
    """
    began = time.monotonic()
    if (author is None) == (post is None):
        raise CallError("forget: found neither or both of author and post, expected one of them")
    ids = _ids(index, author, post)
    if not ids:
        wanted = f"post {post!r}" if author is None else f"post by {author!r}"
        raise InputError(f"{index}: found no {wanted}; names are as in the files that were read")
    changed = update(
        [],
        index,
        delete=ids,
        retrain=retrain,
        weights=weights,
        fit_ranker=fit_ranker,
        progress=progress,
        workers=workers,
    )
    generation = compact(index, keep=1, progress=progress).generation
    return ForgetReport(
        generation,
        len(ids),
        changed.counts,
        (*changed.notes, *_left(index, generation, retrain)),
        time.monotonic() - began,
    )


def _ids(index: Path, author: str | None, post: str | None) -> list[str]:
    column, value = ("post_id", post) if author is None else ("author", author)
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        query = " union all ".join(
            f"select post_id from {table} where {column} = $1"  # noqa: S608 (our own names)
            for table in ("posts", "copies")
        )
        return [name for (name,) in store.rows(query, [value])]


def _left(index: Path, generation: int, retrain: bool) -> tuple[str, ...]:
    """What still knows of the removed posts."""
    notes = []
    if not retrain:
        notes.append(
            "vocabulary, word vectors, topic heads and ranker were learned with them; "
            "`hashlens update --retrain` learns them anew"
        )
    held = [found.number for found in history(index) if found.number != generation]
    if held:
        numbers = ", ".join(map(str, held))
        notes.append(
            f"generation {numbers} is held by a reader and still has them: "
            "run `hashlens compact --keep 1` when it is done"
        )
    return tuple(notes)
