"""Folders of Instaloader: both shapes of node, carousels, videos, captions alone, other files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from indexer.posts import count_rows
from tests.scrapes import JPEG, NOON, PNG, graph_node, phone_node, put, put_json, read, signed

STEM = "2016-03-26_12-00-00_UTC"
MOMENT = datetime(2016, 3, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize("ending", [".json", ".json.xz"])
@pytest.mark.parametrize("node", [graph_node, phone_node])
def test_a_post_of_either_shape(tmp_path: Path, ending: str, node: Any) -> None:
    put_json(tmp_path / "ann" / f"{STEM}{ending}", signed(node("CI5REoqrS8V", "Lake #Café#calm")))
    put(tmp_path / "ann" / f"{STEM}.jpg")
    (post,), rejections = read(tmp_path)
    assert rejections == []
    assert (post.post_id, post.caption, post.author) == ("CI5REoqrS8V", "Lake", "ann")
    assert (post.hashtags, post.forms) == (("café", "calm"), ("Café", "calm"))
    assert post.taken_at == MOMENT
    assert post.image == (tmp_path / "ann" / f"{STEM}.jpg").resolve()
    assert count_rows([tmp_path]) == 1


def test_shapes_that_came_and_went(tmp_path: Path) -> None:
    nodes = {
        "old": graph_node("v3", "frameless #a"),
        "bare": {"node": {"code": "c1", "caption": {"text": "of the phone #b"}, "taken_at": NOON,
                          "user": {"username": "bob"}}},
        "no-name": signed(graph_node("c2", "no name #c", owner={"id": "7"})),
        "in-phone": signed({"shortcode": "c3", "iphone_struct": phone_node("c3", "d")
                            ["iphone_struct"] | {"caption": {"text": "inside #d"}}}),
    }  # fmt: skip
    for name, value in nodes.items():
        put_json(tmp_path / f"{name}.json", value)
    posts, rejections = read(tmp_path)
    assert rejections == []
    assert [(p.post_id, p.caption, p.hashtags, p.author, p.taken_at) for p in posts] == [
        ("c1", "of the phone", ("b",), "bob", MOMENT),
        ("c3", "inside", ("d",), "ann", MOMENT),
        ("c2", "no name", ("c",), "7", MOMENT),
        ("v3", "frameless", ("a",), "ann", MOMENT),
    ]


def test_a_carousel_is_one_post_with_its_first_picture(tmp_path: Path) -> None:
    children = {"edges": [{"node": {"is_video": n == 1}} for n in range(4)]}
    node = graph_node("c", "three #a", __typename="GraphSidecar", edge_sidecar_to_children=children)
    put_json(tmp_path / f"{STEM}.json.xz", signed(node))
    put(tmp_path / f"{STEM}_2.jpg", b"<html>not found</html>")
    put(tmp_path / f"{STEM}_3.jpg", b"")
    put(tmp_path / f"{STEM}_4.webp", PNG)
    put(tmp_path / f"{STEM}_10.jpg")
    (post,), rejections = read(tmp_path)
    assert rejections == []
    assert post.image == (tmp_path / f"{STEM}_4.webp").resolve()


def test_children_that_are_missing_or_no_pictures(tmp_path: Path) -> None:
    put_json(tmp_path / "a.json", signed(graph_node("a", "all missing #a")))
    put_json(tmp_path / "b.json", signed(graph_node("b", "a web page #b")))
    put(tmp_path / "b_1.jpg", b"<html>not found</html>")
    (a, b), (told,) = read(tmp_path)
    assert (a.image, b.image) == (None, None)
    assert told.post_kept
    assert told.reason == "picture 'b_1.jpg': found a file of another form, expected a picture"


def test_a_video_has_its_thumbnail(tmp_path: Path) -> None:
    video = {"__typename": "GraphVideo", "is_video": True}
    put_json(tmp_path / f"{STEM}.json.xz", signed(graph_node("v", "a film #a", **video)))
    put_json(tmp_path / "w.json.xz", signed(graph_node("w", "without #a", **video)))
    put(tmp_path / f"{STEM}.mp4", b"film")
    put(tmp_path / f"{STEM}.jpg")
    put(tmp_path / "w.mp4", b"film")
    (v, w), rejections = read(tmp_path)
    assert (v.image, w.image) == ((tmp_path / f"{STEM}.jpg").resolve(), None)
    assert rejections == []


def test_what_is_about_something_else_is_passed_over(tmp_path: Path) -> None:
    put_json(tmp_path / "ann_35155306.json.xz", signed({"username": "ann"}, "Profile"))
    put_json(tmp_path / "iterator_x.json.xz", signed({"remaining_data": {}}, "FrozenNodeIterator"))
    put_json(tmp_path / "story.json", signed({"shortcode": "s"}, "StoryItem"))
    put_json(tmp_path / f"{STEM}_comments.json", [{"id": 1, "text": "nice #not-mine"}])
    put(tmp_path / "2016-03-26_12-00-00_UTC_profile_pic.jpg")
    put(tmp_path / "id", "35155306")
    put_json(tmp_path / f"{STEM}.json", signed(graph_node("c", "mine #a")))
    put(tmp_path / f"{STEM}_location.txt", "Lake Como #far")
    (post,), rejections = read(tmp_path)
    assert (post.post_id, post.hashtags, rejections) == ("c", ("a",), [])


def test_the_caption_file_says_what_the_node_does_not(tmp_path: Path) -> None:
    put_json(tmp_path / f"{STEM}.json", signed(graph_node("c", None)))
    put(tmp_path / f"{STEM}.txt", "\ufeffbeside #a")
    put_json(tmp_path / "d.json", signed(graph_node("d", "own #b")))
    put(tmp_path / "d.txt", "beside #c")
    (c, d), rejections = read(tmp_path)
    assert (c.caption, c.hashtags, d.caption, d.hashtags) == ("beside", ("a",), "own", ("b",))
    assert rejections == []


def test_captions_without_json(tmp_path: Path) -> None:
    put(tmp_path / "ann" / f"{STEM}.txt", "kept alone #a")
    put(tmp_path / "ann" / f"{STEM}_1.jpg", b"no picture")
    put(tmp_path / "ann" / f"{STEM}_2.jpg", JPEG)
    put(tmp_path / "ann" / "2016-13-26_12-00-00_UTC.txt", "no such month #b")
    put(tmp_path / "ann" / "2016-03-27_12-00-00_UTC.txt", b"caf\xe9 #c")
    put(tmp_path / "ann" / "2016-03-27_12-00-00_UTC.jpg", JPEG)
    (a, c, b), (cut, month) = read(tmp_path)
    assert (a.post_id, a.caption, a.hashtags) == (f"ann/{STEM}", "kept alone", ("a",))
    assert (a.taken_at, a.author) == (MOMENT, None)
    assert a.image == (tmp_path / "ann" / f"{STEM}_2.jpg").resolve()
    assert (b.caption, b.taken_at, c.caption) == ("no such month", None, "")
    assert "not UTF-8 (invalid continuation byte), save it as UTF-8" in cut.reason
    assert month.reason == "found no time in the name '2016-13-26_12-00-00_UTC'"


def test_ids_stay_when_the_scrape_moves(tmp_path: Path) -> None:
    for name in ("first", "second"):
        put_json(tmp_path / name / "ann" / f"{STEM}.json", signed(graph_node("c", "x #a")))
        put(tmp_path / name / "ann" / "2016-03-27_12-00-00_UTC.txt", "y #b")
    first, second = (read(tmp_path / name)[0] for name in ("first", "second"))
    assert [p.post_id for p in first] == ["c", "ann/2016-03-27_12-00-00_UTC"]
    assert [(p.post_id, p.content_hash) for p in first] == [
        (p.post_id, p.content_hash) for p in second
    ]
    both, (again,) = read(tmp_path / "first", tmp_path / "second")
    assert len(both) == 2
    assert str(again) == "2 files: posts read before, which count once: 2"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "malformed JSON"),
        (b'{"node": {"shortcode": "x"', "malformed JSON"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b'{"node": ' * 70 + b"1" + b"}" * 70, "nested deeper than 64"),
        (b'{"node": {"shortcode": "\xff"}}', "not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "malformed JSON"),
        (b'{"node": 3, "instaloader": {"node_type": "Post"}}', "found a number as node"),
        (b'{"node": {"shortcode": "x", "caption": [1]}}', "found a list as caption"),
        (b'{"node": {"shortcode": "x", "caption": ""}}', "found neither caption, hashtags nor"),
        (b" " * (8 << 20) + b" ", "found more than 8,388,608 bytes, which no tool"),
    ],
)
def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path, content: bytes, reason: str) -> None:
    put_json(tmp_path / "a.json", signed(graph_node("a", "x #a")))
    bad = put(tmp_path / "b.json", content)
    put_json(tmp_path / "c.json.xz", signed(graph_node("c", "x #a")))
    posts, (rejection,) = read(tmp_path, reader="instaloader")
    assert [post.post_id for post in posts] == ["a", "c"]
    assert (rejection.source, rejection.line, rejection.post_kept) == (str(bad), None, False)
    assert reason in rejection.reason
