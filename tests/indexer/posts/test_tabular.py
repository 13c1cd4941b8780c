"""Tables whose columns have other names, Parquet with pictures in it, and captioned pictures."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.reader import count_rows
from tests.support.scrape_files import JPEG, PNG, put, read

ROWS: list[dict[str, Any]] = [
    {"key": "1", "text": "Lake #calm", "photo": "a.jpg", "caption": "not this one"},
    {"key": "2", "text": "Sea #blue", "likes": 7},
]
COLUMNS = {"caption": "text", "image": "photo", "id": "key"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HASHLENS_CACHE", str(folder))
    return folder / "pictures"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """JSONL, CSV or Parquet, as the name says."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".jsonl":
        return put(path, "".join(json.dumps(row) + "\n" for row in rows))
    if path.suffix == ".csv":
        cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
        return put(path, "".join(",".join(line) + "\n" for line in cells))
    columns = {name: [row.get(name) for row in rows] for name in names}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_columns_by_other_names(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"posts.{ending}", ROWS)
    picture = put(tmp_path / "a.jpg")
    posts, rejections = read(tmp_path, columns=COLUMNS)
    assert [(p.post_id, p.caption, p.hashtags, p.image) for p in posts] == [
        ("1", "Lake", ("calm",), picture.resolve()),
        ("2", "Sea", ("blue",), None),
    ]
    assert rejections == []
    named, _ = read(path, columns=COLUMNS, reader="tables")
    assert named == posts


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "posts.csv", ROWS)
    with pytest.raises(InputError, match=r"found columns key, text, .*, expected title$"):
        read(path, columns={"caption": "title"})
    with pytest.raises(InputError, match=r"found a column for 'tags', expected one of id, image"):
        read(path, columns={"tags": "text"})
    put(tmp_path / "scrape" / "a.jpg")
    put(tmp_path / "scrape" / "a.txt", "x")
    with pytest.raises(InputError, match=r"for reader captioned, .*; tables and huggingface have"):
        read(tmp_path / "scrape", columns={"caption": "text"})


def test_a_table_among_others_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"caption": "one #a"}])
    bad = write(tmp_path / "b.csv", [{"name": "x", "value": "y"}])
    torn = put(tmp_path / "c.parquet", b"PAR1 torn")
    write(tmp_path / "d.csv", [{"caption": "two #a"}])
    posts, rejections = read(tmp_path)
    assert [post.caption for post in posts] == ["one", "two"]
    assert [(r.source, r.line, r.post_kept) for r in rejections] == [
        (str(bad), None, False),
        (str(torn), None, False),
    ]
    assert rejections[0].reason.startswith("found columns name, value, expected some of id,")
    assert "Parquet" in rejections[1].reason


@pytest.mark.parametrize("field", ["caption", "text"])
def test_parquet_without_its_extra_is_reported(
    tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.jsonl", [{"caption": "one #a"}])
    pictured = data_set(tmp_path / "b.parquet", [JPEG], **{field: ["two #a"]})
    # None is how Python marks a module that is not there.
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (post,), (told,) = read(tmp_path)
    assert (post.caption, told.source) == ("one", str(pictured))
    for reader in ("auto", "tables", "huggingface"):
        with pytest.raises(InputError) as error:
            read(pictured, reader=reader)
        assert (
            str(error.value)
            == f"{pictured}: {told.reason}"
            == (
                f"{pictured}: found no pyarrow, which reads Parquet: "
                'pip install "hashlens[parquet]", or give the posts as JSONL or CSV'
            )
        )


def data_set(path: Path, images: list[Any], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


def test_a_data_set_with_pictures_in_it(tmp_path: Path, cache: Path) -> None:
    images = [{"bytes": JPEG, "path": "0.jpg"}, {"bytes": PNG, "path": None}, None]
    texts = ["Lake #calm", "Sea #blue", "words #only"]
    path = data_set(tmp_path / "data" / "train-00000-of-00001.parquet", images, text=texts)
    posts, rejections = read(tmp_path)
    assert rejections == []
    assert [(p.caption, p.hashtags) for p in posts] == [
        ("Lake", ("calm",)), ("Sea", ("blue",)), ("words", ("only",)),
    ]  # fmt: skip
    wanted = [
        (cache / f"{hashlib.sha256(content).hexdigest()}.{ending}").resolve()
        for content, ending in ((JPEG, "jpeg"), (PNG, "png"))
    ]
    assert [post.image for post in posts] == [*wanted, None]
    assert [path.read_bytes() for path in wanted] == [JPEG, PNG]
    assert sorted(cache.iterdir()) == sorted(wanted)
    assert count_rows([tmp_path]) == count_rows([path]) == 3


def test_a_damaged_picture_in_the_cache_is_made_anew(tmp_path: Path, cache: Path) -> None:
    path = data_set(tmp_path / "a.parquet", [JPEG], caption=["x #a"])
    (first,), _ = read(path)
    assert first.image
    first.image.write_bytes(b"damaged")
    (second,), rejections = read(path)
    assert (second, second.image and second.image.read_bytes()) == (first, JPEG)
    assert rejections == []


def test_pictures_of_a_data_set_that_cannot_be_used(tmp_path: Path, cache: Path) -> None:
    images = [
        {"bytes": b"<html>", "path": "a.jpg"},
        {"bytes": None, "path": "../a.jpg"},
        {"bytes": None, "path": "b.jpg"},
        {"bytes": b"\xff\xd8\xff" + b"x" * 25_000_000, "path": None},
    ]
    put(tmp_path / "b.jpg")
    path = data_set(tmp_path / "posts.parquet", images, text=["a", "b", "c", "d"])
    posts, (page, outside, large) = read(path)
    assert [post.image for post in posts] == [None, None, (tmp_path / "b.jpg").resolve(), None]
    assert [(r.line, r.post_kept) for r in (page, outside, large)] == [
        (1, True), (2, True), (4, True),
    ]  # fmt: skip
    assert page.reason.startswith("picture: found bytes of another form, expected JPEG, PNG")
    assert "expected a path relative" in outside.reason
    assert large.reason == "picture: found 25,000,003 bytes, expected 25,000,000 at most"
    assert not cache.exists()


@pytest.mark.parametrize("column", ["id", "image", "caption", "hashtags", "author", "taken_at"])
@pytest.mark.parametrize(
    "value",
    [7, 1.5, True, [b"x"], {"bytes": 7}, {"a": [{"b": 1}]}, b"bytes", [[1]], [{"bytes": b"x"}]],
)
def test_columns_of_any_type(tmp_path: Path, column: str, value: Any) -> None:
    other = {"text": ["x #a"], "image": [JPEG]}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(other | {column: [value]}), path)
    for reader in ("huggingface", "tables", "auto"):
        posts, rejections = read(path, reader=reader)
        kept = [rejection for rejection in rejections if rejection.post_kept]
        assert len(posts) + len(rejections) - len(kept) == 1


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHLENS_CACHE", str(put(tmp_path / "file", b"")))
    (post,), (told,) = read(data_set(tmp_path / "a.parquet", [JPEG], text=["x #a"]))
    assert (post.image, told.post_kept) == (None, True)
    assert "cannot be written (Not a directory)" in told.reason


def test_captioned_pictures(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.PNG", "more/c.webp", "more/d.jpg", "e.gif"):
        put(tmp_path / name)
    put(tmp_path / "a.txt", "Lake #calm")
    put(tmp_path / "b.caption", "Sea #blue".encode("utf-16"))
    put(tmp_path / "more" / "c.webp.txt", "Wood #green")
    put(tmp_path / "more" / "d.txt", b"caf\xe9 #a")
    put(tmp_path / "notes.txt", "no caption #of-anything")
    posts, (cut,) = read(tmp_path)
    assert [(p.post_id, p.caption, p.hashtags) for p in posts] == [
        ("a.jpg", "Lake", ("calm",)),
        ("b.PNG", "Sea", ("blue",)),
        ("e.gif", "", ()),
        ("more/c.webp", "Wood", ("green",)),
        ("more/d.jpg", "", ()),
    ]
    assert [p.image for p in posts] == [(tmp_path / p.post_id).resolve() for p in posts]
    assert (cut.source, cut.post_kept) == (str(tmp_path / "more" / "d.jpg"), True)
    assert cut.reason.startswith("caption 'd.txt': found bytes that are not UTF-8")
    assert count_rows([tmp_path]) == 5


def test_pictures_without_captions_are_posts_on_request(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"found a.jpg in .*captioned pictures: if it is one, na"):
        read(tmp_path)
    (post,), rejections = read(tmp_path, reader="captioned")
    assert (post.image, rejections) == ((tmp_path / "a.jpg").resolve(), [])


def test_numbered_pictures_with_one_caption_are_one_post(tmp_path: Path) -> None:
    for name in ("lake_2.jpg", "lake_1.jpg", "lake_10.jpg", "sea.jpg", "sea_1.jpg", "no_1.jpg"):
        put(tmp_path / "a" / name)
    put(tmp_path / "a" / "lake.caption", "Lake #calm")
    put(tmp_path / "a" / "lake_10.txt", "of its own #ten")
    put(tmp_path / "a" / "sea.txt", "Sea #salt")
    posts, rejections = read(tmp_path)
    assert [(p.post_id, p.caption, p.hashtags) for p in posts] == [
        ("a/lake", "Lake", ("calm",)),
        ("a/lake_10.jpg", "of its own", ("ten",)),
        ("a/no_1.jpg", "", ()),
        ("a/sea.jpg", "Sea", ("salt",)),
        ("a/sea_1.jpg", "", ()),
    ]
    assert posts[0].image == (tmp_path / "a" / "lake_1.jpg").resolve()
    assert (rejections, count_rows([tmp_path])) == ([], 5)
