"""Folders of gallery-dl: a JSON file beside each of a post's media."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashlens.cli import app
from hashlens.indexer.posts.formats.gallery_sites import find_site
from hashlens.indexer.posts.reader import count_rows
from hashlens.indexer.types import Post, Rejection
from tests.support.gallery_samples import SAMPLES, TAGGED, Expected
from tests.support.scrape_files import put, put_json, read, sidecar

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
    (a, c), (dated, b, torn, note) = read(tmp_path, reader="gallery-dl")
    assert (a.post_id, a.taken_at, c.post_id, c.author) == ("a", None, "c", None)
    assert (dated.post_kept, "as taken_at" in dated.reason) == (True, True)
    assert "found an object as caption" in b.reason
    assert (torn.source, torn.post_kept) == (str(tmp_path / "4.jpg.json"), False)
    assert "malformed JSON" in torn.reason
    assert note.is_note
    assert "passed over 1 JSON file (5.jpg.json), about no post of gallery-dl" in str(note)


def written(folder: Path, category: str, file: str = "1.jpg", /, **fields: Any) -> Path:
    """What gallery-dl writes beside a picture of a site, and the picture."""
    own = {"category": category, "subcategory": "user", "extension": "jpg", "filename": "1"}
    put_json(folder / f"{file}.json", own | fields)
    return put(folder / file)


def split(source: Path) -> tuple[list[Post], list[Rejection], list[str]]:
    """Posts, rejections, and the reasons of notes."""
    posts, rejections = read(source, reader="gallery-dl")
    notes = [each.reason for each in rejections if each.is_note]
    return posts, [each for each in rejections if not each.is_note], notes


@pytest.mark.parametrize("category", SAMPLES)
def test_a_post_of_each_site_has_its_caption_hashtags_author_and_id(
    tmp_path: Path, category: str
) -> None:
    fields, expected = SAMPLES[category]
    picture = written(tmp_path, category, **fields)
    (post,), rejections, notes = split(tmp_path)
    found = Expected(post.post_id, post.author or "", post.caption, post.hashtags)
    assert (found, post.image, rejections) == (expected, picture.resolve(), [])
    took = [f"took listed tags of 1 post of {category} as hashtags"]
    assert notes == (took if category in TAGGED else [])


def test_the_samples_are_of_sites_that_the_table_knows() -> None:
    assert len(SAMPLES) >= 23
    for category, (fields, _) in SAMPLES.items():
        assert find_site(fields | {"category": category}).is_known, category


@pytest.mark.parametrize("category", ["pinterest", "plurk", "tiktok", "bluesky", "weibo", "e621"])
def test_times_of_all_forms(tmp_path: Path, category: str) -> None:
    written(tmp_path, category, **SAMPLES[category][0])
    (post,), rejections, _ = split(tmp_path)
    weibo = datetime(2021, 6, 16, 14, 35, 46, tzinfo=UTC)
    expected = weibo if category == "weibo" else datetime(2024, 1, 2, 10, tzinfo=UTC)
    assert (post.taken_at, rejections) == (expected, [])


def test_instances_are_known_by_their_fields(tmp_path: Path) -> None:
    for kind, category in (("mastodon.social", "art.example"), ("danbooru", "my-booru")):
        written(tmp_path / category, category, **SAMPLES[kind][0])
    posts, rejections, notes = split(tmp_path)
    assert [(post.post_id, post.author) for post in posts] == [
        ("art.example:111", "ann"),
        ("my-booru:7", "ann"),
    ]
    assert posts[0].hashtags == ("sea",)
    assert (rejections, notes) == ([], ["took listed tags of 1 post of my-booru as hashtags"])


def test_an_unknown_site_is_read_and_reported_once(tmp_path: Path) -> None:
    for number in (1, 2):
        written(
            tmp_path,
            "new\x1b[31msite",
            f"{number}.jpg",
            post_id=number,
            body="<p>Tea &amp; cake</p>",
            creator={"name": "ann"},
            tags=["tea time"],
        )
    posts, rejections, notes = split(tmp_path)
    assert [(p.caption, p.author, p.hashtags) for p in posts] == [
        ("Tea & cake", "ann", ("teatime",))
    ] * 2
    assert posts[0].post_id.endswith("site:1")
    assert rejections == []
    assert notes == [
        "took listed tags of 2 posts of new�[31msite as hashtags",
        "read 2 posts of new�[31msite, a site not known: took caption from body, author from "
        "creator.name, id from post_id; its fields are body, creator, extension, filename, "
        "post_id, tags",
    ]


def test_tags_of_an_unknown_site_do_not_join_hashtags_of_a_caption(tmp_path: Path) -> None:
    written(tmp_path, "new", id=1, text="Tea #cake", tags=["scone"])
    (post,), _, notes = split(tmp_path)
    assert (post.hashtags, len(notes)) == (("cake",), 1)


def test_a_file_without_an_id_is_a_post_of_its_own(tmp_path: Path) -> None:
    for number in (1, 2):
        written(tmp_path, "deviantart", f"{number}.jpg", title=f"Moor {number} #fog")
    put_json(tmp_path / "info.json", {"category": "new", "subcategory": "y", "title": "My album"})
    posts, rejections, notes = split(tmp_path)
    assert [post.caption for post in posts] == ["Moor 1", "Moor 2"]
    assert all(post.post_id.startswith("sha256-") for post in posts)
    assert rejections == []
    assert notes == [
        "found no id in 2 files of deviantart, each is a post of its own",
        "passed over 1 JSON file (info.json), about no post of gallery-dl",
    ]


def test_an_id_of_zero_is_an_id(tmp_path: Path) -> None:
    written(tmp_path, "reddit", id=0, title="Zero #a", author="ann")
    written(tmp_path, "deviantart", "2.jpg", index=0, deviationid="B", title="Next #b")
    posts, rejections, notes = split(tmp_path)
    assert [post.post_id for post in posts] == ["reddit:0", "deviantart:B"]
    assert (rejections, notes) == ([], [])


def test_pictures_without_a_json_file_are_named(tmp_path: Path) -> None:
    written(tmp_path, "flickr", id=1, title="x #a", owner={"username": "ann"})
    put(tmp_path / "2.png")
    posts, rejections, notes = split(tmp_path)
    assert (len(posts), rejections) == (1, [])
    assert notes == ["passed over 1 picture (2.png) without a JSON file of its name"]


@pytest.mark.parametrize("ending", ["jfif", "dat", "JPG"])
def test_a_picture_is_known_by_its_content(tmp_path: Path, ending: str) -> None:
    picture = written(tmp_path, "flickr", f"1.{ending}", id=1, title="x")
    (post,), rejections, _ = split(tmp_path)
    assert (post.image, rejections) == (picture.resolve(), [])


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    put(written(tmp_path, "flickr", "1.pdf", id=1, title="x #a"), b"%PDF-1.7 and more")
    (post,), (rejection,), _ = split(tmp_path)
    assert (post.caption, post.image, rejection.post_kept) == ("x", None, True)
    assert "1.pdf" in rejection.reason


_ODD: list[Any] = [None, True, 0, -1, 1.5, 10**400, "", "\ud800", "a\0b", [], {}, [[]], [None]]
_ODD += [{"a": {}}, {"text": "x"}, [{"name": 3}], ["x", {"tag": "y z"}], "#" * 5000, "<" * 5000]


@pytest.mark.parametrize("category", SAMPLES)
def test_fields_of_wrong_types_are_never_errors(tmp_path: Path, category: str) -> None:
    fields, _ = SAMPLES[category]
    count = 0
    for name in fields:
        for odd in _ODD:
            written(tmp_path, category, f"{count}.jpg", **(fields | {name: odd}))
            count += 1
    posts, rejections, notes = split(tmp_path)
    assert posts
    assert len(notes) <= 2
    for rejection in rejections:
        str(rejection).encode()


def test_listed_tags_become_hashtags_of_the_grammar(tmp_path: Path) -> None:
    tags = ["rock & roll", "R-18", "1984", "", "naïve art", "再 会", "x" * 200]
    written(tmp_path, "flickr", id=1, title="Stage", tags=tags)
    (post,), rejections, _ = split(tmp_path)
    assert post.hashtags == ("rockroll", "r18", "naïveart", "再会", "x" * 150)
    assert rejections == []


@pytest.mark.parametrize(
    ("tags", "hashtags"),
    [
        ('sea "old town" night', ("sea", "oldtown", "night")),
        ("sea, old town ,, night", ("sea", "oldtown", "night")),
        ('{sea,"old town"}', ("sea", "oldtown")),
        ('5" of snow', ("of", "snow")),
        ([{"name": "海", "translated_name": "sea"}, ["no"], 3, None], ("海",)),
        ({"general": ["sea"], "artist": ["ann"], "count": 3}, ("sea", "ann")),
    ],
)
def test_tags_are_listed_in_many_ways(
    tmp_path: Path, tags: object, hashtags: tuple[str, ...]
) -> None:
    written(tmp_path, "flickr", id=1, title="Harbour", tags=tags)
    (post,), rejections, _ = split(tmp_path)
    assert (post.hashtags, rejections) == (hashtags, [])


def test_closed_hashtags_end_where_their_second_sign_is(tmp_path: Path) -> None:
    text = "#两个 词#好 #open #shut# @x#y"
    written(tmp_path, "weibo", status={"id": 1, "text": text, "user": {"screen_name": "a"}})
    (post,), _, _ = split(tmp_path)
    assert post.hashtags == ("两个词", "open", "shut", "y")
    assert post.caption == "好 @x"


def test_the_report_of_a_build_names_taken_tags_and_unknown_sites(tmp_path: Path) -> None:
    scrape = tmp_path / "scrape"
    written(scrape, "flickr", id=1, title="Harbour at night", tags=["sea"]).unlink()
    put_json(scrape / "new.json", {"category": "new", "extension": "jpg", "id": 2, "text": "x #y"})
    asked = ["build", str(scrape), "--index", str(tmp_path / "index")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert "took listed tags of 1 post of flickr as hashtags" in result.stderr
    assert "read 1 post of new, a site not known: took caption from text" in result.stderr
    assert "not used" not in result.stderr
