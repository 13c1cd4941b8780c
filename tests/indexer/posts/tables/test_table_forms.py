"""Tables as programs write them: dialects, encodings, lists in JSON, names, escapes, bombs."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hashlens.indexer.corpus.ingest import summarize_notes
from hashlens.indexer.errors import InputError
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.posts.formats.escapes import plain_text
from hashlens.indexer.posts.formats.registry import READERS, find_reader
from hashlens.indexer.posts.reader import count_rows
from hashlens.indexer.posts.tables.tables import find_tables, read_rows
from hashlens.indexer.types import Rejection
from tests.support.scrape_files import JPEG, broken, put, put_json, read

LINES = [
    ["id", "caption", "author"],
    ["1", "Café am See #café #see", "ann"],
    ["2", 'Zug, spät; "müde" | oft #zug', "bob"],
    ["3", "Markt\n#markt", "cem"],
]
POSTS = [
    ("1", "Café am See", ("café", "see"), "ann"),
    ("2", 'Zug, spät; "müde" | oft', ("zug",), "bob"),
    ("3", "Markt", ("markt",), "cem"),
]


def told(path: Path, **options: Any) -> tuple[list[Any], list[Rejection]]:
    posts, rejections = read(path, **options)
    return [(p.post_id, p.caption, p.hashtags, p.author) for p in posts], rejections


def delimited(delimiter: str, end: str, lines: list[list[str]] = LINES) -> str:
    def cell(text: str) -> str:
        quoted = text.replace('"', '""').replace("\n", end)
        return f'"{quoted}"' if set(text) & {",", ";", "|", "\t", '"', "\n"} else text

    return "".join(delimiter.join(map(cell, line)) + end for line in lines)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "sep=?\n", '"sep=?"\n', "\n\n"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
        ("cp1252", b""),
    ],
)
def test_dialects_and_encodings_are_found(
    tmp_path: Path, delimiter: str, end: str, start: str, encoding: str, mark: bytes
) -> None:
    text = start.replace("?", delimiter).replace("\n", end) + delimited(delimiter, end)
    for name in ("posts.csv", "posts.tsv"):
        path = put(tmp_path / name, mark + text.encode(encoding))
        posts, rejections = told(path)
        assert posts == POSTS
        notes = [rejection.reason for rejection in rejections]
        guessed = (
            "read as Windows-1252, since it is not UTF-8 (if letters are wrong, save it as UTF-8)"
        )
        assert notes == ([guessed] if encoding == "cp1252" else [])


def test_letters_outside_the_encoding_are_reported(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", b"id,caption\n1,caf\xe9\n2,\x81\x8d\n")
    (post,), (lost, _) = read(path)
    assert (post.post_id, post.caption) == ("1", "café")
    assert (lost.line, lost.post_kept) == (3, False)


def test_commas_within_captions_do_not_make_the_delimiter(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "Caption;Likes, all\none, two, three #a;3\n")
    (post,), rejections = read(path)
    assert (post.caption, post.hashtags, rejections) == ("one, two, three", ("a",), [])
    path = put(tmp_path / "b.csv", "caption\none; two | three\n")
    assert read(path)[0][0].caption == "one; two | three"


def test_queries_and_ids_read_the_same_dialects(tmp_path: Path) -> None:
    path = put(tmp_path / "q.csv", "\ufeffID;Caption\r\n1;snow\r\n".encode("utf-16-le"))
    rows = [row.fields for row in read_rows(path, ("id", "image", "caption", "seeds"))]
    assert rows == [{"id": "1", "caption": "snow"}]


APIFY = [
    {
        "inputUrl": "https://www.instagram.com/explore/tags/x",
        "id": str(n),
        "shortCode": f"C{n}",
        "caption": f"Temple {n} #temple",
        "hashtags": ["temple", f"dusk{n}"],
        "displayUrl": "https://example.org/a.jpg",
        "timestamp": "2024-09-01T10:00:00.000Z",
        "ownerUsername": "mira",
    }
    for n in range(3)
]
TEMPLES = [(str(n), f"Temple {n}", ("temple", f"dusk{n}"), "mira") for n in range(3)]


@pytest.mark.parametrize("name", ["dataset.json", "posts.jsonl", "posts.ndjson"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_in_json(tmp_path: Path, name: str, indent: int | None, encoding: str) -> None:
    path = put(tmp_path / name, json.dumps(APIFY, indent=indent).encode(encoding))
    for source in (path, tmp_path):
        posts, (note,) = told(source)
        assert posts == TEMPLES
        assert note.reason == "pictures on the web, which are not fetched: 3"
    assert read(path)[0][0].taken_at is not None


@pytest.mark.parametrize("lists", [{"posts": APIFY}, {"meta": {"n": 3}, "data": {"items": APIFY}}])
def test_an_object_with_a_list_of_posts_inside(tmp_path: Path, lists: dict[str, Any]) -> None:
    value = {"users": [{"name": "mira"}, {"name": "u"}], "numbers": [1, 2]} | lists
    posts, notes = told(put_json(tmp_path / "export.json", value))
    assert posts == TEMPLES
    assert [note.reason for note in notes] == [
        "unused list 'users' of 2 entries",
        "pictures on the web, which are not fetched: 3",
    ]
    value["padding"] = ["x" * 1000] * 3000  # no longer read at once
    posts, notes = told(put_json(tmp_path / "large.json", value))
    assert posts == TEMPLES
    assert "unused list 'users' of 2 entries" in [note.reason for note in notes]


def test_objects_one_after_another(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row, indent=1) for row in APIFY)
    assert told(put(tmp_path / "a.json", text))[0] == TEMPLES
    assert told(put_json(tmp_path / "b.json", APIFY[0]))[0] == TEMPLES[:1]


def test_faults_of_a_list_are_reported(tmp_path: Path) -> None:
    text = json.dumps([APIFY[0], 7, None, {"likes": 3}, APIFY[1]])
    posts, rejections = told(put(tmp_path / "a.json", f"{text[:-1]}, {{torn"))
    assert posts == TEMPLES[:2]
    assert [(r.line, r.reason[:62]) for r in rejections if not r.post_kept] == [
        (2, "found a number, expected a JSON object"),
        (3, "found null, expected a JSON object"),
        (4, "found neither caption, hashtags nor picture among likes; name "),
        (6, "found malformed JSON (Expecting property name enclosed in doub"),
    ]
    for content in (b"", b"[", b"[]", b"7", b'"x"', b"{}", b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(InputError, match="expected a list of posts"):
            read(put(tmp_path / "b.json", content))


def test_large_lists_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write("[" + json.dumps(APIFY[0]))
        for n in range(30_000):
            file.write("," + json.dumps({"id": f"p{n}", "caption": "x" * 500}))
        file.write("]")
    tracemalloc.start()
    number = sum(1 for _ in read_rows(path, ("id", "caption")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 30_001
    assert peak < 8 << 20
    assert count_rows([path]) is None


@pytest.mark.parametrize(
    "content",
    [b'[{"caption": "' + b"x" * 20_000_000, b"[[" * 10_000_000, b"[" + b'"\\"' * 5_000_000],
)
def test_values_without_end_cost_little(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "a.json", content)
    began = time.process_time()
    tracemalloc.start()
    rows = list(read_rows(path, ("caption",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows[-1].problem
    assert "found malformed JSON" in rows[-1].problem
    assert peak < 64 << 20
    assert time.process_time() - began < 5


def test_zeeschuimer_and_graphql_keep_posts_inside(tmp_path: Path) -> None:
    wrapped = {
        "item_id": "3",
        "source_platform": "instagram.com",
        "data": {"code": "C1", "caption": {"text": "zee #one"}, "user": {"username": "u"}},
    }
    edge = {"edges": [{"node": {"text": "edge #two"}}]}
    node = {"node": {"shortcode": "C2", "edge_media_to_caption": edge, "owner": {"username": "v"}}}
    tweet = {"legacy": {"full_text": "bird #three", "id_str": "9"}, "rest_id": "9"}
    tok = {"id": "7", "desc": "tok #four", "author": {"uniqueId": "w"}, "createTime": 1714989600}
    tok["challenges"] = [{"title": "five"}]
    rows = [wrapped, node, {"data": tweet}, {"data": tok, "item_id": "7"}]
    path = put(tmp_path / "posts.ndjson", "\n".join(map(json.dumps, rows)))
    assert told(path) == (
        [
            ("C1", "zee", ("one",), "u"),
            ("C2", "edge", ("two",), "v"),
            ("9", "bird", ("three",), None),
            ("7", "tok", ("four", "five"), "w"),
        ],
        [],
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize(
    "names",
    [
        {"post_id": "id", "text": "caption", "username": "author", "timestamp": "taken_at"},
        {"shortCode": "id", "Caption": "caption", "ownerUsername": "author", "Date": "taken_at"},
        {"Post ID": "id", "Post Text": "caption", "User-Name": "author", "CREATED_AT": "taken_at"},
        {"tweet_id": "id", "full_text": "caption", "screen_name": "author", "date": "taken_at"},
        {"id": "id", "description": "caption", "owner": "author", "taken_at_timestamp": "taken_at"},
        {"code": "id", "message": "caption", "account": "author", "datetime": "taken_at"},
    ],
)
def test_columns_are_known_by_other_names(
    tmp_path: Path, names: dict[str, str], ending: str
) -> None:
    value = {"id": "a", "caption": "Lake #calm", "author": "ann", "taken_at": "2016-03-26"}
    row = {theirs: value[ours] for theirs, ours in names.items()} | {"Tags": "blue, sky"}
    path = tmp_path / f"table.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif ending == "csv":
        put(path, delimited(";", "\n", [list(row), list(row.values())]))
    else:
        put_json(path, [row])
    (post,), rejections = read(path)
    assert (post.post_id, post.caption, post.author) == ("a", "Lake", "ann")
    assert (post.hashtags, rejections) == (("calm", "blue", "sky"), [])
    assert post.taken_at
    assert post.taken_at.date().isoformat() == "2016-03-26"


def test_a_list_in_columns_of_its_own(tmp_path: Path) -> None:
    text = "id,caption,hashtags/0,hashtags/1,hashtags/2,author.username,author.id\n1,x,a,,b,ann,5\n"
    for names in (text, text.replace("/", "."), text.replace("/0", "[0]")):
        (post,), rejections = read(put(tmp_path / "a.csv", names))
        assert (post.hashtags, post.author, rejections) == (("a", "b"), "ann", [])
    given = read(put(tmp_path / "a.csv", text), columns={"topic": "hashtags/1", "origin": "id"})
    assert given[0][0].origin == "1"


@pytest.mark.parametrize("cell", ["nan", "NaN", "None", "null", "NULL", "<NA>", "#N/A"])
def test_missing_values_of_pandas_are_empty(tmp_path: Path, cell: str) -> None:
    text = f"id,caption,hashtags,author,taken_at\n1,Lake,{cell},{cell},{cell}\n2,{cell},a,b,\n"
    posts, rejections = told(put(tmp_path / "a.csv", text))
    assert posts == [("1", "Lake", (), None), ("2", "", ("a",), "b")]
    assert rejections == []


def test_the_archive_of_x_keeps_a_post_under_tweet(tmp_path: Path) -> None:
    tweets: list[dict[str, Any]] = [{"tweet": {"id_str": "9", "full_text": "bird #three"}}]
    tweets += [{"data": {"data": {"post": {"id": "7", "caption": "deep #four"}}}}]
    posts, rejections = told(put_json(tmp_path / "tweets.json", tweets))
    assert posts == [("9", "bird", ("three",), None), ("7", "deep", ("four",), None)]
    assert rejections == []
    (post,), _ = told(put(tmp_path / "a.jsonl", '{"tweet": "own #a", "id": 1}'))
    assert post == ("1", "own", ("a",), None)


def test_our_own_name_comes_first_and_a_named_column_before_it(tmp_path: Path) -> None:
    text = "title,description,text,caption\nt,d,x,c\n"
    path = put(tmp_path / "a.csv", text)
    assert read(path)[0][0].caption == "c"
    assert read(path, columns={"caption": "TITLE"})[0][0].caption == "t"
    assert read(put(path, text.replace("caption", "likes")))[0][0].caption == "x"
    # A caption that is empty is not filled from another column.
    (post,), _ = read(put(path, "text,caption,tags\nx,,a\n"))
    assert (post.caption, post.hashtags) == ("", ("a",))


def test_messages_name_the_columns_found_and_the_option(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "id,wörter,\x1b[2Jx\n1,2,3\n")
    with pytest.raises(InputError) as error:
        read(path)
    assert "found columns id, wörter, �[2Jx, expected some of id," in str(error.value)
    assert "(--column caption=NAME names yours)" in str(error.value)
    path = put(tmp_path / "b.jsonl", '{"id": "1", "user": "u", "words": "x #a"}')
    _, (lost,) = read(path)
    assert lost.reason == (
        "found neither caption, hashtags nor picture among id, user, words; "
        "name yours with --column caption=NAME"
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Tom &amp; Jerry &#128049; #cats&amp;dogs", "Tom & Jerry 🐱 #cats&dogs"),
        ("#it&#39;s &quot;so&quot; caf&eacute; &#x27;", "#it's \"so\" café '"),
        (r"line one\n\n#newline\n#two", "line one\n\n#newline\n#two"),
        (r"line one\nmore", "line one\nmore"),
        (r"one\r\ntwo\tthree \"four\"", 'one\ntwo three "four"'),
        (r"caf\u00e9 #caf\u00e9 \ud83d\udc31 \U0001f431", "café #café 🐱 🐱"),
        ("<p>html <b>#bold</b><br/>more</p>", "html #bold\nmore"),
        ("&lt;p&gt;html &lt;b&gt;#bold&lt;/b&gt;&lt;/p&gt;", "html #bold"),
        ("Fish &amp;amp; chips &amp;lt;3", "Fish & chips <3"),
        ('<font color=red>r</font> <img src="x"> #b<script>x()</script>', "r #b"),
        ('<a href="https://a.io/x?y=1" class="u">#tag</a>', "#tag"),
        ("Ã¼ber #straÃŸe", "über #straße"),
    ],
)
def test_escapes_of_programs_are_undone(written: str, meant: str) -> None:
    assert plain_text(written) == meant
    assert plain_text(meant) == meant


@pytest.mark.parametrize(
    "text",
    [
        "AT&T and Q&A, R&D; fish&chips; &c. &unknown; &amp",
        r"C:\new and D:\temp\today",
        r"\\server\new",
        r"¯\_(ツ)_/¯ \o/ \m/",
        r"see pics\new.jpg and docs\today.txt",
        r"\nu and \tau, \nabla",
        r"regex \d+\n",
        "I <3 you, 1 < 2 > 0, <new> release, a<b and c>d, a <b and c>, <- ->",
        "São Paulo Ünal Ã Ñandú €5 «oui» ÇÉ!",
        "back\\",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert plain_text(text) == text


def test_escapes_in_tables_are_undone(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'caption,tags\n"R&amp;B\\n#caf\\u00e9","[""\\u6771""]"\n')
    (post,), rejections = read(path)
    assert (post.caption, post.hashtags, rejections) == ("R&B", ("café", "東"), [])


def test_tables_that_are_not_read_are_named(tmp_path: Path) -> None:
    put(tmp_path / "posts.jsonl", '{"id": "1", "caption": "own"}')
    put(tmp_path / "more.csv", "id,caption\n2,more\n")
    put(tmp_path / "old" / "deep" / "a.ndjson", '{"caption": "x"}')
    put(tmp_path / "._more.csv", b"\0\5\x16\7")
    put_json(tmp_path / "setting.json", {"caption": "of no list"})
    posts, (note,) = told(tmp_path)
    assert [post[0] for post in posts] == ["1"]
    assert str(note) == f"{tmp_path}: tables left out: 2 (more.csv, old/deep/a.ndjson)"
    assert note.is_note
    (tmp_path / "posts.jsonl").unlink()
    posts, (note,) = told(tmp_path)
    assert [post[0] for post in posts] == ["2"]
    assert note.reason == "tables left out: 1 (old/deep/a.ndjson)"


def test_tables_of_sub_folders_are_read(tmp_path: Path) -> None:
    put(tmp_path / "2023" / "a.csv", "id,caption\n1,one\n")
    put(tmp_path / "2024" / "b.jsonl", '{"id": "2", "text": "two"}')
    put(tmp_path / ".cache" / "c.csv", "id,caption\n3,hidden\n")
    assert [post[0] for post in told(tmp_path)[0]] == ["1", "2"]
    assert told(tmp_path)[1] == []
    assert [path.name for path in find_tables(tmp_path)] == ["a.csv", "b.jsonl"]


def test_json_of_scrapes_and_exports_is_no_table(tmp_path: Path) -> None:
    entry = {"media": [{"uri": "1.mp4", "title": broken("x #ä"), "creation_timestamp": 1}]}
    path = put_json(tmp_path / "content" / "posts_1.json", [entry])
    for source in (path, tmp_path):
        assert find_reader(source) is READERS["instagram-export"]
    put_json(tmp_path / "other" / "list.json", APIFY)
    assert find_reader(tmp_path / "other") is READERS["tables"]


def bomb(path: Path, rows: int, value: bytes | str, *, nested: bool, column: str) -> Path:
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    if nested:
        shared = pa.StructArray.from_arrays([shared, pa.array(["a.jpg"] * rows)], ["bytes", "path"])
    ids = [str(n) for n in range(rows)]
    table = pa.table({"id": ids, column: shared, "hashtags": [["a", "b"]] * rows})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    return path


@pytest.mark.parametrize(
    ("column", "value", "nested"),
    [
        ("caption", "x" * 2_000_000, False),
        ("image", JPEG + b"x" * 20_000_000, True),
        ("image", JPEG + b"x" * 20_000_000, False),
    ],
)
def test_bombs_of_parquet_take_little_memory(
    tmp_path: Path, column: str, value: bytes | str, nested: bool
) -> None:
    path = bomb(tmp_path / "a.parquet", 2000, value, nested=nested, column=column)
    code = f"""
import resource
from pathlib import Path
from hashlens.indexer.posts.reader import read_posts
import pyarrow.parquet, pyarrow.compute
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
told = []
posts = sum(1 for _ in zip(range(60), read_posts([Path({str(path)!r})], rejections=told)))
print(posts, len(told), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    environment = {"HASHLENS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    posts, rejected, grown = map(int, done.stdout.split())
    assert (posts, rejected) == ((0, 2000) if column == "caption" else (60, 0))
    assert grown < 300 << 10  # kilobytes


def test_columns_packed_too_small_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"caption": ["x" * 100_000_000] * 3})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    del table
    with pytest.raises(InputError, match=r"found rows of 300,\d+,\d+ bytes packed into [\d,]+"):
        read(path)


def test_the_rows_of_parquet_are_those_without_the_bound(tmp_path: Path) -> None:
    rows = [
        {"id": n, "caption": f"post {n % 7}", "hashtags": [f"t{n % 5}", None], "author": None}
        for n in range(3000)
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "a.parquet")
    names = ("id", "caption", "hashtags", "author")
    assert [row.fields for row in read_rows(tmp_path / "a.parquet", names)] == rows


def test_repeated_rows_without_an_id_are_copies(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "caption,hashtags\nsunset,#beach\nsunset,#beach\nmarket,#oil\n")
    report = build([path], tmp_path / "index")
    assert (report.counts["posts"], report.counts["copies"]) == (2, 1)
    assert report.rejections == ()
    again = update([path], tmp_path / "index")
    assert (again.added, again.unchanged, again.rejections) == (0, 3, ())
    assert again.generation == report.generation


def test_one_line_at_the_end_names_what_was_not_understood(tmp_path: Path) -> None:
    value = {"users": [{"name": "mira"}], "posts": [*APIFY, APIFY[0], {"caption": "words alone"}]}
    path = put_json(tmp_path / "a.json", value)
    report = build([path], tmp_path / "index")
    assert report.rejections == ()
    assert report.notes[-1] == (
        f"{path}: unused list 'users' of 1 entry; "
        "pictures on the web, which are not fetched: 4; "
        "posts read before, which count once: 1; "
        "posts with words and no hashtag: 1 of 4"
    )


def test_each_source_has_a_line_of_its_notes() -> None:
    notes = [Rejection(name, None, f"{name}{n}", is_note=True) for n in range(5) for name in "ab"]
    assert summarize_notes([Rejection("c", 1, "lost"), *notes]) == (
        "a: a0; a1; a2; a3",
        "b: b0; b1; b2; b3",
        "2 more notes left out",
    )
    assert summarize_notes(notes[:9])[-1] == "1 more note left out"
    assert summarize_notes([]) == ()
