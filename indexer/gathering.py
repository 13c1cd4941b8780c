"""Posts on their way into an index: read, reposts set apart, pictures encoded."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from indexer.corpus import Corpus
from indexer.duplicates import first_of_each, signature
from indexer.encoders import EncodedImages, ImageEncoder
from indexer.engine import LOCAL, Engine
from indexer.hashtags import tokens
from indexer.posts import Sources, count_rows
from indexer.progress import Progress
from indexer.schema import Embeddings, Ids, Post, Rejection


def gathered(
    sources: Sources, rejections: list[Rejection], progress: Progress, engine: Engine = LOCAL
) -> list[Post]:
    """The posts of files and folders, read by `engine`; `rejections` gets what cannot be used.

    Raises:
        InputError: a source is missing or of no known form.
    """
    progress.stage("Reading posts", count_rows(sources.paths, reader=sources.reader))
    posts = []
    for post in engine.posts(sources, rejections):
        posts.append(post)
        progress.advance()
    return posts


def without_reposts(posts: Sequence[Post], held: Collection[str] = ()) -> Corpus:
    """Posts with their caption words, reposts of them or of what is `held` by signature apart."""
    # Many posts share a word: it is kept in memory once.
    words = [list(map(sys.intern, tokens(post.caption))) for post in posts]
    kept, copies = first_of_each(list(map(signature, posts, words)), held)
    return Corpus(
        [posts[place] for place in kept],
        [words[place] for place in kept],
        None,
        copies=tuple(posts[place] for place in copies),
    )


def encoded(
    corpus: Corpus,
    encoder: ImageEncoder | None,
    rejections: list[Rejection],
    progress: Progress,
    workers: int,
    engine: Engine = LOCAL,
) -> Corpus:
    """The posts with their pictures' vectors; one that had only an unreadable one is dropped."""
    pictured = [row for row, post in enumerate(corpus.posts) if post.image]
    if encoder is None or not pictured:
        return corpus
    paths = [image for post in corpus.posts if (image := post.image)]
    digests = [corpus.posts[row].picture for row in pictured]
    progress.stage("Encoding pictures", len(paths))
    found = engine.encode(encoder, paths, digests, workers=workers, advance=progress.advance)
    return _readable(corpus, np.array(pictured, dtype=np.int64), found, rejections)


def _readable(
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
    dropped = {post.picture for post, keep in zip(posts, kept, strict=True) if not keep}
    return replace(
        corpus,
        posts=[posts[row] for row in rows],
        words=[corpus.words[row] for row in rows],
        images=Embeddings(ids, found.vectors),
        classes=found.classes,
        copies=tuple(
            copy
            for copy in corpus.copies
            if copy.caption or copy.hashtags or copy.picture not in dropped
        ),
    )
