"""A person's posts erased from an index: from every generation, and from every file of it.

The erasure is written down before it begins (see `forgotten`). Killed, or out of disk, it goes on
with the next command that writes to the index; repeated, it ends well.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.erasure.traces import Trace, traces_of
from hashlens.indexer.errors import CallError, InputError
from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.generations.generation import all_numbers, open_current
from hashlens.indexer.pipeline.ranker_training import FitRanker
from hashlens.indexer.pipeline.update import Forgetting, update
from hashlens.indexer.progress import Progress
from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.text.escaping import count_noun


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What was removed: the generation left, posts and reposts gone, and what stays.

    `names` are the spellings of the author that were found.
    """

    generation: int
    posts: int
    names: tuple[str, ...]
    counts: dict[str, int]
    notes: tuple[str, ...]
    seconds: float


def described(report: ForgetReport) -> str:
    """One line on what was removed."""
    names = f" ({', '.join(report.names)})" if len(report.names) > 1 else ""
    return f"generation {report.generation}: {count_noun(report.posts, 'posts')} forgotten{names}"


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
    """Erase an author's posts, or one post, from every generation, and keep them out from then on.

    Words and hashtags that no other post holds leave the vocabulary as well. A repost by somebody
    else takes the place of a removed post: those are that person's words. Later updates and builds
    leave the author, or the post, out.

    Args:
        index: folder of the index.
        author: whose posts go; case and a leading @ make no difference.
        post: id of the post that goes.
        retrain: whether vectors, topic heads and ranker are learned anew without them; else they
            stay as they were, and the notes say so.
        weights: file of the encoder's weights, where they are not in their usual place.
        fit_ranker: as in `update`.
        progress: told of every stage.
        workers: threads for training vectors.

    Raises:
        InputError: neither or both are named, or no generation holds such a post.
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no sound index.
        IndexLockedError: another process writes to this index.
    """
    began = time.monotonic()
    if (author is None) == (post is None):
        raise CallError("forget: found neither or both of author and post, expected one of them")
    live = open_current(index)
    found = _found(index, author, post)
    memory = Forgotten.of(index)
    known = memory.of_post(post or "") if author is None else memory.of_author(author)
    is_left = bool(found) or known in memory.residue
    if not is_left and known not in memory.hashes:
        wanted = f"post {post!r}" if author is None else f"post by {author!r}"
        raise InputError(
            f"{index}: found no {wanted} in any generation; case and a leading @ make no "
            "difference in authors' names"
        )
    ids = tuple(dict.fromkeys(trace.post_id for trace in found))
    names = tuple(sorted({trace.author for trace in found if trace.author and author is not None}))
    if not is_left and not memory.erasing:
        return ForgetReport(
            live.number,
            0,
            (),
            live.manifest.counts,
            ("already forgotten: no generation holds such a post",),
            time.monotonic() - began,
        )
    del live  # a generation that is held stays
    changed = update(
        [],
        index,
        retrain=retrain,
        weights=weights,
        fit_ranker=fit_ranker,
        progress=progress,
        workers=workers,
        forgetting=Forgetting(() if author is None else (author,), ids if post is None else (post,))
        if is_left
        else None,
    )
    return ForgetReport(
        changed.generation,
        len(ids),
        names,
        changed.counts,
        (*changed.notes, *_left(index, changed.generation, retrain=changed.retrained)),
        time.monotonic() - began,
    )


def _found(index: Path, author: str | None, post: str | None) -> list[Trace]:
    """The posts and reposts that are wanted, in all generations."""
    if author is None:
        return traces_of(index, lambda post_id, _: post_id == post)
    name = fold_author(author)
    return traces_of(index, lambda _, by: by is not None and fold_author(by) == name)


def _left(index: Path, generation: int, *, retrain: bool) -> tuple[str, ...]:
    """What still knows of the removed posts."""
    notes = []
    if not retrain:
        notes.append(
            "words and hashtags that only they held are gone; vectors, topic heads and ranker were "
            "learned with them: `hashlens update --retrain` learns them anew"
        )
    older = [number for number in all_numbers(index) if number != generation]
    if older:
        numbers = ", ".join(map(str, older))
        notes.append(
            f"generation {numbers} is held by a reader and still has them: "
            "run `hashlens compact --keep 1` when it is done, or the same command again"
        )
    return tuple(notes)
