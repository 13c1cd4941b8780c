"""Finds captions in exports whose labels are in the language of the account.

An entry has `label_values`, a list of fields: a text under a label, media, or a group of fields
under a title, such as the post's owner. Only English labels are known here. All entries of an
export together show the caption's label: it stands outside of groups, and its texts have hashtags.
If one entry has two such labels, the one with more text counts. If an export has no hashtags, the
caption's label has prose, and twice as much text as any other label of its entries.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hashlens.indexer.posts.formats.files import first

KNOWN = ("Caption", "Title")
UNKNOWN = (
    "posts without caption, but with texts under unknown labels (if they are captions, ask "
    "Instagram for the export in English)"
)

_HASHTAG = re.compile(r"[#＃]\w*[^\W\d_]")
_ADDRESS = re.compile(r"\s*\w+://\S+\s*")
_NUMBERS = re.compile(r"[\d\s.,:/+-]*")
_WORDS = re.compile(r"\w+")
_MIN_WORDS = 2  # of a text that is prose, on average
MAX_FIELDS = 64  # fields that are read of an entry
MAX_LABELS = 1000  # of an export
_GROUPS = ("dict", "vec")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its label, its text, and whether it is outside of groups."""

    label: str
    text: str
    is_own: bool


def fields(entry: dict[str, Any]) -> Iterator[Field]:
    """Yield the labelled texts of an entry, at any depth."""
    for label, value, is_own in _labelled(entry.get("label_values"), is_own=True):
        if isinstance(label, str) and isinstance(text := value.get("value"), str) and text.strip():
            yield Field(label, text, is_own)
    for label, value in _mapped(entry, "string_map_data"):
        if isinstance(text := value.get("value"), str) and text.strip():
            yield Field(label, text, is_own=True)


def media(entry: dict[str, Any]) -> list[Any]:
    """Return the labelled media of an entry, at any depth."""
    found: list[Any] = []
    for _, value, _ in _labelled(entry.get("label_values"), is_own=True):
        listed = value.get("media")
        found += listed if isinstance(listed, list) else []
    return found + [value for _, value in _mapped(entry, "media_map_data")]


def moment(entry: dict[str, Any]) -> Any:  # noqa: ANN401 (any JSON value)
    """Return the first labelled time of an entry."""
    listed = (v.get("timestamp_value") for _, v, own in _labelled(entry.get("label_values")) if own)
    mapped = (value.get("timestamp") for _, value in _mapped(entry, "string_map_data"))
    return first(*listed) or first(*(time for time in mapped if time != 0))


def _labelled(value: object, *, is_own: bool = True) -> Iterator[tuple[Any, dict[str, Any], bool]]:
    if isinstance(value, list):
        for item in value:
            yield from _labelled(item, is_own=is_own)
    elif isinstance(value, dict):
        yield value.get("label"), value, is_own
        is_named = bool(value.get("title") or value.get("label"))
        for key in _GROUPS:
            yield from _labelled(value.get(key), is_own=is_own and not is_named)


def _mapped(entry: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    listed = entry.get(key)
    for label, value in listed.items() if isinstance(listed, dict) else ():
        if isinstance(value, dict):
            yield label, value


@dataclass(slots=True)
class Captions:
    """The labels of an export that have captions, learned from its entries."""

    _letters: Counter[str] = field(default_factory=Counter)
    _texts: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _tagged: set[str] = field(default_factory=set)
    _words: Counter[str] = field(default_factory=Counter)
    _times: Counter[str] = field(default_factory=Counter)
    _beside: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _found: frozenset[str] | None = None

    def learn(self, entries: Iterable[dict[str, Any]]) -> None:
        """Count the labels of entries."""
        for entry in entries:
            self._found = None
            texts = _own_texts(entry)
            for label, text in texts.items():
                if len(self._times) >= MAX_LABELS and label not in self._times:
                    continue
                if hash(text) not in self._texts[label]:  # an owner's name repeats
                    self._letters[label] += len(text)
                self._texts[label].add(hash(text))
                self._words[label] += len(_WORDS.findall(text))
                self._times[label] += 1
                self._beside[label] |= texts.keys() - {label}
                if _HASHTAG.search(text):
                    self._tagged.add(label)

    def of(self, entry: dict[str, Any]) -> tuple[str | None, bool]:
        """Return the caption of an entry, or None; and whether another text may be its caption."""
        labels, texts = self._labels(), _own_fields(entry)
        if caption := first(
            next((field.text for field in fields(entry) if field.label == KNOWN[0]), None),
            *(texts.get(label) for label in KNOWN),
            *(text for label, text in texts.items() if label in labels),
        ):
            return caption, False
        others = (self._beside.get(label, set()) for label in _own_texts(entry))
        return None, any(not beside & (labels | {*KNOWN}) for beside in others)

    def is_known(self) -> bool:
        """Whether the export has a label of captions."""
        return bool(self._labels()) or any(label in self._times for label in KNOWN)

    def _labels(self) -> frozenset[str]:
        """Return the labels of captions other than the English ones."""
        if self._found is None:
            self._found = self._tagged_labels() or self._wordy_labels()
        return self._found

    def _tagged_labels(self) -> frozenset[str]:
        """Return the labels with hashtags; of two in one entry, the one with more text."""
        found: set[str] = {label for label in KNOWN if label in self._letters}
        for label in sorted(self._tagged, key=lambda label: (-self._letters[label], label)):
            if not self._beside[label] & found:
                found.add(label)
        return frozenset(found)

    def _wordy_labels(self) -> frozenset[str]:
        """Return the labels of prose with twice as much text as any other of their entries.

        Texts that mostly repeat, such as yes and no, are not prose.
        """
        return frozenset(
            label
            for label, letters in self._letters.items()
            if all(letters > 2 * self._letters[other] for other in self._beside[label])
            and self._words[label] >= _MIN_WORDS * self._times[label]
            and 2 * len(self._texts[label]) > self._times[label]
        )


def _own_fields(entry: dict[str, Any]) -> dict[str, str]:
    """Return the texts outside of groups by label."""
    found: dict[str, str] = {}
    for one in islice(fields(entry), MAX_FIELDS):
        if one.is_own:
            found.setdefault(one.label, one.text)
    return found


def _own_texts(entry: dict[str, Any]) -> dict[str, str]:
    """Return the texts by label that may be captions: neither addresses nor numbers."""
    return {
        label: text
        for label, text in _own_fields(entry).items()
        if not (_ADDRESS.fullmatch(text) or _NUMBERS.fullmatch(text))
    }
