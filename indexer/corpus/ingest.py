"""Read posts on their way into an index, drop reposts, and encode pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.images.encoder import ImageEncoder
from hashlens.indexer.posts.dedup import Marked, first_of_each, mark
from hashlens.indexer.posts.reader import Sources, count_rows
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Embeddings, Post, Rejection

MAX_NOTES = 8  # on the lines at the end


def ingest_posts(sources: Sources, rejections: list[Rejection], context: BuildContext) -> Posts:
    """Read the posts of files and folders; append what cannot be used to `rejections`.

    Raises:
        InputError: a source is missing or of no known form.
    """
    progress = context.progress
    progress.stage("Reading posts", count_rows(sources.paths, reader=sources.reader))
    untagged = number = 0

    def read() -> Iterator[Post]:
        nonlocal untagged, number
        for post in context.engine.read_posts(sources, rejections):
            number += 1
            untagged += bool(post.caption and not post.hashtags)
            yield post
            progress.advance()

    posts = Posts.of(read())
    if untagged:
        reason = f"posts with words and no hashtag: {untagged:,} of {number:,}"
        rejections.append(Rejection(str(sources), None, reason, post_kept=True, is_note=True))
    return posts


def no_usable_post(sources: Sources, rejections: Sequence[Rejection]) -> InputError:
    """Return the error for sources without a usable post, with the first rejection."""
    why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
    return InputError(f"found no usable post in {sources}{why}")


def drop_notes(rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """Return the rejections that are not notes."""
    return tuple(rejection for rejection in rejections if not rejection.is_note)


def summarize_notes(rejections: Iterable[Rejection]) -> tuple[str, ...]:
    """Return one line for each source, with its notes."""
    notes = [rejection for rejection in rejections if rejection.is_note]
    by_source: dict[str, list[str]] = {}
    for note in notes[:MAX_NOTES]:
        by_source.setdefault(note.source, []).append(note.reason)
    lines = [f"{source}: {'; '.join(reasons)}" for source, reasons in by_source.items()]
    if (more := len(notes) - MAX_NOTES) > 0:
        lines.append(f"{count_noun(more, 'more notes')} left out")
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class Admission:
    """Posts that may enter an index, its list of forgotten ones after that, and notes.

    `out` is how many posts stayed out.
    """

    posts: Posts
    memory: Forgotten
    out: int = 0
    notes: tuple[str, ...] = ()


def admit_posts(posts: Posts, memory: Forgotten, *, allow_forgotten: bool) -> Admission:
    """Leave out the posts that an index was told to forget.

    Args:
        posts: incoming.
        memory: the index's list of forgotten posts and authors.
        allow_forgotten: whether these posts enter, too, and leave the list.
    """
    listed = [
        place
        for place, post in enumerate(posts if memory.hashes else ())
        if memory.holds(post.post_id, post.author)
    ]
    if not listed:
        return Admission(posts, memory)
    number = count_noun(len(listed), "posts")
    if allow_forgotten:
        back = posts.at(np.array(listed, np.int64))
        hashes = (memory.hashes_of(post.post_id, post.author) for post in back)
        note = f"{number} that this index was told to forget came back, as --allow-forgotten says"
        return Admission(posts, memory.without(frozenset().union(*hashes)), 0, (note,))
    note = (
        f"{number} stayed out: this index was told to forget or delete them; --allow-forgotten "
        "brings them back"
    )
    staying = np.setdiff1d(np.arange(len(posts)), listed)
    return Admission(posts.at(staying), memory, len(listed), (note,))


def drop_reposts(posts: Posts, held: Iterable[Marked] = ()) -> Corpus:
    """Return posts with their caption words; reposts of them, or of `held` posts, as copies."""
    marks: list[Marked] = []

    def words_of_each() -> Iterator[list[str]]:
        for post in posts:
            words = tokens(post.caption)
            marks.append((mark(post, words), post.author))
            yield words

    words = TokenLists.of(words_of_each())
    kept, copies = first_of_each(marks, held)
    rows = np.array(kept, np.int64)
    return Corpus(
        posts.at(rows), words.at(rows), None, copies=tuple(posts[place] for place in copies)
    )


def encode_images(
    corpus: Corpus,
    encoder: ImageEncoder | None,
    rejections: list[Rejection],
    context: BuildContext,
) -> Corpus:
    """Return the posts with their pictures' vectors; drop those of an unreadable picture alone."""
    posts, pictured = corpus.posts, np.flatnonzero(corpus.posts.pictured)
    if encoder is None or not len(pictured):
        return corpus
    files = [(post.image, post.picture) for post in posts.at(pictured) if post.image]
    context.progress.stage("Encoding pictures", len(files))
    found = context.engine.encode_images(
        encoder,
        [image for image, _ in files],
        [digest for _, digest in files],
        workers=context.workers,
        advance=context.progress.advance,
    )
    kept = np.ones(len(posts), dtype=bool)
    for row, reason in found.failures:
        post = posts[pictured[row]]
        is_kept = kept[pictured[row]] = bool(post.caption or post.hashtags)
        reason = reason.removeprefix(f"{post.image}: ")
        rejections.append(Rejection(str(post.image), None, reason, post_kept=is_kept))
    rows = np.flatnonzero(kept)
    ids = (np.cumsum(kept) - 1)[pictured[found.rows]].astype(np.int64)
    # A repost of a dropped post has its unreadable picture, too.
    dropped = {post.picture for post in posts.at(np.flatnonzero(~kept))}
    return replace(
        corpus,
        posts=posts.at(rows),
        words=corpus.words.at(rows),
        images=Embeddings(ids, found.vectors),
        classes=found.classes,
        copies=tuple(
            copy
            for copy in corpus.copies
            if copy.caption or copy.hashtags or copy.picture not in dropped
        ),
    )
