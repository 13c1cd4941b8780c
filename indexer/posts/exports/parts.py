"""Finds the parts of an Instagram export: folders and ZIP files with posts and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Protocol, TypeVar

from hashlens.indexer.decoding.loading import MAX_BYTES
from hashlens.indexer.errors import InputError
from hashlens.indexer.images.kept_pictures import HEAD, head_of, keep_unread, kept_pictures
from hashlens.indexer.posts.exports.archive import Archive, is_archive
from hashlens.indexer.posts.formats.files import (
    SourceRow,
    UnreadableError,
    json_text,
    safe_json,
    walk,
)
from hashlens.indexer.posts.tables.tables import Row

MAX_EXPORT = 32 << 20  # bytes of a file; Instagram begins another file before that
NAMELESS = "instagram-export"

_NAMES = r"(posts|media|reels|stories|archived_posts|igtv_videos|other_content)(_\d+)?"
_JSON = re.compile(rf"{_NAMES}\.json")
_HTML = re.compile(rf"{_NAMES}\.html?", re.IGNORECASE)
_PLACES = ("media", "photos", "videos", "stories")  # folders of pictures, at the top of a part
_ACTIVITY = "your_instagram_activity"
_FOLDER = re.compile(r"instagram-(?P<name>.+?)-\d{4}-\d{2}-\d{2}(\W.*)?")
_ZIP = ".zip"

_Path = TypeVar("_Path", bound=PurePath)


def is_named(name: str) -> bool:
    """Whether exports use a name for files of posts."""
    return bool(_JSON.fullmatch(name))


@dataclass(frozen=True, slots=True)
class PostsFile:
    """A file of posts: its path for messages, and a function that reads its text."""

    place: Path
    read: Callable[[], str]


class Part(Protocol):
    """One folder or ZIP of an export."""

    owner: str
    root: Path  # that rows name
    posts: list[PostsFile]
    pages: list[Path]  # posts as HTML

    def head(self, name: str) -> bytes | None:
        """Return the first bytes of a file of the export, or None if another part has it.

        Raises:
            UnreadableError: they cannot be read.
        """

    def picture(self, name: str) -> tuple[Path, Path]:
        """Return a picture's file and its folder.

        Raises:
            UnreadableError: the picture cannot be read or kept.
        """

    def missing(self, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
        """Return the row's image and the post's problems for names that no part has."""


@dataclass(slots=True)
class FolderPart:
    """A part that is a folder."""

    root: Path
    posts: list[PostsFile] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)
    owner: str = field(init=False)
    _resolved: Path = field(init=False)

    def __post_init__(self) -> None:
        self.owner = owner_of(self.root.name)
        self._resolved = self.root.resolve()

    def head(self, name: str) -> bytes | None:
        """Return the first bytes of a file inside the folder; links are followed."""
        path = self.root / name
        try:
            if path.resolve().is_relative_to(self._resolved) and path.is_file():
                return head_of(path)
        except (OSError, ValueError, RuntimeError):
            pass
        return None

    def picture(self, name: str) -> tuple[Path, Path]:
        """Return the file itself."""
        return self.root / name, self.root

    def missing(self, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
        """Return the names, so that one that leads out of the folder is reported as such."""
        return names, ()


@dataclass(slots=True)
class ZipPart:
    """A part that is a ZIP file; names of pictures are relative to one of its `prefixes`."""

    archive: Archive
    posts: list[PostsFile] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)
    prefixes: dict[PurePosixPath, None] = field(default_factory=dict)
    owner: str = field(init=False)
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = kept_pictures()
        for name in self.archive.names:
            self._add(PurePosixPath(name))
        names = (self.archive.path.stem, *(prefix.name for prefix in self.prefixes))
        self.owner = next((o for name in names if (o := owner_of(name)) != NAMELESS), NAMELESS)

    def _add(self, path: PurePosixPath) -> None:
        place = self.archive.path / path
        if is_named(path.name):
            self.prefixes[_root(path)] = None
            self.posts.append(PostsFile(place, partial(self._text, str(path))))
        elif _HTML.fullmatch(path.name):
            self.pages.append(place)
        for depth, folder in enumerate(path.parts[:-1]):
            if folder in _PLACES:
                self.prefixes[PurePosixPath(*path.parts[:depth])] = None
                break

    def _text(self, name: str) -> str:
        return safe_json(self.archive.read(name, MAX_EXPORT))

    def _member(self, name: str) -> str | None:
        names = (str(prefix / name) for prefix in self.prefixes)
        return next((name for name in names if name in self.archive), None)

    def head(self, name: str) -> bytes | None:
        """Return the first bytes of a file in the ZIP."""
        member = self._member(name)
        return None if member is None else self.archive.head(member, HEAD)

    def picture(self, name: str) -> tuple[Path, Path]:
        """Copy the picture to the user's cache folder."""
        member = self._member(name)
        if member is None:
            raise UnreadableError("found no such file")
        try:
            return keep_unread(self.archive.read(member, MAX_BYTES)), kept_pictures()
        except InputError as error:
            raise UnreadableError(str(error)) from error

    def missing(self, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
        """Return no image, and the first name as a problem."""
        return [], tuple(
            f"picture {name[:200]!r}: found no such picture in the export" for name in names[:1]
        )


def owner_of(name: str) -> str:
    """Return the owner of an export by the name of its folder or ZIP."""
    found = _FOLDER.fullmatch(name)
    return found["name"] if found else NAMELESS


def is_of_same(part: Part, other: Part) -> bool:
    """Whether two parts may belong to one export, by the owners in their names."""
    return NAMELESS in (part.owner, other.owner) or part.owner == other.owner


def open_parts(source: Path, opened: ExitStack) -> tuple[list[Part], list[SourceRow]]:
    """Return the parts of a source in order, and rows for what cannot be read.

    Args:
        source: a folder of one part or several, a ZIP, or a file of posts.
        opened: closes the ZIP files that are opened here.
    """
    folders: dict[Path, FolderPart] = {}
    parts: list[Part] = []
    problems: list[SourceRow] = []

    def part_at(root: Path) -> FolderPart:
        if root not in folders:
            folders[root] = FolderPart(root)
            parts.append(folders[root])
        return folders[root]

    for folder in walk(source):
        problems += folder.problem_rows()
        if folder.path.name in _PLACES:
            part_at(folder.path.absolute().parent)
        for name in folder.names:
            path = folder.path / name
            if is_named(name):
                text = PostsFile(path, partial(json_text, path, MAX_EXPORT))
                part_at(Path(_root(path.absolute()))).posts.append(text)
            elif _HTML.fullmatch(name):
                part_at(Path(_root(path.absolute()))).pages.append(path)
            # In a folder, only files named .zip are opened.
            elif (path.suffix.lower() == _ZIP or path == source) and is_archive(path):
                try:
                    archive = Archive(path)
                    opened.callback(archive.close)
                    parts.append(ZipPart(archive))
                except UnreadableError as error:
                    problems.append(SourceRow(path, folder.root, Row(None, problem=str(error))))
    return parts, problems


def _root(path: _Path) -> _Path:
    """Return the export's folder, to which names of media are relative."""
    for folder in path.parents:
        if folder.name == _ACTIVITY:
            return folder.parent
    return path.parent.parent if path.parent.name in ("content", "media") else path.parent
