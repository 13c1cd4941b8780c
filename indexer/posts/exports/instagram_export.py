"""Reads Instagram's own export of an account ("Download your information", as JSON).

Posts are in `posts_1.json` and the like, in `your_instagram_activity/media`, in `content` of older
exports, or in `media.json` at the top of the oldest. An entry has its caption as `title`, or under
a label in the language of the account (see `labels`). Reels, stories, archived posts and others
count if they have a caption. Liked or saved posts of others are not read.

An export is one or several folders or ZIP files: pictures may be in another part than their posts.
Parts are read together if they are in one folder, or all given. A picture in a ZIP is copied to the
user's cache folder, under the hash of its content.

All posts have one author, after whom Instagram names the folder or ZIP: `instagram-NAME-DATE-...`.

Every text is UTF-8 that was decoded as Latin-1, and is repaired. A post has one picture: the first
of its media that is one by its content. A video has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
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
    is_of_same,
    open_parts,
    owner_of,
)
from hashlens.indexer.posts.formats.files import (
    Folder,
    ReadOptions,
    SourceRow,
    UnreadableError,
    first,
    show_path,
    within,
)
from hashlens.indexer.posts.formats.json_scan import entries, excess
from hashlens.indexer.posts.tables.tables import MAX_LINE, Row, kind

_POST_FILES = ("posts", "media")  # names of files whose entries need no caption
_HEAD = 1 << 18  # bytes by which an export is recognised
_MAX_ENTRIES = 5  # by which an export is recognised
_LABELLED = ('"label_values"', '"string_map_data"')
_VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".3gp", ".avi")  # no picture is missing

_AS_JSON = (
    "ask Instagram for JSON (Download your information, format JSON), and give the folder or the "
    "ZIP of that"
)
_UNZIP = "unzip it first into a folder, and give that: unzip FILE.zip -d FOLDER"


def rows(source: Path, options: ReadOptions | None = None) -> Iterator[SourceRow]:
    """Yield the posts of a source, part by part; pictures may be in the sources beside it.

    Raises:
        InputError: the sources are parts of an export, but none has posts as JSON.
    """
    beside = options.beside if options else ()
    with ExitStack() as opened:
        own, problems = open_parts(source, opened)
        others = [part for path in beside for part in open_parts(path, opened)[0]]
        parts = [*own, *others]
        if own and not any(part.posts for part in parts):
            raise InputError(_describe_lack(source, own))
        by_owner: dict[str, labels.Captions] = {}
        for part in own:
            yield from _read_part(part, parts, by_owner)
        yield from problems


def is_export(path: Path) -> bool:
    """Whether a file begins as an export does.

    Raises:
        UnreadableError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror or error})") from error
    return _begins_as_export(head)


def has_archive(folder: Folder) -> bool:
    """Whether a folder has a ZIP file, or is one, with posts of an export."""
    for name in folder.names:
        if not is_archive(folder.path / name):
            continue
        with ExitStack() as opened:
            parts, _ = open_parts(folder.path / name, opened)
            for file in (file for part in parts for file in part.posts):
                with suppress(UnreadableError):
                    if _begins_as_export(file.read()[:_HEAD]):
                        return True
    return False


def is_part(source: Path) -> bool:
    """Whether a source may be a part of an export, even without posts."""
    with ExitStack() as opened:
        return bool(open_parts(source, opened)[0]) or owner_of(source.name) != owner_of("")


def why_not(source: Path) -> str | None:
    """Return why a source is no export that can be read, or None if it looks like none."""
    with ExitStack() as opened:
        parts, problems = open_parts(source, opened)
        if any(part.pages for part in parts) or (parts and owner_of(source.stem) != owner_of("")):
            return _describe_lack(source, parts)
    if is_archive(source):
        problem = problems[0].row.problem if problems else None
        problem = problem or f"found a ZIP of no Instagram export, {_UNZIP}"
        return f"{show_path(source)}: {problem}"
    if source.is_dir() and any(is_archive(path) for path in source.glob("*.zip")):
        return f"{show_path(source)}: found ZIP files of no Instagram export, {_UNZIP}"
    return None


def _describe_lack(source: Path, parts: list[Part]) -> str:
    """Return the message about an export without posts as JSON."""
    pages = [page for part in parts for page in part.pages]
    if pages:
        return f"{show_path(pages[0])}: this is an export as HTML: {_AS_JSON}"
    return (
        f"{show_path(source)}: found a part of an Instagram export without its posts, expected "
        "posts_1.json: give all parts, or the folder that they are in"
    )


def _begins_as_export(head: str) -> bool:
    """Whether one of a text's first entries has the form of a post."""
    for start, end in islice(() if excess(head) else entries(head), _MAX_ENTRIES):
        with suppress(ValueError, RecursionError):
            if _media(json.loads(head[start:end])) is not None:
                return True
    return False


def _learn_captions(parts: list[Part]) -> labels.Captions:
    """Return which labels have captions, by all entries of an export."""
    captions = labels.Captions()
    for file in (file for part in parts for file in part.posts):
        try:
            text = file.read()
        except UnreadableError:
            continue
        for start, end in entries(text):
            with suppress(ValueError, RecursionError):
                entry = json.loads(text[start:end]) if end - start <= MAX_LINE else None
                if isinstance(entry, dict):
                    captions.learn([entry])
    return captions


@dataclass(frozen=True, slots=True)
class _File:
    """A file of posts, its part, and all parts where its pictures may be."""

    place: Path
    part: Part
    parts: list[Part]
    captions: labels.Captions


def _read_part(
    part: Part, parts: list[Part], by_owner: dict[str, labels.Captions]
) -> Iterator[SourceRow]:
    """Yield the posts of one part; `by_owner` has the known labels, and is extended."""
    same = [part, *(other for other in parts if other is not part and is_of_same(part, other))]
    for posts in part.posts:
        try:
            text = posts.read()
        except UnreadableError as error:
            yield SourceRow(posts.place, part.root, Row(None, problem=str(error)))
            continue
        if part.owner not in by_owner and any(key in text for key in _LABELLED):
            by_owner[part.owner] = _learn_captions(same)
        captions = by_owner.get(part.owner) or labels.Captions()
        yield from _read_file(_File(posts.place, part, same, captions), text)
    if part.pages and not part.posts:
        problem = f"this is an export as HTML: {_AS_JSON}"
        yield SourceRow(part.pages[0], part.root, Row(None, problem=problem))


def _read_file(file: _File, text: str) -> Iterator[SourceRow]:
    """Yield the rows of a file, or its problem; an account without posts has neither."""
    line, counted, end = 1, 0, 0
    for start, end in entries(text):
        line, counted = line + text.count("\n", counted, start), start
        if end - start > MAX_LINE:
            yield _problem(file, line, f"found an entry longer than {MAX_LINE:,} bytes")
        else:
            yield from _read_entry(file, line, text[start:end])
    if end:
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield _problem(file, None, f"found malformed JSON ({error}), fetch the export again")
    else:
        if not isinstance(value, list | dict):
            yield _problem(file, None, f"found {kind(value)}, expected posts")


def _problem(file: _File, line: int | None, problem: str) -> SourceRow:
    return SourceRow(file.place, file.part.root, Row(line, problem=problem))


def _read_entry(file: _File, line: int, text: str) -> Iterator[SourceRow]:
    """Yield the row of an entry; nothing for an entry that is neither captioned nor a post."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield _problem(file, line, f"found malformed JSON ({error}), fetch the export again")
        return
    media = _media(entry)
    if media is None:
        yield _problem(file, line, "found an entry without media, expected a post")
        return
    is_unknown = False
    titles = (within(item, "title") for item in media)
    caption = first(entry.get("title"), entry.get("caption"), *titles)
    if caption is None:
        caption, is_unknown = file.captions.of(entry)
    remarks = (labels.UNKNOWN,) if is_unknown else ()
    is_post = file.place.name.startswith(_POST_FILES) or (
        is_unknown and not file.captions.is_known()
    )
    caption = repaired(caption) if isinstance(caption, str) else caption
    if caption or is_post:
        names = [name for name in map(_name, media) if name is not None]
        image, root, problems = _find_picture(names, file)
        times = (entry.get(key) for key in ("creation_timestamp", "timestamp", "taken_at"))
        of_media = (within(item, "creation_timestamp") for item in media)
        fields = {
            "id": first(entry.get("fbid"), *names),
            "caption": caption,
            "taken_at": first(*times, *of_media, labels.moment(entry)),
            "author": file.part.owner,
            "image": image,
        }
        yield SourceRow(file.place, root, Row(line, fields), problems, remarks)


def _media(entry: object) -> list[Any] | None:
    """Return the media of an entry, or None if it does not have the form of a post."""
    if not isinstance(entry, dict):
        return None
    listed, labelled = entry.get("media"), labels.media(entry)
    if isinstance(listed, list):
        return listed + labelled
    return [entry] if _name(entry) is not None else labelled or None


def _name(media: object) -> str | None:
    """Return the name of a media file, relative to the export's folder."""
    name = first(within(media, "uri"), within(media, "path"))
    return name if isinstance(name, str) else None


def _find_picture(names: list[str], file: _File) -> tuple[Any, Path, tuple[str, ...]]:
    """Return the first of a post's media that is a picture, its root, and its problems.

    The content decides. Pictures of a supported form come first. A video that is in no part is not
    reported as missing.
    """
    chosen: tuple[Part, str] | None = None
    missing: list[str] = []
    problems: list[str] = []
    for name in names:
        try:
            heads = ((part, part.head(name)) for part in file.parts)
            part, head = next(((p, h) for p, h in heads if h is not None), (None, b""))
        except UnreadableError as error:
            problems.append(f"picture {name[:200]!r}: {error}")
            continue
        if part and format_of(head):
            chosen = part, name
            break
        if part and picture_format(head):
            chosen = chosen or (part, name)
        elif not is_video(head) and (part or not name.lower().endswith(_VIDEOS)):
            missing.append(name)
    if chosen is None:
        image, absent = file.part.missing(missing)
        return image, file.part.root, (*problems, *absent)[:1]
    part, name = chosen
    try:
        return *part.picture(name), ()
    except UnreadableError as error:
        return None, file.part.root, (f"picture {name[:200]!r}: {error}",)


def repaired(text: str) -> str:
    """Return the original of UTF-8 that was decoded as Latin-1; other texts stay unchanged."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:  # repaired in part, cut within a letter, or never broken
        from ftfy import fix_encoding

        return fix_encoding(text)
