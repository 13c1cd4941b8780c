"""Instagram's own export of an account ("Download your information", as JSON), into rows.

Posts stand in `posts_1.json` and its like, in `your_instagram_activity/media`, in `content` of
older exports, or in `media.json` at the top of the oldest. An entry has its caption as `title`, or
under a label in the language of the account (see `labels`). Reels, stories, archived posts and the
rest count if they have a caption. Posts of others, liked or saved, are not read.

An export is a folder or a ZIP, or several of these: its pictures may lie in another part than its
posts. Parts are read together if they are in one folder, or all given. A picture in a ZIP is kept
in the user's cache folder, under the hash of its content.

All posts are of one author, whom the folder or ZIP names if it is called as Instagram called it,
`instagram-NAME-DATE-...`.

Every text is UTF-8 that was taken for Latin-1, and is repaired. A post has one picture here: the
first of its media that is there and is one by its content; a video has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hashlens.indexer.decoding.file_formats import format_of, picture_format
from hashlens.indexer.errors import InputError
from hashlens.indexer.images.kept_pictures import is_video
from hashlens.indexer.posts.exports import labels
from hashlens.indexer.posts.exports.archive import is_archive
from hashlens.indexer.posts.exports.parts import (
    Part,
    PostsFile,
    is_of_same,
    open_parts,
    owner_of,
)
from hashlens.indexer.posts.formats.files import (
    Folder,
    Found,
    ReadOptions,
    UnreadableError,
    first,
    shown,
    within,
)
from hashlens.indexer.posts.formats.json_scan import entries, excess
from hashlens.indexer.posts.tables.tables import MAX_LINE, Row, kind

_OWN = ("posts", "media")  # files whose posts count without a caption, too
_HEAD = 1 << 18  # bytes that tell whose file it is
_LOOKED_AT = 5  # entries
_LABELLED = ('"label_values"', '"string_map_data"')
_VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".3gp", ".avi")  # no picture is missing

_AS_JSON = (
    "ask Instagram for JSON (Download your information, format JSON), and give the folder or the "
    "ZIP of that"
)
_UNZIP = "unzip it first into a folder, and give that: unzip FILE.zip -d FOLDER"


def rows(source: Path, options: ReadOptions | None = None) -> Iterator[Found]:
    """The posts of a source, part by part; pictures may be in the sources beside it.

    Raises:
        InputError: neither the source nor those beside it have posts as JSON, but parts of an
            export.
    """
    beside = options.beside if options else ()
    with ExitStack() as opened:
        own, problems = open_parts(source, opened)
        others = [part for path in beside for part in open_parts(path, opened)[0]]
        parts = [*own, *others]
        if own and not any(part.posts for part in parts):
            raise InputError(_without_posts(source, own))
        learned: dict[str, labels.Captions] = {}
        for part in own:
            yield from _part_rows(part, parts, learned)
        yield from problems


def is_export(path: Path) -> bool:
    """Whether a file so named begins as an export does.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror or error})") from error
    return _begins_as_export(head)


def has_archive(folder: Folder) -> bool:
    """Whether a folder has a ZIP, or is one, with posts of an export in it."""
    for name in folder.names:
        if not is_archive(folder.path / name):
            continue
        with ExitStack() as opened:
            parts, _ = open_parts(folder.path / name, opened)
            if any(_is_of_export(file) for part in parts for file in part.posts):
                return True
    return False


def is_part(source: Path) -> bool:
    """Whether a source may be a part of an export, though it has no posts."""
    with ExitStack() as opened:
        return bool(open_parts(source, opened)[0]) or owner_of(source.name) != owner_of("")


def why_not(source: Path) -> str | None:
    """Why a source without posts of an export is none, in words; None where it is of no kind."""
    with ExitStack() as opened:
        parts, problems = open_parts(source, opened)
        if any(part.pages for part in parts) or (parts and owner_of(source.stem) != owner_of("")):
            return _without_posts(source, parts)
    if is_archive(source):
        problem = problems[0].row.problem if problems else None
        return f"{shown(source)}: " + (problem or f"found a ZIP of no Instagram export, {_UNZIP}")
    if any(is_archive(path) for path in _zips(source)):
        return f"{shown(source)}: found ZIP files of no Instagram export, {_UNZIP}"
    return None


def _zips(source: Path) -> list[Path]:
    return sorted(source.glob("*.zip")) if source.is_dir() else []


def _without_posts(source: Path, parts: list[Part]) -> str:
    pages = [page for part in parts for page in part.pages]
    if pages:
        return f"{shown(pages[0])}: this is an export as HTML: {_AS_JSON}"
    return (
        f"{shown(source)}: found a part of an Instagram export without its posts, expected "
        "posts_1.json: give all parts, or the folder that they are in"
    )


def _is_of_export(file: PostsFile) -> bool:
    try:
        return _begins_as_export(file.read()[:_HEAD])
    except UnreadableError:
        return False


def _begins_as_export(head: str) -> bool:
    few = islice(() if excess(head) else entries(head), _LOOKED_AT)
    return any(_is_post(head[start:end]) for start, end in few)


def _is_post(text: str) -> bool:
    try:
        return _media(json.loads(text)) is not None
    except (ValueError, RecursionError):
        return False


def _part_rows(
    part: Part, parts: list[Part], learned: dict[str, labels.Captions]
) -> Iterator[Found]:
    same = [part, *(other for other in parts if other is not part and is_of_same(part, other))]
    for file in part.posts:
        try:
            text = file.read()
        except UnreadableError as error:
            yield Found(file.place, part.root, Row(None, problem=str(error)))
            continue
        if part.owner not in learned and any(key in text for key in _LABELLED):
            learned[part.owner] = _captions(same)
        captions = learned.get(part.owner) or labels.Captions()
        yield from _file_rows(_File(file.place, part, same, captions), text)
    if part.pages and not part.posts:
        problem = f"this is an export as HTML: {_AS_JSON}"
        yield Found(part.pages[0], part.root, Row(None, problem=problem))


def _captions(parts: list[Part]) -> labels.Captions:
    """What labels are for, by all entries of an export."""
    captions = labels.Captions()
    for part in parts:
        for file in part.posts:
            captions.learn(_labelled_entries(file))
    return captions


def _labelled_entries(file: PostsFile) -> Iterator[dict[str, Any]]:
    try:
        text = file.read()
    except UnreadableError:
        return
    for start, end in entries(text):
        try:
            entry = json.loads(text[start:end]) if end - start <= MAX_LINE else None
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


@dataclass(frozen=True, slots=True)
class _File:
    """A file of posts, its part, and all parts where its pictures may be."""

    place: Path
    part: Part
    parts: list[Part]
    captions: labels.Captions


def _file_rows(file: _File, text: str) -> Iterator[Found]:
    line, counted, end = 1, 0, 0
    for start, end in entries(text):
        line, counted = line + text.count("\n", counted, start), start
        entry = text[start:end] if end - start <= MAX_LINE else None
        yield from _entry_rows(file, line, entry)
    if not end and (problem := _unlisted(text)):
        yield _problem(file, None, problem)


def _problem(file: _File, line: int | None, problem: str) -> Found:
    return Found(file.place, file.part.root, Row(line, problem=problem))


def _unlisted(text: str) -> str | None:
    """What is wrong with a text that lists no post; None where the account has none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"found malformed JSON ({error}), fetch the export again"
    return None if isinstance(value, list | dict) else f"found {kind(value)}, expected posts"


def _entry_rows(file: _File, line: int, text: str | None) -> Iterator[Found]:
    """The row of an entry; none for one without a caption that is of no post."""
    if text is None:
        yield _problem(file, line, f"found an entry longer than {MAX_LINE:,} bytes")
        return
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield _problem(file, line, f"found malformed JSON ({error}), fetch the export again")
        return
    media = _media(entry)
    if media is None:
        yield _problem(file, line, "found an entry without media, expected a post")
        return
    fields, is_unknown = _fields(entry, media, file.captions)
    remarks = (labels.UNKNOWN,) if is_unknown else ()
    is_post = file.place.name.startswith(_OWN) or (is_unknown and not file.captions.is_known())
    if fields["caption"] or is_post:
        names = [name for name in map(_name, media) if name is not None]
        image, root, problems = _picture(names, file)
        fields |= {"author": file.part.owner, "image": image}
        yield Found(file.place, root, Row(line, fields), problems, remarks)


def _media(entry: object) -> list[Any] | None:
    """The media of an entry; None where it has the form of no post."""
    if not isinstance(entry, dict):
        return None
    listed, labelled = entry.get("media"), labels.media(entry)
    if isinstance(listed, list):
        return listed + labelled
    return [entry] if _name(entry) is not None else labelled or None


def _name(media: object) -> str | None:
    """The name of a file of media, from the export's own folder."""
    name = first(within(media, "uri"), within(media, "path"))
    return name if isinstance(name, str) else None


def _fields(
    entry: dict[str, Any], media: list[Any], captions: labels.Captions
) -> tuple[dict[str, Any], bool]:
    """The fields of a post, and whether it has texts that may be its caption and are not known."""
    is_unknown = False
    caption = first(
        entry.get("title"), entry.get("caption"), *(within(item, "title") for item in media)
    )
    if caption is None:
        caption, is_unknown = captions.of(entry)
    moments = ("creation_timestamp", "timestamp", "taken_at")
    fields = {
        "id": first(entry.get("fbid"), *map(_name, media)),
        "caption": repaired(caption) if isinstance(caption, str) else caption,
        "taken_at": first(
            *(entry.get(key) for key in moments),
            *(within(item, "creation_timestamp") for item in media),
            labels.moment(entry),
        ),
    }
    return fields, is_unknown


def _picture(names: list[str], file: _File) -> tuple[Any, Path, tuple[str, ...]]:
    """The first of media that is a picture by its content, its root, and what is wrong with it.

    Pictures of a form that is read come first. Of what is in no part, videos are left out.
    """
    other: tuple[Part, str] | None = None
    missing: list[str] = []
    problems: list[str] = []
    for name in names:
        try:
            part, head = _head(name, file.parts)
        except UnreadableError as error:
            problems.append(_told(name, error))
            continue
        if part and format_of(head):
            return _taken(part, name, file)
        if part and picture_format(head):
            other = other or (part, name)
        elif not is_video(head) and (part or not name.lower().endswith(_VIDEOS)):
            missing.append(name)
    if other:
        return _taken(*other, file)
    image, absent = file.part.missing(missing)
    return image, file.part.root, (*problems, *absent)[:1]


def _head(name: str, parts: list[Part]) -> tuple[Part | None, bytes]:
    for part in parts:
        if (head := part.head(name)) is not None:
            return part, head
    return None, b""


def _taken(part: Part, name: str, file: _File) -> tuple[Any, Path, tuple[str, ...]]:
    try:
        return *part.picture(name), ()
    except UnreadableError as error:
        return None, file.part.root, (_told(name, error),)


def _told(name: str, error: UnreadableError) -> str:
    return f"picture {name[:200]!r}: {error}"


def repaired(text: str) -> str:
    """A text that was UTF-8, taken for Latin-1, as it was; one that was not stays as it is."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:  # repaired in part, cut within a letter, or never broken
        from ftfy import fix_encoding

        return fix_encoding(text)
