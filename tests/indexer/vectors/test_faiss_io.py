"""Files of a VectorIndex against damage."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from hashlens.indexer.errors import IndexCorruptError, ShapeError
from hashlens.indexer.types import Embeddings
from hashlens.indexer.vectors.faiss_types import Kind
from hashlens.indexer.vectors.index import VectorIndex
from tests.support.vector_oracle import WIDTH, all_kinds, as_dict, check, embeddings, kinds, unit


@kinds
@pytest.mark.parametrize("mmap", [True, False])
def test_save_and_open_round_trip(tmp_path: Path, kind: Kind, mmap: bool) -> None:
    stored, path, asked = embeddings(300), tmp_path / "0001.faiss", unit(3, seed=4)
    VectorIndex.build(stored, kind).save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["0001.faiss"]
    before = path.read_bytes()
    index = VectorIndex.open(path, mmap=mmap)
    assert (index.kind, index.width, len(index)) == (kind, WIDTH, 300)
    known = as_dict(stored)
    check(index.search(asked, 9), known, asked, 9)
    np.testing.assert_array_equal(index.reconstruct(stored.ids), stored.vectors)
    assert path.read_bytes() == before  # a sealed file is never written through its map


@all_kinds
@pytest.mark.parametrize("width", [1, 8, 10, 50, 1001, 1030])
def test_a_width_is_kept(tmp_path: Path, kind: Kind, width: int) -> None:
    stored = Embeddings(np.arange(99), unit(99, width))
    path = tmp_path / "x.faiss"
    VectorIndex.build(stored, kind).save(path)
    for mmap in (True, False):
        index = VectorIndex.open(path, mmap=mmap)
        assert index.width == width
        vectors = index.reconstruct(stored.ids)
        np.testing.assert_allclose(vectors, stored.vectors, atol=0.02 if "sq8" in kind else 0)
        with pytest.raises(ShapeError, match=f"width {width + 1}, expected {width}"):
            index.search(unit(1, width + 1), 5)


@all_kinds
def test_an_empty_index_is_saved_too(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "x.faiss"
    VectorIndex.build(embeddings(0), kind).save(path)
    index = VectorIndex.open(path)
    assert (index.kind, index.width, len(index)) == (kind, WIDTH, 0)


def test_a_reader_keeps_its_index_when_the_file_is_replaced(tmp_path: Path) -> None:
    path, asked, old, new = tmp_path / "x.faiss", unit(2, seed=4), embeddings(99), embeddings(9, 1)
    VectorIndex.build(old).save(path)
    reader = VectorIndex.open(path)
    VectorIndex.build(new).save(path)
    check(reader.search(asked, 5), as_dict(old), asked, 5)
    check(VectorIndex.open(path).search(asked, 5), as_dict(new), asked, 5)


@all_kinds
@pytest.mark.parametrize("mmap", [True, False])
def test_files_cut_short_are_refused(tmp_path: Path, kind: Kind, mmap: bool) -> None:
    whole, cut = tmp_path / "whole.faiss", tmp_path / "cut.faiss"
    VectorIndex.build(embeddings(200), kind).save(whole)
    content = whole.read_bytes()
    for size in (*range(0, 260, 3), len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:size])
        with pytest.raises(IndexCorruptError, match=r"cut\.faiss"):
            VectorIndex.open(cut, mmap=mmap)


@all_kinds
def test_a_damaged_header_is_refused_or_harmless(tmp_path: Path, kind: Kind) -> None:
    """What only a hash can tell apart may open; nothing may end the process."""
    path, chance, refused = tmp_path / "x.faiss", random.Random(1), 0
    VectorIndex.build(embeddings(60), kind).save(path)
    whole = path.read_bytes()
    for place in range(260):
        flipped = whole[place] ^ (1 << chance.randrange(8))
        path.write_bytes(whole[:place] + bytes([flipped]) + whole[place + 1 :])
        try:
            VectorIndex.open(path).search(unit(2), 5)
        except IndexCorruptError:
            refused += 1
    assert refused > 45  # of the 90 bytes or more before the vectors


def test_what_is_no_index_of_ours_is_refused(tmp_path: Path) -> None:
    import faiss

    library: Any = faiss  # its types say too little
    path = tmp_path / "x.faiss"
    chance = random.Random(0)
    for magic in (b"", b"IxMp", b"IxFI", b"IwFl"):
        path.write_bytes(magic + chance.randbytes(5000))
        with pytest.raises(IndexCorruptError, match=r"x\.faiss.*hashlens verify"):
            VectorIndex.open(path)
    others: list[Any] = [
        faiss.IndexFlatIP(8),
        faiss.IndexFlatL2(8),
        faiss.IndexIDMap(faiss.IndexFlatL2(8)),
        faiss.IndexIDMap2(faiss.IndexFlatIP(8)),
        *(
            faiss.IndexPreTransform(step, faiss.IndexIDMap(faiss.IndexFlatIP(8)))
            for step in (
                library.RemapDimensionsTransform(6, 8, True),
                library.RemapDimensionsTransform(8, 8, False),
                library.RemapDimensionsTransform(9, 8, False),
                library.NormalizationTransform(8),
            )
        ),
        faiss.IndexPreTransform(
            library.RemapDimensionsTransform(6, 8, False), faiss.IndexIDMap(faiss.IndexFlatL2(8))
        ),
        faiss.IndexIVFFlat(faiss.IndexFlatL2(8), 8, 1, faiss.METRIC_INNER_PRODUCT),
        faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(8),
            8,
            1,
            faiss.ScalarQuantizer.QT_4bit,
            faiss.METRIC_INNER_PRODUCT,
        ),
    ]
    for other in others:
        faiss.write_index(other, str(path))
        with pytest.raises(IndexCorruptError, match=r"x\.faiss"):
            VectorIndex.open(path)
    for missing in (tmp_path / "nothing.faiss", tmp_path):
        with pytest.raises(IndexCorruptError, match=missing.name):
            VectorIndex.open(missing)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "x.faiss", unit(1)
    VectorIndex.build(embeddings(9)).save(path)
    usual = Path.open

    def fill_disk(self: Path, mode: str = "r") -> IO[Any]:
        if mode != "xb":
            return usual(self, mode)
        self.touch()
        return usual(Path("/dev/full"), "wb")  # a device that is always full

    monkeypatch.setattr(Path, "open", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        VectorIndex.build(embeddings(5000)).save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.faiss"]
    with pytest.raises(OSError, match="No space left"):
        VectorIndex.build(embeddings(3)).save(path)  # small enough to fail only when flushed
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["x.faiss"]
    check(VectorIndex.open(path).search(asked, 3), as_dict(embeddings(9)), asked, 3)


def test_faiss_is_imported_on_first_use_only() -> None:
    code = "import sys, hashlens.indexer.vectors.index; sys.exit('faiss' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
