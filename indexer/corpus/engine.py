"""The heavy parts of a build, done in this process; `RayEngine` spreads them over machines.

Either way the index is the same: counts exactly, vectors within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hashlens.indexer.config import ALL_TOPICS, VectorConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.space_training import Sentences, train_space
from hashlens.indexer.images.encoder import EncodedImages, ImageEncoder
from hashlens.indexer.posts.reader import Sources, read_posts
from hashlens.indexer.storage.statistics import derive
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Post, Rejection

Advance = Callable[[int], None]


class Engine:
    """Reads, encodes, trains and counts in this process."""

    def read_posts(self, sources: Sources, rejections: list[Rejection]) -> Iterator[Post]:
        """Yield the posts of files and folders, in order: see `posts.reader.read_posts`."""
        return read_posts(
            sources.paths,
            rule=sources.rule,
            rejections=rejections,
            reader=sources.reader,
            columns=sources.columns,
            first_comment=sources.first_comment,
        )

    def encode_images(
        self,
        encoder: ImageEncoder,
        paths: Sequence[Path],
        digests: Sequence[str | None],  # other machines compare their files
        *,
        workers: int,
        advance: Advance,
    ) -> EncodedImages:
        """Return vectors and ImageNet classes of n pictures: see `ImageEncoder.encode`.

        Args:
            encoder: encodes the pictures.
            paths: n files.
            digests: sha256 of each file when its post was read.
            workers: threads to use on this machine.
            advance: called with the number of further pictures that are done.
        """
        return encoder.encode(paths, workers=workers, classes=True, on_progress=advance)

    def train_spaces(
        self,
        groups: Mapping[str, Sentences],
        config: VectorConfig,
        *,
        pretrained: WordSpace,
        workers: int,
        advance: Advance,
    ) -> dict[str, WordSpace]:
        """Return the space of each group of posts by name: see `train_group`.

        Args:
            groups: words and hashtags of each post, by topic.
            config: how vectors are learned.
            pretrained: words to start from.
            workers: threads for each space.
            advance: called with the number of further posts that were learned from.
        """
        spaces = {}
        for name, sentences in groups.items():
            spaces[name] = train_group(name, sentences, config, pretrained, workers)
            advance(len(sentences))
        return spaces

    def derive(self, store: Store) -> None:
        """Make every derived table of a store: see `statistics.derive`."""
        derive(store)


LOCAL = Engine()


def train_group(
    name: str, sentences: Sentences, config: VectorConfig, pretrained: WordSpace, workers: int
) -> WordSpace:
    """Return the space of one topic's posts, or of all; repeatable if `workers` is 1."""
    space = train_space(sentences, config, pretrained=pretrained, workers=workers)
    # Only the space of all posts keeps the pretrained words that no post contains.
    return space if name == ALL_TOPICS else space.without_pretrained()
