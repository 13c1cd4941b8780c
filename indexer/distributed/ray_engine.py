"""The heavy parts of a build spread over machines by Ray. Connections are `rayconnection`'s.

Every machine needs hashlens, the encoder's weights, and the posts and pictures under the same
paths: a folder that all share. Tasks are pure, so what a lost machine did is done again elsewhere.
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
from hashlens.indexer.corpus.engine import Advance, train_group
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

PICTURES_PER_TASK = 64  # of a task: some seconds of work, which a lost machine costs again
MAX_RETRIES = 5  # of a task whose machine or process is lost
TASKS_PER_CORE = 2  # tasks a core that wait or run: what they were given stays in memory

_Made = TypeVar("_Made")


@contextmanager
def ray_engine(
    address: str | None = None, *, pictures: int = PICTURES_PER_TASK
) -> Iterator[RayEngine]:
    """An engine on a Ray cluster, let go at the end; one that was connected to already stays so.

    Args:
        address: of a running cluster: HOST:PORT; `auto` for the one that runs here;
            `ray://HOST:PORT`, through Ray's client, where this machine is none of its nodes.
            Without one, Ray is started on this machine for the time.
        pictures: how many of a task.

    Raises:
        ConfigError: Ray is not installed.
        ClusterError: there is no such cluster, or it is of another version.
    """
    with ray_session(address) as ray:
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield RayEngine(cores, pictures, is_client=ray.util.client.ray.is_connected())


@dataclass(frozen=True, slots=True)
class RayEngine:
    """An `Engine` on the cluster that this process is connected to.

    `cores` is how many it had at first, `pictures` how many are encoded by a task. Through Ray's
    client (`is_client`) Ray Data cannot be used: then pictures are encoded by plain tasks.
    """

    cores: int
    pictures: int
    is_client: bool = False

    def posts(self, sources: Sources, rejections: list[Rejection]) -> Iterator[Post]:
        """A task a table where there are several; what else there is, here."""
        found = parts(
            sources.paths,
            rule=sources.rule,
            reader=sources.reader,
            columns=sources.columns,
            first_comment=sources.first_comment,
            apart=True,
        )
        tables = [part for part in found if part.reader.tables]
        there = self._spread(_read, ((part, Path.cwd()) for part in tables))

        def rows() -> Iterator[ReadRow]:
            for part in found:
                yield from next(there) if part.reader.tables and len(tables) > 1 else part.rows()

        return once_each(rows(), rejections)

    def encode(
        self,
        encoder: ImageEncoder,
        paths: Sequence[Path],
        digests: Sequence[str | None],
        *,
        workers: int,
        advance: Advance,
    ) -> EncodedImages:
        """Some pictures a task.

        Raises:
            EncoderError: a machine has not this encoder.
            ClusterError: a machine has other files, or too many were lost.
        """
        batches, wanted = path_batches(paths, self.pictures), EncoderSpec.of(encoder)
        found = (
            self._spread(encode_batch, ((batch, wanted) for batch in batches))
            if self.is_client
            else _by_ray_data(batches, wanted)
        )

        def checked() -> Iterator[Table]:
            for batch in found:
                check_same_files(paths, digests, batch)
                yield batch
                advance(batch.num_rows)

        return concat_batches(checked(), len(paths))

    def spaces(
        self,
        groups: Mapping[str, Sentences],
        config: VectorConfig,
        *,
        pretrained: WordSpace,
        workers: int,
        advance: Advance,
    ) -> dict[str, WordSpace]:
        """A task a topic, the largest first."""
        import ray

        order = sorted(groups, key=lambda name: -len(groups[name]))
        # A copy goes without what the space looked up before; it is sent once to each machine.
        shared = ray.put(replace(pretrained))
        calls = ((name, groups[name], config, shared, workers) for name in order)
        spaces = {}
        for name, space in zip(order, self._spread(train_group, calls), strict=True):
            spaces[name] = space
            advance(len(groups[name]))
        return {name: spaces[name] for name in groups}

    def derive(self, store: Store) -> None:
        """The large tables by a task for each part of the authors, the others here."""

        def count(uses: Iterator[Uses]) -> Iterator[dict[str, Columns]]:
            return self._spread(count_uses, ((part,) for part in uses))

        derive_in_parts(store, max(2, self.cores), count)

    def _spread(
        self, work: Callable[..., _Made], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator[_Made]:
        """What `work` gives for each call, in order."""
        import ray

        task = ray.remote(work).options(num_cpus=1, max_retries=MAX_RETRIES)
        waiting: deque[Any] = deque()
        for call in calls:
            waiting.append(task.remote(*call))
            if len(waiting) >= TASKS_PER_CORE * self.cores:
                yield _got(waiting.popleft())
        while waiting:
            yield _got(waiting.popleft())


def _by_ray_data(batches: Iterable[Table], wanted: EncoderSpec) -> Iterator[Table]:
    """`encode_batch` of each, in any order."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    data = ray.data.from_arrow(list(batches)).map_batches(
        encode_batch,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"wanted": wanted},
        num_cpus=1,
    )
    with translate_ray_errors():
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow")


def _read(part: Part, folder: Path) -> list[ReadRow]:
    """The rows of a table, read as from a folder: relative names are shown as they were given."""
    if not (folder / part.path).is_file():
        raise ClusterError(
            f"{folder / part.path}: found no such file on {node()}, expected the one that is here: "
            "keep posts in a folder that all machines share, under the same path"
        )
    with nullcontext() if part.path.is_absolute() else chdir(folder):
        return list(part.rows())


def _got(reference: Any) -> Any:  # noqa: ANN401 (whatever the task gives)
    import ray

    with translate_ray_errors():
        return ray.get(reference)
