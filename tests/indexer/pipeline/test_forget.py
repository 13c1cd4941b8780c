"""Forgetting erases a person from every generation, and keeps them out from then on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.generations import generation as generations
from hashlens.indexer.generations.forgotten import FORGOTTEN_FILE, Forgotten
from hashlens.indexer.generations.generation import open_current, rollback
from hashlens.indexer.generations.manifest import numbers_of
from hashlens.indexer.images.file_cache import FOLDER
from hashlens.indexer.images.kept_pictures import keep_picture
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.compact import compact
from hashlens.indexer.pipeline.forget import forget
from hashlens.indexer.storage.store import Store
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from tests.indexer.pipeline.random_updates import (
    SMALL,
    built,
    drawn,
    rebuilt,
    tables,
    updated,
    written,
)

RARE = ("qzwortel", "qzpantoffel", "qztagger", "qzvictoria", "qzid77")
WORD, OTHER, TAG, AUTHOR, POST = RARE


def people(count: int = 24) -> list[dict[str, Any]]:
    draw = random.Random(5)
    return [drawn(number, draw) for number in range(count)]


def victim(number: int, author: str = AUTHOR) -> dict[str, Any]:
    return {
        "id": f"{POST}-{number}",
        "author": author,
        "caption": f"{WORD} {OTHER} on a moonday number{number}",
        "hashtags": [TAG, "dog"],
    }


def remains(index: Path) -> list[str]:
    """Files of the whole folder that hold a rare token, in any case."""
    return [
        str(path.relative_to(index))
        for path in sorted(index.rglob("*"))
        if path.is_file() and any(token.encode() in path.read_bytes().lower() for token in RARE)
    ]


def ids(index: Path) -> list[str]:
    with Store.open(open_current(index).folder / "posts.duckdb") as store:
        return sorted(post.post_id for post in (*store.posts(), *store.copies()))


def test_no_byte_of_a_person_is_left_without_learning_anew(tmp_path: Path) -> None:
    rows = people()
    index = built([*rows, victim(1)], tmp_path)
    updated([victim(2), victim(3)], index)
    assert len(remains(index)) > 6
    report = forget(index, author=AUTHOR)
    assert (report.posts, report.names) == (3, (AUTHOR,))
    assert report.summary() == "generation 3: 3 posts forgotten"
    assert remains(index) == []
    assert numbers_of(index) == [3]
    assert verify(index).sound
    again = rebuilt(rows, index, tmp_path / "again")
    live = open_current(index)
    assert tables(live.folder) == tables(again.folder)
    shared = {name: live.manifest.counts[name] for name in again.manifest.counts}
    assert shared == again.manifest.counts


def test_words_that_others_use_too_stay_known(tmp_path: Path) -> None:
    other = {"id": "o", "author": "olga", "caption": f"my {WORD} again", "hashtags": [TAG]}
    index = built([*people(), victim(1), other], tmp_path)
    forget(index, author=AUTHOR)
    folder = open_current(index).folder
    space = (folder / "words" / "all" / "words.txt").read_text().split()
    assert {WORD, f"#{TAG}"} <= set(space)
    assert OTHER not in space
    assert OTHER not in (folder / "trained" / "words.txt").read_text().split()


@pytest.mark.parametrize("name", [AUTHOR, f"@{AUTHOR}", AUTHOR.upper(), f" @{AUTHOR.title()} "])
def test_all_spellings_of_a_name_are_forgotten_together(name: str, tmp_path: Path) -> None:
    spelt = [victim(1), victim(2, f"@{AUTHOR}"), victim(3, AUTHOR.title())]
    index = built([*people(), *spelt], tmp_path)
    report = forget(index, author=name)
    assert report.posts == 3
    assert report.names == (f"@{AUTHOR}", AUTHOR.title(), AUTHOR)
    assert remains(index) == []


def test_a_person_of_whom_older_generations_alone_know_is_found(tmp_path: Path) -> None:
    index = built([*people(), victim(1)], tmp_path)
    updated([], index, [f"{POST}-1"])
    assert remains(index)
    report = forget(index, author=AUTHOR)
    assert (report.posts, remains(index)) == (1, [])
    assert verify(index).sound


@pytest.mark.parametrize("wanted", [{"author": AUTHOR.upper()}, {"post": f"{POST}-1"}])
def test_a_person_who_was_deleted_long_ago_is_erased_as_well(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    index = built([*people(), victim(1)], tmp_path)
    updated([], index, [f"{POST}-1"])
    for number in range(3):
        updated([{"id": f"n{number}", "caption": "a new sunday"}], index, keep=1)
    assert numbers_of(index) == [5]
    assert remains(index)
    report = forget(index, **wanted)
    assert (report.generation, report.posts, remains(index)) == (6, 0, [])
    assert forget(index, **wanted).generation == 6


def test_forgetting_twice_is_a_success(tmp_path: Path) -> None:
    index = built([*people(), victim(1)], tmp_path)
    first = forget(index, author=AUTHOR)
    second = forget(index, author=f"@{AUTHOR.upper()}")
    assert (second.generation, second.posts) == (first.generation, 0)
    assert second.notes == ("already forgotten: no generation holds such a post",)
    assert forget(index, post=f"{POST}-1").posts == 0
    with pytest.raises(InputError, match="found no post by 'somebody' in any generation"):
        forget(index, author="somebody")


def test_only_hashes_are_kept_and_each_index_has_its_own_salt(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        index = built([*people(), victim(1)], tmp_path / name)
        forget(index, author=AUTHOR)
        found.append(json.loads((index / FORGOTTEN_FILE).read_text()))
    names = {"format", "salt", "hashes", "erasing", "residue", "added", "lifted", "clean", "until"}
    assert [set(each) for each in found] == [names, names]
    assert [len(each["hashes"]) for each in found] == [2, 2]  # the author, the post
    assert all(len(entry) == 32 for each in found for entry in each["hashes"])
    assert set(found[0]["hashes"]).isdisjoint(found[1]["hashes"])
    assert [each["erasing"] for each in found] == [[], []]


def test_a_later_update_with_the_same_scrape_does_not_bring_them_back(tmp_path: Path) -> None:
    scrape = [*people(), victim(1), victim(2)]
    index = built(scrape, tmp_path)
    forget(index, author=AUTHOR)
    nameless = victim(2) | {"author": None, "caption": "another reader found no author here"}
    fresh = {"id": "n", "caption": "a new sunday", "hashtags": ["dog"]}
    report = updated([*people(), victim(1), nameless, victim(9, f"@{AUTHOR}"), fresh], index)
    assert (report.added, report.forgotten) == (1, 3)
    assert report.notes[0] == (
        "3 posts stayed out: this index was told to forget or delete them; --allow-forgotten "
        "brings them back"
    )
    compact(index)
    rollback(index)
    assert updated(scrape, index).forgotten == 2
    assert remains(index) == []


def test_forgotten_posts_come_back_where_that_is_asked_for(tmp_path: Path) -> None:
    index = built([*people(), victim(1)], tmp_path)
    forget(index, author=AUTHOR)
    report = updated([victim(1)], index, allow_forgotten=True)
    assert (report.added, report.forgotten) == (1, 0)
    assert "1 post that this index was told to forget came back" in report.notes[0]
    assert Forgotten.of(index).hashes == frozenset()
    assert updated([victim(2)], index).added == 1


def test_a_deleted_post_stays_out_and_its_author_does_not(tmp_path: Path) -> None:
    index = built([*people(), victim(1), victim(2)], tmp_path)
    updated([], index, [f"{POST}-1"])
    report = updated([victim(1), victim(2), victim(3)], index)
    assert (report.added, report.unchanged, report.forgotten) == (1, 1, 1)
    assert f"{POST}-1" not in ids(index)


def test_a_build_into_the_same_folder_leaves_them_out(tmp_path: Path) -> None:
    index = built([*people(), victim(1)], tmp_path)
    forget(index, author=AUTHOR)
    posts = written([*people(), victim(1), victim(2)], tmp_path / "again")
    report = build([posts], index, config=SMALL, workers=1)
    assert (report.forgotten, remains(index)) == (2, [])
    assert "2 posts stayed out" in report.notes[0]
    with pytest.raises(InputError, match="1 post stayed out"):
        build([written([victim(1)], tmp_path / "alone")], index, config=SMALL, workers=1)
    report = build([posts], index, config=SMALL, workers=1, allow_forgotten=True)
    assert report.forgotten == 0
    assert f"{POST}-2" in ids(index)


def test_a_deletion_that_was_cut_off_has_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = built([*people(), victim(1)], tmp_path)

    def cut(*_: object, **__: object) -> None:
        raise _CutError

    with monkeypatch.context() as patch:
        patch.setattr(generations, "_point", cut)
        with pytest.raises(_CutError):
            updated([], index, [f"{POST}-1"])
    compact(index)  # takes the number that was not published
    report = updated([victim(1)], index)
    assert (report.unchanged, report.forgotten) == (1, 0)
    updated([], index, [f"{POST}-1"])
    assert updated([victim(1)], index).forgotten == 1


class _CutError(Exception):
    """Stands for a kill: nothing catches it."""


@pytest.fixture
def half_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index whose erasure ended before its generation was published."""
    index = built([*people(), victim(1)], tmp_path)

    def cut(*_: object, **__: object) -> None:
        raise _CutError

    with monkeypatch.context() as patch:
        patch.setattr(generations, "_point", cut)
        with pytest.raises(_CutError):
            forget(index, author=AUTHOR)
    assert Forgotten.of(index).erasing
    assert remains(index)
    return index


def test_an_erasure_that_was_cut_off_goes_on_when_repeated(half_erased: Path) -> None:
    assert forget(half_erased, author=AUTHOR).posts == 1
    assert remains(half_erased) == []


@pytest.mark.parametrize("command", ["update", "compact", "build"])
def test_an_erasure_that_was_cut_off_goes_on_with_the_next_writer(
    command: str, half_erased: Path, tmp_path: Path
) -> None:
    if command == "update":
        assert updated([{"id": "n", "caption": "a new sunday"}], half_erased).added == 1
    elif command == "compact":
        compact(half_erased)
    else:
        posts = written([*people(), victim(1)], tmp_path / "again")
        build([posts], half_erased, config=SMALL, workers=1)
    assert remains(half_erased) == []
    assert not Forgotten.of(half_erased).erasing
    assert verify(half_erased).sound
    assert forget(half_erased, author=AUTHOR).posts == 0


def test_a_generation_that_a_reader_holds_goes_later_and_is_not_returned_to(
    tmp_path: Path,
) -> None:
    index = built([*people(), victim(1)], tmp_path)
    reader = IndexReader.open(index)
    report = forget(index, author=AUTHOR)
    assert "generation 1 is held by a reader" in report.notes[-1]
    with pytest.raises(HashlensError, match="generation 1 holds posts that were forgotten"):
        rollback(index)
    del reader
    assert updated(people(), index).generation == report.generation
    assert (numbers_of(index), remains(index)) == ([report.generation], [])
    assert not Forgotten.of(index).erasing


def test_forgetting_the_only_author_with_learning_anew_is_done(tmp_path: Path) -> None:
    index = built([victim(1), victim(2)], tmp_path)
    report = forget(index, author=AUTHOR, retrain=True, workers=1)
    assert (report.posts, report.counts["posts"], remains(index)) == (2, 0, [])


def test_pictures_that_were_kept_of_them_leave_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from io import BytesIO

    from PIL import Image

    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))

    def picture(shade: int) -> bytes:
        content = BytesIO()
        Image.new("RGB", (32, 24), (shade, 90, 90)).save(content, "JPEG")
        return content.getvalue()

    table = tmp_path / "posts.parquet"
    rows = [victim(1), victim(2), *people(6)]
    shades = [10, 20, 20, 30, 30, 30, 30, 30]
    _write_parquet(table, rows, [picture(shade) for shade in shades])
    build([table], tmp_path / "index", config=SMALL, workers=1)
    theirs, shared = (keep_picture(picture(shade)) for shade in (10, 20))
    forget(tmp_path / "index", author=AUTHOR)
    assert (theirs.exists(), shared.exists()) == (False, True)  # somebody else has the same picture


def _write_parquet(path: Path, rows: list[dict[str, Any]], pictures: list[bytes]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, list[Any]] = {
        name: [row.get(name) for row in rows] for name in ("id", "author", "caption", "hashtags")
    }
    columns["image"] = [{"bytes": content, "path": None} for content in pictures]
    parquet.write_table(pa.table(columns), path)


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    index = built([*people(), victim(1)], tmp_path)
    (index / FORGOTTEN_FILE).write_text(
        '{"format": 1, "salt": "00", "hashes": [], "erasing": [], "residue": [], "added": [], '
        '"lifted": [], "clean": 0, "until": 0}'
    )
    with pytest.raises(HashlensError, match=r"forgotten\.json: cannot be read"):
        updated([victim(2)], index)
