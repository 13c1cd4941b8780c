"""Which reader a source is for, and what no source may do: lead out, loop, swell or stop."""

from __future__ import annotations

import json
import lzma
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.formats.files import MAX_FOLDERS, MAX_JSON
from hashlens.indexer.posts.formats.registry import READERS, find_reader
from hashlens.indexer.posts.reader import count_rows, read_posts
from hashlens.indexer.types import Rejection
from tests.support.scrape_files import (
    JPEG,
    broken,
    graph_node,
    put,
    put_json,
    read,
    sidecar,
    signed,
)


def a_scrape(folder: Path, name: str) -> Path:
    if name == "instaloader":
        put_json(folder / "ann" / "a.json.xz", signed(graph_node("a", "x #a")))
    elif name == "gallery-dl":
        put_json(folder / "instagram" / "ann" / "1.jpg.json", sidecar("a", "1", "x #a"))
    elif name == "instagram-export":
        entry = {"media": [{"uri": "1.mp4", "title": broken("x #ä")}]}
        put_json(folder / "content" / "posts_1.json", [entry])
    elif name == "captioned":
        put(folder / "a.jpg")
        put(folder / "a.txt", "x #a")
    else:
        put(folder / "posts.jsonl", '{"caption": "x #a"}')
    return folder


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"huggingface"}))
def test_the_reader_is_found_from_what_a_source_holds(tmp_path: Path, name: str) -> None:
    folder = a_scrape(tmp_path / "scrape", name)
    put_json(folder / "package.json", {"name": "no scrape", "version": 1})
    put(folder / "torn.json", b"{")
    put(folder / "notes.txt", "nothing")
    assert find_reader(folder) is READERS[name]
    assert find_reader(folder, name) is READERS[name]
    (post,), _ = read(folder)
    assert post.caption == "x"


@pytest.mark.parametrize("name", ["instaloader", "gallery-dl", "instagram-export", "captioned"])
def test_one_file_of_a_scrape_stands_for_itself(tmp_path: Path, name: str) -> None:
    folder = a_scrape(tmp_path / "scrape", name)
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    for other in ("b.json.xz", "b.jpg", "b.jpg.json"):
        put(file.parent / other, file.read_bytes())
    assert find_reader(file) is READERS[name]
    (post,), _ = read(file)
    assert post.caption == "x"


def test_tables_beside_a_scrape_are_not_taken_for_posts(tmp_path: Path) -> None:
    folder = a_scrape(tmp_path, "instaloader")
    put(folder / "comments.csv", "id,text\n1,nice #not-mine\n")
    assert find_reader(folder) is READERS["instaloader"]
    assert find_reader(folder, has_columns=True) is READERS["tables"]
    put(folder / "more.csv", "id,caption\n1,x\n")
    assert find_reader(folder / "more.csv") is READERS["tables"]
    put(folder / "posts.csv", "id,caption\n1,x\n")
    assert find_reader(folder) is READERS["tables"]


def test_many_sources_each_have_their_reader(tmp_path: Path) -> None:
    names = ["tables", "gallery-dl", "instagram-export", "captioned"]
    posts, rejections = read(*(a_scrape(tmp_path / name, name) for name in names))
    assert [post.hashtags for post in posts] == [("a",), ("a",), ("ä",), ("a",)]
    assert rejections == []


def test_a_source_that_no_reader_is_for(tmp_path: Path) -> None:
    put_json(tmp_path / "a" / "package.json", {"name": "no scrape"})
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    readers = ", ".join(READERS)
    for source, reader, reason in [
        (tmp_path / "a", "auto", rf"found package.json in .*; or a scrape, .* \({readers}\)"),
        (tmp_path / "a" / "package.json", "auto", "found .*package.json, expected .*; or a scrape"),
        (tmp_path / "a", "ig", rf"found reader 'ig', expected one of auto, {readers}"),
        (tmp_path / "none", "instaloader", "found nothing at .*none"),
        (pipe, "auto", "found a pipe or device, expected a file or folder"),
        (tmp_path / "a", "huggingface", "found no Parquet file in"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=reason):
            read(source, reader=reader)
    assert count_rows([tmp_path / "a"]) is None


def test_links_are_not_followed_out_or_in_circles(tmp_path: Path) -> None:
    root = a_scrape(tmp_path / "scrape", "instaloader")
    outside = put_json(tmp_path / "secret.json", signed(graph_node("secret", "x #a")))
    put(tmp_path / "secret.jpg")
    (root / "ann" / "b.json").symlink_to(outside)
    (root / "ann" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "ann" / "circle").symlink_to(root)
    (root / "ann" / "c.json").symlink_to("c.json")
    put_json(root / "ann" / ".d.json", signed(graph_node("d", "x #a")))
    os.mkfifo(root / "ann" / "e.json")
    (root / "ann" / "f.json.xz").symlink_to("a.json.xz")
    (post,), rejections = read(root)
    assert (post.post_id, post.image) == ("a", None)
    told = {Path(r.source).name: r.reason for r in rejections}
    assert (
        told["a.jpg"]
        == told["b.json"]
        == ("found a link out of the scrape's folder, expected a file inside it")
    )
    assert told["circle"] == "found a link to a folder, which is not followed"
    assert told[root.name] == "posts read before, which count once: 1"
    assert told.keys() - {"c.json"} == {"a.jpg", "b.json", "circle", root.name}


def test_folders_within_folders_without_end(tmp_path: Path) -> None:
    a_scrape(tmp_path, "instaloader")
    deep = tmp_path
    for _ in range(MAX_FOLDERS + 2):
        deep /= "d"
    put_json(deep / "b.json", signed(graph_node("b", "x #a")))
    (post,), (rejection,) = read(tmp_path)
    assert post.post_id == "a"
    assert rejection.reason == "found folders nested deeper than 32, left them out"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_reported(tmp_path: Path) -> None:
    a_scrape(tmp_path, "instaloader")
    closed = put_json(tmp_path / "closed" / "b.json", signed(graph_node("b", "x #a")))
    locked = put_json(tmp_path / "locked.json", signed(graph_node("c", "x #a")))
    locked.chmod(0)
    closed.parent.chmod(0)
    try:
        (post,), rejections = read(tmp_path)
    finally:
        closed.parent.chmod(0o700)
    assert post.post_id == "a"
    assert [(r.source, "Permission denied" in r.reason) for r in rejections] == [
        (str(locked), True), (str(closed.parent), True),
    ]  # fmt: skip


def test_names_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "scrape"
    root.mkdir()
    for name, content in {b"caf\xe9.jpg": JPEG, b"caf\xe9.txt": b"Lake #calm"}.items():
        (root / os.fsdecode(name)).write_bytes(content)
    put(root / "Sunset: lake.jpg")
    for reader in ("auto", "captioned"):
        (sunset, cafe), rejections = read(root, reader=reader)
        assert (cafe.post_id, cafe.caption, cafe.hashtags) == ("caf\\xe9.jpg", "Lake", ("calm",))
        assert cafe.image
        assert cafe.image.parent == (tmp_path / "cache" / "pictures").resolve()
        assert cafe.image.read_bytes() == JPEG
        assert sunset.image == (root / "Sunset: lake.jpg").resolve()
        assert rejections == []
    (root / os.fsdecode(b"caf\xe9.json")).write_text("{")
    _, (torn,) = read(root, reader="instaloader")
    assert torn.source.endswith("caf\\xe9.json")
    json.dumps([torn.source, torn.reason], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lzma.compress(b"{}")[:-5], "found a truncated .xz file, fetch it again"),
        (lzma.compress(b"x" * 1000)[:40], "found a truncated .xz file, fetch it again"),
        (b"no xz at all", "found a damaged .xz file (Input format not supported"),
        (b"", "found a truncated .xz file"),
        (lzma.compress(b" " * (MAX_JSON + 1)), "found more than 8,388,608 bytes"),
        (lzma.compress(b"[" * 1000), "nested deeper than 64"),
    ],
)
def test_packed_files(tmp_path: Path, content: bytes, reason: str) -> None:
    put(tmp_path / "a.json.xz", content)
    posts, (rejection,) = read(tmp_path, reader="instaloader")
    assert (posts, rejection.post_kept) == ([], False)
    assert reason in rejection.reason


def test_a_packed_bomb_costs_little(tmp_path: Path) -> None:
    put(tmp_path / "a.json.xz", lzma.compress(bytes(48 << 20), preset=0))
    tracemalloc.start()
    _, (rejection,) = read(tmp_path, reader="instaloader")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "found more than 8,388,608 bytes" in rejection.reason
    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'"' + b'\\"' * (2 << 20), "malformed JSON"),
        (b'["' + b'\\"' * (2 << 20) + b"\\", "malformed JSON"),
        (b'""' * (3 << 20), "malformed JSON"),
        (b"[" + b"[]," * (2 << 20), "more than 1,000,000 lists and objects"),
        (b"[" + b"[]," * 400_000, "malformed JSON"),
    ],
)
@pytest.mark.parametrize("reader", ["instaloader", "instagram-export"])
def test_files_that_would_be_slow_to_read(
    tmp_path: Path, reader: str, content: bytes, reason: str
) -> None:
    put(tmp_path / "posts_1.json", content)
    began = time.process_time()
    posts, rejections = read(tmp_path, reader=reader)
    assert time.process_time() - began < 5
    assert posts == []
    (rejection,) = rejections
    assert reason in rejection.reason or "found an entry longer than" in rejection.reason


def test_posts_of_nothing_cost_no_memory(tmp_path: Path) -> None:
    """A scrape of empty posts streams; what is told of each is the caller's."""
    path = put(tmp_path / "posts.jsonl", b"{}\n" * 10_000)

    class Counted(list[Rejection]):
        told = 0

        def append(self, _: Rejection) -> None:
            self.told += 1

    rejections = Counted()
    tracemalloc.start()
    assert list(read_posts([path], rejections=rejections)) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rejections.told == 10_000
    assert peak < 2 << 20
