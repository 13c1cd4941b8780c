"""Posts on their way into an index: read, reposts set apart, pictures encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.images.encoder import EncodedImages, ImageEncoder
from hashlens.indexer.posts.dedup import Marked, first_of_each, mark
from hashlens.indexer.posts.reader import Sources, count_rows
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import Progress
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Embeddings, Ids, Post, Rejection

MAX_NOTES = 8  # on the lines at the end


def ingest_posts(
    sources: Sources, rejections: list[Rejection], progress: Progress, engine: Engine = LOCAL
) -> Posts:
    """The posts of files and folders, read by `engine`; `rejections` gets what cannot be used.

    Raises:
        InputError: a source is missing or of no known form.
    """
    progress.stage("Reading posts", count_rows(sources.paths, reader=sources.reader))

    untagged = number = 0

    def read() -> Iterator[Post]:
        nonlocal untagged, number
        for post in engine.posts(sources, rejections):
            number += 1
            untagged += bool(post.caption and not post.hashtags)
            yield post
            progress.advance()

    posts = Posts.of(read())
    if untagged:
        reason = f"posts with words and no hashtag: {untagged:,} of {number:,}"
        rejections.append(Rejection(str(sources), None, reason, post_kept=True, is_note=True))
    return posts


def drop_notes(rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """What could not be used."""
    return tuple(rejection for rejection in rejections if not rejection.is_note)


def summarize_notes(rejections: Iterable[Rejection]) -> tuple[str, ...]:
    """A line for each source that says what was not understood, or counted once."""
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
    """The list of what is forgotten once posts were let in, how many stayed out, and notes."""

    memory: Forgotten
    out: int
    notes: tuple[str, ...]


def admit_posts(
    posts: Sequence[Post], memory: Forgotten, *, allow_forgotten: bool
) -> tuple[Sequence[Post], Admission]:
    """The posts without those that an index was told to forget.

    Args:
        posts: incoming.
        memory: what the index was told to forget.
        allow_forgotten: whether these come in as well; the list loses them then.
    """
    listed = [
        place
        for place, post in enumerate(posts if memory.hashes else ())
        if memory.holds(post.post_id, post.author)
    ]
    if not listed:
        return posts, Admission(memory, 0, ())
    number = count_noun(len(listed), "posts")
    if allow_forgotten:
        hashes = [memory.hashes_of(post.post_id, post.author) for post in _at(posts, listed)]
        memory = memory.without(frozenset().union(*hashes))
        note = f"{number} that this index was told to forget came back, as --allow-forgotten says"
        return posts, Admission(memory, 0, (note,))
    staying = np.setdiff1d(np.arange(len(posts)), listed).tolist()
    note = (
        f"{number} stayed out: this index was told to forget or delete them; --allow-forgotten "
        "brings them back"
    )
    return _at(posts, staying), Admission(memory, len(listed), (note,))


def _at(posts: Sequence[Post], places: list[int]) -> Sequence[Post]:
    if isinstance(posts, Posts):
        return posts.at(np.array(places, np.int64))
    return [posts[place] for place in places]


def drop_reposts(posts: Posts, held: Iterable[Marked] = ()) -> Corpus:
    """Posts with their caption words, reposts of them or of what is `held` apart."""
    marks: list[Marked] = []

    def spoken() -> Iterator[list[str]]:
        for post in posts:
            words = tokens(post.caption)
            marks.append((mark(post, words), post.author))
            yield words

    words = TokenLists.of(spoken())
    kept, copies = first_of_each(marks, held)
    rows = np.array(kept, np.int64)
    return Corpus(
        posts.at(rows), words.at(rows), None, copies=tuple(posts[place] for place in copies)
    )


def encode_images(
    corpus: Corpus,
    encoder: ImageEncoder | None,
    rejections: list[Rejection],
    progress: Progress,
    workers: int,
    engine: Engine = LOCAL,
) -> Corpus:
    """The posts with their pictures' vectors; one that had only an unreadable one is dropped."""
    pictured = np.flatnonzero(corpus.posts.pictured)
    if encoder is None or not len(pictured):
        return corpus
    named = [(post.image, post.picture) for post in corpus.posts.at(pictured)]
    paths = [image for image, _ in named if image]
    digests = [digest for _, digest in named]
    progress.stage("Encoding pictures", len(paths))
    found = engine.encode(encoder, paths, digests, workers=workers, advance=progress.advance)
    return _attach_embeddings(corpus, pictured, found, rejections)


def _attach_embeddings(
    corpus: Corpus, pictured: Ids, found: EncodedImages, rejections: list[Rejection]
) -> Corpus:
    posts = corpus.posts
    kept = np.ones(len(posts), dtype=bool)
    for row, reason in found.failures:
        post = posts[pictured[row]]
        kept[pictured[row]] = bool(post.caption or post.hashtags)
        reason = reason.removeprefix(f"{post.image}: ")
        rejections.append(
            Rejection(str(post.image), None, reason, post_kept=bool(kept[pictured[row]]))
        )
    rows = np.flatnonzero(kept)
    ids = (np.cumsum(kept) - 1)[pictured[found.rows]].astype(np.int64)
    # What repeats a dropped post has its unreadable picture too.
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
