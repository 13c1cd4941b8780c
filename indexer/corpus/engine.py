"""What does the heavy parts of a build: this process, or another `Engine` that spreads them.

Whichever does them, an index is the same: counts exactly, vectors within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hashlens.indexer.config import ALL_TOPICS, VectorConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.space_training import Sentences, train_space
from hashlens.indexer.images.encoder import EncodedImages, ImageEncoder
from hashlens.indexer.posts.reader import Sources, read_posts
from hashlens.indexer.storage.statistics import derive
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Post, Rejection

Advance = Callable[[int], None]


class Engine(Protocol):
    """The parts of a build that can be done elsewhere: each is told what, and gives the whole."""

    def posts(self, sources: Sources, rejections: list[Rejection]) -> Iterator[Post]:
        """The posts of files and folders, in order: see `read_posts`."""

    def encode(
        self,
        encoder: ImageEncoder,
        paths: Sequence[Path],
        digests: Sequence[str | None],
        *,
        workers: int,
        advance: Advance,
    ) -> EncodedImages:
        """Vectors and ImageNet classes of n pictures: see `ImageEncoder.encode`.

        Args:
            encoder: what encodes them.
            paths: n files.
            digests: sha256 of each, as it was when its post was read.
            workers: threads to use on this machine.
            advance: told how many more pictures are done.
        """

    def spaces(
        self,
        groups: Mapping[str, Sentences],
        config: VectorConfig,
        *,
        pretrained: WordSpace,
        workers: int,
        advance: Advance,
    ) -> dict[str, WordSpace]:
        """The space of each group of posts by name: see `train_group`.

        Args:
            groups: the words and hashtags of posts, a post each, by topic.
            config: how vectors are learned.
            pretrained: words to start from.
            workers: threads for each.
            advance: told how many more posts were learned from.
        """

    def derive(self, store: Store) -> None:
        """Make every derived table of a store anew: see `derived.derive`."""


class Local:
    """Everything in this process."""

    def posts(self, sources: Sources, rejections: list[Rejection]) -> Iterator[Post]:
        """One file after the other."""
        return read_posts(
            sources.paths,
            rule=sources.rule,
            rejections=rejections,
            reader=sources.reader,
            columns=sources.columns,
            first_comment=sources.first_comment,
        )

    def encode(
        self,
        encoder: ImageEncoder,
        paths: Sequence[Path],
        digests: Sequence[str | None],
        *,
        workers: int,
        advance: Advance,
    ) -> EncodedImages:
        """In as many threads as there are workers."""
        return encoder.encode(paths, workers=workers, classes=True, on_progress=advance)

    def spaces(
        self,
        groups: Mapping[str, Sentences],
        config: VectorConfig,
        *,
        pretrained: WordSpace,
        workers: int,
        advance: Advance,
    ) -> dict[str, WordSpace]:
        """One topic after the other."""
        spaces = {}
        for name, sentences in groups.items():
            spaces[name] = train_group(name, sentences, config, pretrained, workers)
            advance(len(sentences))
        return spaces

    def derive(self, store: Store) -> None:
        """Each table by one statement."""
        derive(store)


LOCAL = Local()


def train_group(
    name: str, sentences: Sentences, config: VectorConfig, pretrained: WordSpace, workers: int
) -> WordSpace:
    """The space of a topic's posts, or of all: pure, and repeatable where `workers` is 1."""
    space = train_space(sentences, config, pretrained=pretrained, workers=workers)
    # Words that no post holds are kept once, in the space of all.
    return space if name == ALL_TOPICS else space.without_pretrained()
