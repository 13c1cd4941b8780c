"""What a build spreads, in this process: tables read apart, pairs counted and pictures encoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.indexer.distributed.image_batches import (
    EncoderSpec,
    check_same_files,
    concat_batches,
    encode_batch,
    path_batches,
)
from hashlens.indexer.distributed.partitioned_counts import (
    Columns,
    Uses,
    count_uses,
    derive_in_parts,
)
from hashlens.indexer.errors import ClusterError, EncoderError, InputError
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.posts.reader import once_each, parts, read_posts
from hashlens.indexer.storage.statistics import DERIVED, derive
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Post, Rejection
from tests.support.encoder_fixtures import PHOTOS
from tests.support.posts_files import write_csv, write_jsonl, write_parquet

COLUMNS = """select table_name, column_name, data_type from duckdb_columns()
where not internal and database_name <> 'temp' order by all"""


def test_tables_read_apart_give_the_posts_and_rejections_of_the_whole(tmp_path: Path) -> None:
    """Ids again in other tables, rows that make no post, and a table that cannot be read."""
    folder = tmp_path / "posts"
    folder.mkdir()
    write_parquet(folder / "a.parquet", [{"id": "1", "caption": "one #a"}, {"id": "2"}])
    write_jsonl(folder / "b.jsonl", [{"id": "1", "caption": "again"}, {"id": "3", "caption": "c"}])
    (folder / "c.parquet").write_bytes(b"PAR1 cut short")
    write_csv(folder / "d.csv", [{"id": "4", "image": "gone.jpg", "caption": "#d"}])
    alone = write_csv(tmp_path / "alone.csv", [{"id": "3", "caption": "again"}])
    whole: list[Rejection] = []
    posts = list(read_posts([folder, alone], rejections=whole))
    found = parts([folder, alone], rule="instagram", apart=True)
    assert [part.path.name for part in found] == [
        *("a.parquet", "b.jsonl", "c.parquet", "d.csv", "alone.csv")
    ]
    apart: list[Rejection] = []
    assert list(once_each(chain.from_iterable(p.rows() for p in found), apart)) == posts
    assert apart == whole
    assert [post.post_id for post in posts] == ["1", "3", "4"]
    assert [(Path(r.source).name, r.line, r.post_kept) for r in whole] == [
        ("a.parquet", 2, False),
        ("b.jsonl", 1, False),
        ("c.parquet", None, False),
        ("d.csv", 2, True),
        ("alone.csv", 2, False),
    ]


def test_an_unreadable_table_named_alone_stops_the_reading(tmp_path: Path) -> None:
    broken = tmp_path / "posts.parquet"
    broken.write_bytes(b"PAR1 cut short")
    for apart in (False, True):
        (part,) = parts([broken], rule="instagram", reader="tables", apart=apart)
        with pytest.raises(InputError, match=r"posts\.parquet: cannot be read as Parquet"):
            list(part.rows())


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from("abcd")),
            st.sets(st.sampled_from(["dog", "cat", "the"])),
            st.sampled_from(["u", "v", "w", None]),
        ),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_pairs_counted_in_parts_are_those_counted_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[set[str], set[str], str | None]],
    number: int,
) -> None:
    path = tmp_path_factory.mktemp("store") / "a.duckdb"
    tags = [tuple(sorted(row[0])) for row in rows]
    posts = [
        Post(f"p{n}", None, "x", tags[n], tags[n], author, content_hash="h")
        for n, (_, _, author) in enumerate(rows)
    ]
    given_parts: list[Uses] = []

    def count(uses: Iterator[Uses]) -> Iterator[dict[str, Columns]]:
        given_parts.extend(uses)
        return map(count_uses, reversed(given_parts))

    with Store.create(path) as store:
        store.add_posts(posts, [sorted(row[1]) for row in rows], [("pets", "given")] * len(rows))
        derive(store)
        tables = {name: store.rows(f"from {name}") for name in DERIVED}
        columns = store.rows(COLUMNS)
        derive_in_parts(store, number, count)
        assert {name: store.rows(f"from {name}") for name in DERIVED} == tables
        assert store.rows(COLUMNS) == columns
    assert len(given_parts) == number
    owners = [set(part.tagged["author"]) | set(part.said["author"]) for part in given_parts]
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_pictures_encoded_in_batches_are_those_encoded_at_once(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut short")
    paths = [*PHOTOS.values(), broken, PHOTOS["coffee"], tmp_path / "gone.jpg"]
    encoder = open_encoder("efficientnet-lite0")
    wanted = EncoderSpec.of(encoder)
    assert wanted.weights is None
    whole = encoder.encode(paths, classes=True)
    batches = [encode_batch(batch, wanted) for batch in path_batches(paths, 4)]
    assert [batch.num_rows for batch in batches] == [4, 4, 1]
    found = concat_batches(batches[::-1], len(paths))
    assert found.rows.tolist() == whole.rows.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert found.failures == whole.failures
    np.testing.assert_array_equal(found.vectors, whole.vectors)
    assert found.classes is not None
    assert whole.classes is not None
    np.testing.assert_array_equal(found.classes, whole.classes)
    with pytest.raises(ClusterError, match="5 results"):
        concat_batches(batches[1:], len(paths))


def test_a_machine_with_other_files_or_weights_is_told(tmp_path: Path) -> None:
    encoder = open_encoder("efficientnet-lite0")
    wanted = EncoderSpec.of(encoder)
    path = tmp_path / "cat.png"
    path.write_bytes(PHOTOS["chelsea"].read_bytes())
    (seen,) = (encode_batch(batch, wanted) for batch in path_batches([path], 4))
    (digest,) = seen["sha256"].to_pylist()
    check_same_files([path], [digest], seen)
    check_same_files([path], ["of what it was when its post was read"], seen)
    path.write_bytes(PHOTOS["rocket"].read_bytes())
    with pytest.raises(ClusterError, match=r"cat\.png: another machine .* another file"):
        check_same_files([path], ["another"], seen)
    path.unlink()
    (lost,) = (encode_batch(batch, wanted) for batch in path_batches([path], 4))
    check_same_files([path], [digest], lost)  # gone here, too: the picture is reported as failed
    path.write_bytes(PHOTOS["chelsea"].read_bytes())
    with pytest.raises(ClusterError, match="no file"):
        check_same_files([path], [digest], lost)
    with pytest.raises(EncoderError, match=r"weights_sha256 5793\w+ on .*, expected 000"):
        encode_batch(next(path_batches([path], 1)), replace(wanted, weights_sha256="0" * 64))
