"""Damaged scrapes through every reader: nothing but posts, rejections and clear errors comes out.

    python -m tests.reliability.fuzz_readers [--count 20000] [--seed 0] [READER...]

Each case takes the files of a small valid source, changes one, and reads the source by the reader
named or, each fourth time, by the one found. A case is made anew from its number alone; that of a
crash of the interpreter is in the folder named last.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.reader import read_posts
from hashlens.indexer.types import Rejection
from tests.support.gallery_samples import SAMPLES
from tests.support.scrape_files import (
    JPEG,
    NOON,
    broken,
    graph_node,
    phone_node,
    put,
    sidecar,
    signed,
)

SECONDS = 5  # that one case may take
_SMALL = 500_000  # bytes; what is larger is not multiplied, or the cases would take the memory
MEGABYTES = 200  # that all cases may add to the process

_ODD: list[Any] = [None, True, -1, 0, 1e308, 10**400, "", "\ud800", "a\0b", "../../x.jpg"]
_ODD += ["/etc/passwd", [], {}, [[]], {"a": {}}, "#tag " * 50, {"text": "x"}, [None], "x" * 200_000]


def _packed(value: Any) -> bytes:
    return json.dumps(value).encode()


def _parquet(**columns: list[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _zip(**files: bytes) -> bytes:
    made = BytesIO()
    with ZipFile(made, "w", ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return made.getvalue()


_EXPORTED = [
    {
        "media": [{"uri": "a.jpg", "creation_timestamp": NOON, "title": broken("Übung #ä")}],
        "title": "two\n#b",
    },
    {
        "timestamp": NOON,
        "media": [],
        "fbid": "17",
        "label_values": [
            {"label": "Caption", "value": "new #c"},
            {"label": "Media", "media": [{"uri": "b.jpg"}]},
            {"dict": [{"vec": [{"label": "Title", "value": "x"}]}]},
        ],
    },
]
_COMMENTS = [
    {"id": n, "created_at": NOON, "text": "x #y", "owner": {"id": "35155306", "username": "ann"}}
    for n in range(3)
]
_ROW = {"id": "a", "image": "a.jpg", "caption": "x #y", "hashtags": ["z"], "taken_at": NOON}

# Files that are damaged, and those beside them, by reader.
SEEDS: dict[str, dict[str, bytes]] = {
    "tables": {
        "a.jsonl": b"\n".join([_packed(_ROW), _packed({"caption": "\u6771 #\u6771"})]),
        "b.csv": b'id,caption,hashtags\n1,"two\nlines #a","b, c"\n2,x,"[""d""]"\n',
        "d.tsv": "id;Text;Tags\r\n1;caf\xe9 #a;b|c\r\n".encode("cp1252"),
        "e.csv": "sep=\t\r\nid\tcaption\r\n1\tx #a\r\n".encode("utf-16"),
        "f.json": json.dumps([_ROW, _ROW | {"id": "b"}], indent=1).encode(),
        "g.ndjson": _packed({"item_id": "1", "data": {"caption": {"text": "x #a"}}}),
        "c.parquet": _parquet(id=["1", "2"], caption=["x #a", None], hashtags=[["b"], []]),
    },
    "huggingface": {
        "a.parquet": _parquet(
            image=[{"bytes": JPEG, "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}],
            text=["x #a", "y"],
        ),
        "b.parquet": _parquet(image=[JPEG, b"no picture"], text=["x #b", "y"]),
    },
    "instaloader": {
        "a.json": _packed(signed(graph_node("a", "x #a"))),
        "b.json.xz": lzma.compress(_packed(signed(phone_node("b", "x #b")))),
        "c.json": _packed(signed(graph_node("c", None))),
        "c.txt": "caption #c é".encode(),
        "a_comments.json": _packed(_COMMENTS),
        "2016-03-26_12-00-00_UTC.txt": b"alone #d",
    },
    "gallery-dl": {
        "1.jpg.json": _packed(sidecar("a", "1", "x #a")),
        "2.mp4.json": _packed(sidecar("a", "2", "x #a", num=2)),
        "3.jpg.json": _packed({"category": "twitter", "extension": "jpg", "tweet_id": 7}),
        **{
            f"{name}_1.jpg.json": _packed(
                {"category": name, "subcategory": "user", "extension": "jpg"} | SAMPLES[name][0]
            )
            for name in ("mastodon.social", "tumblr", "weibo", "imgur", "e621", "kemono")
        },
        "new_1.jpg.json": _packed(
            {"category": "new", "extension": "jpg", "body": "<p>x</p>", "tags": ["a b"]}
        ),
    },
    "instagram-export": {
        "posts_1.json": json.dumps(_EXPORTED, indent=1).encode(),
        "stories.json": _packed({"ig_stories": [{"uri": "a.jpg", "title": "x #a"}]}),
        "part.zip": _zip(**{"content/posts_1.json": _packed(_EXPORTED), "a.jpg": JPEG}),
    },
    "captioned": {"a.txt": "Lake #ä".encode(), "b.caption": "Sea #b".encode("utf-16")},
}
_BESIDE = ("a.jpg", "b.jpg", "1.jpg", "c_1.jpg", "2016-03-26_12-00-00_UTC.jpg")


def damaged(content: bytes, name: str, draw: random.Random) -> bytes:
    """A file with one to three things done to it."""
    if name.endswith(".xz") and draw.random() < 0.7:
        return lzma.compress(damaged(lzma.decompress(content), name[:-3], draw), preset=0)
    for _ in range(draw.randint(1, 3)):
        content = draw.choice(_DAMAGES)(content, draw)
    return content


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8) if changed else 0):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _splice(content: bytes, draw: random.Random) -> bytes:
    start, end, place = (draw.randrange(len(content) + 1) for _ in range(3))
    times = draw.choice([1, 1, 2, 50]) if len(content) < _SMALL else 1
    return content[:place] + content[start:end] * times + content[place:]


def _nest(content: bytes, draw: random.Random) -> bytes:
    place, depth = draw.randrange(len(content) + 1), draw.choice([10, 70, 2000, 100_000])
    opening = draw.choice([b"[", b'{"media":[', b'{"node":', b'"', b'\\"'])
    return content[:place] + opening * depth + content[place:]


def _enlarge(content: bytes, draw: random.Random) -> bytes:
    digits = [n for n, byte in enumerate(content) if 48 <= byte <= 57]
    place = draw.choice(digits) if digits else 0
    number = draw.choice([b"9" * 30, b"9" * 5000, b"1e999", b"-1e308", b"NaN", b"-Infinity"])
    return content[:place] + number + content[place + 1 :]


def _retype(content: bytes, draw: random.Random) -> bytes:
    """Where it is JSON, values become others or go missing; else bytes do."""
    lines = content.split(b"\n")
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        whole = None
    try:
        value = whole if whole is not None else json.loads(draw.choice(lines))
        changed = json.dumps(_changed(value, draw)).encode()
    except (ValueError, RecursionError):
        return _flip(content, draw)
    return changed if whole is not None else b"\n".join([*lines, changed])


def _changed(value: Any, draw: random.Random) -> Any:
    if draw.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return draw.choice(_ODD)
    if isinstance(value, list):
        place = draw.randrange(len(value))
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    key = draw.choice(list(value))
    if draw.random() < 0.15:
        return {name: inner for name, inner in value.items() if name != key}
    return value | {key: _changed(value[key], draw)}


_DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [
    *(_flip, _cut, _splice, _nest, _enlarge, _retype, _retype, _retype),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the cases of one reader."""

    cases: int
    posts: int
    rejections: int
    errors: int
    seconds: float
    slowest: float
    grown: float  # megabytes that the process took more at its peak


def fuzz(reader: str, count: int, folder: Path, seed: int = 0) -> Outcome:
    """Read a reader's seeds, each time with one file damaged.

    Raises:
        AssertionError: something came out that must not; the message names the case.
    """
    for name in _BESIDE:
        put(folder / name)
    for name, content in SEEDS[reader].items():
        put(folder / name, content)
    _read(folder, reader)  # what libraries take to be loaded is no case's
    began, before = time.monotonic(), _peak()
    posts = rejections = errors = 0
    slowest = 0.0
    for case in range(count):
        draw = random.Random(f"{reader}-{seed}-{case}")
        name = draw.choice(list(SEEDS[reader]))
        put(folder / name, damaged(SEEDS[reader][name], name, draw))
        start = time.monotonic()
        try:
            with _at_most(SECONDS):
                found = _read(folder, reader if case % 4 else "auto")
        except InputError:
            errors += 1
        except Exception as error:
            raise AssertionError(f"{reader}, seed {seed}, case {case}, {name}") from error
        else:
            posts, rejections = posts + found[0], rejections + found[1]
        slowest = max(slowest, time.monotonic() - start)
        assert _peak() - before < MEGABYTES, f"{reader}, seed {seed}, case {case}, {name}: memory"
        put(folder / name, SEEDS[reader][name])
    seconds = time.monotonic() - began
    return Outcome(count, posts, rejections, errors, seconds, slowest, _peak() - before)


def _read(folder: Path, reader: str) -> tuple[int, int]:
    """Numbers of posts and rejections, all of which can be stored and shown."""
    rejections: list[Rejection] = []
    count = 0
    for post in read_posts([folder], rejections=rejections, reader=reader):
        texts = [post.post_id, post.caption, *post.forms, *post.hashtags, post.author or ""]
        json.dumps([*texts, str(post.image)], ensure_ascii=False).encode()
        assert post.image is None or post.image.is_file()
        count += 1
    for rejection in rejections:
        str(rejection).encode()
    return count, len(rejections)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", default=list(SEEDS), metavar="READER")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))
    os.environ["HASHLENS_CACHE"] = str(place / "cache")
    for reader in asked.readers:
        sys.stderr.write(f"{reader}: {place / reader}\n")
        sys.stderr.write(f"{fuzz(reader, asked.count, place / reader, asked.seed)}\n")


if __name__ == "__main__":
    main()
