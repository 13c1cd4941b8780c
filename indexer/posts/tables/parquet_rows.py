"""Reads rows of Parquet, with a bound on the unpacked bytes of a batch."""

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
MAX_PACKED = 100  # unpacked bytes per packed byte, if the rows are large
_LARGE = 256 << 20  # unpacked bytes that need no check
MAX_PAGE = 64 << 20  # unpacked bytes of a page that packs well; pictures do not
MAX_PAGE_PACKED = 10  # unpacked bytes per packed byte of a larger page
MAX_BATCH = 128  # rows decoded at once: encodings repeat a long value in a few bytes


def read_parquet(path: Path, columns: Columns, batch: int) -> Iterator[Row]:
    """Yield the rows of a Parquet file, `batch` at a time.

    Memory has a repeated value once until it becomes part of a row: a small file can unpack to
    gigabytes.

    Raises:
        InputError: the file cannot be read, or has none of the columns.
    """
    with _open_parquet(path) as file:
        names = file.schema_arrow.names
        chosen = columns.check(path, names)
        here = list(dict.fromkeys(chosen.values()))
        _check_sizes(path, file)
        first = 1
        for rows in file.iter_batches(batch_size=min(batch, MAX_BATCH), columns=here):
            yield from _batch_rows(first, rows, chosen)
            first += rows.num_rows


def _check_sizes(path: Path, file: ParquetFile) -> None:
    """Refuse a file whose row groups or pages unpack to far more bytes than it has.

    The totals of row groups may be wrong, so the headers of pages are read, too. The metadata of
    columns is not read: Arrow aborts the process if it is damaged.
    """
    packed = max(path.stat().st_size, 1)
    most = max(_LARGE, MAX_PACKED * packed)
    bound = f"packed into {packed:,}, expected {MAX_PACKED} times as much at most"
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size
        if size > most:
            raise InputError(f"{path}: found rows of {size:,} bytes {bound}")
    whole = 0
    try:
        for size, small in page_sizes(path):
            whole += size
            if size > max(MAX_PAGE, MAX_PAGE_PACKED * small):
                raise InputError(
                    f"{path}: found a page of {size:,} bytes packed into {small:,}, expected "
                    f"{MAX_PAGE:,} bytes or {MAX_PAGE_PACKED} times as much at most"
                )
            if whole > most:
                raise InputError(f"{path}: found pages of {whole:,} bytes {bound}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from error


def _batch_rows(first: int, batch: RecordBatch, chosen: dict[str, str]) -> Iterator[Row]:
    """Yield the rows of a batch; one that is too large or has unreadable values is split."""
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
    """Return the bytes of an array's values; repeated values count each time."""
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
def _open_parquet(path: Path) -> Iterator[ParquetFile]:
    """Open a Parquet file; any fault of it, now or later, is an InputError."""
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
            leaves: list[Any] = [plain.schema.column(place) for place in range(len(plain.schema))]
        # Arrow can keep repeated values of text and bytes once.
        texts = [
            leaf.path
            for leaf in leaves
            if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type != "DECIMAL"
        ]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            yield file
    # Arrow does not check that names of columns are UTF-8.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from error


def column_kinds(path: Path) -> dict[str, str]:
    """Return the kind of each column by name: `struct`, `bytes` or `other`.

    Raises:
        InputError: the file cannot be read.
    """
    kinds = {}
    with _open_parquet(path) as file:
        from pyarrow.types import is_binary, is_dictionary, is_large_binary, is_struct

        for column in file.schema_arrow:
            values = column.type.value_type if is_dictionary(column.type) else column.type
            is_bytes = is_binary(values) or is_large_binary(values)
            kinds[column.name] = "struct" if is_struct(values) else "bytes" if is_bytes else "other"
    return kinds


def count_parquet(path: Path) -> int:
    """Return the number of rows of a Parquet file.

    Raises:
        InputError: the file cannot be read.
    """
    with _open_parquet(path) as file:
        return int(file.metadata.num_rows)
