"""Instagram's own export: its places, its two dialects, and its spelling repaired."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from indexer.readers.account import MAX_EXPORT, repaired
from tests.scrapes import NOON, broken, put, put_json, read

MOMENT = datetime(2016, 3, 26, 12, tzinfo=UTC)
URI = "media/posts/201603/1_n_17.jpg"


def item(uri: str = URI, **more: Any) -> dict[str, Any]:
    return {"uri": uri, "creation_timestamp": NOON, "title": "", **more}


@pytest.mark.parametrize(
    "place",
    ["your_instagram_activity/media", "your_instagram_activity/content", "content", "media"],
)
@pytest.mark.parametrize("pointed", ["", "{place}", "{place}/posts_1.json"])
def test_where_posts_are_in_exports(tmp_path: Path, place: str, pointed: str) -> None:
    entry = {"media": [item(title=broken("Café am See 🌊 #Übung"))]}
    put_json(tmp_path / place / "posts_1.json", [entry])
    put(tmp_path / URI)
    put_json(tmp_path / "likes" / "liked_posts.json", {"likes_media_likes": [{"title": "bob"}]})
    (post,), rejections = read(tmp_path / pointed.format(place=place))
    assert rejections == []
    assert (post.post_id, post.caption, post.hashtags) == (URI, "Café am See 🌊", ("übung",))
    assert (post.taken_at, post.author) == (MOMENT, "instagram-export")
    assert post.image == (tmp_path / URI).resolve()


def test_a_carousel_is_one_post_with_its_first_picture(tmp_path: Path) -> None:
    names = ["media/posts/a.mp4", "media/posts/gone.jpg", "media/posts/b.jpg", "media/posts/c.jpg"]
    entry = {"media": [item(n) for n in names], "title": "All #a", "creation_timestamp": NOON}
    put_json(tmp_path / "content" / "posts_1.json", [entry])
    for name in names[2:]:
        put(tmp_path / name)
    (post,), rejections = read(tmp_path)
    assert (post.post_id, post.caption, rejections) == (names[0], "All", [])
    assert post.image == (tmp_path / names[2]).resolve()


@pytest.mark.parametrize(
    ("folder", "author"),
    [
        ("instagram-ann.lee_1-2026-11-25-Ab3xY", "ann.lee_1"),
        ("instagram-two-names-2026-11-25", "two-names"),
        ("downloads", "instagram-export"),
    ],
)
def test_all_posts_are_the_accounts(tmp_path: Path, folder: str, author: str) -> None:
    media = tmp_path / folder / "your_instagram_activity" / "media"
    put_json(media / "posts_1.json", [{"media": [item(title="x #a")]}])
    put_json(media / "posts_2.json", [{"media": [item("media/b.jpg", title="y #b")]}])
    posts, _ = read(tmp_path / folder)
    assert [post.author for post in posts] == [author, author]


def test_a_single_post_is_no_list(tmp_path: Path) -> None:
    put_json(tmp_path / "content" / "posts_1.json", {"media": [item(title="x #a")]})
    put(tmp_path / URI)
    (post,), rejections = read(tmp_path)
    assert (post.caption, post.hashtags, rejections) == ("x", ("a",), [])


def test_reels_and_stories_count_where_they_have_a_caption(tmp_path: Path) -> None:
    content = tmp_path / "your_instagram_activity" / "media"
    put(tmp_path / URI)
    put_json(content / "posts_1.json", [{"media": [item()]}])
    reels = [{"media": [item("media/reels/a.mp4", title="reel #a")]}]
    put_json(content / "reels.json", {"ig_reels_media": reels})
    stories = [item("media/stories/b.jpg", title="story #b"), item("media/stories/c.jpg")]
    put_json(content / "stories.json", {"ig_stories": stories})
    archived = [{"media": [item("media/archived/d.jpg")], "title": "old #d"}]
    put_json(content / "archived_posts.json", {"ig_archived_post_media": archived})
    put_json(content / "recently_deleted_content.json", [{"media": [item(title="gone #e")]}])
    put_json(content / "profile_photos.json", {"ig_profile_picture": [item(title="me #f")]})
    posts, rejections = read(tmp_path)
    assert [(p.caption, p.hashtags) for p in posts] == [
        ("old", ("d",)), ("", ()), ("reel", ("a",)), ("story", ("b",)),
    ]  # fmt: skip
    assert [r.reason for r in rejections] == [
        "picture 'media/archived/d.jpg': found no such file",
        "picture 'media/stories/b.jpg': found no such file",
    ]


def test_the_dialect_of_label_values(tmp_path: Path) -> None:
    entry = {
        "timestamp": NOON,
        "media": [],
        "label_values": [
            {"label": "URL", "value": "https://www.instagram.com/p/x/", "href": ""},
            {"label": "Caption", "value": broken("Grüße #straße")},
            {"label": "Media", "media": [item()]},
            {"title": "Owner", "dict": [{"dict": [{"label": "Username", "value": "ann"}]}]},
        ],
        "fbid": "18056521565574781",
    }
    nested = {
        "timestamp": NOON,
        "media": [item("media/posts/2.jpg")],
        "label_values": [{"dict": [{"vec": [{"label": "Caption", "value": "deep #b"}]}]}],
    }
    put_json(tmp_path / "your_instagram_activity" / "media" / "posts_1.json", [entry, nested])
    put(tmp_path / URI)
    (post, deep), (missing,) = read(tmp_path)
    assert (post.post_id, post.caption, post.hashtags) == (entry["fbid"], "Grüße", ("strasse",))
    assert (post.image, post.taken_at) == ((tmp_path / URI).resolve(), MOMENT)
    assert (deep.post_id, deep.caption, deep.hashtags) == ("media/posts/2.jpg", "deep", ("b",))
    assert missing.reason == "picture 'media/posts/2.jpg': found no such file"


def test_the_oldest_exports(tmp_path: Path) -> None:
    taken = {"taken_at": "2016-03-26T12:00:00"}
    old = {
        "photos": [{"caption": "old #a", "path": "photos/1.jpg", **taken}],
        "videos": [{"caption": "film #b", "path": "videos/1.mp4", **taken}],
        "profile": [{"caption": "me", "is_active_profile": True, **taken}],
    }
    put_json(tmp_path / "media.json", old)
    put(tmp_path / "photos" / "1.jpg")
    (photo, film), (profile,) = read(tmp_path)
    assert (photo.post_id, photo.caption, photo.taken_at) == ("photos/1.jpg", "old", MOMENT)
    assert (photo.image, film.image) == ((tmp_path / "photos" / "1.jpg").resolve(), None)
    assert "without media" in profile.reason


@pytest.mark.parametrize(
    "text",
    ["Café", "日本語 #東京", "🌊👩‍👩‍👧 #Übung", "it’s — fine", "Ünïcödé ﷺ", "plain", "Ð¿ÑÐ¸"],
)
def test_spelling_is_repaired_and_what_is_right_stays(text: str) -> None:
    assert repaired(broken(text)) == text
    if text != "Ð¿ÑÐ¸":
        assert repaired(text) == text


def test_spelling_that_is_broken_in_part() -> None:
    assert repaired(broken("l’été à la mer") + " 東京") == "l’été à la mer 東京"


def test_an_account_without_posts(tmp_path: Path) -> None:
    put_json(tmp_path / "content" / "posts_1.json", [])
    put_json(tmp_path / "content" / "stories.json", {"ig_stories": []})
    assert read(tmp_path, reader="instagram-export") == ([], [])


def test_pictures_that_lead_out(tmp_path: Path) -> None:
    put(tmp_path / "secret.jpg")
    root = tmp_path / "export"
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "media/link.jpg", "https://a.io/a.jpg"]
    entries = [{"media": [item(name, title=f"{n} #a")]} for n, name in enumerate(names)]
    put_json(root / "content" / "posts_1.json", entries)
    (root / "media").mkdir()
    (root / "media" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    posts, rejections = read(root, reader="instagram-export")
    assert [post.image for post in posts] == [None] * 4
    *kept, link = rejections
    assert [(r.line, r.post_kept) for r in kept] == [(1, True)] * 4
    assert (link.source, link.post_kept) == (str(root / "media" / "link.jpg"), False)
    assert link.reason == "found a link out of the scrape's folder, expected a file inside it"


def test_bad_entries_do_not_stop_the_rest(tmp_path: Path) -> None:
    good = [json.dumps({"media": [item(f"{n}.mp4", title=f"{n} #a")]}) for n in range(3)]
    long = json.dumps({"media": [], "title": "x" * (1 << 20)})
    text = f'[\n{good[0]},\n{{"media": nul}},\n{{"a": 1}},\n{long},\n{good[1]},\n[7], 8,\n'
    path = put(tmp_path / "content" / "posts_1.json", f'{text}{good[2]},\n{{"media": [{{')
    posts, rejections = read(tmp_path)
    assert [post.post_id for post in posts] == ["0.mp4", "1.mp4", "2.mp4"]
    assert [(r.source, r.line) for r in rejections] == [(str(path), n) for n in (3, 4, 5, 9)]
    assert "malformed JSON" in rejections[0].reason
    assert "without media" in rejections[1].reason
    assert "longer than 1,048,576 bytes" in rejections[2].reason
    assert "malformed JSON" in rejections[3].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * (1 << 19), "nested deeper than 64"),
        (b'[{"media": ["\xff"]}]', "not UTF-8"),
        (b"", "malformed JSON"),
        (b"no JSON", "malformed JSON"),
        (b'"text"', "found text, expected posts"),
        (b"[" + b" " * MAX_EXPORT, "found more than 33,554,432 bytes"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    put_json(tmp_path / "content" / "posts_1.json", [{"media": [item(title="x #a")]}])
    bad = put(tmp_path / "content" / "posts_2.json", content)
    (post,), (picture, rejection) = read(tmp_path)
    assert (post.hashtags, picture.post_kept) == (("a",), True)
    assert rejection.source == str(bad)
    assert reason in rejection.reason
