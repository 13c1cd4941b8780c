"""Pretrained word vectors: the words of GloVe 6B that ship, or a GloVe or word2vec file.

Vectors are never unpickled: text and the word2vec binary form are read here, line by line.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import check_file, data_path
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import InputError
from hashlens.indexer.types import Floats

SHIPPED_WORDS, SHIPPED_VECTORS = "words.txt", "vectors.npy"  # in `data/words`

_Rows = Iterator[tuple[str, Floats]]
_MAX_WIDTH = 4096
# No word is longer than this in bytes; past it, a file is something else than word vectors.
_MAX_WORD = 4096
_MAX_LINE = _MAX_WORD + 32 * _MAX_WIDTH  # bytes of a word and its numbers


def load_pretrained(source: str | None = None, limit: int = 400_000) -> WordSpace:
    """Pretrained words as a space whose counts are 0.

    Args:
        source: None for the words of GloVe 6B that ship (200,000, 50 wide); else a path. A name
            ending in `.bin` is word2vec binary; any other is text with one word and its numbers a
            line, after a `words width` line where it is word2vec text. Either may be gzipped, with
            `.gz` after the name.
        limit: how many words to keep; files list frequent words first. The first of repeated
            words is kept, and rows of zeros are left out, having no direction.

    Raises:
        InputError: the file is missing or is not of these forms.
    """
    if source is None:
        return _shipped(limit)
    path = check_file(Path(source), "pretrained vectors")
    binary = path.name.removesuffix(".gz").endswith(".bin")
    try:
        with _opened(path) as stream:
            rows = _binary_rows(path, stream) if binary else _text_rows(path, stream)
            return _first_rows(path, rows, limit)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as word vectors ({error})") from error


def _shipped(limit: int) -> WordSpace:
    folder = data_path("words")
    words = (folder / SHIPPED_WORDS).read_text(encoding="utf-8").split("\n")[:-1][:limit]
    steps = np.load(folder / SHIPPED_VECTORS, allow_pickle=False)[:limit]
    return WordSpace.normalized(words, steps, np.zeros(len(words), np.int64))


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _first_rows(path: Path, rows: _Rows, limit: int) -> WordSpace:
    kept: dict[str, Floats] = {}
    while len(kept) < limit and (row := next(rows, None)) is not None:
        kept.setdefault(*row)
    if not kept:
        raise InputError(f"{path}: found no word vectors, expected one word and its numbers a line")
    return WordSpace.normalized(kept, np.stack(list(kept.values())), np.zeros(len(kept), np.int64))


def _text_rows(path: Path, stream: IO[bytes]) -> _Rows:
    """Words and float32 (d,) vectors of a text file; the first vector sets the width."""
    width = 0
    for line, raw in enumerate(iter(partial(stream.readline, _MAX_LINE), b""), start=1):
        if len(raw) == _MAX_LINE:
            raise _bad(path, f"line {line}", f"{_MAX_LINE} bytes", f"{_MAX_WIDTH} numbers at most")
        word, *numbers = _fields(path, line, raw)
        if line == 1 and len(numbers) == 1:
            continue  # word2vec's header: how many words, how wide
        width = width or len(numbers)
        # A few words of the largest GloVe files hold spaces, so numbers are counted from the end.
        spare = max(len(numbers) - width, 0)
        if spare and _is_number(numbers[spare - 1]):
            raise _bad(path, f"line {line}", f"{len(numbers)} numbers", f"{width}")
        yield " ".join([word, *numbers[:spare]]), _vector(path, line, numbers[spare:], width)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fields(path: Path, line: int, raw: bytes) -> list[str]:
    try:
        return raw.decode("utf-8").rstrip("\r\n ").split(" ")
    except UnicodeDecodeError as error:
        raise _bad(path, f"line {line}", "bytes that are not UTF-8", "text") from error


def _vector(path: Path, line: int, numbers: list[str], width: int) -> Floats:
    expected = f"a word and {width} numbers" if width else "a word and its numbers"
    try:
        vector = np.array(numbers, np.float32)
    except ValueError as error:
        raise _bad(path, f"line {line}", "text where a number belongs", expected) from error
    if not width or len(vector) != width:
        raise _bad(path, f"line {line}", f"{len(vector)} numbers", expected)
    return _finite(path, f"line {line}", vector)


def _binary_rows(path: Path, stream: IO[bytes]) -> _Rows:
    """Words and float32 (d,) vectors of a word2vec binary file, as its header counts them."""
    count, width = _header(path, stream.readline(100))
    for number in range(1, count + 1):
        place = f"word {number} of {count}"
        word = _binary_word(path, place, stream)
        raw = stream.read(4 * width)
        if len(raw) < 4 * width:
            raise _bad(path, place, "the end of the file", f"{4 * width} bytes of vector")
        yield word, _finite(path, place, np.frombuffer(raw, "<f4").astype(np.float32))


def _header(path: Path, line: bytes) -> tuple[int, int]:
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise _bad(path, "line 1", repr(line[:40]), "how many words and how wide")
    count, width = map(int, parts)
    if not 1 <= width <= _MAX_WIDTH:
        raise _bad(path, "line 1", f"width {width}", f"1 to {_MAX_WIDTH}")
    return count, width


def _binary_word(path: Path, place: str, stream: IO[bytes]) -> str:
    letters = bytearray()
    while (letter := stream.read(1)) != b" ":
        if not letter or len(letters) > _MAX_WORD:
            raise _bad(path, place, "no end of the word", "a word, a space and its vector")
        letters += letter
    # Some writers end each vector with a line break, which then stands before the next word.
    return letters.lstrip(b"\n").decode("utf-8", "replace")


def _finite(path: Path, place: str, vector: NDArray[np.float32]) -> Floats:
    if not np.isfinite(vector).all():
        raise _bad(path, place, "NaN or an infinite number", "finite numbers")
    return vector


def _bad(path: Path, place: str, found: str, expected: str) -> InputError:
    return InputError(f"{path}: {place}: found {found}, expected {expected}")
