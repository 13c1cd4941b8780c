"""Reads the sizes of a Parquet file's pages from the header of each page.

The totals at the end of a file may be wrong. Arrow allocates memory by the headers of pages, so
these are read here, in Thrift's compact protocol, without unpacking a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MAX_FOOTER = 64 << 20  # bytes of the footer
MAX_HEADER = 1 << 20  # bytes of a page's header, which has the least and the largest value
_MAX_DEPTH = 16  # levels of nested structs
_TAIL = 8  # bytes for the length of the footer and the mark of the format


def page_sizes(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the unpacked and the packed bytes of each page, by its header.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not Parquet.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for start, length in _read_chunks(file, size):
            end = min(start + length, size)
            while start < end:
                file.seek(start)
                thrift = _Thrift(file.read(MAX_HEADER))
                header = thrift.read_struct()
                unpacked, packed = _number(header, 2), _number(header, 3)
                yield unpacked, min(packed, end - start)
                start += thrift.place + packed


def _read_chunks(file: IO[bytes], size: int) -> Iterator[tuple[int, int]]:
    """Yield the place and length of each column's pages, of every row group."""
    file.seek(max(size - _TAIL, 0))
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or not 0 < length <= min(MAX_FOOTER, size - _TAIL):
        raise ValueError("found no footer of Parquet")
    file.seek(size - _TAIL - length)
    for group in _structs(_Thrift(file.read(length)).read_struct(), 4):
        for column in _structs(group, 1):
            about = column.get(3)
            if not isinstance(about, dict):
                raise ValueError("found a column without its description")
            first, dictionary = _number(about, 9), about.get(11)
            if isinstance(dictionary, int) and 0 < dictionary < first:
                first = dictionary
            yield first, _number(about, 7)


def _number(struct: dict[int, Any], field: int) -> int:
    value = struct.get(field)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"found {value!r}, expected a size")
    return value


def _structs(struct: dict[int, Any], field: int) -> list[dict[int, Any]]:
    found = struct.get(field, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("found no list of structs")
    return found


class _Thrift:
    """Values of Thrift's compact protocol, read from bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def read_struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the values of a struct by field."""
        if depth > _MAX_DEPTH:
            raise ValueError("found structs nested too deep")
        fields: dict[int, Any] = {}
        field = 0
        while kind := self._byte():
            field = field + (kind >> 4) if kind >> 4 else self._signed()
            fields[field] = self._value(kind & 15, depth, in_list=False)
        return fields

    def _value(self, kind: int, depth: int, *, in_list: bool) -> Any:  # noqa: ANN401
        if kind in (1, 2):  # truth, which a field has in its kind
            return self._byte() == 1 if in_list else kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.read_struct(depth + 1)
        raise ValueError(f"found a value of kind {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        length = self._unsigned() if head >> 4 == 15 else head >> 4
        if length > len(self.content) or depth > _MAX_DEPTH:  # each value takes a byte
            raise ValueError("found a list beyond the end")
        return [self._value(head & 15, depth + 1, in_list=True) for _ in range(length)]

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("found a number without end")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, length: int) -> bytes:
        found = self.content[self.place : self.place + length]
        if len(found) < length:
            raise ValueError("found the end too soon")
        self.place += length
        return found
