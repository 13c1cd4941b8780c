"""ZIP files read with bounds: no file in one is ever written under the name that it has there."""

from __future__ import annotations

import zlib
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from hashlens.indexer.posts.formats.files import UnreadableError

MAX_DIRECTORY = 16 << 20  # bytes of the list of files; about 130,000 files
MAX_GROWTH = 32  # unpacked bytes for each packed one, in all; JSON has ten, pictures one
MAX_SMALL = 256 << 20  # bytes that may be unpacked of any file, however small it is

_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_CHUNK = 1 << 20
_IS_ENCRYPTED = 0x1
_DAMAGE = (BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)


class _Bounded(BufferedReader):
    """A file of which no one takes more at once than a list of files may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size and size > MAX_DIRECTORY:
            raise BadZipFile(f"its list of files has more than {MAX_DIRECTORY:,} bytes")
        return super().read(size)


def is_archive(path: Path) -> bool:
    """Whether a path is a file that is a ZIP by its first bytes."""
    try:
        # A pipe would be waited for.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in _MARKS
    except OSError:
        return False


class Archive:
    """A ZIP file and the files in it by name; what it unpacks in all has a bound.

    Raises:
        UnreadableError: it cannot be read.
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
            if not info.is_dir() and not _is_hidden(info.filename):
                self._files.setdefault(info.filename, info)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._stream.close()

    @property
    def names(self) -> list[str]:
        """Names of the files in it, in order; hidden ones are passed over."""
        return sorted(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def head(self, name: str, size: int) -> bytes:
        """The first bytes of a file in it.

        Raises:
            UnreadableError: they cannot be read.
        """
        return self._unpacked(name, size)

    def read(self, name: str, most: int) -> bytes:
        """A file in it.

        Raises:
            UnreadableError: it cannot be read, has more than `most` bytes, or the ZIP has swollen
                beyond its bound.
        """
        if self._left <= 0:
            raise UnreadableError(
                f"found more than {MAX_GROWTH} unpacked bytes for each packed one, "
                "unzip it first into a folder"
            )
        content = self._unpacked(name, most + 1)
        self._left -= len(content)
        if len(content) > most:
            raise UnreadableError(f"found more than {most:,} bytes, which no tool writes there")
        return content

    def _unpacked(self, name: str, size: int) -> bytes:
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


def _is_hidden(name: str) -> bool:
    """Whether a name is of a hidden file, or of what macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
