"""An index folder from a stranger: nothing in it is run, nothing outside it is read or changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from PIL import Image

from hashlens.indexer.errors import (
    EncoderError,
    HashlensError,
    IndexCorruptError,
    IndexUnusableError,
)
from hashlens.indexer.generations.generation import history, open_current, rollback, writer
from hashlens.indexer.generations.manifest import LARGEST, MANIFEST
from hashlens.indexer.images.open_clip import open_clip_recipe
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.lookup import hashtag_facts
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from tests.indexer.pipeline.random_updates import updated
from tests.retriever.cli.test_cli import run
from tests.support.forged import reseal, reseal_files

ROW = {"id": "new", "caption": "sleepy park", "hashtags": ["fresh"]}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.csv"
    path.write_text("key\n41\n")
    return path


@pytest.mark.parametrize("name", ["CURRENT", "writer.lock", "CURRENT.tmp", "gen-000002"])
def test_a_writer_never_writes_through_a_link(name: str, index: Path, secret: Path) -> None:
    whole = secret.read_text()
    (index / name).unlink(missing_ok=True)
    (index / name).symlink_to(secret)
    try:
        updated([ROW], index)
    except HashlensError:
        assert name in ("CURRENT", "writer.lock")
    else:
        assert open_current(index, deep=True).number == 2
        assert verify(index).sound
    assert secret.read_text() == whole


def test_a_linked_generation_is_none(index: Path, tmp_path: Path) -> None:
    (index / "gen-000001").rename(tmp_path / "elsewhere")
    (index / "gen-000001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IndexCorruptError, match="link"):
        open_current(index)
    assert not verify(index).sound
    assert history(index) == ()
    with pytest.raises(HashlensError):
        rollback(index, 1)
    with writer(index):
        pass
    assert (tmp_path / "elsewhere" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["CURRENT", "gen-000001/manifest.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "huge"])
def test_what_is_read_first_is_a_small_file(
    name: str, kind: str, index: Path, secret: Path
) -> None:
    path = index / name
    path.unlink()
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "pipe":  # to read it is to wait for ever
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, LARGEST + 1)
    with pytest.raises(IndexUnusableError) as caught:
        open_current(index)
    assert path.name in str(caught.value)
    assert "41" not in str(caught.value)
    assert not verify(index).sound


def forged_store(folder: Path, *statements: str) -> None:
    with duckdb.connect(str(folder / "posts.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)
    reseal_files(folder)


# SQL that a stranger's rows may bring, each of which would run for ever, or read a file.
FOREVER = "(select count(*) from range(100000000000) r where r.range < 0)"
CODE = {
    "view": (
        "alter table hashtag_counts rename to hidden",
        f"create view hashtag_counts as select hidden.* from hidden, {FOREVER}",
    ),
    "view of a file": (
        "alter table posts rename to hidden",
        """create view posts as select hidden.* replace (
            (select key::varchar from read_csv('{secret}')) as post_id) from hidden""",
    ),
    "view in another schema": (
        "create schema prior",
        f"create view prior.totals as select 1 as posts, 1 as authors from {FOREVER}",
    ),
    "view beside": ("create view extra as select 1",),
    "view like ours": (
        "create schema prior",
        "create table prior.cooccurrences as from cooccurrences",
        "create view more as select * from prior.cooccurrences where posts > 1",
    ),
    "macro": (f"create macro lower(x) as (select repeat('x', 200000000) from {FOREVER})",),
    "table macro": ("create macro range(x) as table select 1",),
    "generated": (
        "alter table posts rename to hidden",
        """create table posts (post_key bigint, post_id varchar, author varchar,
            caption varchar generated always as (repeat('x', 200000000)))""",
    ),
    "default": ("alter table words alter column word set default (repeat('x', 200000000))",),
    "check": ("create table extra (n integer, check (n < length(repeat('x', 200000000))))",),
    "index": ("create table extra (n varchar)", "create index i on extra ((repeat(n, 2000)))"),
}


@pytest.mark.parametrize("kind", CODE)
@pytest.mark.parametrize("ask", ["recommend", "inspect", "verify", "update", "compact", "forget"])
def test_sql_of_a_stranger_is_never_run(
    ask: str, kind: str, index: Path, tmp_path: Path, secret: Path
) -> None:
    forged_store(
        index / "gen-000001", *(sql.replace("{secret}", str(secret)) for sql in CODE[kind])
    )
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "new", "caption": "sleepy park", "hashtags": ["fresh"]}')
    words: dict[str, list[str | Path]] = {
        "recommend": ["recommend", "--caption", "kitten", "--explain"],
        "update": ["update", rows, "--no-retrain"],
        "forget": ["forget", "--author", "ann"],
    }
    code, out, err = run(*words.get(ask, [ask]), "--index", index)
    assert code == 4
    said = out if ask == "verify" else err
    assert "found other tables, views or functions than hashlens makes" in said
    assert "41" not in err.replace(str(tmp_path), "")
    if ask != "verify":
        assert len(err.strip().splitlines()) == 1
    assert open_current(index).number == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("update next_ids set next_id = 1000000000000 where kind = 'post'", "next id of a post"),
        ("update next_ids set next_id = 1000000000000 where kind = 'word'", "next id of a word"),
        ("update next_ids set next_id = 9e18 where kind = 'copy'", "no numbers"),
        ("update next_ids set next_id = -1 where kind = 'hashtag'", "no numbers"),
        ("update next_ids set next_id = 0", "next id of a post"),
        ("update next_ids set next_id = 0 where kind = 'copy'", ""),
        ("update hashtags set tag_id = 1000000000000 where key = 'dog'", "expected ids below"),
        ("update words set word_id = -5 where word_id = 1", "expected ids below"),
        ("update post_words set word_id = 1000000000000 where word_id = 1", "as word_id"),
        ("update post_hashtags set tag_id = 9e18 where tag_id = 1", "as tag_id"),
        ("update post_hashtags set post_key = -7 where post_key = 1", "as post_key"),
        ("update cooccurrences set other_id = 1000000000000 where other_id = 1", "as other_id"),
        ("update hashtag_counts set posts = 9223372036854775807", "as posts"),
        ("update word_hashtags set authors = -5", "as authors"),
        ("update hashtag_topics set topic = 'nowhere'", "found the topic 'nowhere'"),
        ("update hashtag_topics set topic = '../../x'", "found the topic '../../x'"),
        ("update hashtag_topics set topic = null", "found the topic 'None'"),
        ("alter table hashtag_topics alter topic type blob", "found other tables"),
        ("update posts set topic = 'nowhere'", "found the topic 'nowhere'"),
        ("delete from next_ids", "found 0 rows"),
        ("drop table hashtags", "found other tables"),
        ("drop table cooccurrences", "found other tables"),
        ("alter table posts drop column origin", "found other tables"),
        ("create schema prior", "found other tables"),
        (
            "create schema prior; create table prior.totals (posts bigint, authors bigint)",
            "found other tables",
        ),
    ],
)
@pytest.mark.parametrize("ask", ["update", "forget", "compact", "inspect", "verify"])
def test_forged_rows_are_one_line(
    ask: str, sql: str, said: str, index: Path, tmp_path: Path
) -> None:
    forged_store(index / "gen-000001", sql)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"id": "new", "caption": "sleepy meadow", "hashtags": ["fresh"]}\n'
        '{"id": "p0", "caption": "walk #other", "author": "new"}\n'
    )
    words: dict[str, list[str | Path]] = {
        "update": ["update", rows, "--no-retrain"],
        "forget": ["forget", "--author", "ann"],
    }
    code, _, err = run(*words.get(ask, [ask]), "--index", index)
    if ask == "update":
        assert code == (4 if said else 0)
        assert said in err
        assert open_current(index).number == (1 if said else 2)
    assert code in (0, 4)
    assert len(err.strip().splitlines()) <= 1


def test_a_row_that_points_out_of_its_range_is_our_error(index: Path) -> None:
    folder = index / "gen-000001"
    for name in ("tag_posts", "tag_tags", "word_tags", "word_posts"):
        path = folder / "counts" / f"{name}.columns.npy"
        np.save(path, np.full_like(np.load(path), 1 << 30))
    reseal_files(folder)
    with pytest.raises(IndexCorruptError, match="column outside"):
        Recommender.open(index).recommend(Query(caption="sleepy kitten", seeds=("dog",)), 3)


def test_arrays_hold_no_objects(index: Path) -> None:
    """NumPy's files may hold pickles: code that runs on loading."""
    folder = index / "gen-000001"
    np.save(folder / "counts" / "norms.npy", np.array([{}]), allow_pickle=True)
    reseal_files(folder)
    with pytest.raises(IndexCorruptError, match="Python objects"):
        _ = IndexReader.open(index).counts


@pytest.mark.parametrize("name", ["local-dir:/etc/x", "hf-hub:some/model", "local-dir:./x/y"])
def test_an_encoder_is_one_that_open_clip_knows(name: str) -> None:
    with pytest.raises(EncoderError, match="expected open-clip:MODEL/PRETRAINED"):
        open_clip_recipe(f"open-clip:{name}")


WRONG: tuple[Any, ...] = (None, True, -1, 1 << 60, 1.5, "text", [], [1], {}, {"a": None}, [[]])
FIELDS = ("format", "generation", "encoder", "topics", "config", "counts", "created", "files")


@pytest.mark.parametrize("name", [*FIELDS, "libraries"])
def test_a_sealed_manifest_of_wrong_types_is_one_line_everywhere(name: str, index: Path) -> None:
    folder = index / "gen-000001"
    whole = (folder / MANIFEST).read_bytes()
    for value in WRONG:
        (folder / MANIFEST).write_bytes(forged_manifest(whole, [name], value))
        right: dict[str, Any] = {"encoder": None, "libraries": {}, "created": "text"}
        sound = right.get(name, 0)
        check_told(index, allowed=value == sound)


@pytest.mark.parametrize(
    "place",
    [
        ["counts", "posts"],
        ["counts", "authors"],
        ["files", "posts.duckdb"],
        ["files", "posts.duckdb", "bytes"],
        ["files", "posts.duckdb", "sha256"],
        ["config", "vectors"],
        ["config", "vectors", "dimensions"],
        ["config", "ranking"],
        ["config", "ranking", "gate"],
        ["config", "hashtag_rule"],
        ["config", "topics", "min_probability"],
        ["topics", 0],
    ],
)
def test_parts_of_a_sealed_manifest_are_of_their_types(place: list[Any], index: Path) -> None:
    folder = index / "gen-000001"
    whole = (folder / MANIFEST).read_bytes()
    values: tuple[Any, ...] = (None, True, -1, 1 << 60, 1.5, "text", [], {"a": None})
    for value in values:
        (folder / MANIFEST).write_bytes(forged_manifest(whole, place, value))
        check_told(index, allowed=True)


def forged_manifest(whole: bytes, place: list[Any], value: Any) -> bytes:
    values = json.loads(whole)
    del values["seal"]
    inner = values
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    seal = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return json.dumps(values | {"seal": seal}, indent=1).encode() + b"\n"


def check_told(index: Path, *, allowed: bool) -> None:
    """Every command ends in an answer or in one line, and nothing is raised."""
    asked = (["recommend", "--caption", "kitten"], ["inspect"], ["history"], ["verify"])
    for words in asked:
        code, _, err = run(*words, "--index", index)
        wanted = (0, 4) if allowed or words[0] == "history" else (4,)
        assert code in wanted, (words, err)
        assert len(err.strip().splitlines()) <= 1 or code == 0, err


def test_topics_come_from_the_checked_table(index: Path, tmp_path: Path) -> None:
    """Their names are folders: a manifest's must lead nowhere else."""
    folder = index / "gen-000001"
    topics = list(open_current(index).manifest.topics)
    outside = tmp_path / "outside" / "secret"
    outside.mkdir(parents=True)
    os.mkfifo(outside / "hashtags.faiss")  # to read it is to wait for ever
    reseal(folder, topics=(*topics[:-1], "../../../outside/secret"))
    for words in (["recommend", "--caption", "kitten"], ["inspect"]):
        for check in ([], ["--check"] if words[0] == "recommend" else []):
            code, out, err = run(*words, *check, "--index", index)
            assert (code, out) == (4, "")
            assert err.strip().endswith("build again")
            assert "found other topics than the manifest" in err
    with pytest.raises(IndexCorruptError, match="other topics"):
        hashtag_facts(IndexReader.open(index), "kitten")
    assert run("verify", "--index", index)[0] == 4
    reseal(folder, topics=tuple(topics[:-1]))
    with pytest.raises(IndexCorruptError, match="other topics"):
        hashtag_facts(IndexReader.open(index), "kitten")


def forged_starts(folder: Path) -> None:
    path = folder / "counts" / "tag_tags.starts.npy"
    starts = np.load(path).copy()
    starts[1], starts[2] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    np.save(path, starts)


def forged_archive(folder: Path) -> None:
    (folder / "counts" / "norms.npy").write_bytes(b"PK\x03\x04" + b"\0" * 60)


@pytest.mark.parametrize("forge", [forged_starts, forged_archive])
def test_forged_arrays_are_one_line(forge: Callable[[Path], None], index: Path) -> None:
    forge(index / "gen-000001")
    reseal_files(index / "gen-000001")
    for words in (["recommend", "--caption", "kitten park", "--seed", "dog"], ["verify"]):
        code, _, err = run(*words, "--index", index)
        assert code == 4
        assert len(err.strip().splitlines()) == (words[0] != "verify")


@pytest.mark.parametrize("name", ["resnet50", "open-clip:ViT-B-16/laion400m_e31"])
@pytest.mark.parametrize("ask", ["recommend", "batch", "serve", "update"])
def test_no_weights_are_fetched_because_an_index_names_them(
    ask: str, name: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refused(*address: object) -> None:
        asked.append(address)
        raise OSError("no network")

    for variable in ("TORCH_HOME", "HASHLENS_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    encoder = {"name": name, "weights_sha256": "0" * 64, "preprocessing": "x", "width": 3}
    reseal(index / "gen-000001", encoder=encoder)
    picture, rows = tmp_path / "a.png", tmp_path / "rows.jsonl"
    Image.new("RGB", (40, 40)).save(picture)
    rows.write_text('{"id": "a", "image": "a.png", "caption": "a new one"}\n')
    words: dict[str, list[str | Path]] = {
        "recommend": ["recommend", "--image", picture],
        "batch": ["batch", rows, "--out", tmp_path / "a.jsonl"],
        "serve": ["serve", "--port", "0"],
        "update": ["update", rows],
    }
    code, _, err = run(*words[ask], "--index", index)
    assert code == 1
    assert asked == []
    (said,) = err.strip().splitlines()
    assert said.startswith(f"hashlens: {name}: found no weights at ")
    assert "or name that file with --weights FILE" in said
    assert f"only `hashlens build --encoder {name}` fetches it" in said
    assert not (tmp_path / "TORCH_HOME").exists()
    assert not list(tmp_path.glob("a.jsonl*"))


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("vectors", "epochs"),
        ("vectors", "dimensions"),
        ("vectors", "negative"),
        ("topics", "image_epochs"),
        ("ranking", "folds"),
    ],
)
def test_settings_of_a_stranger_are_bounded(part: str, name: str, index: Path) -> None:
    config = open_current(index).manifest.config
    config[part] = config.get(part, {}) | {name: 10**9}
    reseal(index / "gen-000001", config=config)
    code, _, err = run("update", "--retrain", "--index", index)
    assert code == 4
    assert f"found 1000000000 as {name}, expected 0 to " in err
    assert len(err.strip().splitlines()) == 1
