"""Readers of posts: the three forms, what is taken from a row, and everything a row can lack."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
import tracemalloc
import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashlens.indexer.decoding.loading import MAX_BYTES
from hashlens.indexer.posts.reader import count_rows
from hashlens.indexer.types import Post
from tests.support.posts_files import one, read, write_csv, write_jsonl, write_parquet

FIELDS = ("id", "image", "caption", "hashtags", "author", "taken_at", "topic")
NOON = datetime(2016, 3, 26, 12, tzinfo=UTC)
PICTURE = b"\xff\xd8 not looked into here"
ROWS: list[dict[str, Any]] = [
    {
        "id": "p1",
        "image": "pics/a.jpg",
        "caption": "Evening at the lake #Sunset#calm",
        "hashtags": ["calm", "Lake", "#sunset"],
        "author": "ann",
        "taken_at": "2016-03-26T12:00:00Z",
        "topic": "nature",
        "origin": "lakes",
    },
    {"id": "p2", "caption": "just, words"},
    {"id": "p3", "hashtags": ["İstanbul", "istanbul"]},
    {"id": "p4", "image": "pics/a.jpg"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.jpg").write_bytes(PICTURE)
    return tmp_path


WRITERS = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}


@pytest.mark.parametrize("form", WRITERS)
def test_the_three_forms_give_the_same_posts(folder: Path, form: str) -> None:
    path = WRITERS[form](folder / f"posts.{form}", ROWS)
    posts, rejections = read(folder)
    assert rejections == []
    content = (
        '{"author":"ann","caption":"Evening at the lake","hashtags":["sunset","calm","lake"],'
        f'"picture":"{hashlib.sha256(PICTURE).hexdigest()}",'
        '"taken_at":"2016-03-26T12:00:00+00:00","topic":"nature"}'
    )
    assert posts[0] == Post(
        post_id="p1",
        image=(folder / "pics" / "a.jpg").resolve(),
        caption="Evening at the lake",
        hashtags=("sunset", "calm", "lake"),
        forms=("Sunset", "calm", "Lake"),
        author="ann",
        taken_at=NOON,
        topic="nature",
        content_hash=hashlib.sha256(content.encode()).hexdigest(),
        origin="lakes",
        picture=hashlib.sha256(PICTURE).hexdigest(),
    )
    assert [(p.post_id, p.caption, p.hashtags, p.forms) for p in posts[1:]] == [
        ("p2", "just, words", (), ()),
        ("p3", "", ("istanbul",), ("İstanbul",)),
        ("p4", "", (), ()),
    ]
    assert count_rows([folder]) == count_rows([path]) == 4


def test_the_rule_of_x_leaves_glued_hashtags(folder: Path) -> None:
    path = write_jsonl(folder / "posts.jsonl", [{"id": "a", "caption": "sea#view #lake"}])
    (post,), _ = read(path, rule="x")
    assert (post.caption, post.hashtags) == ("sea#view", ("lake",))


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        ("sunset lake", ("sunset", "lake")),
        ("#sunset#lake, Sunset", ("sunset", "lake")),
        ("['sunset', 'lake']", ("sunset", "lake")),
        ('["\\u6771\\u4eac", "lake"]', ("東京", "lake")),
        (" , ", ()),
    ],
)
def test_hashtags_as_text(folder: Path, cell: str, keys: tuple[str, ...]) -> None:
    (post,), rejections = one(folder, caption="x", hashtags=cell)
    assert (post.hashtags, rejections) == (keys, [])


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2016-03-26T12:00:00.000Z", NOON),
        ("2016-03-26T14:00:00+02:00", NOON),
        ("2016-03-26 12:00", NOON),
        ("2016-03-26", datetime(2016, 3, 26, tzinfo=UTC)),
        ("20160326", datetime(2016, 3, 26, tzinfo=UTC)),
        (1458993600, NOON),
        (1458993600.0, NOON),
        ("1458993600", NOON),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
)
def test_moments_are_in_utc(folder: Path, value: object, moment: datetime | None) -> None:
    (post,), rejections = one(folder, caption="x", taken_at=value)
    assert (post.taken_at, rejections) == (moment, [])


def test_moments_of_parquet(folder: Path) -> None:
    noon = datetime(2016, 3, 26, 12)
    write_parquet(
        folder / "a.parquet",
        [{"caption": "x", "taken_at": noon}, {"caption": "y", "taken_at": None}],
    )
    write_parquet(folder / "b.parquet", [{"caption": "z", "taken_at": date(2016, 3, 26)}])
    posts, rejections = read(folder)
    assert [post.taken_at for post in posts] == [NOON, None, datetime(2016, 3, 26, tzinfo=UTC)]
    assert rejections == []


@pytest.mark.parametrize(
    "value", ["yesterday", 1e30, -1e30, 1458993600000, True, ["2016"], "0001-01-01T00:00+09:00"]
)
def test_a_post_with_a_bad_date_is_kept_without_it(folder: Path, value: object) -> None:
    (post,), (rejection,) = one(folder, caption="x", taken_at=value)
    assert post.taken_at is None
    assert rejection.post_kept
    assert "as taken_at, expected ISO 8601" in rejection.reason


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("../secret.jpg", "expected a path relative"),
        ("pics/../../secret.jpg", "expected a path relative"),
        ("/etc/hostname", "expected a path relative"),
        ("file:///etc/hostname", "expected a path relative"),
        ("pics/a.jpg\0.png", "expected a path relative"),
        ("pics/link.jpg", "found a link out"),
        ("pics/loop.jpg", "cannot be read"),
        ("pics/none.jpg", "found no such file"),
        ("pics", "found no such file"),
        ("a" * 5000, "cannot be read"),
        ("\ud800.jpg", "cannot be read"),
        (7, "found a number, expected a path"),
    ],
)
def test_a_picture_that_cannot_be_used(folder: Path, image: object, reason: str) -> None:
    posts = folder / "posts"
    posts.mkdir()
    (folder / "pics").rename(posts / "pics")
    (folder / "secret.jpg").write_bytes(PICTURE)
    (posts / "pics" / "link.jpg").symlink_to(folder / "secret.jpg")
    (posts / "pics" / "loop.jpg").symlink_to("loop.jpg")
    rows = [{"id": "kept", "image": image, "caption": "x"}, {"id": "lost", "image": image}]
    (post,), (kept, lost) = read(write_jsonl(posts / "posts.jsonl", rows))
    assert (post.post_id, post.image) == ("kept", None)
    assert (kept.line, kept.post_kept, lost.line, lost.post_kept) == (1, True, 2, False)
    assert reason in kept.reason
    assert reason in lost.reason


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "pics" / "b.jpg").symlink_to("a.jpg")
    (post,), rejections = one(folder, image="pics/b.jpg")
    assert (post.image, rejections) == ((folder / "pics" / "a.jpg").resolve(), [])


def test_a_picture_too_large_is_not_read(folder: Path) -> None:
    os.truncate(folder / "pics" / "a.jpg", MAX_BYTES + 1)
    (post,), (rejection,) = one(folder, image="pics/a.jpg", caption="x")
    assert post.image is None
    assert "found 25,000,001 bytes, expected 25,000,000 at most" in rejection.reason


def test_parts_that_are_no_hashtags_are_reported(folder: Path) -> None:
    (post,), rejections = one(folder, hashtags=["ok", "two words", 7, "123", "#ok"])
    assert post.hashtags == ("ok",)
    assert all(rejection.post_kept for rejection in rejections)
    assert [r.reason[:32] for r in sorted(rejections, key=lambda r: r.reason)] == [
        "found '123', expected a hashtag:",
        "found 'two words', expected a ha",
        "found a number among hashtags, e",
    ]


def test_pieces_that_a_scraper_tore_off_are_left_out(folder: Path) -> None:
    listed = ["espa", "f", "Z", "lago", "spain", "zur", "b"]
    caption = "#España #Fútbol #zürich #lagos ciudad"
    (post,), rejections = one(folder, caption=caption, hashtags=listed)
    assert post.hashtags == ("españa", "fútbol", "zürich", "lagos", "lago", "spain", "zur", "b")
    assert rejections == []


@pytest.mark.parametrize(
    ("caption", "listed"),
    [
        ("#日本語", ["日本"]),  # no tokeniser cuts there
        ("#tokyo東京 #seoul서울", ["tokyo", "seoul"]),  # whole words, whoever cut them
        ("#España #Fútbol", ["espa"]),  # a tokeniser would have cut both
        ("#España", ["espa", "playa de mañana"]),  # it would have cut this one, too
        ("#España", ["esp"]),
        ("#москва #cafe", ["мос", "caf"]),
    ],
)
def test_lists_that_were_made_as_lists_stay_whole(
    folder: Path, caption: str, listed: list[str]
) -> None:
    (post,), _ = one(folder, caption=caption, hashtags=listed)
    assert {tag for tag in listed if " " not in tag} <= set(post.hashtags)


@pytest.mark.parametrize("caption", ["#España #sol", unicodedata.normalize("NFD", "#España #sol")])
def test_a_list_of_pieces_alone_is_left_out(folder: Path, caption: str) -> None:
    cut = re.findall(r"#(\w+)", caption, re.ASCII)
    (post,), _ = one(folder, caption=caption, hashtags=cut)
    assert post.hashtags == ("españa", "sol")


def test_text_is_made_storable(folder: Path) -> None:
    (post,), _ = one(folder, caption="cut \ud83d and\0nul \U0001f600", id=12, author=34)
    assert post.caption == "cut \ufffd and nul \U0001f600"
    assert (post.post_id, post.author) == ("12", "34")


def test_a_post_without_an_id_is_named_after_its_content(folder: Path) -> None:
    rows = [{"caption": "x"}, {"caption": "y"}, {"caption": "x"}, {"caption": "x"}]
    (x, y, again, third), rejections = read(write_jsonl(folder / "posts.jsonl", rows))
    assert x.post_id == f"sha256-{x.content_hash[:16]}"
    assert x.post_id != y.post_id
    assert (again.post_id, third.post_id) == (f"{x.post_id}-2", f"{x.post_id}-3")
    assert again.content_hash == x.content_hash
    assert rejections == []


def test_the_same_post_again_is_counted_and_another_of_its_id_is_rejected(folder: Path) -> None:
    rows = [{"id": "a", "caption": "x"}, {"id": "a", "caption": "x", "likes": 3}]
    rows += [{"id": "a", "caption": "x"}, {"id": "a", "caption": "y"}]
    path = write_jsonl(folder / "posts.jsonl", rows)
    (post,), (other, again) = read(path)
    assert post.caption == "x"
    assert (other.line, other.post_kept, other.is_note) == (4, False, False)
    assert other.reason == f"found id 'a' again, first at {path}:1"
    assert str(again) == f"{path}: posts read before, which count once: 2"
    assert (again.post_kept, again.is_note) == (True, True)


def test_the_first_hundred_hashtags_count(folder: Path) -> None:
    names = [f"t{n}" for n in range(8000)]
    caption = "#" + "#".join(names)
    for fields in ({"caption": caption}, {"hashtags": names}, {"hashtags": " ".join(names)}):
        (post,), (rejection,) = one(folder, **fields)
        assert post.hashtags == tuple(names[:100])
        assert rejection.post_kept
        assert rejection.reason == (
            "found 8,000 hashtags, expected 100 at most: the first 100 count"
        )
    (post,), rejections = one(folder, caption="#" + "#".join(names[:100]), hashtags=names[:100])
    assert (len(post.hashtags), rejections) == (100, [])


def test_a_post_of_a_megabyte_takes_little_memory_and_time(folder: Path) -> None:
    names = [f"é{n}" for n in range(50_000)]
    wide = "".join(f"#ä{n}" for n in range(10_000))
    tracemalloc.start()
    began = time.process_time()
    (post,), (rejection,) = one(folder, caption=wide, hashtags=names)
    assert time.process_time() - began < 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(post.hashtags) == 100
    assert rejection.reason.startswith("found 60,000 hashtags, expected 100 at most")
    assert peak < 150 << 20


def test_bad_hashtags_without_end_are_reported_a_hundred_times(folder: Path) -> None:
    _, rejections = one(folder, caption="x", hashtags=["1 2"] * 5000)
    assert len(rejections) == 101
    assert rejections[-1].reason == "found more of the same"


@pytest.mark.parametrize(
    ("value", "name"),
    [(1.0, "1"), (12, "12"), (1.5, "1.5"), ("7.0", "7"), ("v1.0", "v1.0")],
)
def test_numbers_as_names(folder: Path, value: object, name: str) -> None:
    (post,), rejections = one(folder, id=value, author=value, caption="x")
    assert (post.post_id, post.author, rejections) == (name, name, [])


@pytest.mark.parametrize("field", FIELDS)
def test_not_a_number_is_an_empty_field(folder: Path, field: str) -> None:
    fields = {"id": "a", "caption": "x", "hashtags": ["b"]}
    (post,), rejections = one(folder, **(fields | {field: math.nan}))
    assert rejections == []
    assert post == one(folder, **{n: v for n, v in fields.items() if n != field})[0][0]


@pytest.mark.parametrize(
    "cell",
    [
        "#cat\ufffd#dog\ufffd#sofa", "cat\u00a0dog\u00a0sofa", "cat|dog|sofa", "#cat/#dog/#sofa",
        "#cat · #dog·#sofa", "#cat\u200b#dog\u2060#sofa", "cat;dog；sofa", "cat、dog，sofa",
        "['#cat', '#dog', '#sofa']", '["cat","dog","sofa"]', "{cat,dog,sofa}", "cat\tdog\nsofa",
        "cat • dog • sofa", "#cat-#dog-#sofa", "cat\\ndog\\nsofa", "cat -> dog -> sofa",
    ],
)  # fmt: skip
def test_any_separator_splits_hashtags_of_a_cell(folder: Path, cell: str) -> None:
    (post,), rejections = one(folder, caption="x", hashtags=cell)
    assert (post.hashtags, rejections) == (("cat", "dog", "sofa"), [])


def test_parts_of_words_in_a_cell_are_not_torn(folder: Path) -> None:
    (post,), (rejection,) = one(folder, hashtags="#col·lecció, ラ・ムー, co-op")
    assert post.hashtags == ("col·lecció", "ラ・ムー")
    assert rejection.reason.startswith("found 'co-op', expected a hashtag")


def test_listed_hashtags_may_be_objects(folder: Path) -> None:
    entries = [{"id": 1, "title": "cat"}, {"text": "dog", "indices": [0, 4]}, {"likes": 3}]
    (post,), (rejection,) = one(folder, hashtags=entries)
    assert post.hashtags == ("cat", "dog")
    assert rejection.reason == "found an object among hashtags, expected text"


def test_the_moments_of_x(folder: Path) -> None:
    (post,), rejections = one(folder, caption="x", created_at="Sat Mar 26 12:00:00 +0000 2016")
    assert (post.taken_at, rejections) == (NOON, [])


@pytest.mark.parametrize(
    "name",
    [
        "pics\\a.jpg", " pics/a.jpg ", "pics\\Café.jpg", "pics/Cafe\u0301.jpg", "pics/Café.jpg",
        ".\\pics\\a.jpg", "pics/a.jpg\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_pictures_as_other_systems_write_them(
    folder: Path, name: str, form: Literal["NFC", "NFD"]
) -> None:
    cafe = folder / "pics" / unicodedata.normalize(form, "Café.jpg")
    cafe.write_bytes(b"\xff\xd8 of a cafe")
    (post,), rejections = one(folder, caption="x", image=name)
    wanted = folder / "pics" / "a.jpg" if "a.jpg" in name else cafe
    assert (post.image, rejections) == (wanted.resolve(), [])


@pytest.mark.parametrize(
    "name", ["..\\secret.jpg", "pics\\..\\..\\x", " /etc/hostname", "C:\\a.jpg"]
)
def test_names_of_other_systems_do_not_lead_out(folder: Path, name: str) -> None:
    posts = folder / "posts"
    posts.mkdir()
    (folder / "secret.jpg").write_bytes(PICTURE)
    (post,), (rejection,) = one(posts, caption="x", image=name)
    assert post.image is None
    assert "expected a path relative" in rejection.reason


def test_a_file_whose_name_has_a_backslash_comes_first(folder: Path) -> None:
    (folder / "pics\\a.jpg").write_bytes(b"\xff\xd8 another")
    (post,), _ = one(folder, image="pics\\a.jpg")
    assert post.image == (folder / "pics\\a.jpg").resolve()


def test_addresses_of_pictures_are_counted(folder: Path) -> None:
    rows = [{"id": str(n), "caption": "x", "image": "https://a.io/a.jpg"} for n in range(3)]
    rows += [{"id": "4", "displayUrl": "//cdn.io/b.jpg"}]
    path = write_jsonl(folder / "posts.jsonl", rows)
    posts, (lost, note) = read(path)
    assert [post.image for post in posts] == [None] * 3
    assert (lost.line, lost.reason) == (4, "found neither caption, hashtags nor picture")
    assert str(note) == f"{path}: pictures on the web, which are not fetched: 4"
    assert note.is_note


def test_content_decides_the_hash(folder: Path) -> None:
    changed: list[dict[str, Any]] = [
        {}, {"id": "other"}, {"caption": "else"}, {"hashtags": ["b"]}, {"author": "b"},
        {"taken_at": 1}, {"topic": "b"}, {"image": "pics/b.jpg"}, {"likes": 9},
    ]  # fmt: skip
    (folder / "pics" / "b.jpg").write_bytes(b"another")
    plain: dict[str, Any] = {
        "id": "x",
        "caption": "c",
        "hashtags": ["a"],
        "author": "a",
        "taken_at": 0,
    }
    plain |= {"topic": "a", "image": "pics/a.jpg"}
    hashes = [one(folder, **(plain | change))[0][0].content_hash for change in changed]
    assert len(set(hashes)) == 7
    assert hashes[0] == hashes[1] == hashes[8]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON), max_size=4), st.binary(max_size=60))
def test_any_row_of_a_file_is_a_post_or_a_rejection(
    tmp_path: Path, rows: list[Any], noise: bytes
) -> None:
    path = write_jsonl(tmp_path / "posts.jsonl", rows)
    path.write_bytes(path.read_bytes() + noise)
    posts, rejections = read(path)
    lost = [r.line for r in rejections if not r.post_kept]
    lines = [n for n, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
    assert len(posts) + len(lost) == len(lines)
    assert len(set(lost)) == len(lost)
    for post in posts:
        json.dumps([post.post_id, post.caption, post.forms], ensure_ascii=False).encode("utf-8")


def test_real_posts_are_read_whole(posts_folder: Path) -> None:
    posts, rejections = read(posts_folder / "tweets_images")
    assert len(posts) == 4188
    assert all(rejection.post_kept for rejection in rejections)
    assert all(post.image and post.image.is_file() for post in posts)
