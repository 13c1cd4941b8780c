"""Pretrained word vectors: the bundled words of GloVe 6B, or a GloVe or word2vec file.

Files are read line by line and never unpickled.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, cast

import numpy as np

from hashlens.indexer.config import check_file, data_path
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import InputError
from hashlens.indexer.types import Floats

SHIPPED_WORDS, SHIPPED_VECTORS = "words.txt", "vectors.npy"  # in `data/words`

_Rows = Iterator[tuple[str, Floats]]
_MAX_WIDTH = 4096
_MAX_WORD = 4096  # bytes; a longer word shows that a file has no word vectors
_MAX_LINE = _MAX_WORD + 32 * _MAX_WIDTH  # bytes of a word and its numbers


def load_pretrained(source: str | None = None, limit: int = 400_000) -> WordSpace:
    """Return pretrained words as a space whose counts are 0.

    Args:
        source: None for the bundled words of GloVe 6B (200,000, 50 wide); else a path. A name that
            ends in `.bin` is word2vec binary; any other is text with one word and its numbers a
            line, after a `words width` line in word2vec text. Either may be gzipped, with `.gz`
            after the name.
        limit: number of words to keep; files list frequent words first. Repeated words and rows of
            zeros are left out.

    Raises:
        InputError: the file is missing or has another form.
    """
    if source is None:
        folder = data_path("words")
        shipped = (folder / SHIPPED_WORDS).read_text(encoding="utf-8").split("\n")[:-1][:limit]
        steps = np.load(folder / SHIPPED_VECTORS, allow_pickle=False)[:limit]
        return WordSpace.normalized(shipped, steps, np.zeros(len(shipped), np.int64))
    path = check_file(Path(source), "pretrained vectors")
    is_binary = path.name.removesuffix(".gz").endswith(".bin")
    opener = gzip.open if path.suffix == ".gz" else open
    words: dict[str, Floats] = {}
    try:
        with cast(IO[bytes], opener(path, "rb")) as stream:
            rows = _binary_rows(path, stream) if is_binary else _text_rows(path, stream)
            while len(words) < limit and (row := next(rows, None)) is not None:
                words.setdefault(*row)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as word vectors ({error})") from error
    if not words:
        raise InputError(f"{path}: found no word vectors, expected one word and its numbers a line")
    return WordSpace.normalized(words, np.stack(list(words.values())), np.zeros(len(words), int))


def _text_rows(path: Path, stream: IO[bytes]) -> _Rows:
    """Yield words and float32 (d,) vectors of a text file; the first vector sets the width."""
    width = 0
    for line, raw in enumerate(iter(partial(stream.readline, _MAX_LINE), b""), start=1):
        place = f"line {line}"
        if len(raw) == _MAX_LINE:
            raise _bad(path, place, f"{_MAX_LINE} bytes", f"{_MAX_WIDTH} numbers at most")
        try:
            word, *numbers = raw.decode("utf-8").rstrip("\r\n ").split(" ")
        except UnicodeDecodeError as error:
            raise _bad(path, place, "bytes that are not UTF-8", "text") from error
        if line == 1 and len(numbers) == 1:
            continue  # word2vec's header: number of words, and width
        width = width or len(numbers)
        # A few words of large GloVe files contain spaces, so numbers are counted from the end.
        spare = max(len(numbers) - width, 0)
        if spare:
            with suppress(ValueError):
                float(numbers[spare - 1])
                raise _bad(path, place, f"{len(numbers)} numbers", f"{width}")
        expected = f"a word and {width} numbers" if width else "a word and its numbers"
        try:
            vector = np.array(numbers[spare:], np.float32)
        except ValueError as error:
            raise _bad(path, place, "text where a number belongs", expected) from error
        if not width or len(vector) != width:
            raise _bad(path, place, f"{len(vector)} numbers", expected)
        yield " ".join([word, *numbers[:spare]]), _finite(path, place, vector)


def _binary_rows(path: Path, stream: IO[bytes]) -> _Rows:
    """Yield words and float32 (d,) vectors of a word2vec binary file, as its header counts them."""
    header = stream.readline(100)
    parts = header.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise _bad(path, "line 1", repr(header[:40]), "how many words and how wide")
    count, width = map(int, parts)
    if not 1 <= width <= _MAX_WIDTH:
        raise _bad(path, "line 1", f"width {width}", f"1 to {_MAX_WIDTH}")
    for number in range(1, count + 1):
        place = f"word {number} of {count}"
        letters = bytearray()
        while (letter := stream.read(1)) != b" ":
            if not letter or len(letters) > _MAX_WORD:
                raise _bad(path, place, "no end of the word", "a word, a space and its vector")
            letters += letter
        # Some writers end each vector with a line break, which then precedes the next word.
        word = letters.lstrip(b"\n").decode("utf-8", "replace")
        raw = stream.read(4 * width)
        if len(raw) < 4 * width:
            raise _bad(path, place, "the end of the file", f"{4 * width} bytes of vector")
        yield word, _finite(path, place, np.frombuffer(raw, "<f4").astype(np.float32))


def _finite(path: Path, place: str, vector: Floats) -> Floats:
    if not np.isfinite(vector).all():
        raise _bad(path, place, "NaN or an infinite number", "finite numbers")
    return vector


def _bad(path: Path, place: str, found: str, expected: str) -> InputError:
    return InputError(f"{path}: {place}: found {found}, expected {expected}")
