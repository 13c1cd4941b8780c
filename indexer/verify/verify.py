"""Verification of an index: hashes of all files, and consistency of their contents.

Files are hashed before anything in them is parsed; the contents of a damaged generation are not
checked. Memory stays bounded: rows are compared inside DuckDB, vectors are read in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashlens.indexer.config import RANKER
from hashlens.indexer.errors import IndexUnusableError, VectorsUnreachableError
from hashlens.indexer.generations.generation import (
    Generation,
    all_numbers,
    live_number,
    lost_numbers,
    open_leased,
)
from hashlens.indexer.generations.manifest import Inodes, check_settings, find_problems, folder_of
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.verify.count_checks import find_count_problems
from hashlens.indexer.verify.row_checks import find_row_problems
from hashlens.indexer.verify.vector_checks import find_vector_problems

OpenRanker = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Problems of an index, one line each.

    `live` is the generation that `CURRENT` names, 0 if that file is damaged; `pointer` says how.
    `generations` are the problems of each generation by number, ascending; a sound one has none.
    `unreached` says why vectors in Milvus could not be checked, if so.
    """

    live: int
    pointer: tuple[str, ...]
    generations: Mapping[int, tuple[str, ...]]
    unreached: str = ""

    @property
    def troubles(self) -> tuple[str, ...]:
        """All problems, each once, since generations share files."""
        found = (line for lines in self.generations.values() for line in lines)
        return tuple(dict.fromkeys((*self.pointer, *found)))

    @property
    def sound(self) -> bool:
        """Whether all generations were checked completely, without a problem."""
        return not self.troubles and not self.unreached

    @property
    def newest_sound(self) -> int:
        """The newest generation without a problem; 0 if there is none."""
        return max((n for n, troubles in self.generations.items() if not troubles), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "live": self.live or None,
            "sound": self.sound,
            "newest_sound": self.newest_sound or None,
            "troubles": self.troubles,
            "unreached": self.unreached or None,
            "generations": [
                {"generation": number, "sound": not troubles, "troubles": troubles}
                for number, troubles in self.generations.items()
            ],
        }

    def advice(self, index: Path) -> str:
        """Return one line on what is sound, and what to do."""
        if self.sound:
            numbers = ", ".join(map(str, self.generations))
            return f"{index}: sound (generation {numbers}; live is {self.live})"
        if not self.troubles:
            return f"{index}: its files are sound, its vectors were not looked at: {self.unreached}"
        best = self.newest_sound
        if not best:
            return f"{index}: no generation is sound; build the index again from its posts"
        if self.generations.get(self.live) == ():
            return f"{index}: generation {self.live}, the live one, is sound"
        damaged = f"generation {self.live} is damaged" if self.live else "CURRENT is damaged"
        return (
            f"{index}: {damaged}; generation {best} is sound: "
            f"`hashlens rollback --index {index} --to {best}`"
        )


def verify(
    index: Path, *, contents: bool = True, open_ranker: OpenRanker | None = None
) -> VerifyReport:
    """Check every generation of an index.

    Args:
        index: its folder.
        contents: whether the contents of sound files are checked, too.
        open_ranker: opens a ranker's folder, and raises an error if it is not sound.

    Raises:
        IndexMissingError: there is no index.
    """
    numbers = sorted({*all_numbers(index), *lost_numbers(index)})
    pointer: tuple[str, ...] = ()
    live = 0
    try:
        live = live_number(index)
    except IndexUnusableError as error:
        pointer = (str(error),)
    if live and live not in numbers:
        numbers = sorted({*numbers, live})
    read: Inodes = {}
    found = {}
    unreached = ""
    for number in numbers:
        troubles = []
        try:
            for problem in _problems(index, number, read, contents, open_ranker):
                troubles.append(problem)
        except VectorsUnreachableError as error:
            unreached = str(error)
        # A writer may have deleted it meanwhile.
        if number == live or folder_of(index, number).exists():
            found[number] = tuple(troubles)
    return VerifyReport(live, pointer, found, unreached)


def _problems(
    index: Path, number: int, read: Inodes, contents: bool, open_ranker: OpenRanker | None
) -> Iterator[str]:
    try:
        generation = open_leased(index, number)
    except IndexUnusableError as error:
        yield str(error)
        return
    is_damaged = False
    for problem in find_problems(generation.folder, generation.manifest, deep=True, read=read):
        is_damaged = True
        yield problem
    if contents and not is_damaged:
        yield from _content_problems(generation, open_ranker)


def _content_problems(generation: Generation, open_ranker: OpenRanker | None) -> Iterator[str]:
    """Yield contradictions in files of the right hash: a bug of ours, or a forged index."""
    folder, manifest = generation.folder, generation.manifest

    def model_problems() -> Iterator[str]:
        check_settings(folder.parent, manifest)
        names = TopicModel.open(folder / "topics").table.names
        if names != manifest.topics:
            yield f"{folder / 'topics'}: found topics {names}, the manifest has {manifest.topics}"
        if open_ranker and (folder / RANKER).is_dir():
            open_ranker(folder / RANKER)

    checks: tuple[tuple[Path, Callable[[], Iterator[str]]], ...] = (
        (folder / "topics", model_problems),
        (folder / "posts.duckdb", lambda: find_row_problems(folder, manifest.counts)),
        (folder / "counts", lambda: find_count_problems(folder, manifest.topics)),
        (folder, lambda: find_vector_problems(folder)),
    )
    for path, check in checks:
        try:
            yield from check()
        except VectorsUnreachableError:
            raise
        # Files may be forged: any error of reading them is a finding, and others follow.
        except Exception as error:
            reason = str(error).split("\n")[0]
            yield f"{path}: cannot be checked ({type(error).__name__}: {reason})"
