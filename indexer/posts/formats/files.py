"""Files of a scrape, found and read safely: no link leads out, memory has a bound."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hashlens.indexer.posts.formats.json_scan import excess
from hashlens.indexer.posts.tables.tables import Row

MAX_JSON = 8 << 20  # bytes of a file about one post, unpacked; few have a tenth of it
MAX_TEXT = 1 << 20  # bytes of a caption's own file
MAX_FOLDERS = 32  # folders within one another
JSON_ENDINGS = (".json", ".json.xz")

_XZ_MEMORY = 128 << 20  # bytes; what `xz -9` needs is half of it
_CHUNK = 1 << 16


class UnreadableError(Exception):
    """This file gives no post; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """One row, the file it is of, and the folder its pictures must lie in.

    `problems` are parts that the post goes without. In the row, `image` is a name from the file,
    which nobody has checked; a `Path` that the reader itself saw or made; or a list of these, of
    which the first that is a picture is taken. `remarks` say how the post was read; the
    report counts them.
    """

    file: Path
    root: Path
    row: Row
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the rows of a source are asked for.

    `columns` are the source's names of columns by ours. `first_comment` says whether hashtags of
    the author's own first comment count. `beside` are the other sources of the same kind.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    first_comment: bool = True
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a source: `names` of files to read, in order, and of all those beside them."""

    path: Path
    root: Path
    names: Sequence[str] = ()
    beside: frozenset[str] = frozenset()
    problems: list[tuple[Path, str]] = field(default_factory=list)

    def rejected(self) -> Iterator[Found]:
        """What could not be looked into."""
        for path, problem in self.problems:
            yield Found(path, self.root, Row(None, problem=problem))

    def found(self, name: str, fields: dict[str, Any], *problems: str) -> Found:
        """The post that a file of this folder is about."""
        return Found(self.path / name, self.root, Row(None, fields), problems)

    def lost(self, name: str, problem: str) -> Found:
        """A file of this folder that gives no post."""
        return Found(self.path / name, self.root, Row(None, problem=problem))


def walk(source: Path) -> Iterator[Folder]:
    """The folders of a source, itself first, in order; a file stands for itself alone.

    Links to folders are not followed, so no walk goes in circles, and links to files only where
    these lie in the source. Hidden files and folders, and what is neither file nor folder, are
    passed over.
    """
    if not source.is_dir():
        root = source.parent
        yield Folder(root, root, [source.name], _listed(root, root.resolve())[0].beside)
        return
    boundary = source.resolve()
    waiting = [(source, 0)]
    while waiting:
        path, level = waiting.pop()
        folder, below = _listed(path, boundary, source)
        if below and level >= MAX_FOLDERS:
            reason = f"found folders nested deeper than {MAX_FOLDERS}, left them out"
            folder.problems.append((path / below[0], reason))
        else:
            waiting += [(path / name, level + 1) for name in reversed(below)]
        yield folder


def _listed(path: Path, boundary: Path, root: Path | None = None) -> tuple[Folder, list[str]]:
    """A folder, and the names of those in it."""
    names: list[str] = []
    below: list[str] = []
    problems: list[tuple[Path, str]] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if problem := _sorted_in(entry, boundary, names, below):
                    problems.append((path / entry.name, problem))
    except OSError as error:
        problems.append((path, f"cannot be read ({error.strerror or error}), allow it"))
    names.sort()
    problems.sort()
    return Folder(path, root or path, names, frozenset(names), problems), sorted(below)


def _sorted_in(
    entry: os.DirEntry[str], boundary: Path, names: list[str], below: list[str]
) -> str | None:
    """Put an entry where it belongs, or say what is wrong with it."""
    try:
        if entry.is_symlink():
            if not Path(entry.path).resolve().is_relative_to(boundary):
                return "found a link out of the scrape's folder, expected a file inside it"
            if entry.is_dir():
                return "found a link to a folder, which is not followed"
        if entry.is_dir():
            below.append(entry.name)
        elif entry.is_file():
            names.append(entry.name)
    except (OSError, RuntimeError) as error:
        return f"cannot be read ({error})"
    return None


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content, unpacked where its name ends in `.xz`.

    Raises:
        UnreadableError: it cannot be read, is damaged, or has more than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror or error})") from error
    if len(content) <= most and path.suffix.lower() == ".xz":
        content = _unpacked(content, most)
    if len(content) > most:
        raise UnreadableError(f"found more than {most:,} bytes, which no tool writes there")
    return content


def _unpacked(content: bytes, most: int) -> bytes:
    """What an .xz file holds, at most one byte more than is allowed."""
    from lzma import LZMADecompressor, LZMAError

    try:
        unpacking = LZMADecompressor(memlimit=_XZ_MEMORY)
        parts = [unpacking.decompress(content, most + 1)]
        while not unpacking.eof and (left := most + 1 - sum(map(len, parts))) > 0:
            if unpacking.needs_input:
                raise UnreadableError("found a truncated .xz file, fetch it again")
            parts.append(unpacking.decompress(b"", min(left, _CHUNK)))
    except (LZMAError, EOFError) as error:
        raise UnreadableError(f"found a damaged .xz file ({error}), fetch it again") from error
    return b"".join(parts)


def read_json(path: Path) -> Any:  # noqa: ANN401 (whatever it holds)
    """The value of a JSON file about one post, packed or not.

    Raises:
        UnreadableError: it cannot be read, is no JSON, or is larger or deeper than is safe.
    """
    text = json_text(path, MAX_JSON)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"found malformed JSON ({error}), fetch it again") from error


def json_text(path: Path, most: int) -> str:
    """The text of a JSON file of `most` bytes at most, which is safe to be parsed.

    Raises:
        UnreadableError: it cannot be read, or is larger or deeper than is safe.
    """
    return safe_json(read_bytes(path, most))


def safe_json(content: bytes) -> str:
    """The text of a JSON file's content, which is safe to be parsed.

    Raises:
        UnreadableError: it is no text, or deeper than is safe.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"found bytes that are not UTF-8 ({error.reason})") from error
    if reason := excess(text):
        raise UnreadableError(reason)
    return text


def read_text(path: Path) -> str:
    """A caption's own file: UTF-8, or UTF-16 with its mark.

    Raises:
        UnreadableError: it cannot be read, is of another encoding, or too long.
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
    """The text of a caption's own file, where there is one; and what is wrong with it."""
    if name is None or name not in folder.beside:
        return None, ()
    try:
        return read_text(folder.path / name), ()
    except UnreadableError as error:
        return None, (f"caption {shown(name)!r}: {error}",)


def shown(path: Path | str) -> str:
    """A path or name as people can be shown it; bytes of another encoding are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def within(value: object, *keys: str | int) -> Any:  # noqa: ANN401 (whatever is there)
    """What stands at a place in a JSON value, or None."""
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def first(*values: object) -> Any:  # noqa: ANN401 (whatever they are)
    """The first value that says something."""
    return next((value for value in values if value not in (None, "")), None)
