"""Writes the file of many answers, row by row beside its place; it is moved there when complete.

`answers.csv.partial` has one JSON object a line: first the origin of the answers, then each answer
with a hash of its row. A run that was killed leaves it, and a later run continues after its last
complete line. The run that writes it locks it.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import stat
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from hashlens.indexer.errors import CallError, HashlensError, IndexLockedError, InputError
from hashlens.indexer.generations.filesystem import open_nofollow
from hashlens.indexer.generations.manifest import Manifest
from hashlens.indexer.text.escaping import csv_cell
from hashlens.retriever.json_format import format_row
from hashlens.retriever.recommendation import Query, Recommendation
from hashlens.retriever.selection.selection import Selection

STDOUT = Path("-")
ENDINGS = (".csv", ".jsonl")
CSV_COLUMNS = ("id", "hashtags", "probabilities", "error")
MAX_LINE = 16 << 20  # bytes of an answer in a partial file

T = TypeVar("T", bound=Query | HashlensError)


@dataclass(frozen=True, slots=True)
class About:
    """The origin of answers: generation of the index, its time of creation, and selection."""

    generation: int
    created: str
    selection: str

    @classmethod
    def of(cls, manifest: Manifest, selection: Selection) -> About:
        """Return the origin of an index's answers with a selection."""
        shown = repr((replace(selection, blocked=frozenset()), sorted(selection.blocked)))
        digest = hashlib.sha256(shown.encode(errors="backslashreplace")).hexdigest()
        return cls(manifest.generation, manifest.created, digest[:16])

    def line(self) -> str:
        """Return the first line of a partial file."""
        made = {"generation": self.generation, "created": self.created}
        return json.dumps(made | {"selection": self.selection}) + "\n"


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A row that an earlier run answered: its id, and the hash of its query."""

    row_id: str
    asked: str


class AnswersFile:
    """Writes answers into a file; `kept` are the rows that an earlier run answered."""

    def __init__(self, partial: _Partial | None, kept: list[AnsweredRow], failed: int) -> None:
        """Take the partial file, or None if answers go to stdout."""
        self.kept = kept
        self.failed = failed
        self.answered = len(kept) - failed
        self._partial = partial
        self._asked: deque[str] = deque()

    def write(self, row_id: str, answer: Recommendation | HashlensError) -> None:
        """Add the answer of the next row of `left`."""
        failed = isinstance(answer, HashlensError)
        self.failed += failed
        self.answered += not failed
        row, asked = format_row(row_id, answer), self._asked.popleft()
        if self._partial is None:
            # Every terminal has ASCII, and escaped text cannot steer one.
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
        else:
            self._partial.add(json.dumps({"asked": asked} | row, ensure_ascii=False) + "\n")

    def left(self, rows: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
        """Yield the rows that have no answer yet.

        Raises:
            InputError: the first rows are not those that have one.
        """
        rows = iter(rows)
        for number, kept in enumerate(self.kept, start=1):
            row_id, query = next(rows, (None, None))
            if row_id != kept.row_id:
                raise _changed_rows(f"found {row_id!r} as row {number}, expected {kept.row_id!r}")
            if query is None or _hash_query(query) != kept.asked:
                raise _changed_rows(
                    f"found other content in row {number} ({row_id!r}), expected it"
                )
        for row_id, query in rows:
            self._asked.append(_hash_query(query))
            yield row_id, query


def _changed_rows(trouble: str) -> InputError:
    return InputError(
        f"--resume: {trouble} as before: the rows have changed; "
        "leave --resume out to answer them all"
    )


def _hash_query(query: Query | HashlensError) -> str:
    """Return a hash of a query; a picture counts by its path and size."""
    if isinstance(query, HashlensError):
        parts: tuple[object, ...] = ("error", str(query))
    else:
        size = -1
        with suppress(OSError, ValueError):
            size = query.image.stat().st_size if query.image else 0
        parts = (str(query.image), size, query.caption, query.seeds)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@contextmanager
def answers_file(out: Path, about: About, *, resume: bool) -> Iterator[AnswersFile]:
    """Open a file of answers; it appears under its name once it is complete.

    Nothing is created before the first answer, so a refused call changes nothing.

    Args:
        out: a `.csv` or `.jsonl`, or `-` for lines of JSON on stdout.
        about: the origin of the answers.
        resume: whether to continue an earlier run.

    Raises:
        InputError: it cannot be written, or the partial file there is of another run.
        IndexLockedError: another run writes into it.
    """
    if out == STDOUT:
        yield AnswersFile(None, [], 0)
        return
    if out.suffix.lower() not in ENDINGS:
        raise CallError(f"--out {out}: found {out.suffix or 'no ending'}, expected .csv or .jsonl")
    if out.is_dir():
        raise CallError(f"--out {out}: found a folder, expected a file to write")
    try:
        with _Partial.open(out.with_name(f"{out.name}.partial"), about) as partial:
            kept, failed = partial.read_rows() if resume else ([], 0)
            yield AnswersFile(partial, kept, failed)
            partial.finish(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from error


class _Partial:
    """The partial file, locked; the first answer starts it."""

    def __init__(self, path: Path, file: IO[str], about: About) -> None:
        self._path = path
        self._file = file
        self._about = about
        self._begun = False

    @classmethod
    def open(cls, path: Path, about: About) -> Self:
        """Open the file at `path`; it is made if missing.

        Raises:
            InputError: it is a link, or no file.
            IndexLockedError: another run writes into it.
        """
        while True:
            if path.is_symlink() or (path.exists() and not path.is_file()):
                raise InputError(f"{path}: found a link or folder, expected a file; delete it")
            file = open(  # noqa: SIM115 (closed by `__exit__`)
                path,
                "a",
                encoding="utf-8",
                errors="backslashreplace",
                buffering=1,
                opener=lambda path, flags: open_nofollow(path, flags & ~os.O_WRONLY | os.O_RDWR),
            )
            try:
                if cls._locked(path, file):
                    return cls(path, file, about)
            except BaseException:
                file.close()
                raise
            file.close()  # another run put its answers in place just now

    @staticmethod
    def _locked(path: Path, file: IO[str]) -> bool:
        """Lock the file; return False if another file is at its path now."""
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: found no plain file, expected one; delete it")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IndexLockedError(
                f"{path}: another run is writing its answers there; wait until it ends, or name "
                "another file with --out"
            ) from error
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(path), found)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, and remove an empty one."""
        try:
            if not os.fstat(self._file.fileno()).st_size:
                self._path.unlink(missing_ok=True)
        finally:
            self._file.close()

    def add(self, line: str) -> None:
        """Add a line. A run that is killed has written all but the last."""
        self._begin()
        self._file.write(line)

    def _begin(self) -> None:
        if not self._begun:
            os.ftruncate(self._file.fileno(), 0)
            self._file.write(self._about.line())
            self._begun = True

    def read_rows(self) -> tuple[list[AnsweredRow], int]:
        """Return the rows answered before and how many failed; an incomplete last line is cut off.

        Raises:
            InputError: the file is of other answers, or cannot be read.
        """
        kept, failed, whole = [], 0, 0
        with self._lines() as lines:
            first = lines.readline(MAX_LINE)
            if not first.endswith(b"\n"):
                return [], 0
            if first != self._about.line().encode():
                raise InputError(
                    f"{self._path}: found answers of another generation of the index or with other "
                    "options, expected the same ones; leave --resume out to answer all rows anew"
                )
            whole = len(first)
            for line in iter(lambda: lines.readline(MAX_LINE), b""):
                if not line.endswith(b"\n") and len(line) < MAX_LINE:
                    break
                row = self._parsed(line)
                kept.append(AnsweredRow(row["id"], row["asked"]))
                failed += "error" in row
                whole += len(line)
        if not kept:
            return [], 0
        os.ftruncate(self._file.fileno(), whole)
        self._begun = True
        return kept, failed

    def finish(self, out: Path) -> None:
        """Put the answers in place, in the form that the name ends in.

        Raises:
            InputError: somebody changed the file meanwhile.
        """
        self._begin()
        self._file.flush()
        whole = out.with_name(f"{out.name}.whole")
        whole.unlink(missing_ok=True)  # it may be a link to somebody's file
        with self._lines() as lines, whole.open("xb") as file:
            lines.readline(MAX_LINE)
            rows = map(self._parsed, iter(lambda: lines.readline(MAX_LINE), b""))
            if out.suffix.lower() == ".csv":
                # CSV cannot escape half of a cut emoji.
                text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
                csv.writer(text).writerows([CSV_COLUMNS])
                csv.writer(text).writerows(map(csv_row, rows))
                text.detach()
            else:
                for row in rows:
                    del row["asked"]
                    line = json.dumps(row, ensure_ascii=False) + "\n"
                    file.write(line.encode(errors="backslashreplace"))
        os.replace(whole, out)
        self._path.unlink()

    @contextmanager
    def _lines(self) -> Iterator[IO[bytes]]:
        """Open the file from its start, through the locked descriptor."""
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            lines.seek(0)
            yield lines

    def _parsed(self, line: bytes) -> dict[str, Any]:
        """Return a row with its `asked`.

        Raises:
            InputError: the line holds no answer.
        """
        try:
            row = json.loads(line)
            if not is_answer(row):
                raise ValueError("found a line that is no answer")
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{self._path}: cannot be read ({error}); leave --resume out to answer all rows "
                "anew"
            ) from error
        return dict(row)


def is_answer(row: object) -> bool:
    """Whether a value is a complete row of a partial file."""
    if not isinstance(row, dict) or not all(isinstance(row.get(n), str) for n in ("id", "asked")):
        return False
    if "error" in row:
        return isinstance(row["error"], str)
    tags = row.get("tags")
    return isinstance(tags, list) and all(
        isinstance(tag, dict)
        and isinstance(tag.get("display"), str)
        and isinstance(tag.get("probability"), int | float)
        and 0 <= tag["probability"] <= 1
        for tag in tags
    )


def csv_row(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return a row's cells: hashtags and probabilities are separated by spaces."""
    tags = row.get("tags", [])
    return (
        csv_cell(row["id"]),
        csv_cell(" ".join(tag["display"] for tag in tags)),
        " ".join(f"{tag['probability']:g}" for tag in tags),
        csv_cell(row.get("error", "")),
    )
