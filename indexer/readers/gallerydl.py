"""Folders that gallery-dl filled with `--write-metadata`, into rows.

Beside each picture or video lies a JSON file of its name and `.json`; all media of a post carry
its caption, so they make one post, whose picture is the first of them that is there and is one.
A video has a picture where its preview was fetched (`previews`). Media are paired by
name: no address or path in the JSON is followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any

from indexer.images import ENDINGS
from indexer.readers.files import Folder, Found, UnreadableError, first, read_json, walk, within

_MEDIA = (*ENDINGS, ".mp4", ".webm", ".mov", ".mkv", ".m4v")
_IDS = ("post_shortcode", "shortcode", "tweet_id", "post_id", "id", "media_id")
_CAPTIONS = ("description", "content", "caption", "title")  # Instagram's, and other sites'
_AUTHORS = (("username",), ("author", "name"), ("user", "name"), ("author",), ("owner_id",))


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a post."""

    name: str
    post_id: str
    number: int
    value: dict[str, Any]


def rows(source: Path) -> Iterator[Found]:
    """The posts of a source."""
    given: set[str] = set()
    for folder in walk(source):
        yield from folder.rejected()
        for post_id, parts in groupby(_parts(folder), key=_post_id):
            if post_id is None:
                yield from (part for part in parts if isinstance(part, Found))
            elif post_id not in given:
                given.add(post_id)
                yield _row(folder, [part for part in parts if isinstance(part, _Part)])


def count(source: Path) -> int:
    """About how many posts a source has: its JSON files."""
    return sum(len(_names(folder)) for folder in walk(source))


def is_post(value: object) -> bool:
    """Whether a JSON value is one that gallery-dl writes, about a file or a post."""
    keys = ("subcategory", "extension", "post_shortcode")
    return isinstance(within(value, "category"), str) and any(
        within(value, key) is not None for key in keys
    )


def _names(folder: Folder) -> list[str]:
    """JSON files, those about a file of media first: others about its post have no picture."""
    names = [name for name in folder.names if name.lower().endswith(".json")]
    return sorted(names, key=lambda name: not _media(name).lower().endswith(_MEDIA))


def _media(name: str) -> str:
    """What a JSON file is about, where it is about a file."""
    return name[: -len(".json")]


def _parts(folder: Folder) -> Iterator[_Part | Found]:
    for name in _names(folder):
        try:
            value = read_json(folder.path / name)
        except UnreadableError as error:
            yield folder.lost(name, str(error))
            continue
        if is_post(value) and (post_id := _id(value)) is not None:
            number = value.get("num")
            yield _Part(name, post_id, number if isinstance(number, int) else 0, value)


def _post_id(part: _Part | Found) -> str | None:
    return part.post_id if isinstance(part, _Part) else None


def _id(value: dict[str, Any]) -> str | None:
    """Instagram's short code, as other readers have it; ids of other sites have its name.

    Stories share what they call a post, so each goes by its own short code.
    """
    is_story = "/stories/" in str(value.get("post_url"))
    keys = _IDS[1:] if is_story else _IDS
    known = [v for k in keys if isinstance(v := value.get(k), int | str) and v not in ("", 0)]
    if not known:
        return None
    site = value["category"]
    return str(known[0]) if site == "instagram" else f"{site}:{known[0]}"


def _row(folder: Folder, parts: list[_Part]) -> Found:
    parts = sorted(parts, key=lambda part: part.number)
    lead = parts[0]
    fields = {
        "id": lead.post_id,
        "caption": first(*(lead.value.get(key) for key in _CAPTIONS)),
        "author": first(*(_name(within(lead.value, *place)) for place in _AUTHORS)),
        "taken_at": first(lead.value.get("post_date"), lead.value.get("date")),
        "image": [path for part in parts for path in _pictures(folder, part.name)],
    }
    return folder.found(lead.name, fields)


def _name(value: object) -> str | None:
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _pictures(folder: Folder, name: str) -> Iterator[Path]:
    """The picture that a JSON file lies beside, or the preview of its video."""
    media = _media(name)
    stem = PurePath(media).stem if media.lower().endswith(_MEDIA) else media
    names = [media, *(f"{stem}{more}{ending}" for more in ("", "p") for ending in ENDINGS)]
    for name in dict.fromkeys(names):
        if name in folder.beside and name.lower().endswith(ENDINGS):
            yield folder.path / name
