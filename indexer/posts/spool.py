"""Posts on their way into an index, kept on disk: in memory is what all of them are asked for."""

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
    """n posts in a file that has no name, and goes with the last of these that reads it.

    `hashtags` are the keys of each; `authors` and `topics` objects (n,), text or None; `pictured`
    bool (n,): whether it names a picture.
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
        """Take a file of posts, and where each begins and ends, int64 (n, 2)."""
        self._file, self._places = file, places
        self.hashtags, self.authors, self.topics = hashtags, authors, topics
        self.pictured = pictured

    @classmethod
    def of(cls, posts: Iterable[Post]) -> Self:
        """Write posts down, in order.

        Raises:
            OSError: the folder of temporary files is full.
        """
        ends, authors, topics, pictured = array("q", [0]), [], [], array("b")
        with TemporaryFile(prefix="hashlens-") as file:

            def written() -> Iterator[tuple[str, ...]]:
                for post in posts:
                    ends.append(ends[-1] + file.write(json.dumps(row_of(post)).encode("ascii")))
                    # Many posts share one: it is kept in memory once.
                    authors.append(post.author and sys.intern(post.author))
                    topics.append(post.topic and sys.intern(post.topic))
                    pictured.append(post.image is not None)
                    yield post.hashtags

            hashtags = TokenLists.of(written())
            file.flush()
            held = _File(os.dup(file.fileno()))
        bounds = np.array(ends, np.int64)
        return cls(
            held,
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
        """Some of the posts, by place int64 (p,), in the same file."""
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
    """A file by its number, closed when nobody holds it any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)


def _objects(values: list[str | None]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found
