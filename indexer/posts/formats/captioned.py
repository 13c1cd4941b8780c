"""Reads folders of pictures, each with its caption in a text file beside it.

The caption of `lake.jpg` is in `lake.txt`, `lake.caption` or `lake.jpg.txt`. Pictures `lake_1.jpg`
and `lake_2.jpg` beside `lake.txt` are one post if they have no captions of their own and there is
no `lake.jpg`: Instaloader stores a carousel without JSON in this way. A picture is recognised by
its content. Other files with a caption, such as videos, are reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from hashlens.indexer.decoding.file_formats import is_picture_file
from hashlens.indexer.images.kept_pictures import find_picture_file
from hashlens.indexer.posts.formats.files import Folder, SourceRow, caption_beside, show_path, walk

_CAPTIONS = (".txt", ".caption")
_NUMBERED = re.compile(r"(.+)_(\d{1,2})", re.DOTALL)


def rows(source: Path) -> Iterator[SourceRow]:
    """Yield the pictures of a source as posts; the path in the source is the id."""
    for folder in walk(source):
        yield from folder.problem_rows()
        posts = _group_posts(folder)
        used = {_caption_of(folder, *post) for post in posts.items()} | {None}
        others = (name for name in folder.names if not name.lower().endswith(_CAPTIONS))
        for name in (name for name in others if _caption_name(folder, name) not in used):
            yield folder.build_problem(name, "found no picture in it, expected one for its caption")
        for post, names in posts.items():
            caption, problems = caption_beside(folder, _caption_of(folder, post, names))
            paths = [folder.path / name for name in names]
            place = show_path((folder.path / post).relative_to(folder.root).as_posix())
            image = paths[0] if len(paths) == 1 else find_picture_file(paths)
            fields = {"id": place, "caption": caption, "image": image}
            yield folder.build_row(names[0], fields, *problems)


def count(source: Path) -> int:
    """Return the number of posts of a source."""
    return sum(len(_group_posts(folder)) for folder in walk(source))


def has_captions(folder: Folder) -> bool:
    """Whether a picture of a folder has a caption beside it."""
    return any(_caption_of(folder, *post) for post in _group_posts(folder).items())


def pictures(folder: Folder) -> list[str]:
    """Return the names of a folder's pictures, in order."""
    return [
        name
        for name in folder.names
        if not name.lower().endswith(_CAPTIONS) and is_picture_file(folder.path / name)
    ]


def _group_posts(folder: Folder) -> dict[str, list[str]]:
    """Return the names of a folder's pictures by post, in order."""
    found: dict[str, list[tuple[int, str]]] = {}
    pictured = pictures(folder)
    stems = {PurePath(name).stem for name in pictured}
    for name in pictured:
        part = _NUMBERED.fullmatch(PurePath(name).stem)
        if (
            part
            and part[1] not in stems
            and not _caption_name(folder, name)
            and _caption_name(folder, f"{part[1]}.jpg")
        ):
            found.setdefault(part[1], []).append((int(part[2]), name))
        else:
            found[name] = [(0, name)]
    return {post: [name for _, name in sorted(few)] for post, few in found.items()}


def _caption_of(folder: Folder, post: str, names: list[str]) -> str | None:
    """Return the name of a post's caption file, or None."""
    return _caption_name(folder, post if post == names[0] else f"{post}.jpg")


def _caption_name(folder: Folder, name: str) -> str | None:
    """Return the name of a picture's caption file, or None."""
    stem = PurePath(name).stem
    names = (f"{stem}.txt", f"{stem}.caption", f"{name}.txt")
    return next((name for name in names if name in folder.beside), None)
