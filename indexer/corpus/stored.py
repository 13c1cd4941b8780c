"""What an index holds, read back as what it was made of: to learn from it anew."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np

from hashlens.indexer.arrays.disk_rows import concat_rows
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.storage.store import Store
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Embeddings, Floats, Ids
from hashlens.indexer.vectors.segments import load_live


def load_corpus(folder: Path, store: Store, removed: Ids) -> Corpus:
    """The posts of a generation, by rising key, with their pictures' vectors; reposts left out.

    Args:
        folder: of the generation.
        store: its rows.
        removed: keys int64 (r,) of posts that are left out, too.
    """
    posts = Posts.of(store.posts())
    keys = store.arrays("select post_key from posts order by post_key")["post_key"]
    images, classes = load_live(folder / "images")
    if images is not None:
        places = np.searchsorted(keys, images.ids).astype(np.int64)
        images = Embeddings(places, images.vectors)
    words = TokenLists.of(tokens(post.caption) for post in posts)
    whole = Corpus(posts, words, images, classes)
    return whole.part(np.flatnonzero(~np.isin(keys, removed)))


def concat_corpora(first: Corpus, second: Corpus) -> Corpus:
    """The posts of both, in order."""
    shift = len(first.posts)
    parts = [
        Embeddings(part.images.ids + number * shift, part.images.vectors)
        for number, part in enumerate((first, second))
        if part.images is not None
    ]
    images = None
    if parts:
        ids = np.concatenate([part.ids for part in parts])
        images = Embeddings(ids, concat_rows([part.vectors for part in parts]))
    return Corpus(
        Posts.of(chain(first.posts, second.posts)),
        TokenLists.of(chain(first.words, second.words)),
        images,
        _classes([part for part in (first, second) if part.images is not None]),
        first.copies + second.copies,
    )


def _classes(pictured: list[Corpus]) -> Floats | None:
    """Classes of all pictures; None where those of some are not known."""
    known = [part.classes for part in pictured if part.classes is not None]
    return concat_rows(known) if known and len(known) == len(pictured) else None
