"""Folders that Instaloader wrote, into rows; its own library is not needed.

Next to the pictures of a post, all of one name (`2024-05-06_10-00-00_UTC`, or another pattern),
lies a `.json` or `.json.xz` file: its `node` is Instagram's GraphQL node or, in newer versions, one
made from `iphone_struct`, which it then holds. A post that was kept without JSON still has its
`.txt` caption, and the time in its name.

A post has one picture here: of a carousel, the first that is there and is a picture; of a video,
its thumbnail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.images import ENDINGS
from indexer.readers.files import (
    JSON_ENDINGS,
    Folder,
    Found,
    UnreadableError,
    caption_beside,
    first,
    read_json,
    shown,
    walk,
    within,
)
from indexer.tables import kind

_ENDING = "|".join(map(re.escape, ENDINGS))
_MEDIA = re.compile(
    r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_UTC)(_\d+)?"
    rf"(\.txt|{_ENDING})"
)
_PICTURE = re.compile(rf"(?P<stem>.+?(?:_(?P<number>\d{{1,2}}))?)(?:{_ENDING})", re.DOTALL)


def rows(source: Path) -> Iterator[Found]:
    """The posts of a source; files about profiles, comments, stories and progress are no posts."""
    for folder in walk(source):
        yield from folder.rejected()
        described: set[str] = set()
        pictures = _pictures(folder)
        for name in _json_names(folder):
            described.add(_stem(name))
            try:
                if (node := _node(read_json(folder.path / name))) is not None:
                    yield _described(folder, name, node, pictures)
            except UnreadableError as error:
                yield folder.lost(name, str(error))
        for stem in dict.fromkeys(_dated_stems(folder)):
            if stem not in described:
                yield _undescribed(folder, stem, pictures)


def count(source: Path) -> int:
    """About how many posts a source has: its JSON files."""
    return sum(len(list(_json_names(folder))) for folder in walk(source))


def is_post(value: object) -> bool:
    """Whether a JSON value is one that Instaloader writes, about a post or anything else."""
    is_signed = within(value, "instaloader", "node_type") is not None
    return is_signed or _code(within(value, "node")) is not None or _is_old(value)


def is_dated(name: str) -> bool:
    """Whether a caption or picture has the name that Instaloader gives it."""
    return bool(_MEDIA.fullmatch(name))


def _json_names(folder: Folder) -> Iterator[str]:
    for name in folder.names:
        if name.endswith(JSON_ENDINGS) and not _stem(name).endswith("_comments"):
            yield name


def _stem(name: str) -> str:
    return name.removesuffix(".xz").removesuffix(".json")


def _dated_stems(folder: Folder) -> Iterator[str]:
    return (match[1] for name in folder.names if (match := _MEDIA.fullmatch(name)))


def _node(value: object) -> object:
    """The node of a post; None where a file is about something else."""
    node_type = within(value, "instaloader", "node_type")
    if node_type is not None:
        return within(value, "node") if node_type == "Post" else None
    if _is_old(value):
        return value
    return node if _code(node := within(value, "node")) is not None else None


def _is_old(value: object) -> bool:
    """Whether it is a node without frame, as Instaloader 3 wrote them; gallery-dl names a site."""
    return within(value, "shortcode") is not None and within(value, "category") is None


def _code(node: object) -> Any:  # noqa: ANN401 (whatever it holds)
    return first(within(node, "shortcode"), within(node, "code"))


def _described(folder: Folder, name: str, node: object, pictures: dict[str, list[str]]) -> Found:
    if not isinstance(node, dict):
        return folder.lost(name, f"found {kind(node)} as node, expected an Instagram post")
    phone, stem = node.get("iphone_struct"), _stem(name)
    owner = first(node.get("owner"), node.get("user"), within(phone, "user"))
    caption = first(
        within(node, "edge_media_to_caption", "edges", 0, "node", "text"),
        _text(node.get("caption")),
        _text(within(phone, "caption")),
    )
    problems: tuple[str, ...] = ()
    if caption is None:
        caption, problems = caption_beside(folder, f"{stem}.txt")
    fields = {
        "id": first(_code(node), _code(phone)),
        "caption": caption,
        "author": first(*(within(owner, key) for key in ("username", "id", "pk"))),
        "taken_at": first(
            *(node.get(key) for key in ("date", "taken_at_timestamp", "taken_at")),
            within(phone, "taken_at"),
        ),
        "image": [folder.path / picture for picture in pictures.get(stem, ())],
    }
    return folder.found(name, fields, *problems)


def _text(caption: object) -> Any:  # noqa: ANN401 (whatever it holds)
    return caption.get("text") if isinstance(caption, dict) else caption


def _undescribed(folder: Folder, stem: str, pictures: dict[str, list[str]]) -> Found:
    """A post of which there is no JSON; its place in the source is its id."""
    name = f"{stem}.txt"
    caption, problems = caption_beside(folder, name)
    place = (folder.path / stem).relative_to(folder.root).as_posix()
    fields = {
        "id": shown(place),
        "caption": caption,
        "image": [folder.path / picture for picture in pictures.get(stem, ())],
    }
    try:
        moment = datetime.strptime(stem, "%Y-%m-%d_%H-%M-%S_UTC")
        fields["taken_at"] = moment.isoformat()
    except ValueError:
        problems += (f"found no time in the name {stem!r}",)
    of = name if name in folder.beside else pictures[stem][0]
    return folder.found(of, fields, *problems)


def _pictures(folder: Folder) -> dict[str, list[str]]:
    """Names of a folder's pictures by that of their post, in order; a carousel numbers its own."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in folder.beside:
        if match := _PICTURE.fullmatch(name):
            stem, number = match["stem"], match["number"]
            found.setdefault(stem, []).append((0, name))
            if number:
                found.setdefault(stem[: -len(number) - 1], []).append((int(number), name))
    return {stem: [name for _, name in sorted(few)] for stem, few in found.items()}
