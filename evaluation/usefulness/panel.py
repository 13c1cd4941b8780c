"""Reads a panel: posts with graded hashtags, further grades, and second gradings.

The panel that ships is `data/panel`; its FORMAT.md and RUBRIC.md say what the files hold.
Nothing outside this package reads it: no model may learn from posts that it is scored on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hashlens.evaluation.usefulness.matching import fold_hashtag, show_hashtag
from hashlens.indexer.config import data_path
from hashlens.indexer.errors import InputError
from hashlens.retriever.recommendation import Query

KINDS = ("caption", "seeds", "photo", "photo+caption", "caption+seeds")
PARTS = ("steering", "test", "all")
LEAST, GREATEST = -1, 2  # grades
MAX_LINE = 100_000  # characters of a line
TEST_SHARE = 3  # one post of so many is of the test part

_INPUTS = {"caption": "caption", "seeds": "seeds", "photo": "image"}  # of a kind: its field
_FIELDS = {"id", "kind", "subject", "lang", "caption", "seeds", "image", "good", "fair", "bad"}
_FIELDS |= {"tags"}

Key = tuple[str, str]  # id of a post, folded hashtag


@dataclass(frozen=True, slots=True)
class PanelPost:
    """A post that systems are asked about; `grades` are those of its own lists, by hashtag."""

    post_id: str
    kind: str
    lang: str
    grades: dict[str, int] = field(repr=False)
    caption: str = ""
    seeds: tuple[str, ...] = ()
    image: Path | None = None

    @property
    def query(self) -> Query:
        """The post as a query: hashtags of the caption are seeds."""
        from hashlens.retriever.query.parse import make_query

        return make_query(self.image, self.caption, self.seeds)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two gradings of one hashtag for one post that differ; the lower one counts."""

    post_id: str
    tag: str
    grades: tuple[int, int]

    def __str__(self) -> str:
        first, second = self.grades
        return f"post {self.post_id}: {show_hashtag(self.tag)} is graded {first} and {second}"


@dataclass(frozen=True)
class Panel:
    """Posts, grades by post and folded hashtag, and what the files say against each other."""

    folder: Path
    posts: tuple[PanelPost, ...]
    grades: dict[Key, int]
    disagreements: tuple[Disagreement, ...]
    second: dict[Key, int]

    def part(self, name: str) -> tuple[PanelPost, ...]:
        """Return the posts of a part: one of `PARTS`."""
        if name == "all":
            return self.posts
        return tuple(post for post in self.posts if is_test(post.post_id) == (name == "test"))

    @cached_property
    def grading_pairs(self) -> list[tuple[int, int]]:
        """First and second grade of each hashtag that was graded twice."""
        return [
            (self.grades[key], grade) for key, grade in self.second.items() if key in self.grades
        ]


def is_test(post_id: str) -> bool:
    """Whether a post is of the test part, which nobody may look into or tune on."""
    digest = hashlib.sha256(post_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % TEST_SHARE == 0


def panel_default() -> Path:
    """Return the folder of the panel that ships."""
    return data_path("panel")


def read_panel(folder: Path) -> Panel:
    """Read and check a folder of `posts.jsonl`, and `grades.jsonl` and `second.jsonl` if present.

    A hashtag that is graded twice has the lower grade, and is among the disagreements if the two
    differ. `second.jsonl` holds second gradings alone, which no score uses.

    Raises:
        InputError: a file is missing or is not of the form of FORMAT.md; names file and line.
    """
    posts: dict[str, PanelPost] = {}
    for place, row in _rows(folder / "posts.jsonl"):
        post = _read_post(place, row, folder)
        if post.post_id in posts:
            raise InputError(f"{place}: found id {post.post_id!r} twice, expected each id once")
        posts[post.post_id] = post
    if not posts:
        raise InputError(f"{folder / 'posts.jsonl'}: found no posts, expected one a line")
    grades, disagreements = _merge_grades(posts, _read_grades(folder / "grades.jsonl", posts))
    second = {
        (post_id, fold_hashtag(tag)): grade
        for post_id, tag, grade in _read_grades(folder / "second.jsonl", posts)
    }
    return Panel(folder, tuple(posts.values()), grades, tuple(disagreements), second)


def _merge_grades(
    posts: dict[str, PanelPost], further: Iterable[tuple[str, str, int]]
) -> tuple[dict[Key, int], list[Disagreement]]:
    """Return the grades of the posts' lists and further ones; of two that differ, the lower."""
    grades = {
        (post.post_id, fold_hashtag(tag)): grade
        for post in posts.values()
        for tag, grade in post.grades.items()
    }
    disagreements: list[Disagreement] = []
    for post_id, tag, grade in further:
        key = (post_id, fold_hashtag(tag))
        earlier = grades.setdefault(key, grade)
        if earlier != grade:
            disagreements.append(Disagreement(post_id, tag, (earlier, grade)))
            grades[key] = min(earlier, grade)
    return grades, disagreements


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the JSON object of each line with its place."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 1), ""), 1):
                if line.strip():
                    yield f"{path}:{number}", _parse_line(f"{path}:{number}", line)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: found bytes that are no UTF-8, expected UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}), expected a file of the panel; "
            "name a folder that has it"
        ) from error


def _parse_line(place: str, line: str) -> dict[str, Any]:
    try:
        if len(line) > MAX_LINE:
            raise ValueError
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: found no JSON, expected one JSON object of {MAX_LINE:,} characters at most"
        ) from error
    if not isinstance(row, dict):
        raise InputError(f"{place}: found {type(row).__name__}, expected a JSON object")
    return row


def _read_post(place: str, row: dict[str, Any], folder: Path) -> PanelPost:
    if unknown := sorted(row.keys() - _FIELDS):
        raise InputError(f"{place}: found field {unknown[0]!r}, expected those of FORMAT.md")
    post_id, kind, lang = (_text(place, row, name) for name in ("id", "kind", "lang"))
    if kind not in KINDS:
        raise InputError(f"{place}: found kind {kind!r}, expected one of {', '.join(KINDS)}")
    wanted = {_INPUTS[part] for part in kind.split("+")}
    for name in _INPUTS.values():
        if bool(row.get(name)) != (name in wanted):
            found = "a" if row.get(name) else "no"
            verb = "one" if name in wanted else "none"
            raise InputError(f"{place}: found {found} field {name!r}, kind {kind} expects {verb}")
    image = folder / _text(place, row, "image") if "image" in wanted else None
    if image and not (image.is_file() and image.resolve().is_relative_to(folder.resolve())):
        raise InputError(
            f"{place}: found no picture {row['image']}, expected a file within {folder}"
        )
    return PanelPost(
        post_id,
        kind,
        lang,
        _list_grades(place, row),
        caption=_text(place, row, "caption") if "caption" in wanted else "",
        seeds=tuple(_texts(place, row, "seeds")) if "seeds" in wanted else (),
        image=image,
    )


def _text(place: str, row: dict[str, Any], name: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{place}: found {name} {text!r}, expected a text")
    return text


def _texts(place: str, row: dict[str, Any], name: str) -> list[str]:
    texts = row.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip("#! ") for t in texts):
        raise InputError(f"{place}: found {name} {texts!r}, expected a list of hashtags")
    return texts


def _list_grades(place: str, row: dict[str, Any]) -> dict[str, int]:
    """Return the grade of each hashtag of a post's lists, as it is written there."""
    rated = [(tag, 2) for tag in _texts(place, row, "good")]
    rated += [(tag, 1) for tag in _texts(place, row, "fair")]
    bad = _texts(place, row, "bad")
    rated += [(tag.removeprefix("!"), -1 if tag.startswith("!") else 0) for tag in bad]
    seen: dict[str, int] = {}
    for tag, grade in rated:
        if seen.setdefault(fold_hashtag(tag), grade) != grade:
            raise InputError(
                f"{place}: found {show_hashtag(tag)} in two lists, expected it in one; "
                "case, accents, underscores and plural make no difference"
            )
    return dict(rated)


def _read_grades(path: Path, posts: dict[str, PanelPost]) -> Iterator[tuple[str, str, int]]:
    """Yield id, hashtag and grade of each line; nothing if there is no such file."""
    if not path.exists():
        return
    for place, row in _rows(path):
        post_id, tag, grade = _text(place, row, "id"), _text(place, row, "tag"), row.get("grade")
        if post_id not in posts:
            raise InputError(f"{place}: found id {post_id!r}, expected the id of a post")
        if type(grade) is not int or not LEAST <= grade <= GREATEST:
            raise InputError(
                f"{place}: found grade {json.dumps(grade)}, "
                f"expected a whole number from {LEAST} to {GREATEST}"
            )
        yield post_id, tag, grade
