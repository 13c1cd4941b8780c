"""Vectors in Milvus that may not be asked for, cannot be reached, are gone or are wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.errors import (
    ConfigError,
    IndexCorruptError,
    VectorsUnreachableError,
)
from hashlens.indexer.pipeline.compact import compact
from hashlens.indexer.vectors import milvus_client as milvus
from hashlens.indexer.vectors.milvus_client import Collection, drop_collection
from hashlens.indexer.vectors.milvus_location import (
    ADDRESS,
    LOCATION_FILE,
    MilvusLocation,
    parse_address,
)
from hashlens.indexer.vectors.milvus_segments import primary_keys
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.cli.options import vectors_from
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.summary import summarize_reader
from tests.indexer.pipeline.random_updates import updated, written
from tests.retriever.cli.test_cli import run
from tests.support import tiny_index as tiny
from tests.support.forged import reseal_files
from tests.support.milvus_index import (
    ROWS,
    place_of,
    published,
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of a stranger's, which must never be called."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        found.setblocking(False)
        yield found


def test_a_strangers_index_is_not_followed(
    lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    index = published(tmp_path / "index", lite).folder.parent
    folder = index / "gen-000001"
    theirs = f"http://127.0.0.1:{listener.getsockname()[1]}"
    file = tmp_path / "theirs.db"
    for address in (theirs, str(file)):
        values = json.loads((folder / LOCATION_FILE).read_text()) | {"address": address}
        (folder / LOCATION_FILE).write_text(json.dumps(values))
        reseal_files(folder)
        monkeypatch.delenv(ADDRESS, raising=False)
        asked = (lambda: Recommender.open(index).recommend(Query(caption="sleepy kitten"), 3),)
        for ask in (*asked, lambda: updated(ROWS[:1], index), lambda: compact(index)):
            with pytest.raises(VectorsUnreachableError, match=f"{ADDRESS}=milvus:{address}"):
                ask()
        verdict = verify(index)
        assert (verdict.sound, verdict.troubles) == (False, ())
        assert ADDRESS in verdict.advice(index)
        # What the user names is used, whatever the index says.
        monkeypatch.setenv(ADDRESS, f"milvus:{lite}")
        Recommender.open(index).recommend(Query(caption="sleepy kitten"), 3)
        assert verify(index).sound
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert not file.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"address": "http://ann:hunter2@host:1"},
        {"address": "http://host:1\x1b[2J"},
        {"address": "/etc/passwd"},
        {"index": "../../../etc"},
        {"made": -1},
        {"made": 1 << 40},
        {"owner": "me"},
        {"more": 1},
        None,
    ],
)
def test_a_place_of_another_form_is_refused(
    change: dict[str, object] | None, tmp_path: Path, lite: str
) -> None:
    MilvusLocation.first(lite, tmp_path, 1).save(tmp_path)
    assert MilvusLocation.of(tmp_path) is not None
    values = json.loads((tmp_path / LOCATION_FILE).read_text())
    (tmp_path / LOCATION_FILE).unlink()
    if change is None:  # to read it is to wait for ever
        os.mkfifo(tmp_path / LOCATION_FILE)
    else:
        (tmp_path / LOCATION_FILE).write_text(json.dumps(values | change))
    with pytest.raises(IndexCorruptError) as caught:
        MilvusLocation.of(tmp_path)
    assert "hunter2" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_addresses_are_servers_or_files_without_secrets() -> None:
    assert parse_address("milvus:https://host.example:443/db") == "https://host.example:443/db"
    assert parse_address("milvus:./a.db") == str(Path.cwd() / "a.db")
    for wrong in ("milvus:", "milvus:host:19530", "milvus:ftp://host", "http://host:1", "milvus:x"):
        with pytest.raises(ConfigError, match="expected milvus:http"):
            parse_address(wrong)
    for secret in ("http://ann:hunter2@host:1", "http://host:1?token=hunter2", "ann:hunter2@host"):
        with pytest.raises(ConfigError, match=milvus.TOKEN) as caught:
            vectors_from([f"milvus:{secret}", "milvus:other.db"])
        assert "hunter2" not in str(caught.value)


def test_what_cannot_be_reached_or_is_gone_is_told(
    lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    index = published(tmp_path / "index", lite).folder.parent

    def ask() -> None:
        Recommender.open(index).recommend(Query(caption="sleepy kitten"), 3)

    monkeypatch.setattr(milvus, "_CONNECTING", 1)
    silent = f"milvus:http://127.0.0.1:{listener.getsockname()[1]}"
    for address, what in (
        ("milvus:http://127.0.0.1:9", "found no Milvus that answers"),
        (silent, "found no Milvus that answers"),
        (f"milvus:{tmp_path / 'none.db'}", "found nothing there"),
    ):
        began = time.monotonic()
        monkeypatch.setenv(ADDRESS, address)
        with pytest.raises(VectorsUnreachableError, match=what):
            ask()
        with pytest.raises(VectorsUnreachableError):
            updated(ROWS[:1], index)
        assert time.monotonic() - began < 10
    assert verify(index).troubles == ()
    code, _, err = run("verify", "--index", index)
    assert (code, err) == (4, "")
    monkeypatch.setenv(ADDRESS, f"milvus:{lite}")
    drop_collection(lite, place_of(index).collection("captions"))
    with pytest.raises(IndexCorruptError, match="dropped"):
        ask()
    assert "dropped" in str(verify(index).troubles)
    code, _, err = run("recommend", "--caption", "sleepy kitten", "--index", index)
    assert (code, err.count("\n")) == (4, 1)
    milvus._pymilvus.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pymilvus", None)
        with pytest.raises(ConfigError, match=r'pip install "hashlens\[milvus\]"'):
            ask()


def test_verify_compares_ids_both_ways_and_looks_at_vectors(lite: str, tmp_path: Path) -> None:
    index = published(tmp_path / "index", lite).folder.parent
    assert verify(index).sound
    there = Collection.open(lite, place_of(index).collection("images"))
    client = milvus._client(lite, "", os.getpid())
    key = int(primary_keys(1, np.array([2]))[0])
    client.delete(there.name, filter=f"id in [{key}]")
    assert (
        "found 1 ids without a vector in Milvus, expected none: id 2" in verify(index).troubles[0]
    )
    images = IndexReader.open(index).images
    assert images is not None
    with pytest.raises(IndexCorruptError, match="no vector of id 2"):
        images.reconstruct(images.ids)
    row = {"id": key + 90, "segment": 1, "vector": np.array([0, 0, 1], np.float32)}
    client.insert(there.name, [row])
    assert "found 1 vectors in Milvus that are of no id" in str(verify(index).troubles)
    with pytest.raises(IndexCorruptError, match="does not have"):
        images.search(tiny.PICTURES, 3)
    client.delete(there.name, filter=f"id == {key + 90}")
    client.insert(there.name, [row | {"id": key, "vector": np.array([0, 0, 2], np.float32)}])
    assert "length is 1.0000 away from 1" in str(verify(index).troubles)


def test_the_command_line_says_where_vectors_are(lite: str, tmp_path: Path) -> None:
    config, where = vectors_from(["report-glove", "milvus:x.db"])
    assert (config.method, where) == ("glove", f"milvus:{Path.cwd() / 'x.db'}")
    assert vectors_from(None)[1] is None
    for twice in (["milvus:a.db", "milvus:b.db"], ["default", "report-glove"], ["nothing"]):
        with pytest.raises(ConfigError, match="--vectors"):
            vectors_from(twice)
    posts, index = written(ROWS[:10], tmp_path / "posts"), tmp_path / "index"
    code, out, err = run("build", posts, "--index", index, "--vectors", f"milvus:{lite}")
    assert code == 0
    assert f"{ADDRESS}=milvus:{lite}" in out + err
    code, out, _ = run("inspect", "--index", index, "--json")
    assert lite in json.loads(out)["post_vectors"]
    assert lite not in str(
        summarize_reader(IndexReader.open(index))
    )  # which the server tells everybody
    code, _, err = run("build", posts, "--from-starter", "--vectors", f"milvus:{lite}")
    assert (code, "--from-starter" in err) == (2, True)
    # This process has Milvus Lite: another one is told so, in a line.
    program = "from hashlens.cli import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", program, "recommend", "--caption", "sunday", "--index", index],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (4, "", 1)
    assert "one process at a time" in found.stderr
