"""The file of many answers: written row by row beside its place, and put there when it is whole.

`answers.csv.partial` holds one JSON object a line: first what the answers depend on, then each
answer. A run that was killed leaves it, and a later one goes on from its last whole line.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

from indexer.errors import CallError, HashlensError, InputError
from indexer.manifest import Manifest
from indexer.schema import Recommendation
from retriever.forms import row_json
from retriever.selection import Selection

ENDINGS = (".csv", ".jsonl")
CSV_COLUMNS = ("id", "hashtags", "probabilities", "error")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class About:
    """What answers depend on: the generation of the index, when it was made, and the selection."""

    generation: int
    created: str
    selection: str

    @classmethod
    def of(cls, manifest: Manifest, selection: Selection) -> About:
        """About answers of an index, chosen so."""
        shown = repr((replace(selection, blocked=frozenset()), sorted(selection.blocked)))
        digest = hashlib.sha256(shown.encode()).hexdigest()
        return cls(manifest.generation, manifest.created, digest[:16])

    def line(self) -> str:
        """The first line of a partial file."""
        made = {"generation": self.generation, "created": self.created}
        return json.dumps(made | {"selection": self.selection}) + "\n"


class AnswersFile:
    """Answers on their way into a file; `kept` are the ids of those an earlier run had given."""

    def __init__(self, lines: IO[str], kept: list[str], failed: int) -> None:
        self.kept = kept
        self.failed = failed
        self.answered = len(kept) - failed
        self._lines = lines

    def write(self, row_id: str, answer: Recommendation | HashlensError) -> None:
        """Add a row."""
        failed = isinstance(answer, HashlensError)
        self.failed += failed
        self.answered += not failed
        # A line at a time: a run that is killed has given all but the last.
        self._lines.write(json.dumps(row_json(row_id, answer), ensure_ascii=False) + "\n")

    def left(self, rows: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
        """The rows that have no answer yet.

        Raises:
            InputError: the first rows are not those that have one.
        """
        rows = iter(rows)
        for number, row_id in enumerate(self.kept, start=1):
            found = next(rows, (None,))[0]
            if found != row_id:
                raise InputError(
                    f"--resume: found {found!r} as row {number}, expected {row_id!r} as before: "
                    "the rows have changed; leave --resume out to answer them all"
                )
        yield from rows


@contextmanager
def answers_file(out: Path, about: About, *, resume: bool) -> Iterator[AnswersFile]:
    """A file of answers that appears under its name, in the form that ends it, when it is whole.

    Args:
        out: a `.csv` or `.jsonl`.
        about: what the answers depend on.
        resume: whether to go on from what an earlier run left.

    Raises:
        InputError: it cannot be written, or what is left there is not of such a run.
    """
    if out.suffix.lower() not in ENDINGS:
        raise CallError(f"--out {out}: found {out.suffix or 'no ending'}, expected .csv or .jsonl")
    partial = out.with_name(f"{out.name}.partial")
    try:
        kept, failed = _kept(partial, about) if resume and partial.exists() else ([], 0)
        with partial.open("a" if kept else "w", encoding="utf-8", buffering=1) as lines:
            if not kept:
                lines.write(about.line())
            yield AnswersFile(lines, kept, failed)
        _finish(partial, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from error


def _kept(partial: Path, about: About) -> tuple[list[str], int]:
    """Ids of the rows answered before, and how many failed; a line cut short is taken off."""
    content = partial.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    first, *lines = whole.split(b"\n")[:-1] or [b""]
    if first and first + b"\n" != about.line().encode():
        raise InputError(
            f"{partial}: found answers of another generation of the index or with other options, "
            "expected the same ones; leave --resume out to answer all rows anew"
        )
    if len(whole) < len(content):
        os.truncate(partial, len(whole))
    try:
        rows = list(map(json.loads, lines))
        return [row["id"] for row in rows], sum("error" in row for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{partial}: cannot be read ({error}); leave --resume out to answer all rows anew"
        ) from error


def _finish(partial: Path, out: Path) -> None:
    whole = out.with_name(f"{out.name}.whole")
    with (
        partial.open(encoding="utf-8") as lines,
        whole.open("w", encoding="utf-8", newline="") as f,
    ):
        next(lines)
        if out.suffix.lower() == ".csv":
            table = csv.writer(f)
            table.writerow(CSV_COLUMNS)
            table.writerows(csv_row(json.loads(line)) for line in lines)
        else:
            f.writelines(lines)
    os.replace(whole, out)
    partial.unlink()


def csv_row(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """A row's documented form as cells: hashtags and probabilities with a space between each."""
    tags = row.get("tags", [])
    return (
        row["id"],
        " ".join(tag["display"] for tag in tags),
        " ".join(f"{tag['probability']:g}" for tag in tags),
        row.get("error", ""),
    )
