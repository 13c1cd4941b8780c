"""What ends a command badly is one line and its exit status, and nothing raw is printed."""

from __future__ import annotations

import ast
import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hashlens.evaluation.benchmark.report import format_per_query
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.errors import HashlensError, OutputError, explain, is_disk_full, is_foreseen
from hashlens.indexer.text.escaping import count_noun, csv_cell, json_line, one_line, safe
from hashlens.indexer.text.hashtags import display_of
from hashlens.retriever.index.blocklist import read_blocked
from tests.retriever.cli.test_cli import run
from tests.support import tiny_index as tiny
from tests.support.forged import reseal, reseal_files

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-c", "from hashlens.cli import main; main()"]
OTHER = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
CODES = "\x1b]52;c;aGk=\x07\x1b[2J\x9b2J\u202e"
RAW = ("\x1b", "\x07", "\x9b", "\u202e")


def called(
    *words: str | Path, by: tuple[str, ...] = (), **more: Any
) -> subprocess.CompletedProcess[str]:
    """The program run as people run it, perhaps by another user."""
    settings: dict[str, Any] = {"stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    settings |= {"stdout": subprocess.PIPE, "text": True, "cwd": ROOT} | more
    return subprocess.run([*by, *PROGRAM, *map(str, words)], check=False, **settings)


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error."""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("hashlens: ")


# ---- streams and encodings


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "koi8-r"])
def test_letters_that_the_terminal_lacks_are_escaped(sound: Path, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    asked = ("recommend", "--caption", "sleepy kitten", "--pin", "猫🐈", "--index", sound)
    done = called(*asked, "--plain", env=environment)
    assert done.returncode == 0
    assert done.stdout.split()[0] == r"#\u732b\U0001f408"
    done = called(*asked, "--json", env=environment)
    assert json.loads(done.stdout)["tags"][0]["tag"] == "猫🐈"
    assert called(*asked, env=environment, errors="replace").returncode == 0


def test_a_full_or_closed_stdout_is_one_line(sound: Path) -> None:
    asked = ("recommend", "--caption", "walk", "--index", sound)
    for words in ((*asked, "--plain"), (*asked, "--json"), asked, ("inspect", "--index", sound)):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = called(*words, stdout=full)
        assert done.returncode == 1
        assert the_line(done).startswith("stdout: cannot be written to (No space left on device)")
    done = called(*asked, stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert the_line(done).startswith("stdout: found it closed")
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert called("--help", stdout=full).returncode == 1
        assert called(*asked, "--plain", stderr=full).stdout == called(*asked, "--plain").stdout


def test_a_reader_that_leaves_ends_the_command_in_silence(sound: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = called("recommend", "--caption", "walk", "--index", sound, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_stdin_is_a_wrong_call(sound: Path) -> None:
    asked = ("recommend", "--caption", "-", "--index", sound)
    done = called(*asked, stdin=None, preexec_fn=lambda: os.close(0))
    assert done.returncode == 2
    assert the_line(done).startswith("--caption -: found stdin closed")


def test_bytes_that_are_no_text_are_a_wrong_call(sound: Path) -> None:
    for option in ("--author", "--caption", "--seed", "--pin"):
        done = called(
            "recommend", "--caption", "x", option, os.fsdecode(b"a\xff"), "--index", sound
        )
        assert done.returncode == 2, done.stderr
        assert r"'a\udcff', which has bytes that are no UTF-8" in the_line(done)


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that other users may enter: those of pytest are their owner's alone."""
    with tempfile.TemporaryDirectory(prefix="hashlens-test-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def test_a_user_without_a_home_is_answered(sound: Path, common: Path) -> None:
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become another user")
    shared = shutil.copytree(sound, common / "index")
    kept = {"PATH": os.environ["PATH"], "HASHLENS_CACHE": str(common / "cache")}
    for home in ({}, {"HOME": "/root"}, {"HOME": "/nonexistent"}):
        asked = ("recommend", "--caption", "sleepy kitten", "--index", shared, "--plain")
        done = called(*asked, env=kept | home, by=OTHER)
        assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr
        assert done.stderr == f"hashlens: answered from {shared}\n"


# ---- Ctrl-C


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("delay", [0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0])
def test_ctrl_c_ends_a_build_in_one_line(delay: float, tmp_path: Path) -> None:
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(f'{{"id": "{n}", "caption": "a #b{n}"}}\n' for n in range(90_000)))
    command = [*PROGRAM, "build", str(posts), "--index", str(tmp_path / "index")]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    maps, end = Path(f"/proc/{child.pid}/maps"), time.monotonic() + 30
    # Before our first line Python itself tells of an interrupt; then NumPy is among the first.
    while "numpy" not in maps.read_text() and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.startswith("hashlens: interrupted")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("index/gen-*"))


def test_ctrl_c_is_handled_before_other_modules_load(tmp_path: Path) -> None:
    (tmp_path / "hashlens").symlink_to(ROOT)  # found without what `site` would load
    program = "import sys; old = set(sys.modules); import hashlens.__main__; "
    program += "print(*sorted(set(sys.modules) - old))"
    command = [sys.executable, "-S", "-c", f"import os; {program}"]
    places = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=places, capture_output=True, text=True, check=True)
    ours = ("", ".__main__", ".interrupts")
    assert done.stdout.split() == [f"hashlens{name}" for name in ours]


def called_with(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has its words after its own name."""
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("entry", "module"),
    [
        ("hashlens.__main__", "hashlens.cli"),
        ("hashlens.__main__", "typer"),
        ("hashlens.__main__", "hashlens.retriever.index.version"),
        ("hashlens.cli", "typer"),
        ("hashlens.cli", "hashlens.evaluation.commands"),
        ("hashlens.cli", "hashlens.retriever.cli.maintenance_commands"),
        ("hashlens.cli", "hashlens.retriever.recommender"),
    ],
)
def test_ctrl_c_while_modules_load_is_one_line(entry: str, module: str) -> None:
    program = (
        "import importlib, os, signal, sys\nentry, module = sys.argv[1:]\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == module: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "main = importlib.import_module(entry).main\n"
        "sys.argv[1:] = ['recommend', '--caption', 'x']\n"
        "main()"
    )
    done = called_with(program, entry, module)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("hashlens: interrupted")
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_waits_for_a_library_that_would_abort(tmp_path: Path) -> None:
    tiny.published(tmp_path / "index")
    program = (
        "import enum, os, signal, sys\n"
        "call, calls = enum.EnumType.__call__, []\n"
        "def press(kind, *given, **more):\n"
        "    if 'duckdb' in sys.modules and len(calls) < 9:\n"
        "        calls.append(kind)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return call(kind, *given, **more)\n"
        "enum.EnumType.__call__ = press\n"
        "from hashlens.cli import main\n"
        "main()"
    )
    done = called_with(program, "inspect", "--index", str(tmp_path / "index"))
    assert (done.returncode, the_line(done)) == (130, "interrupted; nothing half-made was left")


def test_ctrl_c_that_python_drops_comes_again(tmp_path: Path) -> None:
    tiny.published(tmp_path / "index")
    program = (
        "import os, signal, time\n"
        "import hashlens.retriever.summary as summary\n"
        "class Dropping:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); list(range(9))\n"
        "def summarize(index):\n"
        "    Dropping()\n"
        "    time.sleep(20)\n"
        "summary.summarize = summarize\n"
        "from hashlens.cli import main\n"
        "main()"
    )
    done = called_with(program, "inspect", "--index", str(tmp_path / "index"))
    assert (done.returncode, the_line(done)) == (130, "interrupted; nothing half-made was left")


def test_an_interrupt_that_a_library_hides_is_still_one() -> None:
    program = (
        "import os, signal, sys\nimport hashlens.retriever.summary\n"
        "def hidden(index):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt: raise RuntimeError('Query interrupted') from None\n"
        "hashlens.retriever.summary.summarize = hidden\n"
        "from hashlens.cli import main\nsys.argv[1:] = ['inspect', '--index', 'x']\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, the_line(done)) == (130, "interrupted; nothing half-made was left")


# ---- places and rights


def test_a_question_mark_in_the_path_is_refused_in_one_line(tmp_path: Path) -> None:
    posts = tmp_path / "posts.jsonl"
    posts.write_text('{"id": "1", "caption": "Nap #cat"}\n')
    (tmp_path / "a?b").mkdir()
    there = tmp_path / "a?b" / "index"
    tiny.published(tmp_path / "index")
    code, _, err = run("build", posts, "--index", there)
    assert (code, "found a question mark in the path" in err) == (1, True)
    assert not there.exists()
    (tmp_path / "index").rename(there)
    (tmp_path / "link").symlink_to(there)
    for words in (["recommend", "--caption", "x"], ["verify"], ["history"], ["update", posts]):
        for place in (there, tmp_path / "link"):
            code, out, err = run(*words, "--index", place)
            assert (code, out) == (1, "")
            assert "found a question mark in the path" in err
    there.rename(tmp_path / "index")
    assert run("verify", "--index", tmp_path / "index")[0] == 0


@pytest.mark.parametrize("name", ["a" * 300, "b" * 200 + "/" + "/".join(["c" * 200] * 20)])
def test_a_path_that_is_too_long_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    posts = tmp_path / "posts.jsonl"
    posts.write_text('{"id": "1", "caption": "Nap #cat"}\n')
    for words in (["build", posts], ["recommend", "--caption", "x"], ["update", posts], ["verify"]):
        code, out, err = run(*words, "--index", tmp_path / name)
        assert (code, out) == (1, "")
        assert "expected 3,800 at most and 255 in a name" in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o000])
def test_every_file_of_an_index_has_the_mode_of_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        tiny.published(tmp_path / "index")
        run(
            "update",
            "--delete",
            _written(tmp_path / "ids.txt", "p1\n"),
            "--index",
            tmp_path / "index",
        )
        run("compact", "--index", tmp_path / "index")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "index").rglob("*") if path.is_file()]
    assert len(files) > 20
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files}
    assert set(modes.values()) == {oct(0o666 & ~mask)}, modes


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "name",
    ["topics/heads.safetensors", "topics/topics.json", "manifest.json", "posts.duckdb"],
)
def test_a_file_that_may_not_be_read_is_no_missing_one(
    name: str, sound: Path, common: Path
) -> None:
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become another user")
    index = shutil.copytree(sound, common / "index")
    (index / "gen-000001" / name).chmod(0o600)
    for words in (["recommend", "--caption", "sleepy"], ["verify"]):
        done = called(*words, "--index", index, by=OTHER, env=os.environ | {"HOME": "/tmp"})
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "Permission denied" in the_line(done)
        assert "build" not in the_line(done)
        assert "No such file" not in the_line(done)


# ---- what is named as a file


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
@pytest.mark.parametrize(
    "words",
    [
        ["build", "{posts}", "--weights"],
        ["build", "{posts}", "--pretrained"],
        ["build", "{posts}", "--topics"],
        ["update", "--delete"],
        ["update", "{posts}", "--weights"],
        ["update", "{posts}", "--retrain", "--pretrained"],
        ["recommend", "--image", "{posts}", "--weights"],
    ],
)
def test_a_pipe_or_device_is_not_waited_for(words: list[str], kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place = Path("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    posts = _written(tmp_path / "posts.jsonl", '{"caption": "a #b"}\n')
    given = [word.format(posts=posts) for word in words]
    code, _, err = run(*given, place, "--index", tmp_path / "index")
    found = {"nothing": "nothing", "folder": "a folder"}.get(kind, "no regular file")
    assert (code, f"{words[-1]}: found {found} at {place}" in err) == (1, True), err


def test_word_vectors_of_endless_lines_are_refused(tmp_path: Path) -> None:
    file = _written(tmp_path / "words.txt", "word " + "0.5 " * 1_000_000)
    with pytest.raises(HashlensError, match=r"line 1: found \d+ bytes, expected 4096 numbers"):
        load_pretrained(str(file))


# ---- nothing raw


def test_one_place_prints() -> None:
    names = ["cli.py", *(str(p.relative_to(ROOT)) for p in ROOT.glob("retriever/**/*.py"))]
    names += [
        "evaluation/commands.py",
        *(str(p.relative_to(ROOT)) for p in ROOT.glob("indexer/**/*.py")),
    ]
    found = set()
    for name in names:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                if call in (
                    "print",
                    "typer.echo",
                    "typer.secho",
                    "sys.stdout.write",
                    "sys.stderr.write",
                ):
                    found.add(name)
    # `batch --out -` writes its JSON lines, whose escapes are JSON's own.
    assert found == {"retriever/cli/output.py", "retriever/cli/batch_file.py"}


def test_text_is_escaped_for_where_it_goes() -> None:
    assert safe(f"a{CODES}b") == "a�]52;c;aGk=��[2J�2J�b"
    assert one_line("a\nb\r\nc\x1b") == "a b� c�"
    assert safe("👩\u200d🌾 می\u200cخواهم") == "👩\u200d🌾 می\u200cخواهم"
    for text in (CODES, "猫\u2028🐈\x7f\x00", "\udcff", 'quote" \\ end'):
        for encoding in ("utf-8", "latin-1", "ascii"):
            line = json_line({"a": [text]}, encoding)
            assert json.loads(line) == {"a": [text]}
            assert safe(line) == line
            line.encode(encoding)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("+1", "+1"),
        ("-1-A1", "'-1-A1"),
        ("-1.5", "-1.5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1", "'＝1"),
        (" =1", "' =1"),
        ("#cat #dog", "#cat #dog"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_cell_that_begins_a_formula_is_quoted(cell: str, expected: str) -> None:
    assert csv_cell(cell) == expected


def test_per_query_figures_quote_formulas() -> None:
    class Found:
        def column(self, name: str) -> Any:
            import numpy as np

            return np.array([0.5])

    class Judged:
        task, inputs, method, metrics = "t", "caption", "m", Found()

        class queries:  # noqa: N801
            post_ids = ("=1+1",)

    judged: Any = [Judged()]
    assert format_per_query(judged).splitlines()[1].startswith("t,caption,m,'=1+1,0.5")


def test_display_forms_are_held_to_the_grammar() -> None:
    assert display_of("cat", "Cat") == "Cat"
    assert display_of("cat", "dog") == "cat"
    for form in (f"cat{CODES}", "cat\ncurl evil|sh", " cat", "#cat", "cat dog", ""):
        assert display_of("cat", form) == "cat"
    assert display_of("x\ny\x1b[2J", "z") == "xy2J"
    assert display_of("\x1b", "\x1b") == "_"


ENCODER = {"name": CODES, "weights_sha256": "0" * 64, "preprocessing": CODES}


def test_a_forged_index_prints_no_codes(index: Path) -> None:
    import duckdb

    generation = index / "gen-000001"
    with duckdb.connect(str(generation / "posts.duckdb")) as connection:
        connection.execute("update hashtag_counts set display = display || chr(10) || ?", [CODES])
    reseal_files(generation)
    reseal(generation, encoder=ENCODER, created=CODES)
    (generation / f"evil{CODES}").write_text("x")
    (index / "writer.lock").write_text(CODES)
    asked = ["recommend", "--caption", "sleepy kitten walk"]
    commands = [[*asked, "--plain"], [*asked, "--json"], asked, ["verify"], ["inspect"]]
    commands += [["history"], ["verify", "--json"], ["history", "--json"], ["inspect", "--json"]]
    for words in commands:
        code, out, err = run(*words, "--index", index)
        assert code in (0, 1, 4)
        assert out + err
        assert not any(sign in out + err for sign in RAW), (words, out, err)
    (generation / f"evil{CODES}").unlink()
    _, out, _ = run(*asked, "--plain", "--index", index)
    assert len(out.splitlines()) == 1
    assert {"#kitten", "#sleepykitten"} & set(out.split())


def test_file_names_and_headings_print_no_codes(tmp_path: Path) -> None:
    folder = tmp_path / f"posts{CODES}"
    folder.mkdir()
    _written(folder / "posts.csv", f"a{CODES},b\n1,2\n")
    calls: list[tuple[str | Path, ...]] = [("build", folder), ("build", folder / "none")]
    calls.append(("batch", folder, "--out", tmp_path / "x.csv"))
    for words in calls:
        code, out, err = run(*words, "--index", tmp_path / f"i{CODES}")
        assert code in (1, 3, 4)
        assert err
        assert not any(sign in out + err for sign in RAW), err


def test_a_terminal_gets_no_codes_of_an_error(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    called("inspect", "--index", tmp_path / CODES, stdout=theirs, stderr=theirs, text=False)
    os.close(theirs)
    seen = os.read(ours, 65536).decode()
    os.close(ours)
    assert "found no index there" in seen
    assert not any(sign in seen for sign in RAW)


# ---- words on errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/x"), "/x: disk full, or a limit of file sizes"),
        (OSError(27, "File too large"), "disk full, or a limit of file sizes reached"),
        (OSError("Not enough free space to write 800 bytes"), "disk full"),
        (OSError("100 requested and 20 written"), "disk full"),
        (PermissionError(13, "Permission denied", "/x"), "/x: may not be read or written"),
        (OSError(5, "Input/output error", "/x"), "/x: found an error of the system (Input/output"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "found bytes or letters that are no"),
        (MemoryError(), "found too little memory (MemoryError)"),
        (RuntimeError("could not determine the home directory"), "set HOME"),
        (ImportError("no x"), "a library cannot be loaded (no x)"),
        (RuntimeError("could not open x: Permission denied"), "found an error of a library"),
        (HashlensError("ours"), "ours"),
        (OutputError("out"), "out"),
    ],
)
def test_errors_are_explained_in_one_line(error: Exception, said: str) -> None:
    assert said in explain(error)
    assert "\n" not in explain(error)
    assert is_foreseen(error) or "HOME" in said
    assert is_disk_full(error) == ("disk full" in said)


def test_errors_of_libraries_are_named() -> None:
    import duckdb
    from safetensors import SafetensorError

    assert explain(duckdb.IOException("a\nb")).startswith("found an error of duckdb (a)")
    assert "safetensors" in explain(SafetensorError("bad header"))
    assert explain(KeyError("x")) == "found an error nobody foresaw (KeyError: 'x')"


def test_a_fault_of_ours_shows_where_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(index: Path) -> None:
        raise KeyError("gone")

    monkeypatch.setattr("hashlens.retriever.summary.summarize", broken)
    code, _, err = run("inspect", "--index", "x")
    said = "found an error nobody foresaw (KeyError: 'gone'); HASHLENS_TRACEBACK=1 shows where"
    assert (code, err) == (1, f"hashlens: {said}\n")
    monkeypatch.setenv("HASHLENS_TRACEBACK", "1")
    with pytest.raises(KeyError):
        run("inspect", "--index", "x")


# ---- files of defaults


def test_a_strangers_defaults_echo_no_file(tmp_path: Path) -> None:
    secret = _written(tmp_path / "secret", "root:$6$hash:19000::\n")
    with pytest.raises(HashlensError) as caught:
        read_blocked([str(secret)])
    assert "$6$hash" not in str(caught.value)
    assert f"--block {secret}:1: found no hashtag" in str(caught.value)


def test_numbers_and_things_agree() -> None:
    assert [count_noun(n, "posts") for n in (0, 1, 2, 2000)] == [
        "0 posts",
        "1 post",
        "2 posts",
        "2,000 posts",
    ]
    assert count_noun(1, "queries") == "1 query"
    assert count_noun(1, "dead vectors") == "1 dead vector"
