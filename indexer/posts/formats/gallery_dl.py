"""Folders that gallery-dl filled with `--write-metadata`, into rows.

Beside each picture or video lies a JSON file of its name and `.json`; all media of a post carry
its caption, so they make one post, whose picture is the first of them that is there and is one.
A video has a picture where its preview was fetched (`previews`). Media are paired by
name: no address or path in the JSON is followed. `gallerysites` knows the fields of each site.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import groupby, islice
from pathlib import Path, PurePath
from typing import Any

from hashlens.indexer.decoding.file_formats import ENDINGS
from hashlens.indexer.posts.formats.files import (
    Folder,
    Found,
    UnreadableError,
    first,
    read_json,
    shown,
    walk,
    within,
)
from hashlens.indexer.posts.formats.gallery_sites import Place, Site, find_site, values
from hashlens.indexer.posts.formats.markup import has_markup, strip_markup
from hashlens.indexer.posts.tables.tables import Row
from hashlens.indexer.text.escaping import count_noun, safe
from hashlens.indexer.text.hashtags import extract, join_words

MAX_TAGS = 500  # listed tags of a post that are looked at
MAX_SITES = 10  # unknown sites that are reported one by one
MAX_NAMES = 16  # fields of an unknown site in its note
MAX_NAME = 40  # characters of a name from a file in a note

_VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".m4v")
_PICTURES = (
    *ENDINGS,
    ".jfif",
    ".avif",
    ".heic",
    ".heif",
    ".jxl",
)  # those that Pillow may lack, too
_MEDIA = (*_PICTURES, *_VIDEOS)
_NO_PICTURES = (*_VIDEOS, ".txt", ".json", ".part")
_TAG_NAMES = ("name", "text", "title", "tag", "tag_name", "display_name", "display", "slug")
_BETWEEN_COMMAS = re.compile(r"[^,\n]+")
_BETWEEN_SPACES = re.compile(r"""(?<!\S)"[^"\n]{1,200}"(?!\S)|\S+""")  # words, or words in quotes
# `#two words#`, as Weibo has them; `#two[topic]#` is Xiaohongshu's.
_CLOSED = re.compile(r"#(?=\S)([^#\[\]\n@]{1,60}?)(?<=\S)(?:\[[^#\[\]\n]{1,10}\])?#")


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a post, by the table of its site."""

    name: str
    post_id: str | None
    number: int
    value: dict[str, Any]
    site: Site

    @property
    def category(self) -> str:
        """The name of the site."""
        return safe(str(self.value.get("category"))[:MAX_NAME])


@dataclass(slots=True)
class _Report:
    """Remarks on a source, which are given once, with counts."""

    tagged: Counter[str] = field(default_factory=Counter)
    nameless: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    fields: dict[str, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """A sentence for each remark."""
        for site, number in self.tagged.items():
            yield f"took listed tags of {count_noun(number, 'posts')} of {site} as hashtags"
        for site, number in self.unknown.most_common(MAX_SITES):
            posts = count_noun(number, "posts")
            yield f"read {posts} of {site}, a site not known: {self.fields[site]}"
        if (more := len(self.unknown) - MAX_SITES) > 0:
            yield f"read posts of {count_noun(more, 'other sites')} not known"
        for site, number in self.nameless.items():
            files = count_noun(number, "files")
            yield f"found no id in {files} of {site}, each is a post of its own"
        if self.strangers:
            yield f"passed over {_named(self.strangers, 'JSON files')}, about no post of gallery-dl"
        if self.alone:
            yield f"passed over {_named(self.alone, 'pictures')} without a JSON file of its name"

    def add(self, part: _Part, *, is_tagged: bool) -> None:
        """Count a post by the file that stands for it."""
        if is_tagged:
            self.tagged[part.category] += 1
        if part.post_id is None:
            self.nameless[part.category] += 1
        if not part.site.is_known:
            self.unknown[part.category] += 1
            self.fields.setdefault(part.category, _fields_found(part))


def rows(source: Path) -> Iterator[Found]:
    """The posts of a source, then remarks on it.

    A post is in the folder where its first file is; files of it elsewhere add nothing.
    """
    given: set[str] = set()
    report = _Report()
    for folder in walk(source):
        yield from folder.rejected()
        media = _Media(folder)
        for post_id, group in groupby(_parts(folder, report), key=_post_id):
            parts = list(group)
            yield from (part for part in parts if isinstance(part, Found))
            posts = [part for part in parts if isinstance(part, _Part)]
            if post_id is None:
                for post in posts:
                    yield from _rows(media, [post], report)
            elif post_id not in given:
                given.add(post_id)
                yield from _rows(media, posts, report)
            else:
                media.take(posts)
        report.alone += media.unused()
    for note in report.notes():
        yield Found(source, source, Row(None, note=note))


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
    return sorted(names, key=lambda name: not _media_name(name).lower().endswith(_MEDIA))


def _media_name(name: str) -> str:
    """The file that a JSON file is about, where it is about one."""
    return name[: -len(".json")]


def _parts(folder: Folder, report: _Report) -> Iterator[_Part | Found]:
    for name in _names(folder):
        try:
            value = read_json(folder.path / name)
        except UnreadableError as error:
            yield folder.lost(name, str(error))
            continue
        if not is_post(value):
            report.strangers.append(name)
            continue
        site = find_site(value)
        number = value.get("num")
        yield _Part(name, _id(value, site), number if type(number) is int else 0, value, site)


def _post_id(part: _Part | Found) -> str | None:
    return part.post_id if isinstance(part, _Part) else None


def _id(value: dict[str, Any], site: Site) -> str | None:
    """The id of a post, after its site's name: 0 is one only where no other is."""
    names = [name for found, _ in values(value, site.id) if (name := _name(found))]
    if not names:
        return None
    known = next((name for name in names if name != "0"), names[0])
    return known if site.plain_ids else f"{value['category']}:{known}"


def _rows(media: _Media, parts: list[_Part], report: _Report) -> Iterator[Found]:
    """The row of one post; none for a file about an account or album."""
    parts = sorted(parts, key=lambda part: part.number)
    lead = parts[0]
    pictures = [path for part in parts for path in media.of(part.name)]
    caption = first(*(_caption(part) for part in parts))
    is_of_file = "extension" in lead.value or "filename" in lead.value
    if lead.post_id is None and not (pictures or is_of_file):
        report.strangers += [lead.name] if caption else []
        return
    tags = next((tags for part in parts if (tags := _tags(part, caption))), [])
    report.add(lead, is_tagged=bool(tags))
    fields = {
        "id": lead.post_id,
        "caption": caption,
        "hashtags": tags,
        "author": first(*(_author(part) for part in parts)),
        "taken_at": first(*(_time(part) for part in parts)),
        "image": pictures,
    }
    yield media.folder.found(lead.name, fields)


def _caption(part: _Part) -> Any:  # noqa: ANN401 (a value of a wrong type is reported later)
    """Title and text of a post; without any, what stands there instead."""
    title, other = _text(part, part.site.title)
    body, wrong = _text(part, part.site.caption)
    if title and not body.lower().startswith(title.lower()):
        return f"{title}\n{body}".strip()
    return body or wrong or other


def _text(part: _Part, places: tuple[Place, ...]) -> tuple[str, Any]:
    """The first text at places, as people read it, and the first value that is none.

    A list of texts is one text in pieces.
    """
    wrong = None
    for found, _ in values(part.value, places):
        if isinstance(found, list) and all(isinstance(piece, str) for piece in found):
            found = "".join(found)
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found), wrong
        if not isinstance(found, str):
            wrong = first(wrong, found)
        elif text := _plain(found, part.site):
            return text, wrong
    return "", wrong


def _plain(text: str, site: Site) -> str:
    if site.html or (not site.is_known and has_markup(text)):
        text = strip_markup(text)
    if site.closed_hashtags:
        text = _CLOSED.sub(_open, text)
    return text.strip()


def _open(match: re.Match[str]) -> str:
    tag = join_words(match[1])
    return f"#{tag} " if tag else match[0]


def _author(part: _Part) -> str | None:
    names = (_name(found) for found, _ in values(part.value, part.site.author))
    return next((name for name in names if name), None)


def _name(value: object) -> str | None:
    """A name or number; of several names, the first."""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str) and item.strip()), None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _time(part: _Part) -> Any:  # noqa: ANN401 (a value of a wrong type is reported later)
    """The time of a post; the form of e-mails, which some sites use, made ISO's."""
    found = first(*(within(part.value, *place) for place in part.site.taken_at))
    if not isinstance(found, str) or found.strip().isdigit():
        return found
    try:
        datetime.fromisoformat(found.strip())
    except ValueError:
        return _mailed_time(found)
    return found


def _mailed_time(text: str) -> str:
    try:
        return parsedate_to_datetime(text[:MAX_NAME]).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return text


def _tags(part: _Part, caption: object) -> list[str]:
    """Hashtags made of a post's listed tags, where its site's count."""
    if part.site.listed_tags == "never":
        return []
    if part.site.listed_tags == "untagged" and isinstance(caption, str) and extract(caption):
        return []
    for found, _ in values(part.value, part.site.tags):
        joined = (join_words(tag) for tag in _listed(found)[:MAX_TAGS])
        if tags := [tag for tag in joined if tag]:
            return tags
    return []


def _listed(value: object) -> list[str]:
    """Tags in a list, in lists by kind, or in a text with commas or spaces."""
    if isinstance(value, str):
        found = (_BETWEEN_COMMAS if "," in value else _BETWEEN_SPACES).finditer(value)
        return [match[0] for match in islice(found, MAX_TAGS)]
    if isinstance(value, Mapping):
        value = [item for items in value.values() if isinstance(items, list) for item in items]
    if not isinstance(value, list):
        return []
    named = (_tag_name(item) for item in value[: 2 * MAX_TAGS])
    return [tag for tag in named if tag]


def _tag_name(item: object) -> str | None:
    if isinstance(item, Mapping):
        item = next((v for key in _TAG_NAMES if isinstance(v := item.get(key), str)), None)
    return item if isinstance(item, str) else None


class _Media:
    """Files of a folder by name, and which of its pictures were taken."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._taken: set[str] = set()
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in sorted(folder.beside, key=lambda name: (_rank(name), name)):
            if name.lower().endswith(_PICTURES):
                self._by_stem[PurePath(name).stem].append(name)

    def of(self, name: str) -> list[Path]:
        """The file that a JSON file lies beside, if it may be a picture, or a video's preview."""
        media = _media_name(name)
        stem = PurePath(media).stem if media.lower().endswith(_MEDIA) else media
        here = media in self.folder.beside and not media.lower().endswith(_NO_PICTURES)
        names = [media] if here else []
        names += [*self._by_stem.get(stem, ()), *self._by_stem.get(f"{stem}p", ())]
        self._taken.update(names)
        return [self.folder.path / each for each in dict.fromkeys(names)]

    def take(self, parts: list[_Part]) -> None:
        """Note that pictures are of a post that is there already."""
        for part in parts:
            self.of(part.name)

    def unused(self) -> list[str]:
        """Pictures that no JSON file is about."""
        names = (name for name in self.folder.names if name.lower().endswith(_PICTURES))
        return [name for name in names if name not in self._taken]


def _rank(name: str) -> int:
    """Place of a picture's ending in the list of endings."""
    ending = PurePath(name).suffix.lower()
    return _PICTURES.index(ending) if ending in _PICTURES else len(_PICTURES)


def _fields_found(part: _Part) -> str:
    """Which fields a post of an unknown site has, and which of them were taken."""
    site, value = part.site, part.value
    parts = {"caption": site.caption, "author": site.author, "id": site.id}
    taken = []
    for name, places in parts.items():
        place = next((place for found, place in values(value, places) if _name(found)), None)
        taken.append(f"{name} from {'.'.join(place)}" if place else f"no {name}")
    names = [safe(name[:MAX_NAME]) for name in value if name not in ("category", "subcategory")]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    found = ", ".join(sorted(names)[:MAX_NAMES])
    return f"took {', '.join(taken)}; its fields are {found or 'none'}{more}"


def _named(names: list[str], things: str) -> str:
    more = ", …" if len(names) > 1 else ""
    return f"{count_noun(len(names), things)} ({safe(shown(names[0])[:MAX_NAME])}{more})"
