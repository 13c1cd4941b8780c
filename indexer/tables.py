"""Rows of JSONL, CSV and Parquet files, streamed; a row that cannot be read is told, not raised."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from indexer.errors import InputError

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetFile

MAX_LINE = 1 << 20  # bytes; a longer line is no row of anyone's, and would cost memory
_BATCH = 1024  # rows of Parquet read at a time
_SAMPLED = 16 << 20  # bytes looked at to estimate a number of lines


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it begins (`line`, from 1; in Parquet its number), and its fields.

    A row that is a whole file has no line. `problem` says why the row could not be read; then it
    has no fields. `note` says something about the file, and is no row.
    """

    line: int | None
    fields: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of a file: see `read_rows`."""

    columns: Sequence[str]
    required: Sequence[str]
    batch: int


class _Reader(Protocol):
    """What `csv.reader` makes; the library does not name its type before Python 3.13."""

    line_num: int

    def __next__(self) -> list[str]: ...


def find_tables(source: Path, name: str = "posts") -> list[Path]:
    """The files of rows that a source stands for.

    A folder stands for its file `name`.jsonl, .csv or .parquet (the first there is); without one,
    for all files of these forms in it; without any, for the `name` files of its sub-folders.

    Raises:
        InputError: the source is missing, is a file of another form, or is a folder without any.
    """
    try:
        if source.is_dir():
            return _folder_tables(source, name)
        if not source.is_file():
            raise InputError(f"found nothing at {source}, expected a file or folder of {name}")
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    if source.suffix.lower() not in _READERS:
        raise InputError(f"found {source}, expected a folder or {_forms('a file named *')}")
    return [source]


def _folder_tables(folder: Path, name: str) -> list[Path]:
    if own := _named(folder, name):
        return own
    inside = sorted(folder.iterdir())
    if loose := [p for p in inside if p.suffix.lower() in _READERS and p.is_file()]:
        return loose
    if below := [table for p in inside if p.is_dir() for table in _named(p, name)]:
        return below
    found = ", ".join(path.name for path in inside[:3]) or "nothing"
    raise InputError(
        f"found {found}{', …' if len(inside) > 3 else ''} in {folder}, "
        f"expected {_forms(name)} there or in its sub-folders"
    )


def _named(folder: Path, name: str) -> list[Path]:
    return [p for suffix in _READERS if (p := folder / f"{name}{suffix}").is_file()][:1]


def _forms(name: str) -> str:
    *first, last = (f"{name}{suffix}" for suffix in _READERS)
    return f"{', '.join(first)} or {last}"


def read_rows(
    path: Path, columns: Sequence[str], *, required: Sequence[str] = (), batch: int = _BATCH
) -> Iterator[Row]:
    """Rows of one file in order, their fields limited to `columns` where the form allows it.

    Args:
        path: a file named as one of the three forms is.
        columns: names of the fields wanted.
        required: those of them that CSV and Parquet must have.
        batch: rows of Parquet read at a time.

    Raises:
        InputError: the file cannot be opened or is not of the form its name says, or it is CSV or
            Parquet and none of its columns is in `columns`, or one of `required` is not there.
    """
    try:
        yield from _READERS[path.suffix.lower()](path, _Wanted(columns, required, batch))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def count_lines(path: Path) -> int | None:
    """About how many rows a file has, at little cost; None where that cannot be told."""
    try:
        if path.suffix.lower() == ".parquet":
            return _parquet_length(path)
        with path.open("rb") as file:
            start = file.read(_SAMPLED)
            size = path.stat().st_size
    except (OSError, InputError):
        return None
    is_csv = path.suffix.lower() == ".csv"
    # In CSV, lines within quotes belong to a cell; every other piece between quotes is outside.
    pieces = start.split(b'"')[::2] if is_csv else [start]
    lines = sum(piece.count(b"\n") for piece in pieces) + (start[-1:] not in (b"", b"\n"))
    lines = lines if len(start) == size else round(lines * size / max(len(start), 1))
    return max(0, lines - is_csv)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Lines by number, from 1; None for one longer than `MAX_LINE`."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


_TOO_LONG = f"found a line longer than {MAX_LINE:,} bytes, expected one post a line"


def _jsonl(path: Path, _wanted: _Wanted) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in _lines(file):
            if line is None:
                yield Row(number, problem=_TOO_LONG)
            elif line.strip():
                yield _json_row(number, line)


def _json_row(number: int, line: bytes) -> Row:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row(number, problem=f"found bytes that are not UTF-8 ({error.reason})")
    except (ValueError, RecursionError) as error:
        return Row(number, problem=f"found malformed JSON ({error})")
    if not isinstance(value, dict):
        return Row(number, problem=f"found {kind(value)}, expected a JSON object")
    return Row(number, value)


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _csv(path: Path, wanted: _Wanted) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    with path.open("rb") as file:
        too_long: list[int] = []
        reader = csv.reader(_text_lines(file, too_long), strict=True)
        header = _header(path, reader)
        _check_columns(path, header, wanted)
        for number, record in _records(reader):
            for skipped in too_long:
                yield Row(skipped, problem=_TOO_LONG)
            too_long.clear()
            if record:
                yield _csv_row(number, header, record)
        yield from (Row(skipped, problem=_TOO_LONG) for skipped in too_long)


def _header(path: Path, reader: _Reader) -> list[str]:
    _, record = next(_records(reader), (1, "an empty file"))
    if isinstance(record, str):
        raise InputError(f"{path}: found {record}, expected column names in its first line")
    # Names of another encoding are shown in a message, so they must be printable.
    return [name.encode("utf-8", "replace").decode("utf-8").strip() for name in record]


def _text_lines(file: IO[bytes], too_long: list[int]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 become lone surrogates, told of by the row."""
    for number, line in _lines(file):
        if line is None:
            too_long.append(number)
            yield "\n"  # csv counts lines by what it is given
        else:
            yield line.decode("utf-8", "surrogateescape")


def _records(reader: _Reader) -> Iterator[tuple[int, list[str] | str]]:
    """Records with the line they begin at, or what is wrong with one."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except csv.Error as error:
            yield line, f"malformed CSV ({error})"
        except StopIteration:
            return


def _csv_row(number: int, header: list[str], record: list[str] | str) -> Row:
    if isinstance(record, str):
        return Row(number, problem=f"found {record}")
    if len(record) > len(header):
        return Row(number, problem=f"found {len(record)} cells, expected {len(header)}")
    if not all(cell.isascii() or _is_utf8(cell) for cell in record):
        return Row(number, problem="found bytes that are not UTF-8")
    return Row(number, {n: cell for n, cell in zip(header, record, strict=False) if cell})


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_columns(path: Path, found: Sequence[str], wanted: _Wanted) -> None:
    missing = [name for name in wanted.required if name not in found]
    if missing or not set(found) & set(wanted.columns):
        expected = ", ".join(missing) if missing else f"some of {', '.join(wanted.columns)}"
        raise InputError(
            f"{path}: found columns {', '.join(found[:8]) or '(none)'}, expected {expected}"
        )


def _parquet(path: Path, wanted: _Wanted) -> Iterator[Row]:
    with _opened_parquet(path) as file:
        names = file.schema_arrow.names
        _check_columns(path, names, wanted)
        here = [name for name in names if name in wanted.columns]
        first = 1
        for batch in file.iter_batches(batch_size=wanted.batch, columns=here):
            yield from _batch_rows(first, batch)
            first += batch.num_rows


def _batch_rows(first: int, batch: RecordBatch) -> Iterator[Row]:
    """Rows of a batch; one that has no Python form is looked for only where there is one."""
    try:
        for number, fields in enumerate(batch.to_pylist(), start=first):
            yield Row(number, fields)
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield Row(first, problem=f"found a value that cannot be read ({error})")
            return
        for row in range(batch.num_rows):
            yield from _batch_rows(first + row, batch.slice(row, 1))


@contextmanager
def _opened_parquet(path: Path) -> Iterator[ParquetFile]:
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
        with pq.ParquetFile(path) as file:
            yield file
    # Damaged names of columns are no text, whatever Arrow makes of the rest.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from error


def column_kinds(path: Path) -> dict[str, str]:
    """Columns of a Parquet file: `struct`, `bytes` or `other`, by name.

    Raises:
        InputError: it cannot be read.
    """
    kinds = {}
    with _opened_parquet(path) as file:
        from pyarrow.types import is_binary, is_large_binary, is_struct

        for column in file.schema_arrow:
            is_bytes = is_binary(column.type) or is_large_binary(column.type)
            kind = "struct" if is_struct(column.type) else "bytes" if is_bytes else "other"
            kinds[column.name] = kind
    return kinds


def _parquet_length(path: Path) -> int:
    with _opened_parquet(path) as file:
        return int(file.metadata.num_rows)


_READERS: dict[str, Callable[[Path, _Wanted], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
