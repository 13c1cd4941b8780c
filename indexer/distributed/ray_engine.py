"""The heavy parts of a build, spread over machines by Ray.

Every machine needs hashlens, the encoder's weights, and the posts and pictures under the same
paths, in a shared folder. Tasks are pure, so work of a lost machine is repeated elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from platform import node
from typing import TYPE_CHECKING, Any, TypeVar

from hashlens.indexer.config import VectorConfig
from hashlens.indexer.corpus.engine import Advance, Engine, train_group
from hashlens.indexer.distributed.image_batches import (
    EncoderSpec,
    check_same_files,
    concat_batches,
    encode_batch,
    path_batches,
)
from hashlens.indexer.distributed.partitioned_counts import (
    Columns,
    Uses,
    count_uses,
    derive_in_parts,
)
from hashlens.indexer.distributed.ray_connection import ray_session, translate_ray_errors
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.space_training import Sentences
from hashlens.indexer.errors import ClusterError
from hashlens.indexer.images.encoder import EncodedImages, ImageEncoder
from hashlens.indexer.posts.reader import Part, ReadRow, Sources, once_each, parts
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Post, Rejection

if TYPE_CHECKING:
    from pyarrow import Table

PICTURES_PER_TASK = 64  # some seconds of work, which is repeated if a machine is lost
MAX_RETRIES = 5  # of a task whose machine or process is lost
TASKS_PER_CORE = 2  # waiting or running: their arguments stay in memory

_Result = TypeVar("_Result")


@contextmanager
def ray_engine(
    address: str | None = None, *, pictures: int = PICTURES_PER_TASK
) -> Iterator[RayEngine]:
    """Open an engine on a Ray cluster; an existing connection is used and kept.

    Args:
        address: of a running cluster: HOST:PORT; `auto` for the one on this machine;
            `ray://HOST:PORT` for Ray's client, if this machine is not one of its nodes. Without
            an address, Ray is started on this machine for the time.
        pictures: number of pictures per task.

    Raises:
        ConfigError: Ray is not installed.
        ClusterError: there is no such cluster, or it is of another version.
    """
    with ray_session(address) as ray:
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield RayEngine(cores, pictures)


@dataclass(frozen=True, slots=True)
class RayEngine(Engine):
    """An `Engine` on the connected cluster.

    `cores` is the cluster's number of cores at first, `pictures` the number of pictures per task.
    """

    cores: int
    pictures: int

    def read_posts(self, sources: Sources, rejections: list[Rejection]) -> Iterator[Post]:
        """Yield posts; several tables are read by a task each, anything else here."""
        found = parts(
            sources.paths,
            rule=sources.rule,
            reader=sources.reader,
            columns=sources.columns,
            first_comment=sources.first_comment,
            apart=True,
        )
        tables = [part for part in found if part.reader.tables]
        there = self._spread(read_table, ((part, Path.cwd()) for part in tables))

        def rows() -> Iterator[ReadRow]:
            for part in found:
                yield from next(there) if part.reader.tables and len(tables) > 1 else part.rows()

        return once_each(rows(), rejections)

    def encode_images(
        self,
        encoder: ImageEncoder,
        paths: Sequence[Path],
        digests: Sequence[str | None],
        *,
        workers: int,
        advance: Advance,
    ) -> EncodedImages:
        """Return vectors and ImageNet classes of n pictures, by tasks of some pictures each.

        Raises:
            EncoderError: a machine lacks this encoder.
            ClusterError: a machine has other files, or too many machines were lost.
        """
        wanted = EncoderSpec.of(encoder)
        calls = ((batch, wanted) for batch in path_batches(paths, self.pictures))
        found = self._spread(encode_batch, calls)

        def checked() -> Iterator[Table]:
            for batch in found:
                check_same_files(paths, digests, batch)
                yield batch
                advance(batch.num_rows)

        return concat_batches(checked(), len(paths))

    def train_spaces(
        self,
        groups: Mapping[str, Sentences],
        config: VectorConfig,
        *,
        pretrained: WordSpace,
        workers: int,
        advance: Advance,
    ) -> dict[str, WordSpace]:
        """Return the space of each group of posts, by a task each, the largest first."""
        import ray

        order = sorted(groups, key=lambda name: -len(groups[name]))
        # A copy has no cached lookups; it is sent once to each machine.
        shared = ray.put(replace(pretrained))
        calls = ((name, groups[name], config, shared, workers) for name in order)
        spaces = {}
        for name, space in zip(order, self._spread(train_group, calls), strict=True):
            spaces[name] = space
            advance(len(groups[name]))
        return {name: spaces[name] for name in groups}

    def derive(self, store: Store) -> None:
        """Make derived tables: the large ones by a task for each part of the authors."""

        def count(uses: Iterator[Uses]) -> Iterator[dict[str, Columns]]:
            return self._spread(count_uses, ((part,) for part in uses))

        derive_in_parts(store, max(2, self.cores), count)

    def _spread(
        self, work: Callable[..., _Result], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator[_Result]:
        """Yield what `work` returns for each call, in order."""
        import ray

        task = ray.remote(work).options(num_cpus=1, max_retries=MAX_RETRIES)
        waiting: deque[Any] = deque()
        for call in calls:
            waiting.append(task.remote(*call))
            if len(waiting) >= TASKS_PER_CORE * self.cores:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def read_table(part: Part, folder: Path) -> list[ReadRow]:
    """Return the rows of a table, read from a folder so that relative names stay as given."""
    if not (folder / part.path).is_file():
        raise ClusterError(
            f"{folder / part.path}: found no such file on {node()}, expected the one that is here: "
            "keep posts in a folder that all machines share, under the same path"
        )
    with nullcontext() if part.path.is_absolute() else chdir(folder):
        return list(part.rows())


def _result(reference: Any) -> Any:  # noqa: ANN401 (whatever the task returns)
    import ray

    with translate_ray_errors():
        return ray.get(reference)
