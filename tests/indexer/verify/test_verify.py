"""What `verify` finds: damage that hashes tell, and contents that cannot be so though sealed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.pipeline.bootstrap import copy_index
from hashlens.indexer.pipeline.compact import compact
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Embeddings
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import updated
from tests.indexer.pipeline.test_starter import ALL, bare
from tests.retriever.cli.test_cli import run
from tests.support import tiny_index as tiny
from tests.support.forged import reseal, reseal_files

MORE = [{"id": "new", "caption": "sleepy park", "hashtags": ["fresh", "dog"], "author": "gus"}]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of two generations, the second with two segments, dead and young vectors."""
    index = tmp_path_factory.mktemp("sound") / "index"
    tiny.published(index)
    updated(MORE, index, ["p1"])
    return index


def sql(*statements: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with Store.change(folder / "posts.duckdb") as store:
            for statement in statements:
                store.connection.execute(statement)

    return change


def vectors(
    name: str, remove: list[int] | None = None, add: list[int] | None = None
) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        index = VectorIndex.open(folder / name, mmap=False)
        kept = np.setdiff1d(index.ids, np.array(remove or [], np.int64))
        rows = np.eye(index.width, dtype=np.float32)[: len(add or [])]
        ids = np.concatenate([kept, np.array(add or [], np.int64)])
        vectors = np.concatenate([index.reconstruct(kept), rows])
        VectorIndex.build(Embeddings(ids, vectors)).save(folder / name)

    return change


def floats(name: str, value: float) -> Callable[[Path], None]:
    """Write over the first number of an exact index: it follows a header of 45 bytes."""

    def change(folder: Path) -> None:
        whole = bytearray((folder / name).read_bytes())
        place = whole.index(b"IxFI") + 45
        whole[place : place + 4] = np.float32(value).tobytes()
        (folder / name).unlink()
        (folder / name).write_bytes(whole)

    return change


def array(name: str, row: int, value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = np.load(folder / name).copy()
        found.reshape(-1)[row] = value
        (folder / name).unlink()
        np.save(folder / name, found)

    return change


def ids(name: str, *values: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        np.save(folder / name, np.array(values, np.int64))

    return change


def off_length(folder: Path) -> None:
    space = WordSpace.open(folder / "words/all")
    WordSpace(space.words, np.asarray(space.vectors) * np.float16(1.5), space.counts).save(
        folder / "words/all"
    )


def no_array(folder: Path) -> None:
    (folder / "counts/norms.npy").write_bytes(b"x")


def forged_ranker(folder: Path) -> None:
    (folder / "ranker").mkdir()
    (folder / "ranker" / "odds.txt").write_text("tree")


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a vector of no post": (
        vectors("captions/0002.faiss", add=[99]),
        r"captions: found 1 vectors of no post, expected none: id 99",
    ),
    "a post without its vector": (
        vectors("captions/0001.faiss", remove=[0]),
        r"captions: found 1 tagged posts without a vector, expected none: id 0",
    ),
    "a caption vector of a post that has no words": (
        sql("delete from post_words where post_key = 2"),
        r"vectors of no tagged post of known words, expected none: id 2",
    ),
    "a picture's vector of a post without one": (
        vectors("images/0001.faiss", add=[6]),
        r"images: found 1 vectors of no posts' picture, expected none: id 6",
    ),
    "an id in two segments": (
        vectors("captions/0002.faiss", add=[4]),
        r"captions: found 1 vectors of an id in two segments, expected none: id 4",
    ),
    "a vector that is none": (floats("captions/0001.faiss", np.nan), r"0001\.faiss: found NaN"),
    "a vector of another length": (floats("images/0001.faiss", 3), r"0001\.faiss: .* away from 1"),
    "a dead id that lives": (ids("captions/dead.npy", 0, 1), r"dead ids of posts that live.* id 0"),
    "a dead id of nothing": (ids("captions/dead.npy", 1, 77), r"dead ids without .* id 77"),
    "a hashtag vector of no hashtag": (
        vectors("words/all/hashtags.faiss", add=[50]),
        r"hashtags\.faiss: found 1 vectors of no hashtag of the last training.* id 50",
    ),
    "a young vector of a learned hashtag": (
        vectors("new-hashtags/all.faiss", add=[0]),
        r"new-hashtags/all\.faiss: found 1 hashtags that were learned, too, expected none: id 0",
    ),
    "word vectors of another length": (off_length, r"words/all: .* away from 1"),
    "a count too many": (
        sql("update cooccurrences set posts = posts + 1 where tag_id = 0"),
        r"cooccurrences: found [1-9] rows that its posts do not give, and [1-9] lack",
    ),
    "a count too few": (
        sql("delete from word_counts where word = 'kitten'"),
        r"word_counts: found 0 rows that its posts do not give, and 1 lack",
    ),
    "a post that is gone": (
        sql("delete from posts where post_id = 'p4'"),
        r"found 2 hashtags of posts that are not there",
    ),
    "a hashtag that is gone": (
        sql("delete from hashtags where key = 'home'"),
        r"posts' hashtags that are not there",
    ),
    "an id to come that is given": (
        sql("update next_ids set next_id = 3 where kind = 'post'"),
        r"found post 8, expected ids below 3",
    ),
    "a view in place of a table": (
        sql("drop table words", "create view words as select 1 as word_id, 'x' as word"),
        r"posts\.duckdb: found other tables, views or functions",
    ),
    "a function": (
        sql("create macro length(x) as 1"),
        r"posts\.duckdb: found other tables, views or functions",
    ),
    "counts of another number of posts": (
        array("counts/hashtags.npy", 0, 40),
        r"counts/hashtags\.npy: found 1 values that its posts do not give",
    ),
    "a column out of range": (
        array("counts/tag_tags.columns.npy", 0, 2_000_000),
        r"counts/tag_tags\.columns\.npy: found 1 values",
    ),
    "a file that is no array": (
        no_array,
        r"counts: cannot be checked \(IndexCorruptError: .*norms",
    ),
    "a ranker that is none": (
        forged_ranker,
        r"topics: cannot be checked \(IndexCorruptError: .*ranker\.json",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_so_is_named(case: str, index: Path) -> None:
    change, expected = CASES[case]
    folder = index / "gen-000002"
    shutil.copytree(folder, index / "own")  # generations share files: this one alone is changed
    shutil.rmtree(folder)
    (index / "own").rename(folder)
    change(folder)
    reseal_files(folder)
    verdict = verify(index, open_ranker=Ranker.open)
    assert not verdict.generations[1]
    assert any(re.search(expected, line) for line in verdict.generations[2]), verdict
    assert all(str(folder) in line for line in verdict.generations[2])
    assert (verdict.sound, verdict.newest_sound, verdict.live) == (False, 1, 2)


def test_a_sound_index(index: Path) -> None:
    verdict = verify(index, open_ranker=Ranker.open)
    assert (verdict.sound, verdict.troubles, verdict.newest_sound) == (True, (), 2)
    assert verdict.advice(index) == f"{index}: sound (generation 1, 2; live is 2)"


def test_an_index_begun_from_counts_of_others(tmp_path: Path, index: Path) -> None:
    with copy_index(tmp_path / "mine", bare(open_current(index), tmp_path / "bare", ALL)):
        updated(MORE, tmp_path / "mine")
    for name in ("bare", "mine"):
        assert verify(tmp_path / name).troubles == ()
    folder = open_current(tmp_path / "mine").folder
    sql("update prior.cooccurrences set authors = authors + 1")(folder)
    reseal_files(folder)
    assert any("cooccurrences: found" in line for line in verify(tmp_path / "mine").troubles)


def test_other_counts_and_topics_than_the_manifest_says(index: Path) -> None:
    folder = index / "gen-000002"
    told = open_current(index).manifest
    reseal(folder, counts=told.counts | {"posts": 9, "pictures": 1}, topics=told.topics[::-1])
    found = "\n".join(verify(index).generations[2])
    assert "found 8 posts, the manifest has 9" in found
    assert "found 3 pictures, the manifest has 1" in found
    assert "topics: found topics ('pets'," in found


def test_damage_names_the_file_and_the_sound_generation(index: Path) -> None:
    path = index / "gen-000002" / "posts.duckdb"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    verdict = verify(index)
    expected = f"{path}: found other content than was sealed (its sha256 differs)"
    assert verdict.generations == {1: (), 2: (expected,)}
    wanted = f"generation 2 is damaged; generation 1 is sound: `hashlens rollback --index {index}"
    assert verdict.advice(index) == f"{index}: {wanted} --to 1`"
    with pytest.raises(IndexCorruptError, match="sha256 differs"):
        Recommender.open(index, check=True)
    status, out, _ = run("verify", "--index", index)
    assert (status, out) == (4, f"{expected}\n{verdict.advice(index)}\n")
    status, out, _ = run("verify", "--index", index, "--json")
    found = json.loads(out)
    assert (status, found["sound"], found["live"], found["newest_sound"]) == (4, False, 2, 1)
    assert found["generations"][1] == {"generation": 2, "sound": False, "troubles": [expected]}
    for command in (["recommend"], ["recommend", "--check"]):
        status, _, error = run(*command, "--caption", "kitten", "--index", index)
        assert (status, "sha256 differs" in error) == ((4, True) if command[1:] else (0, False))
    assert run("rollback", "--index", index, "--to", "1")[0] == 0
    assert verify(index).advice(index) == f"{index}: generation 1, the live one, is sound"


def test_advice_where_only_the_pointer_or_everything_is_damaged(index: Path) -> None:
    changed = (index / "CURRENT").read_text().replace("gen-000002", "gen-000001")
    (index / "CURRENT").write_text(changed)
    verdict = verify(index)
    assert "CURRENT: found 'gen-000001 " in verdict.pointer[0]
    assert (verdict.live, verdict.newest_sound, verdict.sound) == (0, 2, False)
    assert "CURRENT is damaged; generation 2 is sound" in verdict.advice(index)
    for number in (1, 2):
        (index / f"gen-00000{number}" / "posts.duckdb").write_bytes(b"")
    assert "no generation is sound; build the index again" in verify(index).advice(index)


def test_a_file_that_was_not_sealed_is_refused(index: Path) -> None:
    """DuckDB would read a log beside its file, and a segment would be searched."""
    for name in ("posts.duckdb.wal", "captions/0009.faiss"):
        path = index / "gen-000002" / name
        path.write_bytes(b"x")
        with pytest.raises(IndexCorruptError, match=f"{name}: found a file that was not sealed"):
            open_current(index)
        assert verify(index).generations[2][0].startswith(f"{path}: found a file that was not")
        path.unlink()
    assert verify(index).sound


@pytest.mark.parametrize("name", ["captions/0001.faiss", "words/all/hashtags.faiss"])
def test_a_changed_vector_file_is_never_parsed(index: Path, name: str) -> None:
    """By sizes alone it opens: FAISS would read a changed byte as if nothing were."""
    path = open_current(index).folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # other generations may share the file
    path.write_bytes(content)
    with pytest.raises(IndexCorruptError, match=f"{path.name}: found other content"):
        Recommender.open(index).recommend(caption="walk the dog in the park")
    with pytest.raises(IndexCorruptError, match=f"{path.name}: found other content"):
        compact(index)


def test_an_older_generation_without_its_manifest_is_named_and_cleared(index: Path) -> None:
    updated([{"id": "later", "caption": "one more walk", "hashtags": ["dog"]}], index)
    manifest = index / "gen-000001" / "manifest.json"
    manifest.unlink()
    verdict = verify(index)
    assert not verdict.sound
    assert verdict.newest_sound == 3
    assert any(str(manifest) in trouble for trouble in verdict.troubles)
    (index / "gen-000009").mkdir()  # what a writer is at
    (index / ".gen-000001").mkdir()  # a deletion that was interrupted
    updated([{"id": "last", "caption": "and another walk", "hashtags": ["dog"]}], index)
    assert sorted(path.name for path in index.glob("*gen-*")) == [
        f"gen-00000{n}" for n in (2, 3, 4)
    ]
    assert verify(index).sound
