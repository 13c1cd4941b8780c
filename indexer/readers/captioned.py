"""Folders of pictures, each with its caption in a text file beside it, into rows.

The caption of `lake.jpg` is in `lake.txt`, `lake.caption` or `lake.jpg.txt`. A picture is known
by its content. Another file with a caption, such as a video, is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

from indexer.images import is_picture_file
from indexer.readers.files import Folder, Found, caption_beside, shown, walk

_CAPTIONS = (".txt", ".caption")


def rows(source: Path) -> Iterator[Found]:
    """The pictures of a source as posts; where one lies in it is its id."""
    for folder in walk(source):
        yield from folder.rejected()
        pictured = pictures(folder)
        for name in _others(folder, pictured):
            yield folder.lost(name, "found no picture in it, expected one for its caption")
        for name in pictured:
            caption, problems = caption_beside(folder, caption_name(folder, name))
            path = folder.path / name
            place = shown(path.relative_to(folder.root).as_posix())
            yield folder.found(name, {"id": place, "caption": caption, "image": path}, *problems)


def count(source: Path) -> int:
    """How many pictures a source has."""
    return sum(len(pictures(folder)) for folder in walk(source))


def caption_name(folder: Folder, name: str) -> str | None:
    """Name of the file that has a picture's caption, where there is one."""
    stem = PurePath(name).stem
    names = (f"{stem}.txt", f"{stem}.caption", f"{name}.txt")
    return next((name for name in names if name in folder.beside), None)


def pictures(folder: Folder) -> list[str]:
    """Names of a folder's pictures, in order."""
    return [
        name
        for name in folder.names
        if not name.lower().endswith(_CAPTIONS) and is_picture_file(folder.path / name)
    ]


def _others(folder: Folder, pictured: list[str]) -> list[str]:
    """Names of files that have a caption which is no picture's, and are no pictures."""
    used = {caption_name(folder, name) for name in pictured} | {None}
    others = (name for name in folder.names if not name.lower().endswith(_CAPTIONS))
    return [name for name in others if caption_name(folder, name) not in used]
