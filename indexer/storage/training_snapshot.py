"""What an index knew when it last learned: how many posts held each word and hashtag.

Vectors of captions weigh words by these counts, and hashtags are cut into words by them, in later
updates and in queries too: old vectors, new ones and queries agree until all is learned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.sparse import open_npy
from hashlens.indexer.embeddings.text_vectors import idf_weights, unseen_idf
from hashlens.indexer.errors import DAMAGED, IndexCorruptError
from hashlens.indexer.storage.store import Store

NEW_HASHTAGS = "new-hashtags"  # folder of the vectors of hashtags that came later, one file a topic
_FILES = ("words", "tags", "posts")
_SPELT = "words.txt"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCounts:
    """Counts at the last training.

    `words` int32 (w,) and `tags` int32 (t,): posts that held each, by id; later ids are past their
    ends. `posts` int64 (2,): how many there were, and the key that the next one got. `words_by_id`
    gives the words by id, empty where an id was none's: few need them, and reading takes a moment.
    """

    words: NDArray[np.int32]
    tags: NDArray[np.int32]
    posts: NDArray[np.int64]
    words_by_id: Callable[[], tuple[str, ...]]

    @classmethod
    def of(cls, store: Store) -> Self:
        """What a store with its derived tables knows now."""
        words = dict(store.rows("select word_id, word from word_counts"))
        words_by_id = tuple(words.get(number, "") for number in range(store.next_id("word")))
        return cls(
            _column(store, "word", "select word_id as id, posts from word_counts"),
            _column(store, "hashtag", "select tag_id as id, posts from hashtag_counts"),
            np.array([store.totals()[0], store.next_id("post")], np.int64),
            lambda: words_by_id,
        )

    @property
    def word_posts(self) -> dict[str, int]:
        """Number of posts that held each word.

        Raises:
            IndexCorruptError: the words cannot be read.
        """
        held = zip(self.words_by_id(), self.words.tolist(), strict=True)
        return {word: posts for word, posts in held if posts}

    @property
    def first_post(self) -> int:
        """Posts from this key on came later."""
        return int(self.posts[1])

    @property
    def unseen_idf(self) -> float:
        """Weight of a token that no post held."""
        return unseen_idf(int(self.posts[0]))

    def idf(self, words: Mapping[str, int], tags: Mapping[str, int]) -> dict[str, float]:
        """Inverse document frequency of those tokens that posts held then.

        Args:
            words: caption words, and their ids.
            tags: hashtags as the vector spaces write them, and their ids.
        """
        held = {
            token: int(counts[number])
            for counts, numbers in ((self.words, words), (self.tags, tags))
            for token, number in numbers.items()
            if number < len(counts) and counts[number]
        }
        return idf_weights(held, int(self.posts[0]))

    def save(self, folder: Path) -> None:
        """Write into a new folder."""
        folder.mkdir()
        for name in _FILES:
            np.save(folder / f"{name}.npy", getattr(self, name))
        text = "".join(f"{word}\n" for word in self.words_by_id())
        (folder / _SPELT).write_bytes(text.encode("utf-8", "surrogatepass"))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `save` wrote, mapped into memory.

        Raises:
            IndexCorruptError: a file is missing or not of its form.
        """
        words, tags, posts = (open_npy(folder / f"{name}.npy") for name in _FILES)
        sound = words.dtype == tags.dtype == np.int32 and words.ndim == tags.ndim == 1
        if not sound or posts.dtype != np.int64 or posts.shape != (2,):
            raise _corrupt(folder, "found counts of another form than expected")
        return cls(words, tags, posts, partial(_read_words, folder, len(words)))


def _read_words(folder: Path, size: int) -> tuple[str, ...]:
    try:
        text = (folder / _SPELT).read_bytes().decode("utf-8", "surrogatepass")
    except (OSError, UnicodeDecodeError) as error:
        raise _corrupt(folder, str(error)) from error
    words = tuple(text.split("\n")[:-1])
    if len(words) != size:
        raise _corrupt(folder, f"found {len(words)} words, expected {size}")
    return words


def _corrupt(folder: Path, trouble: str) -> IndexCorruptError:
    return IndexCorruptError(f"{folder}: {trouble}; {DAMAGED}")


def _column(store: Store, kind: str, query: str) -> NDArray[np.int32]:
    found = store.arrays(query)
    column = np.zeros(store.next_id(kind), np.int32)
    column[found["id"]] = found["posts"]
    return column
