"""Rows of Parquet, with a bound on what a batch of them unpacks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.tables.parquet_pages import page_sizes
from hashlens.indexer.posts.tables.rows import Columns, Row

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch
    from pyarrow.parquet import ParquetFile

MAX_DECODED = 32 << 20  # bytes of a batch that become Python values at once
MAX_ROW = 32 << 20  # bytes of one row; the largest picture is smaller
MAX_PACKED = 100  # times that rows may be larger unpacked, where they are many
_LARGE = 256 << 20  # bytes
MAX_PAGE = 64 << 20  # bytes of a page, unpacked, that packs well; pictures do not
MAX_PAGE_PACKED = 10  # times that a larger page may unpack to
MAX_BATCH = 128  # rows decoded at once: encodings repeat a long value in a few bytes


def read_parquet(path: Path, columns: Columns, batch: int) -> Iterator[Row]:
    """Rows of a Parquet file, `batch` at a time.

    Repeated values stay one in memory until a row is made of them: a small file can stand for
    gigabytes.

    Raises:
        InputError: it cannot be read, or has none of the columns.
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        chosen = columns.check(path, names)
        here = list(dict.fromkeys(chosen.values()))
        _check_packing(path, file)
        _check_pages(path)
        first = 1
        for rows in file.iter_batches(batch_size=min(batch, MAX_BATCH), columns=here):
            yield from _batch_rows(first, rows, chosen)
            first += rows.num_rows


def _check_packing(path: Path, file: ParquetFile) -> None:
    """Refuse a row group that unpacks to far more than the file has.

    Its columns are not looked at: Arrow aborts the process where what describes one is damaged.
    """
    packed = max(path.stat().st_size, 1)
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size
        if size > max(_LARGE, MAX_PACKED * packed):
            raise InputError(
                f"{path}: found rows of {size:,} bytes packed into {packed:,}, expected "
                f"{MAX_PACKED} times as much at most"
            )


def _check_pages(path: Path) -> None:
    """Refuse a file whose pages unpack to far more than it has, whatever its totals say."""
    try:
        packed = path.stat().st_size
        whole = 0
        for size, small in page_sizes(path):
            whole += size
            if size > max(MAX_PAGE, MAX_PAGE_PACKED * small):
                raise InputError(
                    f"{path}: found a page of {size:,} bytes packed into {small:,}, expected "
                    f"{MAX_PAGE:,} bytes or {MAX_PAGE_PACKED} times as much at most"
                )
            if whole > max(_LARGE, MAX_PACKED * packed):
                raise InputError(
                    f"{path}: found pages of {whole:,} bytes packed into {packed:,}, expected "
                    f"{MAX_PACKED} times as much at most"
                )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from error


def _batch_rows(first: int, batch: RecordBatch, chosen: dict[str, str]) -> Iterator[Row]:
    """Rows of a batch, in parts where the whole takes much memory or has no Python form."""
    size = sum(map(_decoded_size, batch.columns))
    if size > MAX_DECODED and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from _batch_rows(first, batch.slice(0, half), chosen)
        yield from _batch_rows(first + half, batch.slice(half), chosen)
        return
    if size > MAX_ROW:
        yield Row(first, problem=f"found a row of {size:,} bytes, expected {MAX_ROW:,} at most")
        return
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield Row(first, problem=f"found a value that cannot be read ({error})")
            return
        for row in range(batch.num_rows):
            yield from _batch_rows(first + row, batch.slice(row, 1), chosen)
        return
    for number, row in enumerate(rows, start=first):
        yield Row(number, {ours: row[theirs] for ours, theirs in chosen.items()})


def _decoded_size(array: Array) -> int:
    """Bytes of the values of an array, each counted as often as it is there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        sizes = pc.fill_null(pc.binary_length(array.dictionary), 0)
        return int(pc.sum(pc.cast(sizes.take(array.indices), pa.int64())).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_decoded_size(array.field(place)) for place in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _decoded_size(array.flatten()) + 8 * len(array)
    return int(array.nbytes)


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    """A Parquet file; what is wrong with it is an InputError, whenever it shows."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: found no {error.name}, which reads Parquet: "
            'pip install "hashlens[parquet]", or give the posts as JSONL or CSV'
        ) from error
    try:
        with pq.ParquetFile(path) as plain:
            texts = _text_columns(plain)
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            yield file
    # Damaged names of columns are no text, whatever Arrow makes of the rest.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from error


def _text_columns(file: ParquetFile) -> list[str]:
    """Columns of text or bytes, whose repeated values are kept once."""
    leaves: list[Any] = [file.schema.column(place) for place in range(len(file.schema))]
    texts = [leaf for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    return [leaf.path for leaf in texts if leaf.logical_type.type != "DECIMAL"]


def column_kinds(path: Path) -> dict[str, str]:
    """Columns of a Parquet file: `struct`, `bytes` or `other`, by name.

    Raises:
        InputError: it cannot be read.
    """
    kinds = {}
    with _opened(path) as file:
        from pyarrow.types import is_binary, is_dictionary, is_large_binary, is_struct

        for column in file.schema_arrow:
            held = column.type.value_type if is_dictionary(column.type) else column.type
            is_bytes = is_binary(held) or is_large_binary(held)
            kinds[column.name] = "struct" if is_struct(held) else "bytes" if is_bytes else "other"
    return kinds


def count_parquet(path: Path) -> int:
    """How many rows a Parquet file has.

    Raises:
        InputError: it cannot be read.
    """
    with _opened(path) as file:
        return int(file.metadata.num_rows)
