"""Erasure of a person's posts from every generation and every file of an index.

A record of the erasure is written before it begins (see `generations.forgotten`). After a crash or
a full disk, the next command that writes to the index finishes it, and it can be repeated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.erasure.traces import traces_of
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
    """Report of an erasure: the live generation, number of removed posts and reposts, and notes.

    `names` are the spellings of the author that were found.
    """

    generation: int
    posts: int
    names: tuple[str, ...]
    counts: dict[str, int]
    notes: tuple[str, ...]
    seconds: float

    def summary(self) -> str:
        """Return one line on what was removed."""
        names = f" ({', '.join(self.names)})" if len(self.names) > 1 else ""
        return f"generation {self.generation}: {count_noun(self.posts, 'posts')} forgotten{names}"


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
    """Erase an author's posts, or one post, from every generation, and keep them out in future.

    Words and hashtags that no other post uses leave the vocabulary, too. A repost by somebody else
    takes the place of a removed post: those are that person's words. Later updates and builds
    leave the author, or the post, out.

    Args:
        index: folder of the index.
        author: whose posts to erase; case and a leading @ make no difference.
        post: id of the post to erase.
        retrain: whether vectors, topic heads and ranker are trained again without these posts; if
            not, the notes say so.
        weights: file of the encoder's weights, if it is not in its usual place.
        fit_ranker: as in `update`.
        progress: told of every stage.
        workers: threads for training vectors.

    Raises:
        InputError: neither or both are named, or no generation has such a post.
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no sound index.
        IndexLockedError: another process writes to this index.
    """
    began = time.monotonic()
    if (author is None) == (post is None):
        raise CallError("forget: found neither or both of author and post, expected one of them")
    live = open_current(index)
    if author is None:
        found = traces_of(index, lambda post_id, _: post_id == post)
    else:
        name = fold_author(author)
        found = traces_of(index, lambda _, by: by is not None and fold_author(by) == name)
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
    del live  # a generation that is leased is never removed
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
    notes = list(changed.notes)
    if not changed.retrained:
        notes.append(
            "words and hashtags that only they held are gone; vectors, topic heads and ranker were "
            "learned with them: `hashlens update --retrain` learns them anew"
        )
    older = [number for number in all_numbers(index) if number != changed.generation]
    if older:
        numbers = ", ".join(map(str, older))
        notes.append(
            f"generation {numbers} is held by a reader and still has them: "
            "run `hashlens compact --keep 1` when it is done, or the same command again"
        )
    seconds = time.monotonic() - began
    return ForgetReport(changed.generation, len(ids), names, changed.counts, tuple(notes), seconds)
