"""The sample posts: what they promise their readers, and what gathering them does."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from hashlens.indexer.config import data_path
from hashlens.indexer.decoding.loading import open_image
from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.sample import gather_sample
from hashlens.indexer.types import Post, Rejection

TOPICS = {"pets", "jewellery", "travel", "babies", "selfie", "art"}
TOPICS |= {"food", "architecture", "nature", "fashion"}
SCRIPTS = ("LATIN", "CYRILLIC", "HIRAGANA", "DEVANAGARI", "ARABIC")
ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for line in data_path("sample", "posts.jsonl").read_text(encoding="utf-8").splitlines()
]


def hashtags_of(caption: str) -> tuple[str, ...]:
    """Hashtags as the sample writes them: apart, and ended by a space, `,`, `.` or `!`."""
    return tuple(
        unicodedata.normalize("NFKC", word).casefold()
        for word in re.findall(r"(?<!\S)#([^\s.,!]+)", caption)
    )


@pytest.fixture(scope="module")
def posts(sample_folder: Path) -> dict[str, Post]:
    rejections: list[Rejection] = []
    read = list(read_posts([sample_folder], rule="instagram", rejections=rejections))
    assert [each for each in rejections if not each.is_note] == []
    return {post.post_id: post for post in read}


def test_every_row_is_read_as_a_post(posts: dict[str, Post]) -> None:
    assert len(ROWS) >= 100
    assert [row["id"] for row in ROWS] == list(posts)
    for row in ROWS:
        post = posts[row["id"]]
        assert (post.author, post.topic) == (row["author"], row.get("topic"))
        assert post.taken_at is not None
        assert post.taken_at.isoformat()[:19] == row["taken_at"][:19]


def test_the_grammar_finds_every_hashtag_and_leaves_the_words(posts: dict[str, Post]) -> None:
    for row in ROWS:
        expected = hashtags_of(row["caption"])
        assert 3 <= len(expected) <= 8
        assert posts[row["id"]].hashtags == expected
        assert "#" not in posts[row["id"]].caption
        first = row["caption"].split()[0]
        assert posts[row["id"]].caption.startswith(first)


def test_hashtags_recur_across_posts_and_authors() -> None:
    uses: Counter[str] = Counter()
    authors: defaultdict[str, set[str]] = defaultdict(set)
    for row in ROWS:
        for tag in hashtags_of(row["caption"]):
            uses[tag] += 1
            authors[tag].add(row["author"])
    recurring = [tag for tag in uses if uses[tag] >= 3 and len(authors[tag]) >= 2]
    assert len(recurring) >= 120
    assert len(recurring) >= 0.75 * len(uses)
    assert {row["author"] for row in ROWS} == {f"a{n:02d}" for n in range(1, 26)}


def test_the_ten_topics_are_given_on_about_half_of_the_posts() -> None:
    given = Counter(row["topic"] for row in ROWS if "topic" in row)
    assert set(given) == TOPICS
    assert min(given.values()) >= 6
    assert 0.4 < given.total() / len(ROWS) < 0.6


@pytest.mark.parametrize("script", SCRIPTS)
def test_captions_are_written_in_several_scripts(script: str) -> None:
    written = [
        row["id"]
        for row in ROWS
        if any(unicodedata.name(letter, "").startswith(script) for letter in row["caption"])
    ]
    assert len(written) >= 5


def test_gathering_copies_a_real_picture_for_each_post_that_names_one(
    posts: dict[str, Post], sample_folder: Path
) -> None:
    named = {row["image"] for row in ROWS if "image" in row}
    assert len(named) >= 12
    assert {f"pictures/{path.name}" for path in (sample_folder / "pictures").iterdir()} == named
    for image in (post.image for post in posts.values() if post.image):
        assert min(open_image(image).size) >= 300
    cat = next(post for post in posts.values() if post.image and post.image.name == "cat.png")
    assert cat.image is not None
    assert open_image(cat.image).size == (451, 300)
    assert "cat" in cat.hashtags


def test_gathering_again_changes_nothing_and_keeps_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert gather_sample(tmp_path) == tmp_path
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    gather_sample(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_posts_of_the_user_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_text('{"caption": "mine"}\n')
    with pytest.raises(InputError, match=r"another file at .*posts\.jsonl"):
        gather_sample(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "posts.jsonl"]


def test_a_missing_package_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None is how Python marks a module that is not there.
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r'no package skimage.*pip install "hashlens\[demo\]"'):
        gather_sample(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write sample posts to"):
        gather_sample(tmp_path / "file" / "folder")
