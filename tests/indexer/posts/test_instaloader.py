"""Folders of Instaloader: both shapes of node, carousels, videos, captions alone, other files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashlens.cli import app
from hashlens.indexer.posts.parser import FROM_COMMENT
from hashlens.indexer.posts.reader import count_rows
from tests.support.scrape_files import (
    JPEG,
    NOON,
    PNG,
    graph_node,
    phone_node,
    put,
    put_json,
    read,
    signed,
)

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


def test_shapes_of_old_and_new_versions(tmp_path: Path) -> None:
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


def test_files_about_something_else_are_skipped(tmp_path: Path) -> None:
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


def test_the_caption_file_replaces_a_missing_caption(tmp_path: Path) -> None:
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
    assert str(again) == f"{tmp_path / 'second'}: posts read before, which count once: 2"
    assert again.is_note


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


ANN = {"id": "35155306", "username": "ann"}
BOB = {"id": "7", "username": "bob"}


def comment(number: int, text: str, owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What Instaloader writes of a comment; it writes the newest first."""
    said = {"id": number, "created_at": NOON + number, "text": text, "owner": owner}
    return said | {"likes_count": 0, "answers": []} | more


def edges(*comments: dict[str, Any]) -> dict[str, Any]:
    return {"count": len(comments), "edges": [{"node": one} for one in comments]}


COMMENTS = [
    comment(9, "thanks all #blessed", ANN),
    comment(3, "wow #nice", BOB),
    comment(2, "#Café #calm", ANN, answers=[comment(4, "reply #deep", ANN)]),
    comment(1, "first #stranger", BOB),
]


@pytest.mark.parametrize("node", [graph_node, phone_node])
@pytest.mark.parametrize(
    "place",
    ["_comments.json", "_comments.json.xz", "edge_media_to_parent_comment",
     "edge_media_to_comment", "edge_media_preview_comment"],
)  # fmt: skip
def test_the_authors_own_first_comment(tmp_path: Path, place: str, node: Any) -> None:
    more = {} if place.startswith("_") else {place: edges(*COMMENTS)}
    put_json(tmp_path / f"{STEM}.json.xz", signed(node("c", "Lake #calm #a", **more)))
    if place.startswith("_"):
        put_json(tmp_path / f"{STEM}{place}", COMMENTS)
    (post,), (note,) = read(tmp_path)
    assert (post.caption, post.hashtags) == ("Lake", ("calm", "a", "café"))
    assert (note.source, note.reason) == (str(tmp_path), f"{FROM_COMMENT}: 1")
    assert note.is_note
    (post,), rejections = read(tmp_path, first_comment=False)
    assert (post.hashtags, rejections) == (("calm", "a"), [])


@pytest.mark.parametrize(
    ("owner", "is_own"),
    [
        ({"id": 35155306, "username": "ann"}, True),
        ({"id": "35155306", "username": "renamed"}, True),
        ({"username": "Ann"}, True),
        ({"id": "7", "username": "ann"}, False),  # a name that changed hands
        ({"id": "7"}, False),
        ({}, False),
        (None, False),
        ("ann", False),
        ({"id": None, "username": None}, False),
    ],
)
def test_comments_of_others_never_count(tmp_path: Path, owner: Any, *, is_own: bool) -> None:
    said = edges(comment(1, "#tag", owner))
    node = graph_node("c", "Lake", edge_media_to_parent_comment=said)
    put_json(tmp_path / f"{STEM}.json", signed(node))
    (post,), _ = read(tmp_path)
    assert post.hashtags == (("tag",) if is_own else ())


def test_comments_in_the_form_of_phones(tmp_path: Path) -> None:
    """The post's author is known by number in one place, and by name in another."""
    node = phone_node("c", "Lake", owner={"id": "35155306"})
    node["iphone_struct"]["user"] = {"username": "ann"}
    node["iphone_struct"]["preview_comments"] = [
        {"pk": "3", "created_at": NOON + 3, "text": "#late", "user": {"pk": 35155306}},
        {"pk": "2", "created_at": NOON + 2, "text": "#own", "user": {"username": "Ann"}},
        {"pk": "1", "created_at": NOON + 1, "text": "#other", "user": {"pk": 7, "username": "ann"}},
    ]
    put_json(tmp_path / f"{STEM}.json", signed(node))
    (post,), (note,) = read(tmp_path)
    assert (post.hashtags, note.is_note) == (("own",), True)


def test_a_post_without_owner_has_no_comment_of_its_own(tmp_path: Path) -> None:
    said = edges(comment(1, "#tag", {}), comment(2, "#tag", {"id": None}))
    node = graph_node("c", "Lake", edge_media_to_parent_comment=said, owner={})
    put_json(tmp_path / f"{STEM}.json", signed(node))
    (post,), _ = read(tmp_path)
    assert (post.author, post.hashtags) == (None, ())


def test_comments_that_cannot_be_read(tmp_path: Path) -> None:
    put_json(tmp_path / f"{STEM}.json", signed(graph_node("c", "Lake #a")))
    put(tmp_path / f"{STEM}_comments.json", b"[{")
    put_json(tmp_path / "d.json", signed(graph_node("d", "Sea #b")))
    put_json(tmp_path / "d_comments.json", {"no": "list"})
    put_json(tmp_path / "e.json", signed(graph_node("e", "Sea #b")))
    put_json(tmp_path / "e_comments.json", [comment(1, "#x" * 10_000, ANN), 7, None, [1]])
    posts, (told,) = read(tmp_path)
    assert [post.hashtags for post in posts] == [("a",), ("b",), ("b",)]
    assert told.post_kept
    assert told.reason.startswith(f"comments '{STEM}_comments.json': found malformed JSON")
    posts, rejections = read(tmp_path, first_comment=False)
    assert (len(posts), rejections) == (3, [])


def test_the_report_of_a_build_names_first_comments(tmp_path: Path) -> None:
    """The command says so, and leaves them out where it is told to."""
    scrape = tmp_path / "scrape"
    for code in ("c", "d"):
        put_json(scrape / f"{code}.json", signed(graph_node(code, f"Lake {code}")))
        put_json(scrape / f"{code}_comments.json", COMMENTS)
    told = CliRunner().invoke(app, ["build", str(scrape), "--index", str(tmp_path / "a")])
    assert told.exit_code == 0, told.output
    assert f"{FROM_COMMENT}: 2" in told.stderr
    update = ["update", str(scrape), "--index", str(tmp_path / "a"), "--no-first-comment"]
    told = CliRunner().invoke(app, update)
    assert told.exit_code == 0, told.output
    assert "0 added, 2 changed" in told.stdout
    assert "first comment" not in told.stderr
    told = CliRunner().invoke(app, update[:-1])
    assert "0 added, 2 changed" in told.stdout  # the index was built with them


def test_an_index_built_without_first_comments_stays_so(tmp_path: Path) -> None:
    put_json(tmp_path / "scrape" / "c.json", signed(graph_node("c", "Lake #a")))
    put_json(tmp_path / "scrape" / "c_comments.json", COMMENTS)
    given = [str(tmp_path / "scrape"), "--index", str(tmp_path / "a")]
    told = CliRunner().invoke(app, ["build", *given, "--no-first-comment"])
    assert told.exit_code == 0, told.output
    assert "first comment" not in told.stderr
    told = CliRunner().invoke(app, ["update", *given])
    assert "0 added, 0 changed, 1 unchanged" in told.stdout
    told = CliRunner().invoke(app, ["update", *given, "--first-comment"])
    assert "0 added, 1 changed" in told.stdout
    assert f"{FROM_COMMENT}: 1" in told.stderr


@pytest.mark.parametrize(
    ("reader", "ending"),
    [("auto", ".jpg"), ("auto", ".webp"), ("instaloader", ".jpg"), ("instaloader", ".heic")],
)
@pytest.mark.parametrize("below", ["", "ann"])
def test_carousels_named_by_shortcode_without_json(
    tmp_path: Path, reader: str, below: str, ending: str
) -> None:
    folder = tmp_path / below
    codes = {"CI5REoqrS8V": 10, "B_x-9Zq1k_3": 2}
    for code, number in codes.items():
        put(folder / f"{code}.txt", f"caption of {code} #car")
        for n in range(1, number + 1):
            put(folder / f"{code}_{n}{ending}", JPEG + bytes([n]))
    put(folder / f"Cabcdefgh_1{ending}", JPEG + b"\1")
    put(folder / "Cabcdefgh_1.txt", "single #one")
    posts, rejections = read(tmp_path, reader=reader)
    assert rejections == []
    found = {post.post_id.rpartition("/")[2]: post for post in posts}
    for code in codes:
        post = found.pop(code)
        assert (post.caption, post.hashtags) == (f"caption of {code}", ("car",))
        assert post.image
        assert post.image.name == f"{code}_1{ending}"
    ((name, single),) = found.items()
    assert name.removesuffix(ending) == "Cabcdefgh_1"
    assert single.hashtags == ("one",)


def test_pictures_without_caption_and_json(tmp_path: Path) -> None:
    for n in (1, 2):
        put(tmp_path / f"CI5REoqrS8V_{n}.jpg")
    put(tmp_path / "CabcdefghIJ.jpg")
    put(tmp_path / "2016-03-26_12-00-00_UTC_profile_pic.jpg")
    put(tmp_path / "CabcdefghIK.mp4", b"\0\0\0\x18ftypisom")
    put(tmp_path / "x.txt", "no picture #far")
    posts, rejections = read(tmp_path, reader="instaloader")
    assert [post.post_id for post in posts] == ["CI5REoqrS8V", "CabcdefghIJ"]
    assert rejections == []


def test_pictures_are_known_by_their_content(tmp_path: Path) -> None:
    unread, mp4 = b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x18ftypisom\0\0\2\0"
    put_json(tmp_path / "a.json", signed(graph_node("a", "a picture #a")))
    put(tmp_path / "a.heic", unread)
    put_json(tmp_path / "b.json", signed(graph_node("b", "an unread one, then a jpeg #b")))
    put(tmp_path / "b_1.jpg", unread)
    put(tmp_path / "b_2.heic", JPEG)
    put_json(tmp_path / "c.json", signed(graph_node("c", "a film #c")))
    put(tmp_path / "c.jpg", mp4)
    put(tmp_path / "c.mp4", JPEG)
    put(tmp_path / f"{STEM}.heic", unread)
    (a, b, c, d), rejections = read(tmp_path, reader="instaloader")
    images = [post.image.name if post.image else None for post in (a, b, c, d)]
    assert images == ["a.heic", "b_2.heic", "c.mp4", f"{STEM}.heic"]
    assert (d.post_id, d.taken_at, rejections) == (STEM, MOMENT, [])


def test_the_same_post_under_two_hashtags_is_one(tmp_path: Path) -> None:
    for folder, own in (("#canal", "c2"), ("#evening", "c3")):
        put_json(tmp_path / folder / f"{STEM}.json.xz", signed(graph_node("c1", "both #a #b")))
        put(tmp_path / folder / f"{STEM}.jpg")
        put_json(tmp_path / folder / f"{own}.json.xz", signed(graph_node(own, f"only {own} #a")))
    posts, (again,) = read(tmp_path)
    assert [(post.post_id, post.hashtags) for post in posts] == [
        ("c1", ("a", "b")), ("c2", ("a",)), ("c3", ("a",)),
    ]  # fmt: skip
    assert (again.reason, again.is_note) == ("posts read before, which count once: 1", True)
    assert again.source == str(tmp_path)


@pytest.mark.parametrize("name", ["{}/post", "{}_Sushi. night no. 1 #su", "{}_two\nlines", "{}"])
def test_other_patterns_of_names(tmp_path: Path, name: str) -> None:
    for code in ("Cd1", "Cd2"):
        stem = tmp_path / name.format(code)
        put_json(stem.with_name(f"{stem.name}.json.xz"), signed(graph_node(code, f"{code} #a")))
        for n in (2, 1):
            put(stem.with_name(f"{stem.name}_{n}.jpg"))
    posts, rejections = read(tmp_path)
    assert [post.post_id for post in posts] == ["Cd1", "Cd2"]
    assert all(post.image and post.image.name.endswith("_1.jpg") for post in posts)
    assert rejections == []
