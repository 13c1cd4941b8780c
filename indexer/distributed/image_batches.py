"""Batches of pictures as Arrow tables, encoded on any machine and joined into one result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from platform import node
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.disk_rows import RowWriter, take_rows
from hashlens.indexer.errors import ClusterError, EncoderError
from hashlens.indexer.file_io import hash_file
from hashlens.indexer.images.encoder import EncodedImages, ImageEncoder, open_encoder
from hashlens.indexer.types import Floats

if TYPE_CHECKING:
    from pyarrow import Table


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Identity of the encoder that every machine needs; `weights` is None for the usual file."""

    name: str
    weights: Path | None
    weights_sha256: str
    preprocessing: str
    fingerprint: str

    @classmethod
    def of(cls, encoder: ImageEncoder) -> Self:
        """Return what another machine needs to open the same encoder."""
        file = encoder.weights
        weights = None if file in (None, encoder.recipe.file()) else file.resolve()
        known = (encoder.weights_sha256, encoder.preprocessing, encoder.fingerprint)
        return cls(encoder.name, weights, *known)


@lru_cache(maxsize=1)
def open_matching_encoder(wanted: EncoderSpec) -> ImageEncoder:
    """Open an encoder, once in a process.

    Raises:
        EncoderError: it is missing on this machine, or another one.
    """
    found = open_encoder(wanted.name, wanted.weights, recorded=wanted.fingerprint)
    for part in ("weights_sha256", "preprocessing"):
        if getattr(found, part) != getattr(wanted, part):
            raise EncoderError(
                f"encoder {found.name}: found {part} {getattr(found, part)} on {node()}, expected "
                f"{getattr(wanted, part)}: install the same weights and packages on every machine"
            )
    return found


def path_batches(paths: Sequence[Path], size: int) -> Iterator[Table]:
    """Yield tables for `encode_batch`, of `size` files: `position` int64 and `path` string."""
    import pyarrow as pa

    for start in range(0, len(paths), size):
        some = [str(path) for path in paths[start : start + size]]
        position = np.arange(start, start + len(some), dtype=np.int64)
        yield pa.table({"position": position, "path": pa.array(some, pa.string())})


def encode_batch(batch: Table, wanted: EncoderSpec) -> Table:
    """Encode b picture files in one thread; pure.

    Args:
        batch: from `path_batches`.
        wanted: the encoder.

    Returns:
        `position` int64; `sha256` string of the file, null if it cannot be read; `failure` string,
        null if there is none; `vector` list of `width` float32, zeros beside a failure, and the
        same of `classes`, 1000 float32, if the encoder has them.

    Raises:
        EncoderError: as `open_matching_encoder`.
    """
    import pyarrow as pa

    paths = [Path(path) for path in batch["path"].to_pylist()]
    found = open_matching_encoder(wanted).encode(paths, workers=1, classes=True)
    failures = dict(found.failures)
    columns = {
        "position": batch["position"],
        "sha256": pa.array(list(map(_digest, paths)), pa.string()),
        "failure": pa.array([failures.get(row) for row in range(len(paths))], pa.string()),
        "vector": _lists(found.rows, found.vectors, len(paths)),
    }
    if found.classes is not None:
        columns["classes"] = _lists(found.rows, found.classes, len(paths))
    return pa.table(columns)


def _digest(path: Path) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None


def _lists(rows: NDArray[Any], values: Floats, size: int) -> Any:  # noqa: ANN401 (pyarrow's)
    """Return rows of float32 (n, d) as lists at some of `size` places, zeros elsewhere."""
    import pyarrow as pa

    whole = np.zeros((size, values.shape[1]), np.float32)
    whole[rows] = values
    return pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel()), values.shape[1])


def check_same_files(paths: Sequence[Path], digests: Sequence[str | None], batch: Table) -> None:
    """Check that another machine has the same files as this one.

    Args:
        paths: n files.
        digests: sha256 of each when it was read here, or None.
        batch: from `encode_batch`.

    Raises:
        ClusterError: that machine has other files at these paths.
    """
    seen = zip(batch["position"].to_pylist(), batch["sha256"].to_pylist(), strict=True)
    for place, there in seen:
        # One that differs may have changed here, too, since its post was read.
        if there != digests[place] and there != _digest(paths[place]):
            raise ClusterError(
                f"{paths[place]}: another machine of the cluster found "
                f"{'another' if there else 'no'} file there, expected the one that is here: keep "
                "posts and pictures in a folder that all machines share, under the same path"
            )


def concat_batches(batches: Iterable[Table], size: int) -> EncodedImages:
    """Return the results of all `size` pictures, in order, from batches in any order.

    Raises:
        ClusterError: a result is missing, or there twice.
    """
    positions, failures = [np.zeros(0, np.int64)], []
    found: dict[str, RowWriter] = {}
    for batch in batches:
        positions.append(batch["position"].to_numpy())
        failures += batch["failure"].to_pylist()
        for name in {"vector", "classes"} & set(batch.column_names):
            rows = found.setdefault(name, RowWriter(batch.schema.field(name).type.list_size))
            for chunk in batch[name].chunks:
                rows.add(chunk.flatten().to_numpy().reshape(len(chunk), -1))
    position = np.concatenate(positions)
    order = np.argsort(position)
    if not np.array_equal(position[order], np.arange(size)):
        raise ClusterError(
            f"pictures: found {len(position)} results, expected one of each of {size}: build again"
        )
    reasons = [failures[place] for place in order.tolist()]
    good = np.flatnonzero([reason is None for reason in reasons]).astype(np.int64)
    numbers = {name: take_rows(rows.to_array(), order[good]) for name, rows in found.items()}
    return EncodedImages(
        good,
        numbers["vector"],
        tuple((place, why) for place, why in enumerate(reasons) if why is not None),
        numbers.get("classes"),
    )
