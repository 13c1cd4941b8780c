"""Reads folders that Instaloader wrote; its own library is not needed.

The pictures of a post share one name (`2024-05-06_10-00-00_UTC`, or another pattern). Next to them
lies a `.json` or `.json.xz` file. Its `node` is Instagram's GraphQL node; newer versions make it
from `iphone_struct`, which it then has. A post without JSON still has its `.txt` caption, and
perhaps the time in its name.

Comments are in `_comments.json` or in the node. Many authors put their hashtags into a comment of
their own, so the first comment by the post's author is read.

A post has one picture: the first of a carousel that is a picture by its content, or a video's
thumbnail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hashlens.indexer.images.kept_pictures import find_picture_file
from hashlens.indexer.posts.formats.files import (
    JSON_ENDINGS,
    Folder,
    ReadOptions,
    SourceRow,
    UnreadableError,
    caption_beside,
    first,
    read_json,
    show_path,
    walk,
    within,
)
from hashlens.indexer.posts.tables.tables import kind

_TEXT = ".txt"
_COMMENTS = "_comments"
_WORD_ENDINGS = (*JSON_ENDINGS, _TEXT)
_PROFILE_ENDINGS = ("_profile_pic", "_cover")
_ENDING = r"\.[A-Za-z0-9]{1,5}"
_DATED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_UTC")
_MEDIA = re.compile(rf"({_DATED.pattern})(_\d+)?{_ENDING}")
_PICTURE = re.compile(rf"(?P<stem>.+?(?:_(?P<number>\d{{1,2}}))?){_ENDING}", re.DOTALL)
_SHORTCODE = re.compile(r"[A-Za-z0-9_-]{11,}")
_COMMENT_LISTS = (
    "edge_media_to_parent_comment",
    "edge_media_to_comment",
    "edge_media_preview_comment",
)
_MAX_TIME = 1e12  # seconds since 1970; no comment is later
_MAX_COMMENT = 10_000  # characters, four times what Instagram allows


def rows(source: Path, options: ReadOptions | None = None) -> Iterator[SourceRow]:
    """Yield the posts of a source; files about profiles, stories and progress are no posts."""
    options = options or ReadOptions()
    for folder in walk(source):
        yield from folder.problem_rows()
        described: set[str] = set()
        pictures = _group_pictures(folder)
        for name in _json_names(folder):
            described.add(_stem(name))
            try:
                if (node := _find_node(read_json(folder.path / name))) is not None:
                    yield _build_row(folder, name, node, pictures, options)
            except UnreadableError as error:
                yield folder.build_problem(name, str(error))
        stems = (
            stem
            for name in folder.names
            if (stem := _post_stem(folder, name, pictures, has_json=bool(described)))
        )
        for stem in dict.fromkeys(stems):
            if stem not in described:
                yield from _build_plain_row(folder, stem, pictures)


def count(source: Path) -> int:
    """Return the number of JSON files of a source, about that of its posts."""
    return sum(len(list(_json_names(folder))) for folder in walk(source))


def is_post(value: object) -> bool:
    """Whether Instaloader wrote a JSON value, about a post or anything else."""
    is_signed = within(value, "instaloader", "node_type") is not None
    return is_signed or _find_node(value) is not None


def is_dated(name: str) -> bool:
    """Whether a caption or picture has a name as Instaloader gives."""
    return bool(_MEDIA.fullmatch(name)) and not name.endswith(JSON_ENDINGS)


def _json_names(folder: Folder) -> Iterator[str]:
    for name in folder.names:
        if name.endswith(JSON_ENDINGS) and not _stem(name).endswith(_COMMENTS):
            yield name


def _stem(name: str) -> str:
    return name.removesuffix(".xz").removesuffix(".json")


def _post_stem(
    folder: Folder, name: str, pictures: dict[str, list[str]], *, has_json: bool
) -> str | None:
    """Return the name of the post without JSON that a file belongs to, or None.

    The file's name is dated, or it is a caption with pictures. In a folder without any JSON, every
    picture belongs to a post, except those of profiles.
    """
    if name.endswith(JSON_ENDINGS):
        return None
    if dated := _MEDIA.fullmatch(name):
        return dated[1]
    if name.endswith(_TEXT):
        stem = name.removesuffix(_TEXT)
        return stem if stem in pictures else None
    found = _PICTURE.fullmatch(name)
    if found is None or has_json or found["stem"].endswith(_PROFILE_ENDINGS):
        return None
    stem, lead = found["stem"], _lead(found) or ""
    is_of_carousel = _has_words(folder, lead) or _SHORTCODE.fullmatch(lead)
    return lead if is_of_carousel and not _has_words(folder, stem) else stem


def _find_node(value: object) -> object:
    """Return the node of a post, or None if the file is about something else."""
    node_type = within(value, "instaloader", "node_type")
    if node_type is not None:
        return within(value, "node") if node_type == "Post" else None
    # Instaloader 3 wrote the node alone; gallery-dl has such files, too, and names a site.
    if within(value, "shortcode") is not None and within(value, "category") is None:
        return value
    return node if _code(node := within(value, "node")) is not None else None


def _code(node: object) -> Any:  # noqa: ANN401 (any JSON value)
    return first(within(node, "shortcode"), within(node, "code"))


def _build_row(
    folder: Folder,
    name: str,
    node: object,
    pictures: dict[str, list[str]],
    options: ReadOptions,
) -> SourceRow:
    """Return the row of a post that has JSON."""
    if not isinstance(node, dict):
        return folder.build_problem(name, f"found {kind(node)} as node, expected an Instagram post")
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
    comment = None
    if options.first_comment:
        people = (node.get("owner"), node.get("user"), within(phone, "user"))
        comment, unread = _first_comment(folder, stem, node, people)
        problems += unread
    fields = {
        "id": first(_code(node), _code(phone)),
        "caption": caption,
        "author": first(*(within(owner, key) for key in ("username", "id", "pk"))),
        "taken_at": first(
            *(node.get(key) for key in ("date", "taken_at_timestamp", "taken_at")),
            within(phone, "taken_at"),
        ),
        "image": _picture(folder, stem, pictures),
        "first_comment": comment,
    }
    return folder.build_row(name, fields, *problems)


def _text(caption: object) -> Any:  # noqa: ANN401 (any JSON value)
    return caption.get("text") if isinstance(caption, dict) else caption


def _first_comment(
    folder: Folder, stem: str, node: dict[str, Any], people: Sequence[object]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the first comment by a post's author, and the problems of the comments' file.

    Each of `people` may have a part of what the node says about the author.
    """
    author = {key: first(*(within(p, key) for p in people)) for key in ("id", "pk", "username")}
    comments: list[Any] = []
    problems: tuple[str, ...] = ()
    names = (f"{stem}{_COMMENTS}{ending}" for ending in JSON_ENDINGS)
    name = next((name for name in names if name in folder.beside), None)
    if name is not None:
        try:
            comments += _list(read_json(folder.path / name))
        except UnreadableError as error:
            problems = (f"comments {show_path(name)!r}: {error}",)
    for source in (node, within(node, "iphone_struct")):
        for key in _COMMENT_LISTS:
            edges = within(source, key, "edges")
            comments += [within(edge, "node") for edge in _list(edges)]
        comments += _list(within(source, "preview_comments"))
    own = [comment for comment in comments if _is_by(comment, author)]
    found = min(own, key=_order_comment, default=None)
    text = within(found, "text")
    return (text if isinstance(text, str) and len(text) <= _MAX_COMMENT else None), problems


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_by(comment: object, author: object) -> bool:
    """Whether a comment is by an author: by their numbers if both have one, as names change."""
    writer = first(within(comment, "owner"), within(comment, "user"))
    numbers = [first(within(person, "id"), within(person, "pk")) for person in (writer, author)]
    if all(isinstance(number, int | str) for number in numbers):
        return str(numbers[0]) == str(numbers[1])
    names = [within(person, "username") for person in (writer, author)]
    first_name, second_name = names
    if not (isinstance(first_name, str) and isinstance(second_name, str)):
        return False
    return first_name.casefold() == second_name.casefold()


def _order_comment(comment: object) -> tuple[float, int]:
    """Return the time and number of a comment, by which comments are sorted."""
    moment = first(within(comment, "created_at"), within(comment, "created_at_utc"))
    number = str(first(within(comment, "id"), within(comment, "pk")))
    is_time = isinstance(moment, int | float) and 0 < moment < _MAX_TIME
    is_number = number.isascii() and number.isdigit() and len(number) < 40
    return (float(moment) if is_time else 0.0), (int(number) if is_number else 0)


def _picture(folder: Folder, stem: str, pictures: dict[str, list[str]]) -> Path | list[Path]:
    return find_picture_file(folder.path / name for name in pictures.get(stem, ()))


def _build_plain_row(
    folder: Folder, stem: str, pictures: dict[str, list[str]]
) -> Iterator[SourceRow]:
    """Yield a post without JSON; its path in the source is its id."""
    name, image = f"{stem}{_TEXT}", _picture(folder, stem, pictures)
    if name not in folder.beside and not image:
        return  # a video without a caption
    caption, problems = caption_beside(folder, name)
    place = (folder.path / stem).relative_to(folder.root).as_posix()
    fields = {"id": show_path(place), "caption": caption, "image": image}
    try:
        moment = datetime.strptime(stem, "%Y-%m-%d_%H-%M-%S_UTC")
        fields["taken_at"] = moment.isoformat()
    except ValueError:
        if _DATED.fullmatch(stem):
            problems += (f"found no time in the name {stem!r}",)
    of = name if name in folder.beside else pictures[stem][0]
    yield folder.build_row(of, fields, *problems)


def _group_pictures(folder: Folder) -> dict[str, list[str]]:
    """Return the names of a folder's media by post, in order; a carousel numbers its pictures.

    A picture that has its own caption or JSON is its own post, even if its name ends in a number.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for name in folder.beside:
        if not name.endswith(_WORD_ENDINGS) and (match := _PICTURE.fullmatch(name)):
            stem = match["stem"]
            found.setdefault(stem, []).append((0, name))
            if (lead := _lead(match)) and not _has_words(folder, stem):
                found.setdefault(lead, []).append((int(match["number"]), name))
    return {stem: [name for _, name in sorted(few)] for stem, few in found.items()}


def _lead(name: re.Match[str]) -> str | None:
    """Return the name of the carousel that a picture may belong to."""
    return name["stem"][: -len(name["number"]) - 1] if name["number"] else None


def _has_words(folder: Folder, stem: str) -> bool:
    """Whether a post of this name has a caption or JSON."""
    return any(f"{stem}{ending}" in folder.beside for ending in _WORD_ENDINGS)
