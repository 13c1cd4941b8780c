"""Folders of gallery-dl: a JSON file beside each of a post's media."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from indexer.posts import count_rows
from tests.scrapes import put, put_json, read, sidecar

MOMENT = datetime(2016, 3, 26, 12, tzinfo=UTC)


def test_a_post_of_one_picture(tmp_path: Path) -> None:
    picture = put(tmp_path / "instagram" / "ann" / "11.jpg")
    put_json(picture.with_name("11.jpg.json"), sidecar("DHtW", "11", "Lake #café#calm"))
    (post,), rejections = read(tmp_path)
    assert rejections == []
    assert (post.post_id, post.caption, post.author) == ("DHtW", "Lake", "ann")
    assert post.hashtags == ("café", "calm")
    assert (post.taken_at, post.image) == (MOMENT, picture.resolve())
    assert count_rows([tmp_path]) == 1


def test_the_media_of_a_carousel_are_one_post(tmp_path: Path) -> None:
    for number, media in enumerate(("33", "22", "11"), start=1):
        name = f"99_{media}.{'mp4' if media == '33' else 'jpg'}"
        put_json(tmp_path / f"{name}.json", sidecar("DHtW", media, "three #a", num=number, count=3))
        put(tmp_path / name)
    put_json(tmp_path / "98_1.jpg.json", sidecar("other", "1", "before #b"))
    (other, post), rejections = read(tmp_path)
    assert (other.post_id, other.image) == ("other", None)
    assert (post.post_id, post.image) == ("DHtW", (tmp_path / "99_22.jpg").resolve())
    assert rejections == []


def test_a_carousel_whose_first_picture_is_missing_has_the_next(tmp_path: Path) -> None:
    for number, media in enumerate(("1", "2"), start=1):
        put_json(tmp_path / f"9_{media}.jpg.json", sidecar("c", media, "x #a", num=number))
    put(tmp_path / "9_2.jpg")
    (post,), rejections = read(tmp_path)
    assert (post.image, rejections) == ((tmp_path / "9_2.jpg").resolve(), [])


def test_a_video_has_its_preview(tmp_path: Path) -> None:
    film = sidecar("v", "7", "film #a", extension="mp4", video_url="https://example.org/7.mp4")
    put_json(tmp_path / "7.mp4.json", film)
    put_json(tmp_path / "7p.jpg.json", film | {"media_id": "7p", "extension": "jpg"})
    put(tmp_path / "7.mp4", b"film")
    put(tmp_path / "7p.jpg")
    put_json(tmp_path / "8.mp4.json", sidecar("w", "8", "no preview #a"))
    put(tmp_path / "8.mp4", b"film")
    (v, w), rejections = read(tmp_path)
    assert (v.image, w.image, rejections) == ((tmp_path / "7p.jpg").resolve(), None, [])


def test_other_names_of_json_files(tmp_path: Path) -> None:
    """`extension-format` can leave out the picture's ending; `event: post` writes one a post."""
    put(tmp_path / "a.jpg")
    put_json(tmp_path / "a.json", sidecar("A", "1", "x #a"))
    put(tmp_path / "b.jpg")
    put_json(tmp_path / "b.jpg.json", sidecar("B", "2", "x #a"))
    put_json(tmp_path / "B.json", sidecar("B", "2", "x #a"))
    put_json(tmp_path / "info.json", {"category": "instagram", "subcategory": "posts"})
    posts, rejections = read(tmp_path)
    assert {post.post_id: post.image for post in posts} == {
        "A": (tmp_path / "a.jpg").resolve(),
        "B": (tmp_path / "b.jpg").resolve(),
    }
    assert rejections == []


def test_stories_go_by_their_own_code(tmp_path: Path) -> None:
    for media in ("1", "2"):
        put(tmp_path / f"{media}.jpg")
        story = sidecar("reel", media, "", post_url="https://www.instagram.com/stories/ann/")
        del story["description"]
        put_json(tmp_path / f"{media}.jpg.json", story)
    posts, rejections = read(tmp_path)
    assert [post.post_id for post in posts] == ["reel-1", "reel-2"]
    assert rejections == []


def test_other_sites(tmp_path: Path) -> None:
    tweet = {
        "category": "twitter",
        "subcategory": "media",
        "tweet_id": 704,
        "content": "Hello #sea",
        "author": {"id": 5, "name": "bob", "nick": "Bob"},
        "date": "2016-03-26 12:00:00",
        "hashtags": ["listed"],
        "num": 1,
    }
    put_json(tmp_path / "704_1.jpg.json", tweet)
    put(tmp_path / "704_1.jpg")
    (post,), rejections = read(tmp_path)
    assert (post.post_id, post.caption, post.author) == ("twitter:704", "Hello", "bob")
    assert (post.hashtags, post.taken_at, rejections) == (("sea",), MOMENT, [])


def test_bad_files_and_fields(tmp_path: Path) -> None:
    put_json(tmp_path / "1.jpg.json", sidecar("a", "1", "x #a", num="one", date=[], post_date=[]))
    put_json(tmp_path / "2.jpg.json", sidecar("b", "2", "x", description={"text": "x"}))
    put_json(tmp_path / "3.jpg.json", sidecar("c", "3", "x #a", username=None, owner_id=[1]))
    put(tmp_path / "4.jpg.json", b'{"category": "instagram"')
    put_json(tmp_path / "5.jpg.json", ["no", "sidecar"])
    (a, c), (dated, b, torn) = read(tmp_path, reader="gallery-dl")
    assert (a.post_id, a.taken_at, c.post_id, c.author) == ("a", None, "c", None)
    assert (dated.post_kept, "as taken_at" in dated.reason) == (True, True)
    assert "found an object as caption" in b.reason
    assert (torn.source, torn.post_kept) == (str(tmp_path / "4.jpg.json"), False)
    assert "malformed JSON" in torn.reason
