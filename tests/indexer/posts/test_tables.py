"""Files and folders of posts: what is read of them, and what is said of those that are damaged."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.parser import MAX_CAPTION
from hashlens.indexer.posts.reader import count_rows
from hashlens.indexer.posts.tables.parquet_pages import page_sizes
from hashlens.indexer.posts.tables.tables import MAX_LINE
from tests.support.posts_files import read, write_csv, write_jsonl, write_parquet


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "b", "caption": "x"', "malformed JSON"),
        (b"[" * 100_000, "malformed JSON"),
        (b'{"id": ' + b"1" * 5000 + b', "caption": "x"}', "malformed JSON"),
        (b'["caption"]', "found a list, expected a JSON object"),
        (b"null", "found null, expected a JSON object"),
        (b'{"caption": "caf\xe9"}', "not UTF-8"),
        (b'{"caption": 7}', "found a number as caption, expected text"),
        (b'{"caption": "x", "hashtags": {"a": 1}}', "found an object as hashtags"),
        (b'{"caption": "x", "topic": ["a"]}', "found a list as topic"),
        (b'{"caption": "x", "id": true}', "found true or false as id"),
        (b'{"caption": " ", "hashtags": [], "likes": 3}', "found neither caption, hashtags nor"),
        (b'{"hashtags": ["2024"]}', "found '2024', expected a hashtag"),
        (b'{"id": "a", "caption": "again"}', "found id 'a' again, first at"),
        (b'{"caption": "' + b"x" * MAX_LINE + b'"}', "longer than 1,048,576 bytes"),
        (b'{"caption": "' + b"x" * (MAX_CAPTION + 1) + b'"}', "100,001 characters"),
    ],
)
def test_reading_goes_on_after_a_bad_line(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "posts.jsonl"
    first, last = b'{"id": "a", "caption": "one"}', b'{"id": "z", "caption": "two"}'
    path.write_bytes(b"\n".join([first, b"", line, last]))
    posts, (rejection,) = read(path)
    assert [post.post_id for post in posts] == ["a", "z"]
    assert (rejection.source, rejection.line, rejection.post_kept) == (str(path), 3, False)
    assert reason in rejection.reason


def test_rows_of_csv_are_counted_without_the_lines_in_cells(tmp_path: Path) -> None:
    rows = [{"id": str(n), "caption": f'line "one",\nline two\n\n{n}'} for n in range(5)]
    assert count_rows([write_csv(tmp_path / "posts.csv", rows)]) == 5


def test_ids_are_unique_over_all_sources(tmp_path: Path) -> None:
    a = write_jsonl(tmp_path / "a.jsonl", [{"id": "1", "caption": "first"}])
    b = write_csv(
        tmp_path / "b.csv", [{"id": "1", "caption": "second"}, {"id": "2", "caption": "x"}]
    )
    posts, (rejection,) = read(a, b)
    assert [post.caption for post in posts] == ["first", "x"]
    assert str(rejection) == f"{b}:2: found id '1' again, first at {a}:1"
    posts, rejections = read(a, a)
    assert (len(posts), len(rejections)) == (1, 1)


def test_bad_rows_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(
        b"id, caption ,likes\r\n"
        b'1,"two\nlines",5\r\n'
        b"2,x,5,extra\r\n"
        b"3,caf\xe9,5\r\n"
        b"7,caf\xc3\xa9,5\r\n"
        b"8,caf\xc3\xa9,5,,\r\n"
        b"\r\n"
        b"4," + b"x" * MAX_LINE + b",5\r\n"
        b'5,"x"y,5\r\n'
        b"6,short\r\n"
    )
    posts, rejections = read(path)
    assert [(p.post_id, p.caption) for p in posts] == [
        ("1", "two\nlines"),
        ("7", "café"),
        ("8", "café"),
        ("6", "short"),
    ]
    assert [(r.line, r.reason[:24]) for r in rejections] == [
        (4, "found 4 cells, expected "),
        (5, "found bytes that are not"),
        (9, "found a line longer than"),
        (10, "found malformed CSV (','"),
    ]


def test_a_long_cell_of_csv_is_read(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "posts.csv", [{"id": "1", "caption": "é" * MAX_CAPTION}])
    (post,), rejections = read(path)
    assert (len(post.caption), rejections) == (MAX_CAPTION, [])


def test_text_of_parquet_that_is_not_utf_8(tmp_path: Path) -> None:
    text = pa.array([b"one", b"caf\xe9", b"two"]).view(pa.utf8())
    pq.write_table(pa.table({"caption": text}), tmp_path / "posts.parquet")
    posts, (rejection,) = read(tmp_path)
    assert [post.caption for post in posts] == ["one", "two"]
    assert rejection.line == 2


def test_a_folder_stands_for_its_posts_first(tmp_path: Path) -> None:
    def captions() -> list[str]:
        return [post.caption for post in read(tmp_path)[0]]

    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "posts.jsonl", [{"caption": f"in {name}"}])
    write_jsonl(tmp_path / "a" / "other.jsonl", [{"caption": "beside"}])
    assert captions() == ["in a", "in b"]
    write_csv(tmp_path / "y.csv", [{"caption": "y"}])
    write_jsonl(tmp_path / "x.JSONL", [{"caption": "x"}])
    assert captions() == ["x", "y"]
    write_parquet(tmp_path / "posts.parquet", [{"caption": "own"}])
    assert captions() == ["own"]


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.csv").write_text("name,words\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 torn")
    empty = tmp_path / "pics"
    empty.mkdir()
    (empty / "a.jpg").write_bytes(b"")
    for source, reason in {
        tmp_path / "none": "found nothing at",
        tmp_path / "a.txt": r"expected a folder or a file named \*.jsonl, \*.csv, .* or \*.json",
        empty: "found a.jpg in .*pics, expected posts.jsonl, posts.csv, .* or posts.json there",
        tmp_path
        / "a.csv": r"found columns name, words, expected some of id, .* \(--column caption=NAME",
        tmp_path / "empty.csv": "found an empty file, expected column names",
        tmp_path / "a.parquet": "cannot be read as Parquet",
    }.items():
        with pytest.raises(InputError, match=reason):
            read(source)
    assert count_rows([tmp_path / "none"]) is None
    assert count_rows([empty]) is None
    assert count_rows([tmp_path / "a.parquet"]) is None


def _varint(number: int, width: int = 0) -> bytes:
    """A positive number as Parquet's footer has it, of so many bytes at least."""
    value = number << 1
    found: list[int] = []
    while value > 127 or len(found) < width - 1:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _lying(path: Path, table: pa.Table, **options: Any) -> Path:
    """A Parquet file whose footer says that its columns unpack to 1,000 bytes."""
    pq.write_table(table, path, compression="zstd", use_dictionary=False, **options)
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    body, footer = content[:start], content[start:]
    group = pq.ParquetFile(path).metadata.row_group(0)
    sizes = {group.column(n).total_uncompressed_size for n in range(group.num_columns)}
    for size in {*sizes, group.total_byte_size}:
        told = _varint(size)
        assert told in footer
        footer = footer.replace(told, _varint(1000, len(told)))
    path.write_bytes(body + footer)
    assert pq.ParquetFile(path).metadata.row_group(0).total_byte_size == 1000
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no memory figures here")
@pytest.mark.parametrize("page", [1 << 20, 1 << 30])
def test_pages_of_parquet_are_bounded_whatever_the_footer_says(tmp_path: Path, page: int) -> None:
    captions = [f"{n} " + "snow " * 400_000 for n in range(200)]  # 400 MB in a few kilobytes
    path = tmp_path / "posts.parquet"
    _lying(path, pa.table({"caption": captions}), data_page_size=page)
    del captions
    assert path.stat().st_size < 1 << 20
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hashlens.indexer.posts.reader import read_posts\n"
        "try:\n"
        "    list(read_posts([Path(sys.argv[1])], rule='instagram', rejections=[]))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(next(line.split()[1] for line in status.splitlines() if 'VmHWM' in line))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    said, memory = done.stdout.strip().splitlines()
    assert said.startswith("InputError")
    assert "packed into" in said
    assert int(memory) < 400_000  # kilobytes


def test_parquet_cut_or_changed_anywhere_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "caption": ["one #x", "two #y"]}), path)
    whole = path.read_bytes()
    draw = random.Random(3)
    for _ in range(150):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice((len(whole), draw.randrange(len(whole))))])
        with suppress(InputError, ValueError):
            for _ in page_sizes(path):
                pass
