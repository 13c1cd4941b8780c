"""Instagram's own export of an account ("Download your information", as JSON), into rows.

Posts stand in `posts_1.json` and its like, in `your_instagram_activity/media`, in `content` of
older exports, or in `media.json` at the top of the oldest. An entry has its caption as `title`, or
among its `label_values`, whose labels are in the language of the account: English is known here.
Reels, stories, archived posts and the rest count where they have a caption. What the account
liked or saved is not its own, and is not looked at.

All posts are of one author, whom the folder names where it is called as Instagram called it,
`instagram-NAME-DATE-...`.

Every text is UTF-8 that was taken for Latin-1, and is repaired. A post has one picture here: the
first of its media that is there and is one; a video has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from indexer.images import ENDINGS
from indexer.readers.files import Found, UnreadableError, first, json_text, walk, within
from indexer.readers.trees import entries, excess
from indexer.tables import MAX_LINE, Row, kind

MAX_EXPORT = 32 << 20  # bytes of a file; Instagram begins another one before that

_NAMES = re.compile(
    r"(posts|media|reels|stories|archived_posts|igtv_videos|other_content)(_\d+)?\.json"
)
_OWN = ("posts", "media")  # files whose posts count without a caption, too
_HEAD = 1 << 18  # bytes that tell whose file it is
_LOOKED_AT = 5  # entries
_CAPTION_LABELS = ("Caption", "Title")
_FOLDER = re.compile(r"instagram-(?P<name>.+?)-\d{4}-\d{2}-\d{2}(-.*)?")
_NAMELESS = "instagram-export"


def rows(source: Path) -> Iterator[Found]:
    """The posts of a source, file by file."""
    for folder in walk(source):
        yield from folder.rejected()
        for name in folder.names:
            if is_named(name):
                yield from _file_rows(folder.path / name)


def is_named(name: str) -> bool:
    """Whether a file has a name under which exports keep posts."""
    return bool(_NAMES.fullmatch(name))


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
    first_few = islice(() if excess(head) else entries(head), _LOOKED_AT)
    return any(_is_post(head[start:end]) for start, end in first_few)


def _is_post(text: str) -> bool:
    try:
        return _media(json.loads(text)) is not None
    except (ValueError, RecursionError):
        return False


def _file_rows(path: Path) -> Iterator[Found]:
    root = _root(path.absolute())
    owner = _owner(root)
    try:
        text = json_text(path, MAX_EXPORT)
    except UnreadableError as error:
        yield Found(path, root, Row(None, problem=str(error)))
        return
    line, counted, end = 1, 0, 0
    for start, end in entries(text):
        line, counted = line + text.count("\n", counted, start), start
        entry = text[start:end] if end - start <= MAX_LINE else None
        if row := _row(line, entry, path.name, owner):
            yield Found(path, root, row)
    if not end and (problem := _unlisted(text)):
        yield Found(path, root, Row(None, problem=problem))


def _unlisted(text: str) -> str | None:
    """What is wrong with a text that lists no post; None where the account has none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"found malformed JSON ({error}), fetch the export again"
    return None if isinstance(value, list | dict) else f"found {kind(value)}, expected posts"


def _root(path: Path) -> Path:
    """The export's own folder, from which media are named."""
    for folder in path.parents:
        if folder.name == "your_instagram_activity":
            return folder.parent
    return path.parent.parent if path.parent.name in ("content", "media") else path.parent


def _owner(root: Path) -> str:
    """Whose export it is."""
    named = _FOLDER.fullmatch(root.name)
    return named["name"] if named else _NAMELESS


def _row(line: int, text: str | None, name: str, owner: str) -> Row | None:
    if text is None:
        return Row(line, problem=f"found an entry longer than {MAX_LINE:,} bytes")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Row(line, problem=f"found malformed JSON ({error}), fetch the export again")
    media = _media(entry)
    if media is None:
        return Row(line, problem="found an entry without media, expected a post")
    fields = _fields(entry, media) | {"author": owner}
    return Row(line, fields) if fields["caption"] or name.startswith(_OWN) else None


def _media(entry: object) -> list[Any] | None:
    """The media of an entry; None where it has the form of no post."""
    if not isinstance(entry, dict):
        return None
    listed = entry.get("media")
    if isinstance(listed, list):
        return listed + [media for _, media in _labelled(entry.get("label_values"))]
    return [entry] if isinstance(first(entry.get("uri"), entry.get("path")), str) else None


def _labelled(value: object) -> Iterator[tuple[object, object]]:
    """Labels with their values, and media (under no label), at any depth of `label_values`."""
    if isinstance(value, list):
        for item in value:
            yield from _labelled(item)
    elif isinstance(value, dict):
        yield value.get("label"), value.get("value")
        listed = value.get("media")
        yield from ((None, media) for media in (listed if isinstance(listed, list) else []))
        for key in ("dict", "vec"):
            yield from _labelled(value.get(key))


def _fields(entry: dict[str, Any], media: list[Any]) -> dict[str, Any]:
    names = [first(within(item, "uri"), within(item, "path")) for item in media]
    known = [name for name in names if isinstance(name, str)]
    labels = dict(reversed([*_texts(entry.get("label_values"))]))
    caption = first(
        entry.get("title"),
        entry.get("caption"),
        within(media, 0, "title"),
        *(labels.get(label) for label in _CAPTION_LABELS),
    )
    moments = ("creation_timestamp", "timestamp", "taken_at")
    return {
        "id": first(entry.get("fbid"), *known),
        "caption": repaired(caption) if isinstance(caption, str) else caption,
        "taken_at": first(
            *(entry.get(key) for key in moments), within(media, 0, "creation_timestamp")
        ),
        "image": [name for name in known if name.lower().endswith(ENDINGS)],
    }


def _texts(value: object) -> Iterator[tuple[str, str]]:
    for label, text in _labelled(value):
        if isinstance(label, str) and isinstance(text, str):
            yield label, text


def repaired(text: str) -> str:
    """A text that was UTF-8, taken for Latin-1, as it was; one that was not stays as it is."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:  # repaired in part, cut within a letter, or never broken
        from ftfy import fix_encoding

        return fix_encoding(text)
