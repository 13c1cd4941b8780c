"""Folders of pictures: content tells what is one, and nothing is passed over in silence."""

import csv
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from hashlens.indexer.errors import InputError
from hashlens.indexer.images.kept_pictures import keep_picture
from hashlens.indexer.posts.formats import captioned
from hashlens.indexer.posts.formats.registry import READERS, find_reader
from hashlens.indexer.posts.post_images import find_picture
from hashlens.retriever.query.parse import find_queries
from tests.retriever.cli.test_cli import run
from tests.support.web_client import jpeg

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(64)
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(64)
CONVERT = 'convert it to JPEG, or pip install "hashlens[heif]"'

no_heif = pytest.mark.skipif(
    find_spec("pillow_heif") is not None, reason="HEIC pictures are read here"
)


def picture(path: Path, form: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (90, 120, 80)).save(path, form)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures under all kinds of names, other files, a folder below, and what a Mac leaves."""
    root = tmp_path / "photos"
    for name, form in (
        ("IMG_1.jpg", "JPEG"),
        ("IMG_2.jfif", "JPEG"),
        ("IMG_4.avif", "AVIF"),
        ("IMG_5", "PNG"),
        ("IMG_6.dat", "WEBP"),
        ("trip/IMG_1.jpg", "JPEG"),
    ):
        picture(root / name, form)
    (root / "IMG_3.HEIC").write_bytes(HEIC)
    (root / "page.jpg").write_text("<!DOCTYPE html>404")
    (root / "clip.mov").write_bytes(VIDEO)
    (root / "trip" / "notes.md").write_text("notes")
    (root / "._IMG_1.jpg").write_bytes(b"\0\5\x16\7AppleDouble")
    (root / ".hidden").mkdir()
    picture(root / ".hidden" / "IMG_9.jpg", "JPEG")
    return root


PICTURES = ["IMG_1.jpg", "IMG_2.jfif", "IMG_3.HEIC", "IMG_4.avif", "IMG_5", "IMG_6.dat"]
PICTURES += ["page.jpg", "trip/IMG_1.jpg"]


def test_pictures_of_a_folder_are_queries(folder: Path):
    found = find_queries(folder)
    rows = dict(found.read())
    assert list(rows) == PICTURES
    assert {name: getattr(query, "image", None) for name, query in rows.items()} == {
        name: folder / name for name in PICTURES
    }
    assert found.count() == 8
    assert found.others == ["clip.mov", "trip/notes.md"]


def test_links_are_followed_and_broken_ones_named(folder: Path, tmp_path: Path):
    (folder / "IMG_10.jpg").symlink_to(picture(tmp_path / "outside.jpg", "JPEG"))
    (folder / "broken.jpg").symlink_to(tmp_path / "none.jpg")
    (folder / "again").symlink_to(folder)
    rows = dict(find_queries(folder).read())
    assert list(rows) == ["again", "broken.jpg", "IMG_1.jpg", "IMG_10.jpg", *PICTURES[1:]]
    assert str(rows["again"]) == f"{folder}/again: found a link to a folder, which is not followed"
    assert str(rows["broken.jpg"]).startswith(f"{folder}/broken.jpg: found a link out of the ")


def test_a_folder_without_pictures_or_tables_is_refused(tmp_path: Path):
    (tmp_path / "clip.mov").write_bytes(VIDEO)
    with pytest.raises(InputError, match=r"expected posts\.jsonl"):
        find_queries(tmp_path)


def test_a_table_beside_pictures_has_the_queries(folder: Path):
    (folder / "posts.jsonl").write_text('{"id": "a", "image": "IMG_1.jpg"}\n')
    found = find_queries(folder)
    assert [row_id for row_id, _ in found.read()] == ["a"]
    assert found.others == []


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The paths of all files that are opened; a hook stays for good, so it is switched off."""
    paths: list[str] = []
    is_on = True

    def note(event: str, args: tuple[object, ...]) -> None:
        if is_on and event == "open":
            paths.append(str(args[0]))

    sys.addaudithook(note)
    yield paths
    is_on = False


def test_the_head_of_each_file_is_read_once(folder: Path, opened: list[str]):
    found = find_queries(folder)
    assert (found.count(), len(list(found.read())), len(found.others)) == (8, 8, 2)
    inside = [name for name in opened if name.startswith(f"{folder}/")]
    assert sorted(inside) == [
        f"{folder}/{name}" for name in ("IMG_5", "IMG_6.dat", "clip.mov", "trip/notes.md")
    ]  # the names of the others say what they are


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ('{"id": "a"}\n{"id": "2"}\n', ["a", "2"]),
        ('{"caption": "x"}\n{"id": 1}\n', ["posts.jsonl:1", "1"]),
        ('{"caption": "x"}\n{"id": "1"}\n{"id": "posts.jsonl:1"}\n', ["posts.jsonl:1#", "1"]),
    ],
)
def test_ids_of_rows_never_collide_and_a_table_with_ids_is_read_once(
    tmp_path: Path, opened: list[str], rows: str, ids: list[str]
):
    (tmp_path / "posts.jsonl").write_text(rows)
    opened.clear()
    found = [row_id for row_id, _ in find_queries(tmp_path).read()]
    assert (found[: len(ids)], len(set(found))) == (ids, len(found))
    one_pass = 2  # the encoding, and the rows
    is_whole = "caption" not in rows
    table = str(tmp_path / "posts.jsonl")
    assert opened.count(table) == (one_pass if is_whole else 2 * one_pass)


@no_heif
def test_batch_answers_or_names_each_picture(sample_index: Path, folder: Path, tmp_path: Path):
    out = tmp_path / "answers.csv"
    code, _, err = run("batch", folder, "--index", sample_index, "--out", out)
    assert code == 3
    assert f"{folder}: 2 files are no pictures: clip.mov, trip/notes.md\n" in err
    assert f"{out}: 6 answered, 2 failed\n" in err
    rows = {row["id"]: row for row in csv.DictReader(out.read_text().splitlines())}
    assert list(rows) == PICTURES
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert errors == {
        "IMG_3.HEIC": f"{folder}/IMG_3.HEIC: HEIC picture named .HEIC: {CONVERT}",
        "page.jpg": (
            f"{folder}/page.jpg: web page named .jpg: "
            "expected JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF"
        ),
    }
    assert all(rows[name]["hashtags"] for name in PICTURES if name not in errors)


@no_heif
def test_a_folder_of_heic_alone_is_answered_by_errors(sample_index: Path, tmp_path: Path):
    root = tmp_path / "photos"
    root.mkdir()
    (root / "a.heic").write_bytes(HEIC)
    out = tmp_path / "answers.csv"
    code, _, err = run("batch", root, "--index", sample_index, "--out", out)
    assert (code, err.splitlines()[-1]) == (3, f"{out}: 0 answered, 1 failed")


def test_captioned_pictures_are_known_by_their_content(folder: Path):
    for name in ("IMG_1", "IMG_2", "IMG_3", "IMG_5", "IMG_6", "clip", "alone"):
        (folder / f"{name}.txt").write_text(f"This is {name} #tag")
    assert find_reader(folder) is READERS["captioned"]
    assert captioned.count(folder) == 8
    found = {row.file.relative_to(folder).as_posix(): row for row in captioned.rows(folder)}
    assert list(found) == ["clip.mov", *PICTURES]
    assert found["clip.mov"].row.problem == "found no picture in it, expected one for its caption"
    captions = {name: row.row.fields["caption"] for name, row in found.items() if row.row.fields}
    assert captions == {
        **{name: f"This is {name.partition('.')[0]} #tag" for name in PICTURES[:3]},
        "IMG_4.avif": None,
        **{name: f"This is {name.partition('.')[0]} #tag" for name in PICTURES[4:6]},
        "page.jpg": None,
        "trip/IMG_1.jpg": None,
    }


@no_heif
def test_a_posts_heic_is_named_if_it_has_no_other_picture(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(HEIC)
    good = picture(tmp_path / "b.heic", "JPEG")
    found = find_picture(["a.jpg", "b.heic"], tmp_path.resolve())
    assert found is not None
    assert found[0].name == good.name
    with pytest.raises(InputError) as caught:
        find_picture(["a.jpg"], tmp_path.resolve())
    assert str(caught.value) == f"picture 'a.jpg': HEIC picture named .jpg: {CONVERT}"
    with pytest.raises(InputError) as caught:
        keep_picture(HEIC)
    assert str(caught.value) == f"HEIC picture: {CONVERT}"


def test_an_avif_is_kept_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HASHLENS_CACHE", str(tmp_path / "cache"))
    content = picture(tmp_path / "a", "AVIF").read_bytes()
    kept = keep_picture(content)
    assert (kept.suffix, kept.read_bytes()) == (".avif", content)
    assert os.stat(kept.parent).st_mode & 0o777 == 0o700


def test_answers_of_an_earlier_run_are_no_rows(sample_index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg())
    for name in ("x.csv", "x.csv"):
        code, _, err = run("batch", folder, "--out", folder / name, "--index", sample_index)
        assert (code, "1 answered, 0 failed" in err) == (0, True), err
