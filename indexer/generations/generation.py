"""The sealed folder: one generation of an index, published by one atomic rename.

    INDEX/CURRENT                   one line: the live generation, and a check of that name
    INDEX/writer.lock               held by the one process that writes
    INDEX/gen-000007/manifest.json  written last; a folder without it does not exist

A reader opens the generation it found and keeps it; where that vanished meanwhile it looks at
`CURRENT` again, but only while that advances (the rule of Lucene's `SegmentInfos`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from hashlens.indexer.errors import (
    HashlensError,
    IndexCorruptError,
    IndexMissingError,
    IndexUnusableError,
    check_permission,
)
from hashlens.indexer.generations.filesystem import (
    FileEntry,
    Lease,
    check_place,
    disk_full_explained,
    fsync_folder,
    locked,
    open_nofollow,
    paths_in,
    read_entry,
    writable,
    write_durably,
)
from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.generations.manifest import (
    FORMAT,
    MANIFEST,
    MAX_NUMBER,
    NAME,
    Manifest,
    corrupt,
    entries_of,
    find_problems,
    folder_of,
    hash_mismatch,
    library_versions,
    numbers_of,
    read_manifest,
    to_bytes,
)
from hashlens.indexer.generations.retention import clear, leftovers, prune, remove

KEEP = 3  # generations left after a publication, beside those that readers hold


@dataclass(frozen=True, slots=True)
class Generation:
    """A sealed folder and its manifest; `open_current` gives one that stays while referenced."""

    folder: Path
    manifest: Manifest
    lease: Lease | None = field(default=None, repr=False, compare=False)

    @property
    def number(self) -> int:
        """Generations count from 1; a published number is never used again."""
        return self.manifest.generation

    def verified_path(self, path: Path) -> Path:
        """The path of one of its files, once that was hashed: for what parses it on trust.

        Raises:
            IndexCorruptError: it is not as it was sealed.
        """
        entry = self.manifest.files.get(path.relative_to(self.folder).as_posix())
        if entry and read_entry(path) != entry:
            raise corrupt(self.folder.parent, hash_mismatch(path))
        return path

    def check_vectors(self) -> None:
        """See that all its FAISS files are `verified_path`.

        Raises:
            IndexCorruptError: one is not as it was sealed.
        """
        for name in self.manifest.files:
            if name.endswith(".faiss"):
                self.verified_path(self.folder / name)


def temporary_generation(
    folder: Path, topics: Sequence[str], config: dict[str, Any], counts: dict[str, int]
) -> Generation:
    """A folder read before it is sealed, or that never will be: number 0, no files known."""
    manifest = Manifest(FORMAT, 0, None, tuple(topics), config, counts, "", {}, {})
    return Generation(folder, manifest)


def open_current(index: Path, *, deep: bool = False) -> Generation:
    """The live generation, with the size of every file checked, and its sha256 where `deep`.

    Raises:
        IndexMissingError: there is no index.
        IndexMismatchError: it is of another format.
        IndexCorruptError: a file is missing, cut short or changed.
    """
    number = live_number(index)
    while True:
        try:
            return _open(index, number, deep=deep, hold=True)
        except IndexCorruptError:
            latest = live_number(index)
            if latest <= number:
                raise
            number = latest


def history(index: Path) -> tuple[Generation, ...]:
    """The generations there are, oldest first; those with an unreadable manifest left out.

    Raises:
        IndexMissingError: there is no index.
    """
    found = []
    for number in all_numbers(index):
        with suppress(IndexUnusableError):
            found.append(Generation(folder_of(index, number), read_manifest(index, number)))
    return tuple(found)


def live_number(index: Path) -> int:
    """The number of the live generation, as `CURRENT` names it.

    Raises:
        IndexMissingError: there is no index.
        IndexCorruptError: `CURRENT` names nothing.
    """
    check_place(index)
    path = index / "CURRENT"
    try:
        with open(path, "rb", opener=open_nofollow) as file:
            line = file.read(100).decode("ascii", "replace")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexMissingError(
            f"{index}: found no index there; make one with `hashlens build POSTS --index {index}`"
        ) from error
    except OSError as error:
        check_permission(path, error)
        raise corrupt(index, f"{path}: cannot be read ({error.strerror})") from error
    name = line.split(" ")[0].removesuffix("\n")
    # Without its check in an index of an earlier version: what is changed or cut never reads so.
    if not NAME.fullmatch(name) or line not in (_pointer(name), f"{name}\n"):
        expected = "a name such as gen-000007 and its check"
        raise corrupt(index, f"{path}: found {line!r}, expected {expected}")
    return int(name[4:])


def all_numbers(index: Path) -> list[int]:
    """Numbers of the generations in a folder, ascending.

    Raises:
        IndexMissingError: there is no index.
        IndexCorruptError: there is none of the generations it had.
    """
    check_place(index)
    return numbers_of(index) or [live_number(index)]


def lost_numbers(index: Path) -> list[int]:
    """Numbers of folders without a manifest, but older than a sealed one: their manifest is gone.

    A newer one is what a writer is at, or left when it was killed.
    """
    newest = max(numbers_of(index), default=0)
    folders = [path for path in paths_in(index, "gen-") if NAME.fullmatch(path.name)]
    bare = [path for path in folders if path.is_dir() and not (path / MANIFEST).exists()]
    return [int(path.name[4:]) for path in bare if int(path.name[4:]) < newest]


def open_leased(index: Path, number: int) -> Generation:
    """A generation that stays while it is referenced, its files not looked at yet.

    Raises:
        IndexCorruptError, IndexMismatchError: its manifest is missing, not as sealed, or of
            another format.
    """
    path = folder_of(index, number) / MANIFEST
    try:
        lease = Lease(path)
    except OSError as error:
        check_permission(path, error)
        raise corrupt(index, f"{path}: {error.strerror}") from error
    return Generation(path.parent, read_manifest(index, number), lease)


def rollback(index: Path, to: int | None = None) -> Generation:
    """Make generation `to` the live one, or the newest one before the live one, if it is sound.

    It also serves to set `CURRENT` right where that is damaged. Nothing is deleted.

    Raises:
        HashlensError: there is no such generation.
        IndexMissingError: there is no index.
        IndexCorruptError, IndexMismatchError: that generation cannot be used either.
        IndexLockedError: another process writes to this index.
    """
    all_numbers(index)
    with locked(index):
        live, numbers = _live(index), numbers_of(index)
        older = [number for number in numbers if number < live or not live]
        target = max(older, default=0) if to is None else to
        if target not in numbers:
            wanted = "older generation" if to is None else f"generation {to}"
            there = ", ".join(map(str, numbers))
            raise HashlensError(f"{index}: found no {wanted}; there are {there}, live is {live}")
        _check_erased(index, target)
        generation = _open(index, target, deep=True)
        _point(index, target)
        return generation


def _check_erased(index: Path, target: int) -> None:
    """Hold that a generation does not bring back what is being forgotten.

    Raises:
        HashlensError: it is older than the erasure, and a reader alone still holds it.
    """
    clean = Forgotten.of(index).clean
    if target < clean:
        raise HashlensError(
            f"{index}: found that generation {target} holds posts that were forgotten, expected "
            f"generation {clean} or newer; it goes with the next command that writes"
        )


def finish_erasure(index: Path, keep: int, parent: int = 0) -> None:
    """Remove generations beyond `keep`; all but the live one while an erasure is open.

    The erasure ends when no older generation is left. Call it as the index's writer.

    Raises:
        HashlensError: the disk kept files of a generation that an erasure removes.
    """
    memory, live = Forgotten.of(index), live_number(index)
    prune(index, 1 if memory.clean else keep, live=live, parent=parent or live)
    if memory.clean and (left := leftovers(index)):
        raise HashlensError(
            f"{left[0]}: found that the disk kept files with forgotten posts, expected them to be "
            "removed: see who may write there, and repeat the command"
        )
    if memory.clean and numbers_of(index) == [live]:
        memory.finished().save(index)


@contextmanager
def writer(index: Path) -> Iterator[GenerationWriter]:
    """Begin the next generation; what is not published when the context ends is removed.

    Raises:
        IndexLockedError: another process writes to this index.
        HashlensError: the folder cannot be written to, or the disk is full.
    """
    check_place(index)
    with writable(index):
        index.mkdir(parents=True, exist_ok=True)
    with locked(index), disk_full_explained(index, lambda: _left_behind(index, number)):
        number = max([_live(index), *numbers_of(index)]) + 1
        if number > MAX_NUMBER:
            raise HashlensError(
                f"{index}: found generation {number - 1}, the largest number that there is; build "
                "into a new folder, or remove that generation's folder if it is not the live one"
            )
        clear(index, _live(index))
        Forgotten.settle(index)
        new = GenerationWriter(index, number)
        try:
            new.folder.mkdir()
            yield new
        finally:
            # The disk decides, not a flag: an interrupt may come just after the rename.
            if _is_unpublished(index, number):
                remove(new.folder)


def _is_unpublished(index: Path, number: int) -> bool:
    """Whether `CURRENT` is missing or names another; an unreadable one may name this number."""
    try:
        return live_number(index) != number
    except IndexMissingError:
        return True
    except HashlensError:
        return False


def _left_behind(index: Path, number: int) -> str:
    """What a writer that failed has left, in words."""
    if _live(index) == number:
        return f"generation {number} is published, older ones may be left: repeat the command"
    with suppress(IndexUnusableError):
        if Forgotten.of(index).erasing:
            return (
                "the index answers as it did, and still holds what is to be forgotten: repeat the "
                "command, or the next one that writes does it"
            )
    return "the index is as it was"


class GenerationWriter:
    """A generation being written: put files into `folder`, then `publish`."""

    def __init__(self, index: Path, number: int) -> None:
        self.index = index
        self.number = number
        self.folder = folder_of(index, number)
        self._linked: dict[Path, FileEntry] = {}

    @cached_property
    def previous(self) -> Generation | None:
        """The live generation, checked when first asked for; None in a new index.

        Raises:
            IndexCorruptError, IndexMismatchError: it cannot be built upon.
        """
        # Writers alone remove generations: whoever is one needs no lease.
        there = (self.index / "CURRENT").exists()
        return _open(self.index, live_number(self.index)) if there else None

    def link(self, path: str) -> None:
        """Take over a file of the previous generation, unchanged and at no cost.

        Args:
            path: relative to the generation's folder. The file is shared: never write into it.

        Raises:
            HashlensError: the previous generation has no such file.
        """
        entry = self.previous.manifest.files.get(path) if self.previous else None
        if self.previous is None or entry is None:
            raise HashlensError(f"{self.index}: found no {path} in the previous generation")
        source, target = self.previous.folder / path, self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            shutil.copyfile(source, target)
        else:
            self._linked[source] = entry

    def publish_like(
        self, other: Manifest, counts: dict[str, int] | None = None, *, keep: int = KEEP
    ) -> Generation:
        """Publish with the encoder, topics and settings of another generation; see `publish`.

        Its counts, too, where none are given.
        """
        return self.publish(
            encoder=other.encoder,
            topics=other.topics,
            config=other.config,
            counts=other.counts if counts is None else counts,
            keep=keep,
        )

    def publish(
        self,
        *,
        encoder: dict[str, Any] | None,
        topics: Sequence[str],
        config: dict[str, Any],
        counts: dict[str, int],
        keep: int = KEEP,
        erased: bool = False,
    ) -> Generation:
        """Flush everything to disk, write the manifest, make this the live generation.

        Args:
            encoder: that of its pictures, None without any.
            topics: their names, in order.
            config: settings of the build.
            counts: what the index holds.
            keep: generations left, this one among them, beside those that readers hold.
            erased: whether it holds nothing of what an open erasure is of.

        Raises:
            HashlensError: the folder holds something other than files and folders.
            OSError: the disk failed; the live generation is then as before, or this one, whole.
        """
        manifest = Manifest(
            format=FORMAT,
            generation=self.number,
            encoder=encoder,
            topics=tuple(topics),
            config=config,
            counts=counts,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            files=dict(entries_of(self.folder, self._linked)),
            libraries=library_versions(),
        )
        for folder, _, _ in os.walk(self.folder, topdown=False):
            fsync_folder(Path(folder))
        write_durably(self.folder / MANIFEST, to_bytes(manifest))
        generation = _open(self.index, self.number, hold=True)
        fsync_folder(self.index)
        parent = _live(self.index)
        _point(self.index, self.number)
        memory = Forgotten.of(self.index)
        if erased and memory.erasing:
            memory.cleaned(self.number).save(self.index)
        finish_erasure(self.index, keep, parent)
        return generation


def _live(index: Path) -> int:
    """The number that `CURRENT` names, 0 where that is missing or damaged."""
    try:
        return live_number(index)
    except IndexUnusableError:
        return 0


def _open(index: Path, number: int, *, deep: bool = False, hold: bool = False) -> Generation:
    folder = folder_of(index, number)
    found = open_leased(index, number) if hold else Generation(folder, read_manifest(index, number))
    for trouble in find_problems(folder, found.manifest, deep=deep):
        raise corrupt(index, trouble)
    return found


def _point(index: Path, number: int) -> None:
    write_durably(index / "CURRENT", _pointer(folder_of(index, number).name).encode())


def _pointer(name: str) -> str:
    """What `CURRENT` holds: with one digit changed it would name another generation unnoticed."""
    return f"{name} {hashlib.sha256(name.encode()).hexdigest()[:8]}\n"
