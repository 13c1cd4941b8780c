"""Reads ZIP files with bounds; nothing is ever written under a name from the ZIP."""

from __future__ import annotations

import zlib
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from hashlens.indexer.posts.formats.files import UnreadableError

MAX_DIRECTORY = 16 << 20  # bytes of the list of files; about 130,000 files
MAX_GROWTH = 32  # unpacked bytes per packed byte of the whole ZIP; JSON has ten, pictures one
MAX_SMALL = 256 << 20  # bytes that may be unpacked of a small ZIP

_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_CHUNK = 1 << 20
_IS_ENCRYPTED = 0x1
_DAMAGE = (BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)


class _Bounded(BufferedReader):
    """A file that refuses reads larger than the bound for the list of files."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size and size > MAX_DIRECTORY:
            raise BadZipFile(f"its list of files has more than {MAX_DIRECTORY:,} bytes")
        return super().read(size)


def is_archive(path: Path) -> bool:
    """Whether a path is a file that begins as a ZIP does."""
    try:
        # Reading from a pipe could block.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in _MARKS
    except OSError:
        return False


class Archive:
    """A ZIP file and its files by name; the total of unpacked bytes has a bound.

    Raises:
        UnreadableError: the ZIP cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stream = _Bounded(FileIO(path))
        except (OSError, ValueError) as error:
            raise UnreadableError(f"cannot be read ({error})") from error
        try:
            self._zip = ZipFile(self._stream)
            self._left = max(MAX_SMALL, MAX_GROWTH * path.stat().st_size)
        except _DAMAGE as error:
            self._stream.close()
            raise UnreadableError(f"found a damaged ZIP file ({error}), fetch it again") from error
        self._files: dict[str, ZipInfo] = {}
        for info in self._zip.infolist():
            # Hidden files are skipped, and so are those that macOS adds.
            parts = PurePosixPath(info.filename).parts
            if not info.is_dir() and not any(p.startswith((".", "__MACOSX")) for p in parts):
                self._files.setdefault(info.filename, info)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._stream.close()

    @property
    def names(self) -> list[str]:
        """Return the sorted names of the files that are not hidden."""
        return sorted(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def head(self, name: str, size: int) -> bytes:
        """Return the first bytes of a file.

        Raises:
            UnreadableError: they cannot be read.
        """
        return self._unpack(name, size)

    def read(self, name: str, most: int) -> bytes:
        """Return the content of a file.

        Raises:
            UnreadableError: the file cannot be read or has more than `most` bytes, or the ZIP
                unpacks to more than its bound.
        """
        if self._left <= 0:
            raise UnreadableError(
                f"found more than {MAX_GROWTH} unpacked bytes for each packed one, "
                "unzip it first into a folder"
            )
        content = self._unpack(name, most + 1)
        self._left -= len(content)
        if len(content) > most:
            raise UnreadableError(f"found more than {most:,} bytes, which no tool writes there")
        return content

    def _unpack(self, name: str, size: int) -> bytes:
        info = self._files[name]
        if info.flag_bits & _IS_ENCRYPTED:
            raise UnreadableError("found a file with a password, unzip it first into a folder")
        # Other methods unpack without a bound.
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise UnreadableError("found another packing method, unzip it first into a folder")
        parts: list[bytes] = []
        try:
            with self._zip.open(info) as file:
                while size > 0 and (part := file.read(min(size, _CHUNK))):
                    size -= len(part)
                    parts.append(part)
        except _DAMAGE as error:
            raise UnreadableError(f"found a damaged ZIP file ({error}), fetch it again") from error
        return b"".join(parts)
