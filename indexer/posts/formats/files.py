"""Finds and reads the files of a scrape safely: no link leads out, and memory has a bound."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hashlens.indexer.posts.formats.json_scan import excess
from hashlens.indexer.posts.tables.tables import Row

MAX_JSON = 8 << 20  # bytes of an unpacked file about one post; few have a tenth
MAX_TEXT = 1 << 20  # bytes of a caption file
MAX_FOLDERS = 32  # levels of nested folders
JSON_ENDINGS = (".json", ".json.xz")

_MAX_XZ_MEMORY = 128 << 20  # bytes; `xz -9` needs half
_CHUNK = 1 << 16


class UnreadableError(Exception):
    """A file gives no post; the message has the reason."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row, its file, and the folder that must contain its pictures.

    In the row, `image` is a name from the file, which nobody has checked; a `Path` that the reader
    itself saw or made; or a list of these, of which the first that is a picture counts.
    `problems` are parts that the post lacks. `remarks` say how the post was read; the report
    counts them.
    """

    file: Path
    root: Path
    row: Row
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options for the rows of a source.

    `columns` maps our names of columns to the source's. `first_comment` says whether hashtags of
    the author's first comment count. `beside` are the other sources of the same kind.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    first_comment: bool = True
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a source: `names` are the files to read, `beside` all its files."""

    path: Path
    root: Path
    names: Sequence[str] = ()
    beside: frozenset[str] = frozenset()
    problems: list[tuple[Path, str]] = field(default_factory=list)

    def problem_rows(self) -> Iterator[SourceRow]:
        """Yield a row for each entry that cannot be read."""
        for path, problem in self.problems:
            yield SourceRow(path, self.root, Row(None, problem=problem))

    def build_row(self, name: str, fields: dict[str, Any], *problems: str) -> SourceRow:
        """Return the row of a post, by the name of its file."""
        return SourceRow(self.path / name, self.root, Row(None, fields), problems)

    def build_problem(self, name: str, problem: str) -> SourceRow:
        """Return the row that reports a file without a post."""
        return SourceRow(self.path / name, self.root, Row(None, problem=problem))


def walk(source: Path) -> Iterator[Folder]:
    """Yield the folders of a source in order, itself first; a file is a folder of one.

    Links to folders are not followed, so no walk goes in circles. Links to files are followed only
    inside the source. Hidden entries are skipped, and so are pipes and devices.
    """
    if not source.is_dir():
        root = source.parent
        yield Folder(root, root, [source.name], _list_folder(root, root.resolve())[0].beside)
        return
    boundary = source.resolve()
    waiting = [(source, 0)]
    while waiting:
        path, level = waiting.pop()
        folder, below = _list_folder(path, boundary, source)
        if below and level >= MAX_FOLDERS:
            reason = f"found folders nested deeper than {MAX_FOLDERS}, left them out"
            folder.problems.append((path / below[0], reason))
        else:
            waiting += [(path / name, level + 1) for name in reversed(below)]
        yield folder


def _list_folder(path: Path, boundary: Path, root: Path | None = None) -> tuple[Folder, list[str]]:
    """Return a folder, and the names of the folders in it."""
    visible: list[os.DirEntry[str]] = []
    names: list[str] = []
    below: list[str] = []
    problems: list[tuple[Path, str]] = []
    try:
        with os.scandir(path) as entries:
            visible.extend(entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        problems.append((path, f"cannot be read ({error.strerror or error}), allow it"))
    for entry in visible:
        try:
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(boundary):
                reason = "found a link out of the scrape's folder, expected a file inside it"
                problems.append((path / entry.name, reason))
            elif entry.is_symlink() and entry.is_dir():
                reason = "found a link to a folder, which is not followed"
                problems.append((path / entry.name, reason))
            elif entry.is_dir():
                below.append(entry.name)
            elif entry.is_file():
                names.append(entry.name)
        except (OSError, RuntimeError) as error:
            problems.append((path / entry.name, f"cannot be read ({error})"))
    names.sort()
    problems.sort()
    return Folder(path, root or path, names, frozenset(names), problems), sorted(below)


def read_bytes(path: Path, most: int) -> bytes:
    """Return a file's content, unpacked if its name ends in `.xz`.

    Raises:
        UnreadableError: the file cannot be read, is damaged, or has more than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror or error})") from error
    if len(content) <= most and path.suffix.lower() == ".xz":
        content = _unpack_xz(content, most)
    if len(content) > most:
        raise UnreadableError(f"found more than {most:,} bytes, which no tool writes there")
    return content


def _unpack_xz(content: bytes, most: int) -> bytes:
    """Return the content of an .xz file, cut one byte after the bound."""
    from lzma import LZMADecompressor, LZMAError

    try:
        unpacking = LZMADecompressor(memlimit=_MAX_XZ_MEMORY)
        parts = [unpacking.decompress(content, most + 1)]
        while not unpacking.eof and (left := most + 1 - sum(map(len, parts))) > 0:
            if unpacking.needs_input:
                raise UnreadableError("found a truncated .xz file, fetch it again")
            parts.append(unpacking.decompress(b"", min(left, _CHUNK)))
    except (LZMAError, EOFError) as error:
        raise UnreadableError(f"found a damaged .xz file ({error}), fetch it again") from error
    return b"".join(parts)


def read_json(path: Path) -> Any:  # noqa: ANN401 (any JSON value)
    """Return the value of a JSON file about one post, packed or not.

    Raises:
        UnreadableError: the file cannot be read, is not JSON, or is larger or deeper than is safe.
    """
    text = json_text(path, MAX_JSON)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"found malformed JSON ({error}), fetch it again") from error


def json_text(path: Path, most: int) -> str:
    """Return the text of a JSON file of `most` bytes at most, which is safe to parse.

    Raises:
        UnreadableError: the file cannot be read, or is larger or deeper than is safe.
    """
    return safe_json(read_bytes(path, most))


def safe_json(content: bytes) -> str:
    """Return a JSON file's content as text that is safe to parse.

    Raises:
        UnreadableError: the content is not UTF-8, or deeper than is safe.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"found bytes that are not UTF-8 ({error.reason})") from error
    if reason := excess(text):
        raise UnreadableError(reason)
    return text


def read_text(path: Path) -> str:
    """Return the text of a caption file: UTF-8, or UTF-16 with its mark.

    Raises:
        UnreadableError: the file cannot be read, has another encoding, or is too long.
    """
    content = read_bytes(path, MAX_TEXT)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"found bytes that are not UTF-8 ({error.reason}), save it as UTF-8"
        ) from error


def caption_beside(folder: Folder, name: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the text of a caption file, if it is there, and its problems."""
    if name is None or name not in folder.beside:
        return None, ()
    try:
        return read_text(folder.path / name), ()
    except UnreadableError as error:
        return None, (f"caption {show_path(name)!r}: {error}",)


def show_path(path: Path | str) -> str:
    """Return a path or name for a message; bytes of another encoding are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def within(value: object, *keys: str | int) -> Any:  # noqa: ANN401 (any JSON value)
    """Return the value at a place in a JSON value, or None."""
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def first(*values: object) -> Any:  # noqa: ANN401 (any JSON value)
    """Return the first value that is neither None nor empty text."""
    return next((value for value in values if value not in (None, "")), None)
