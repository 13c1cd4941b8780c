"""Instagram's own export: its places, its two dialects, and its spelling repaired."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest

from hashlens.indexer.decoding.loading import open_image
from hashlens.indexer.errors import ImageError, InputError
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.posts.exports import archive
from hashlens.indexer.posts.exports.instagram_export import repaired
from hashlens.indexer.posts.exports.labels import UNKNOWN
from hashlens.indexer.posts.exports.parts import MAX_EXPORT
from hashlens.indexer.posts.formats.registry import READERS, find_reader
from tests.support.scrape_files import JPEG, NOON, broken, put, put_json, read

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


def test_reels_and_stories_count_if_they_have_a_caption(tmp_path: Path) -> None:
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
def test_broken_spelling_is_repaired_and_the_rest_stays(text: str) -> None:
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


# Labels of the caption, the address, the place and the alt text, and the title of the owner.
LANGUAGES = {
    "de": ("Bildunterschrift", "URL", "Ort", "Alternativtext", "Inhaber"),
    "es": ("Pie de foto", "URL", "Lugar", "Texto alternativo", "Propietario"),
    "tr": ("Açıklama", "Bağlantı", "Konum", "Alternatif metin", "Sahibi"),
    "ru": ("Подпись", "Ссылка", "Место", "Описание", "Владелец"),
    "ar": ("التعليق", "الرابط", "الموقع", "النص البديل", "المالك"),
    "hi": ("कैप्शन", "यूआरएल", "स्थान", "वैकल्पिक टेक्स्ट", "स्वामी"),
    "ko": ("캡션", "링크", "위치", "대체 텍스트", "소유자"),
    "en": ("Caption", "URL", "Place", "Alt text", "Owner"),
}


def labelled(number: int, labels: tuple[str, ...], caption: str, **more: str) -> dict[str, Any]:
    """A post of the newer form; `more` has texts by the place of their label."""
    said, address, _, _, owner = (broken(label) for label in labels)
    values: list[dict[str, Any]] = [
        {"label": address, "value": "https://www.instagram.com/p/x/", "href": ""},
        *({"label": broken(labels[int(n)]), "value": broken(v)} for n, v in more.items()),
    ]
    if caption:
        values.append({"label": said, "value": broken(caption)})
    values += [
        {"label": "when", "timestamp_value": NOON},
        {"label": "files", "media": [item(f"media/posts/{number}.jpg")]},
        {"title": owner, "dict": [{"title": "", "dict": [
            {"label": "Username", "value": "ann"},
            {"label": "Name", "value": f"Ann, who writes {number} long texts of herself #me #ann"},
        ]}]},
    ]  # fmt: skip
    return {"media": [], "label_values": values, "fbid": str(number)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_in_any_language(tmp_path: Path, language: str) -> None:
    labels = LANGUAGES[language]
    entries = [
        labelled(1, labels, "Abend am See #see #abend", **{"2": "Como, Italia"}),
        labelled(2, labels, "ohne Worte", **{"2": "Como", "3": "a picture of a lake and a boat"}),
        labelled(3, labels, "", **{"2": "Bellagio, Italia", "3": "two people on a long pier"}),
        labelled(4, labels, "🌊🌊"),
    ]
    put_json(tmp_path / "your_instagram_activity" / "media" / "posts_1.json", entries)
    for number in range(1, 5):
        put(tmp_path / "media" / "posts" / f"{number}.jpg")
    posts, rejections = read(tmp_path)
    assert [(p.post_id, p.caption, p.hashtags) for p in posts] == [
        ("1", "Abend am See", ("see", "abend")),
        ("2", "ohne Worte", ()),
        ("3", "", ()),
        ("4", "🌊🌊", ()),
    ]
    assert {p.taken_at for p in posts} == {MOMENT}
    assert all(p.image for p in posts)
    assert rejections == []


def test_stories_without_caption_do_not_count_for_other_labels(tmp_path: Path) -> None:
    labels = LANGUAGES["de"]
    place = tmp_path / "content"
    put_json(
        place / "posts_1.json", [labelled(1, labels, "https://a.io"), labelled(3, labels, "x #a")]
    )
    put_json(
        place / "stories.json",
        {"ig_stories": [labelled(2, ("", "", "Art", "", "Inhaber"), "", **{"2": "Story"})]},
    )
    posts, _ = read(tmp_path)
    assert [(p.post_id, p.caption) for p in posts] == [("1", "https://a.io"), ("3", "x")]


def test_languages_that_are_mixed(tmp_path: Path) -> None:
    entries = [
        labelled(n, labels, f"words #tag{n}")
        for n, labels in enumerate(LANGUAGES.values(), start=1)
    ]
    put_json(tmp_path / "content" / "posts_1.json", entries)
    posts, _ = read(tmp_path)
    assert [p.hashtags for p in posts] == [(f"tag{n}",) for n in range(1, len(LANGUAGES) + 1)]


def test_captions_without_any_hashtag(tmp_path: Path) -> None:
    labels = LANGUAGES["tr"]
    entries = [
        labelled(n, labels, f"a long evening by the lake, number {n}", **{"2": "Como"})
        for n in range(3)
    ]
    entries += [labelled(3, labels, "", **{"2": "Milano"})]
    put_json(tmp_path / "content" / "posts_1.json", entries)
    posts, _ = read(tmp_path)
    assert [p.caption for p in posts[:3]] == [
        f"a long evening by the lake, number {n}" for n in range(3)
    ]
    assert len(posts) == 3  # no caption, and its picture is not there


def test_captions_under_unknown_labels_are_counted(tmp_path: Path) -> None:
    """Two texts of like length in each entry, none with a hashtag: neither is taken."""
    labels = LANGUAGES["ko"]
    entries = [labelled(n, labels, f"by the lake {n}", **{"3": f"a big boat {n}"}) for n in (1, 2)]
    put_json(tmp_path / "content" / "posts_1.json", entries)
    for number in (1, 2):
        put(tmp_path / "media" / "posts" / f"{number}.jpg")
    posts, (note,) = read(tmp_path)
    assert [p.caption for p in posts] == ["", ""]
    assert (note.reason, note.is_note) == (f"{UNKNOWN}: 2", True)


def test_labels_are_learned_from_all_files_of_an_export(tmp_path: Path) -> None:
    labels = LANGUAGES["ru"]
    media = tmp_path / "your_instagram_activity" / "media"
    put_json(media / "archived_posts.json", [labelled(1, labels, "лето", **{"2": "Como"})])
    put_json(media / "posts_1.json", [labelled(2, labels, "море #море", **{"2": "Bari"})])
    posts, _ = read(tmp_path)
    assert [(p.caption, p.hashtags) for p in posts] == [("лето", ()), ("море", ("море",))]


def test_maps_of_labels(tmp_path: Path) -> None:
    entry = {
        "title": "",
        "string_map_data": {
            broken("Légende"): {"href": "", "value": broken("été #plage"), "timestamp": 0},
            "Date": {"href": "", "value": "", "timestamp": NOON},
        },
        "media_map_data": {broken("Médias"): {"uri": URI, "creation_timestamp": 0}},
    }
    put_json(tmp_path / "content" / "posts_1.json", [entry])
    put(tmp_path / URI)
    (post,), rejections = read(tmp_path)
    assert (post.caption, post.hashtags, rejections) == ("été", ("plage",), [])
    assert post.image == (tmp_path / URI).resolve()


def test_labels_without_end_cost_little(tmp_path: Path) -> None:
    values = [{"label": f"l{n}", "value": f"v{n} #a"} for n in range(20_000)]
    entries = [{"media": [], "fbid": n, "label_values": values} for n in range(20)]
    path = put_json(tmp_path / "content" / "posts_1.json", entries)
    assert path.stat().st_size > 10 << 20
    tracemalloc.start()
    posts, _ = read(tmp_path, reader="instagram-export")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(posts) == 20
    assert peak < 10 * path.stat().st_size


NAME = "instagram-ann-2026-01-01-AbC"


def export(folder: Path, number: int, *, posts: bool = True) -> Path:
    """One part of an export, with a picture; part 1 has the posts of parts 1 and 2."""
    put(folder / "media" / "posts" / f"{number}.jpg", JPEG + bytes([number]))
    entries = [
        {"media": [item(f"media/posts/{n}.jpg", title=broken(f"Möwe {n} #möwe{n}"))]}
        for n in (1, 2)
    ]
    if posts:
        put_json(folder / "your_instagram_activity" / "media" / "posts_1.json", entries)
    return folder


def zipped(folder: Path, *, top: str = "", packing: int = ZIP_DEFLATED) -> Path:
    """A folder as a ZIP beside it, in a folder of its own within the ZIP if that is named."""
    made = folder.with_name(f"{folder.name}.zip")
    with ZipFile(made, "w", packing) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    rmtree(folder)
    return made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "cache"))
    return (tmp_path / "cache" / "pictures").resolve()


@pytest.mark.parametrize("top", ["", f"{NAME}/"])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("packing", [ZIP_DEFLATED, ZIP_STORED])
def test_an_export_as_zip(
    tmp_path: Path, cache: Path, top: str, *, inside: bool, packing: int
) -> None:
    made = zipped(export(tmp_path / "in" / NAME, 1), top=top, packing=packing)
    source = made.parent if inside else made
    assert find_reader(source) is READERS["instagram-export"]
    (one, two), (missing,) = read(source)
    assert (one.post_id, one.caption, one.hashtags) == ("media/posts/1.jpg", "Möwe 1", ("möwe1",))
    assert (one.author, two.hashtags, two.image) == ("ann", ("möwe2",), None)
    assert one.image
    assert one.image.parent == cache
    assert one.image.read_bytes() == JPEG + b"\1"
    assert missing.reason == "picture 'media/posts/2.jpg': found no such picture in the export"
    assert missing.source == f"{made}/{top}your_instagram_activity/media/posts_1.json"
    assert [p.name for p in made.parent.iterdir()] == [made.name]  # nothing is unpacked there


@pytest.mark.parametrize("as_zip", [(), (1,), (2,), (1, 2)])
@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("names", [(f"{NAME}-1", f"{NAME}-2"), ("a", "b")])
@pytest.mark.usefixtures("cache")
def test_an_export_in_parts(
    tmp_path: Path, as_zip: tuple[int, ...], names: tuple[str, str], *, one_by_one: bool
) -> None:
    parts = []
    for number, name in enumerate(names, start=1):
        part = export(tmp_path / "in" / name, number, posts=number == 1)
        parts.append(zipped(part) if number in as_zip else part)
    posts, rejections = read(*(parts if one_by_one else [tmp_path / "in"]))
    assert rejections == []
    assert [post.hashtags for post in posts] == [("möwe1",), ("möwe2",)]
    contents = [post.image.read_bytes() for post in posts if post.image]
    assert contents == [JPEG + b"\1", JPEG + b"\2"]
    if one_by_one:
        assert len(read(*reversed(parts))[0]) == 2


def test_parts_of_different_accounts_are_kept_apart(tmp_path: Path) -> None:
    ann = export(tmp_path / "in" / "instagram-ann-2026-01-01-a", 1)
    put(tmp_path / "in" / "instagram-bob-2026-01-01-b" / "media" / "posts" / "2.jpg")
    for sources in ([tmp_path / "in"], [ann, tmp_path / "in" / "instagram-bob-2026-01-01-b"]):
        (one, two), (missing,) = read(*sources)
        assert one.image
        assert two.image is None
        assert missing.reason == "picture 'media/posts/2.jpg': found no such file"


@pytest.mark.usefixtures("cache")
def test_a_part_without_posts_alone(tmp_path: Path) -> None:
    part = export(tmp_path / NAME, 2, posts=False)
    reason = "found a part of an Instagram export without its posts, expected posts_1.json"
    for source in (part, zipped(export(tmp_path / "in" / NAME, 2, posts=False))):
        with pytest.raises(InputError, match=reason):
            read(source)


@pytest.mark.parametrize("reader", ["auto", "instagram-export"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_an_export_as_html(tmp_path: Path, reader: str, *, as_zip: bool) -> None:
    folder = export(tmp_path / NAME, 1, posts=False)
    put(folder / "your_instagram_activity" / "media" / "posts_1.html", "<html>Hafen #hafen</html>")
    source = zipped(folder) if as_zip else folder
    with pytest.raises(InputError, match="this is an export as HTML: ask Instagram for JSON"):
        read(source, reader=reader)


def test_html_beside_json_of_another_account(tmp_path: Path) -> None:
    export(tmp_path / "in" / "instagram-ann-2026-01-01-a", 1)
    page = put(tmp_path / "in" / "instagram-bob-2026-01-01-b" / "content" / "posts_1.html", "<p>")
    posts, rejections = read(tmp_path / "in")
    assert len(posts) == 2
    (told,) = [r for r in rejections if not r.post_kept]
    assert (told.source, told.reason[:31]) == (str(page), "this is an export as HTML: ask ")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    put(tmp_path / "in" / "x" / "posts.jsonl", '{"caption": "x #a"}')
    made = zipped(tmp_path / "in" / "x")
    for source in (made, made.parent):
        with pytest.raises(InputError, match=r"of no Instagram export, unzip it first .* unzip "):
            read(source)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic begins as a HEIC does"
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n begins as a JPEG 2000 does"  # which is never read
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0 begins as a film does"


@pytest.mark.parametrize("name", ["1.heic", "1.jpg", "1", "1.HEIF"])
@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.usefixtures("cache")
def test_pictures_are_known_by_their_content(tmp_path: Path, name: str, *, as_zip: bool) -> None:
    folder = tmp_path / NAME
    entries = [
        {"media": [item("media/film.jpg")], "title": "a film named as a picture"},
        {"media": [item(f"media/{name}", title="Harbour #harbour")]},
        {"media": [item("media/film.mp4"), item(f"media/x{name}"), item("media/3.heic")]},
    ]
    put(folder / "media" / "film.jpg", MP4)
    put(folder / "media" / "film.mp4", MP4)
    put(folder / "media" / name, JP2)
    put(folder / "media" / f"x{name}", JP2)
    put(folder / "media" / "3.heic", JPEG)
    put_json(folder / "content" / "posts_1.json", entries)
    (film, harbour, several), rejections = read(zipped(folder) if as_zip else folder)
    assert (film.image, rejections) == (None, [])
    assert harbour.image
    assert harbour.image.read_bytes() == JP2
    assert several.image
    assert several.image.read_bytes() == JPEG
    if not as_zip:
        assert harbour.image == (folder / "media" / name).resolve()


@pytest.mark.usefixtures("cache")
def test_a_heic_is_reported_at_the_build(tmp_path: Path) -> None:
    put(tmp_path / "in" / "media" / "1.heic", HEIC)
    put_json(tmp_path / "in" / "content" / "posts_1.json", [{"media": [item("media/1.heic")]}])
    ((post,), rejections) = read(tmp_path / "in")
    assert (post.caption, post.hashtags, rejections) == ("", (), [])
    with pytest.raises(ImageError, match="HEIC picture"):
        open_image(post.image or tmp_path)


def test_two_posts_that_show_one_picture_are_both_kept(tmp_path: Path) -> None:
    put(tmp_path / "a" / URI)
    entries = [{"media": [item(title=title)]} for title in ("Harbour #harbour", "", "Again #x")]
    first, *more = entries
    put_json(tmp_path / "a" / "content" / "posts_1.json", [*entries, first])
    put_json(tmp_path / "b" / "content" / "posts_2.json", [*more, first])
    posts, (note,) = read(tmp_path / "a", tmp_path / "b")
    found = [(post.post_id, post.caption) for post in posts]
    assert found == [(URI, "Harbour"), (f"{URI}-2", "Again")]
    assert {post.image for post in posts} == {(tmp_path / "a" / URI).resolve()}
    assert (note.reason, note.is_note) == ("posts read before, which count once: 5", True)


@pytest.mark.usefixtures("cache")
def test_a_post_of_an_unreadable_heic_that_is_listed_twice_is_no_loss(tmp_path: Path) -> None:
    put(tmp_path / "in" / "media" / "1.heic", HEIC)
    entries = [{"media": [item("media/1.heic", title=title)]} for title in ("Quay #quay", "")]
    put_json(tmp_path / "in" / "content" / "posts_1.json", entries)
    report = build([tmp_path / "in"], tmp_path / "index")
    assert {(r.source, r.post_kept) for r in report.rejections if not r.is_note} == {
        (str(tmp_path / "in" / "media" / "1.heic"), True)
    }
    assert report.counts["posts"] == 1


# ZIP files that mean ill.


def posts_zip(path: Path, *, entries: Any, **files: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        file.writestr("content/posts_1.json", json.dumps(entries))
        for name, content in files.items():
            file.writestr(name, content)
    return path


def test_names_in_a_zip_lead_nowhere(tmp_path: Path, cache: Path) -> None:
    names = ["../../evil.jpg", "/etc/evil.jpg", "media/../../evil.jpg", "..\\evil.jpg"]
    entries = [{"media": [item(name, title=f"{n} #a")]} for n, name in enumerate(names)]
    secret = put(tmp_path / "evil.jpg", JPEG + b"secret")
    made = posts_zip(tmp_path / "in" / "a.zip", entries=entries, **dict.fromkeys(names, JPEG))
    before = {path for path in tmp_path.rglob("*") if cache not in path.parents}
    posts, _ = read(made)
    assert len(posts) == 4
    for post in posts:
        assert post.image is None or post.image.parent == cache
    after = {path for path in tmp_path.rglob("*") if cache not in path.parents}
    assert after - before <= {cache, cache.parent}
    assert secret.read_bytes() == JPEG + b"secret"


@pytest.mark.usefixtures("cache")
def test_a_zip_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_SMALL", 1 << 20)
    entries = [{"media": [item("media/a.jpg", title=f"{n} #a")], "fbid": n} for n in range(50)]
    big = {"media/a.jpg": JPEG + bytes(20_000_000)}
    made = posts_zip(tmp_path / "a.zip", entries=entries, **big)
    assert made.stat().st_size < 100_000
    tracemalloc.start()
    posts, rejections = read(made)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [bool(post.image) for post in posts] == [True] + [False] * 49
    assert {r.reason for r in rejections} == {
        "picture 'media/a.jpg': found more than 32 unpacked bytes for each packed one, "
        "unzip it first into a folder"
    }
    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "found a damaged ZIP file"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "found a damaged ZIP file"),
    ],
)
def test_a_damaged_zip(tmp_path: Path, spoil: Any, reason: str) -> None:
    made = posts_zip(tmp_path / "a.zip", entries=[{"media": [item(title="x #a")]}])
    spoil(made)
    with pytest.raises(InputError, match=reason):
        read(made)


def test_packing_that_has_no_bound(tmp_path: Path) -> None:
    folder = tmp_path / "bombs"
    put_json(folder / "content" / "posts_1.json", [{"media": [item(title="x #a")]}])
    made = zipped(folder, packing=ZIP_BZIP2)
    _, (told,) = read(made, reader="instagram-export")
    assert told.reason == "found another packing method, unzip it first into a folder"


def test_a_list_of_files_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_DIRECTORY", 100_000)
    made = tmp_path / "a.zip"
    with ZipFile(made, "w") as file:
        for number in range(3000):
            file.writestr(f"media/{number}.jpg", b"")
    with pytest.raises(InputError, match="its list of files has more than 100,000 bytes"):
        read(made)
