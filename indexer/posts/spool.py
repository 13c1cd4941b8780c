"""Stores posts on disk until they are indexed; memory has only what every stage needs."""

from __future__ import annotations

import json
import os
import sys
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.posts.columns import post_of, row_of
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Ids, Post


class Posts(Sequence[Post]):
    """n posts in an unnamed file, which is deleted with the last object that reads it.

    `hashtags` are the keys of each; `authors` and `topics` objects (n,), text or None; `pictured`
    bool (n,): whether the post names a picture.
    """

    __slots__ = ("_file", "_places", "authors", "hashtags", "pictured", "topics")

    def __init__(
        self,
        file: _File,
        places: Ids,
        hashtags: TokenLists,
        authors: NDArray[Any],
        topics: NDArray[Any],
        pictured: NDArray[np.bool_],
    ) -> None:
        """Take a file of posts, and the start and end of each, int64 (n, 2)."""
        self._file, self._places = file, places
        self.hashtags, self.authors, self.topics = hashtags, authors, topics
        self.pictured = pictured

    @classmethod
    def of(cls, posts: Iterable[Post]) -> Self:
        """Write posts to a file, in order.

        Raises:
            OSError: the folder of temporary files is full.
        """
        ends, authors, topics, pictured = array("q", [0]), [], [], array("b")
        with TemporaryFile(prefix="hashlens-") as file:

            def write_posts() -> Iterator[tuple[str, ...]]:
                for post in posts:
                    ends.append(ends[-1] + file.write(json.dumps(row_of(post)).encode("ascii")))
                    # Many posts share an author or topic, so memory has each once.
                    authors.append(post.author and sys.intern(post.author))
                    topics.append(post.topic and sys.intern(post.topic))
                    pictured.append(post.image is not None)
                    yield post.hashtags

            hashtags = TokenLists.of(write_posts())
            file.flush()
            spool = _File(os.dup(file.fileno()))
        bounds = np.array(ends, np.int64)
        return cls(
            spool,
            np.stack([bounds[:-1], bounds[1:]], axis=1),
            hashtags,
            _objects(authors),
            _objects(topics),
            np.array(pictured, np.bool_),
        )

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Post: ...
    @overload
    def __getitem__(self, place: slice) -> list[Post]: ...
    def __getitem__(self, place: int | slice) -> Post | list[Post]:
        if isinstance(place, slice):
            return [self._read(*bounds) for bounds in self._places[place].tolist()]
        return self._read(*self._places[place].tolist())

    def __iter__(self) -> Iterator[Post]:
        for start, end in self._places.tolist():
            yield self._read(start, end)

    def at(self, rows: Ids) -> Posts:
        """Return some of the posts, by place int64 (p,), in the same file."""
        return Posts(
            self._file,
            self._places[rows],
            self.hashtags.at(rows),
            self.authors[rows],
            self.topics[rows],
            self.pictured[rows],
        )

    def _read(self, start: int, end: int) -> Post:
        return post_of(json.loads(os.pread(self._file.number, end - start, start)))


class _File:
    """A file by its number, which is closed with the last reference."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)


def _objects(values: list[str | None]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found
