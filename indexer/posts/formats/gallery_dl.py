"""Reads folders that gallery-dl filled with `--write-metadata`.

Beside each picture or video lies a JSON file of the same name with `.json` appended. All media of a
post have its caption, so they are one post; its picture is the first that is there. A video has a
picture if its preview was fetched (`previews`). Media are paired by name: no address or path in the
JSON is followed. `gallery_sites` has the fields of each site.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import groupby, islice
from pathlib import Path, PurePath
from typing import Any

from hashlens.indexer.decoding.file_formats import ENDINGS
from hashlens.indexer.posts.formats.files import (
    Folder,
    SourceRow,
    UnreadableError,
    first,
    read_json,
    show_path,
    walk,
    within,
)
from hashlens.indexer.posts.formats.gallery_sites import Place, Site, find_site, values
from hashlens.indexer.posts.formats.markup import has_markup, strip_markup
from hashlens.indexer.posts.tables.tables import Row
from hashlens.indexer.text.escaping import count_noun, safe
from hashlens.indexer.text.hashtags import extract, join_words

MAX_TAGS = 500  # listed tags that are read of a post
MAX_SITES = 10  # unknown sites that are reported one by one
MAX_NAMES = 16  # fields of an unknown site in a note
MAX_NAME = 40  # characters of a name in a note

_VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".m4v")
# Pillow may lack some of these.
_PICTURES = (*ENDINGS, ".jfif", ".avif", ".heic", ".heif", ".jxl")
_MEDIA = (*_PICTURES, *_VIDEOS)
_NO_PICTURES = (*_VIDEOS, ".txt", ".json", ".part")
_TAG_NAMES = ("name", "text", "title", "tag", "tag_name", "display_name", "display", "slug")
_BETWEEN_COMMAS = re.compile(r"[^,\n]+")
_BETWEEN_SPACES = re.compile(r"""(?<!\S)"[^"\n]{1,200}"(?!\S)|\S+""")  # words, or quoted phrases
# `#two words#` as on Weibo, or `#two[topic]#` as on Xiaohongshu.
_CLOSED_HASHTAG = re.compile(r"#(?=\S)([^#\[\]\n@]{1,60}?)(?<=\S)(?:\[[^#\[\]\n]{1,10}\])?#")


@dataclass(frozen=True, slots=True)
class _Part:
    """One JSON file of a post, and the table of its site."""

    name: str
    post_id: str | None
    number: int
    value: dict[str, Any]
    site: Site

    @property
    def category(self) -> str:
        """Return the name of the site."""
        return safe(str(self.value.get("category"))[:MAX_NAME])


@dataclass(slots=True)
class _Report:
    """Counts of what was noticed in a source; each remark is made once."""

    tagged: Counter[str] = field(default_factory=Counter)
    nameless: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    fields: dict[str, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """Yield one sentence for each remark."""
        lists = (
            (self.strangers, "JSON files", ", about no post of gallery-dl"),
            (self.alone, "pictures", " without a JSON file of its name"),
        )
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
        for names, things, reason in lists:
            if names:
                example = safe(show_path(names[0])[:MAX_NAME]) + (", …" if len(names) > 1 else "")
                yield f"passed over {count_noun(len(names), things)} ({example}){reason}"

    def add(self, part: _Part, *, is_tagged: bool) -> None:
        """Count a post by its first file."""
        if is_tagged:
            self.tagged[part.category] += 1
        if part.post_id is None:
            self.nameless[part.category] += 1
        site, value = part.site, part.value
        if site.is_known:
            return
        self.unknown[part.category] += 1
        if part.category in self.fields:
            return
        taken = []
        for name, places in {"caption": site.caption, "author": site.author, "id": site.id}.items():
            place = next((place for text, place in values(value, places) if _name(text)), None)
            taken.append(f"{name} from {'.'.join(place)}" if place else f"no {name}")
        names = [safe(name[:MAX_NAME]) for name in value if name not in ("category", "subcategory")]
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        fields = ", ".join(sorted(names)[:MAX_NAMES]) or "none"
        self.fields[part.category] = f"took {', '.join(taken)}; its fields are {fields}{more}"


def rows(source: Path) -> Iterator[SourceRow]:
    """Yield the posts of a source, then remarks on it.

    A post belongs to the folder of its first file; its files in other folders add nothing.
    """
    seen: set[str] = set()
    report = _Report()
    for folder in walk(source):
        yield from folder.problem_rows()
        media = _Media(folder)
        parts = _read_parts(folder, report)
        by_post = groupby(parts, lambda part: part.post_id if isinstance(part, _Part) else None)
        for post_id, group in by_post:
            posts = []
            for part in group:
                if isinstance(part, _Part):
                    posts.append(part)
                else:
                    yield part
            if post_id is None:
                for post in posts:
                    yield from _build_row(media, [post], report)
            elif post_id not in seen:
                seen.add(post_id)
                yield from _build_row(media, posts, report)
            else:
                for post in posts:
                    media.take(post.name)
        report.alone += media.unused()
    for note in report.notes():
        yield SourceRow(source, source, Row(None, note=note))


def count(source: Path) -> int:
    """Return the number of JSON files of a source, about that of its posts."""
    return sum(len(_json_names(folder)) for folder in walk(source))


def is_post(value: object) -> bool:
    """Whether gallery-dl wrote a JSON value about a file or post."""
    keys = ("subcategory", "extension", "post_shortcode")
    return isinstance(within(value, "category"), str) and any(
        within(value, key) is not None for key in keys
    )


def _json_names(folder: Folder) -> list[str]:
    """Return the JSON files of a folder, those about media first: others have no picture."""
    names = [name for name in folder.names if name.lower().endswith(".json")]
    return sorted(names, key=lambda name: not _media_name(name).lower().endswith(_MEDIA))


def _media_name(name: str) -> str:
    """Return the name of the file that a JSON file describes."""
    return name[: -len(".json")]


def _read_parts(folder: Folder, report: _Report) -> Iterator[_Part | SourceRow]:
    """Yield the JSON files about posts, and a row for each that cannot be read."""
    for name in _json_names(folder):
        try:
            value = read_json(folder.path / name)
        except UnreadableError as error:
            yield folder.build_problem(name, str(error))
            continue
        if not is_post(value):
            report.strangers.append(name)
            continue
        site = find_site(value)
        ids = [each for found, _ in values(value, site.id) if (each := _name(found))]
        # An id of 0 counts only if there is no other.
        post_id = next((each for each in ids if each != "0"), ids[0] if ids else None)
        if post_id and not site.plain_ids:
            post_id = f"{value['category']}:{post_id}"
        number = value.get("num")
        yield _Part(name, post_id, number if type(number) is int else 0, value, site)


def _build_row(media: _Media, parts: list[_Part], report: _Report) -> Iterator[SourceRow]:
    """Yield the row of one post; nothing for a file about an account or album."""
    parts = sorted(parts, key=lambda part: part.number)
    lead = parts[0]
    pictures = [path for part in parts for path in media.take(part.name)]
    caption = first(*(_read_caption(part) for part in parts))
    is_of_file = "extension" in lead.value or "filename" in lead.value
    if lead.post_id is None and not (pictures or is_of_file):
        report.strangers += [lead.name] if caption else []
        return
    tags = next((tags for part in parts if (tags := _read_tags(part, caption))), [])
    authors = (name for part in parts for name, _ in values(part.value, part.site.author))
    report.add(lead, is_tagged=bool(tags))
    fields = {
        "id": lead.post_id,
        "caption": caption,
        "hashtags": tags,
        "author": next(filter(None, map(_name, authors)), None),
        "taken_at": first(*(_read_time(part) for part in parts)),
        "image": pictures,
    }
    yield media.folder.build_row(lead.name, fields)


def _read_caption(part: _Part) -> Any:  # noqa: ANN401 (a value of a wrong type is reported later)
    """Return title and text of a post, or a value of a wrong type if there is neither."""
    title, other = _text(part, part.site.title)
    body, wrong = _text(part, part.site.caption)
    if title and not body.lower().startswith(title.lower()):
        return f"{title}\n{body}".strip()
    return body or wrong or other


def _text(part: _Part, places: tuple[Place, ...]) -> tuple[str, Any]:
    """Return the first text at some places, without markup, and the first value of a wrong type.

    A list of texts is one text in pieces.
    """
    wrong = None
    site = part.site
    for value, _ in values(part.value, places):
        text = value
        if isinstance(text, list) and all(isinstance(piece, str) for piece in text):
            text = "".join(text)
        if isinstance(text, int) and not isinstance(text, bool):
            return str(text), wrong
        if not isinstance(text, str):
            wrong = first(wrong, text)
            continue
        if site.html or (not site.is_known and has_markup(text)):
            text = strip_markup(text)
        if site.closed_hashtags:
            text = _CLOSED_HASHTAG.sub(
                lambda match: f"#{tag} " if (tag := join_words(match[1])) else match[0], text
            )
        if text := text.strip():
            return text, wrong
    return "", wrong


def _name(value: object) -> str | None:
    """Return a name or number as text; of several names, the first."""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str) and item.strip()), None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _read_time(part: _Part) -> Any:  # noqa: ANN401 (a value of a wrong type is reported later)
    """Return the time of a post; some sites use the form of e-mails, which becomes ISO."""
    found = first(*(within(part.value, *place) for place in part.site.taken_at))
    if not isinstance(found, str) or found.strip().isdigit():
        return found
    try:
        datetime.fromisoformat(found.strip())
    except ValueError:
        with suppress(ValueError, TypeError, IndexError, OverflowError):
            return parsedate_to_datetime(found[:MAX_NAME]).isoformat()
    return found


def _read_tags(part: _Part, caption: object) -> list[str]:
    """Return hashtags made of a post's listed tags, if its site's tags count."""
    if part.site.listed_tags == "never":
        return []
    if part.site.listed_tags == "untagged" and isinstance(caption, str) and extract(caption):
        return []
    for found, _ in values(part.value, part.site.tags):
        joined = (join_words(tag) for tag in _split_tags(found)[:MAX_TAGS])
        if tags := [tag for tag in joined if tag]:
            return tags
    return []


def _split_tags(value: object) -> list[str]:
    """Return the tags of a list, of lists by kind, or of a text with commas or spaces."""
    if isinstance(value, str):
        found = (_BETWEEN_COMMAS if "," in value else _BETWEEN_SPACES).finditer(value)
        return [match[0] for match in islice(found, MAX_TAGS)]
    if isinstance(value, Mapping):
        value = [item for items in value.values() if isinstance(items, list) for item in items]
    if not isinstance(value, list):
        return []
    tags = []
    for item in value[: 2 * MAX_TAGS]:
        if isinstance(item, Mapping):
            item = next((v for key in _TAG_NAMES if isinstance(v := item.get(key), str)), None)
        if item and isinstance(item, str):
            tags.append(item)
    return tags


class _Media:
    """The pictures of a folder by name, and those that belong to a post."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._taken: set[str] = set()
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        pictures = [name for name in folder.beside if name.lower().endswith(_PICTURES)]
        pictures.sort(key=lambda name: (_PICTURES.index(PurePath(name).suffix.lower()), name))
        for name in pictures:
            self._by_stem[PurePath(name).stem].append(name)

    def take(self, name: str) -> list[Path]:
        """Return the pictures or previews of a JSON file, and mark them as taken."""
        media = _media_name(name)
        stem = PurePath(media).stem if media.lower().endswith(_MEDIA) else media
        here = media in self.folder.beside and not media.lower().endswith(_NO_PICTURES)
        names = [media] if here else []
        names += [*self._by_stem.get(stem, ()), *self._by_stem.get(f"{stem}p", ())]
        self._taken.update(names)
        return [self.folder.path / each for each in dict.fromkeys(names)]

    def unused(self) -> list[str]:
        """Return the pictures that no JSON file describes."""
        names = (name for name in self.folder.names if name.lower().endswith(_PICTURES))
        return [name for name in names if name not in self._taken]
