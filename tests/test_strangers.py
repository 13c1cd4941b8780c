"""An index folder from a stranger: nothing in it is run, nothing outside it is read or changed."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest

from indexer.compact import compact
from indexer.errors import EncoderError, HashlensError, IndexCorruptError, IndexUnusableError
from indexer.generation import history, open_current, rollback, writer
from indexer.manifest import LARGEST
from indexer.openclip import open_clip_recipe
from indexer.schema import Query
from indexer.store import Store
from indexer.verify import verify
from retriever.reading import IndexReader
from retriever.recommend import Recommender
from tests.growing import updated
from tests.sealing import reseal_files

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


@pytest.mark.parametrize("ask", ["recommend", "verify", "update", "compact"])
def test_a_view_in_the_rows_reads_no_file(ask: str, index: Path, secret: Path) -> None:
    """DuckDB's views may name files and addresses."""
    forged_store(
        index / "gen-000001",
        "alter table posts rename to hidden",
        f"""create view posts as select hidden.* replace (
            (select key::varchar from read_csv('{secret}')) as post_id) from hidden""",
    )
    if ask == "verify":
        assert "other tables, views or functions" in str(verify(index).troubles)
    elif ask == "recommend":
        recommender = Recommender.open(index)
        with pytest.raises(IndexCorruptError, match="Permission"):
            recommender.recommend(Query(caption="kitten"), 3, explain=True)
    elif ask == "update":
        with pytest.raises(IndexCorruptError, match="Permission"):
            updated([ROW], index)
        assert open_current(index).number == 1
    else:
        compact(index)
        with (
            Store.open(open_current(index).folder / "posts.duckdb") as store,
            pytest.raises(IndexCorruptError, match="Permission"),
        ):
            list(store.posts())


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
