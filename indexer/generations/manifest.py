"""The manifest of a generation: what it is made of, sealed with hashes, and checked on opening."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from hashlens.indexer.config import BuildConfig
from hashlens.indexer.errors import (
    ConfigError,
    HashlensError,
    IndexCorruptError,
    IndexMismatchError,
    check_permission,
)
from hashlens.indexer.generations.filesystem import FileEntry, fsync_and_hash, names_in, read_entry

FORMAT = 4
MANIFEST = "manifest.json"
NAME = re.compile(r"gen-(?!0+$)(\d{6}|[1-9]\d{6,11})", re.ASCII)
MAX_NUMBER = 10**12 - 1  # of a generation, as `NAME` has it
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
LARGEST = 64 << 20  # bytes of a manifest
LARGEST_COUNT = 1 << 53  # of anything that is counted
ENCODER = ("name", "weights_sha256", "preprocessing")  # texts that tell one encoder from another
LIBRARIES = ("hashlens", "duckdb", "faiss-cpu", "gensim", "numpy", "scipy", "torch")


def folder_of(index: Path, number: int) -> Path:
    """The folder of a generation."""
    return index / f"gen-{number:06d}"


def numbers_of(index: Path) -> list[int]:
    """Sealed generations, ascending; a link to a folder elsewhere is none."""
    named = (index / name for name in names_in(index) if NAME.fullmatch(name))
    sealed_ones = (p for p in named if (p / MANIFEST).exists() and not p.is_symlink())
    return sorted(int(path.name[4:]) for path in sealed_ones)


Inodes = dict[tuple[int, int], FileEntry]  # by device and number


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation is made of; `files` are by path relative to its folder."""

    format: int
    generation: int
    encoder: dict[str, Any] | None
    topics: tuple[str, ...]
    config: dict[str, Any]
    counts: dict[str, int]
    created: str
    files: dict[str, FileEntry]
    libraries: dict[str, str]


def entries_of(folder: Path, known: Mapping[Path, FileEntry]) -> Iterator[tuple[str, FileEntry]]:
    """Relative path, size and hash of every file, flushed to disk; known files are not read again.

    Args:
        folder: the folder of a generation, not yet sealed.
        known: files elsewhere, sealed before, of which the folder may hold hard links.

    Raises:
        HashlensError: the folder holds something other than files and folders.
    """
    stats = ((source.stat(), entry) for source, entry in known.items())
    linked = {(stat.st_dev, stat.st_ino): entry for stat, entry in stats}
    for name, path in _files(folder):
        if path.is_symlink() or not path.is_file():
            raise HashlensError(f"{path}: found neither a file nor a folder, expected those")
        stat = path.stat()
        entry = linked.get((stat.st_dev, stat.st_ino))
        yield name, entry or fsync_and_hash(path)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative path, and path, of everything below a folder that is no folder itself."""
    yield from sorted(_listed(folder, ""))


def _listed(folder: Path, place: str) -> Iterator[tuple[str, Path]]:
    for name in names_in(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            yield from _listed(path, f"{place}{name}/")
        else:
            yield f"{place}{name}", path


def read_manifest(index: Path, number: int) -> Manifest:
    """The manifest of a generation.

    Raises:
        IndexCorruptError: it is missing, or not as it was sealed.
        IndexMismatchError: the index is of another format.
    """
    path = folder_of(index, number) / MANIFEST
    try:
        text = _plain(path)
        values = json.loads(text)
        if type(values["format"]) is int and values["format"] != FORMAT:
            raise IndexMismatchError(
                f"{path}: found index format {values['format']}, expected {FORMAT}; build the "
                "index again, or use the version of hashlens that made it"
            )
        sound = values.pop("seal") == _seal(values) and values["generation"] == number
        _check_types(values)
        manifest = Manifest(**values | {"topics": tuple(values["topics"])})
        # To the byte: a changed blank is damage as well.
        sound = sound and text == to_bytes(manifest)
        for name in manifest.files:  # none leads out of the folder
            parts = PurePosixPath(name)
            leads_out = parts.is_absolute() or ".." in parts.parts
            sound = sound and str(parts) == name and not leads_out
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        check_permission(path, error)
        raise corrupt(index, f"{path}: cannot be read ({error})") from error
    if not sound:
        raise corrupt(index, f"{path}: found other content than was sealed")
    return manifest


def find_problems(
    folder: Path, manifest: Manifest, *, deep: bool, read: Inodes | None = None
) -> Iterator[str]:
    """What is wrong with the files of a generation.

    Args:
        folder: of the generation.
        manifest: what it should hold.
        deep: whether files are read and hashed.
        read: of files that were hashed before; those hashed now are added.
    """
    root, read = folder.resolve(), {} if read is None else read
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.exists():
            yield f"{path}: found nothing, expected {entry['bytes']} bytes"
        elif path.resolve() != root / name or not path.is_file():
            yield f"{path}: found a link or folder, expected a file"
        elif (size := path.stat().st_size) != entry["bytes"]:
            yield f"{path}: found {size} bytes, expected {entry['bytes']}"
        elif deep and _entry(path, read) != entry:
            yield hash_mismatch(path)
    for name, path in _files(folder):
        if name != MANIFEST and name not in manifest.files:
            yield f"{path}: found a file that was not sealed, expected none"


def _entry(path: Path, read: Inodes) -> FileEntry:
    """Size and hash; generations share files, which are read once."""
    stat = path.stat()
    inode = (stat.st_dev, stat.st_ino)
    if inode not in read:
        read[inode] = read_entry(path)
    return read[inode]


def hash_mismatch(path: Path) -> str:
    """The trouble with a file that is as long as it was sealed, and another one."""
    return f"{path}: found other content than was sealed (its sha256 differs)"


def corrupt(index: Path, trouble: str) -> IndexCorruptError:
    """The error for a damaged index, with what to do about it."""
    return IndexCorruptError(
        f"{trouble}; see all damage with `hashlens verify --index {index}`, "
        f"return to a sound generation with `hashlens rollback --index {index}`"
    )


def _plain(path: Path) -> bytes:
    """Content of a file that is no link or pipe, lies in no linked folder, and is not huge."""
    if path.parent.is_symlink() or path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("found a link or folder, expected a file")
    with path.open("rb") as file:
        found = file.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise ValueError(f"found more than {LARGEST >> 20} MB")
    return found


def _check_types(values: Mapping[str, Any]) -> None:
    """Hold the values of a manifest to the types of its fields: a forged seal fits any.

    Raises:
        ValueError: one is of another type.
    """
    encoder, topics = values["encoder"], values["topics"]
    checks = {
        "format": type(values["format"]) is int,
        "generation": type(values["generation"]) is int,
        "encoder": encoder is None or (_is_object(encoder, str | int)),
        "topics": isinstance(topics, list) and all(isinstance(name, str) for name in topics),
        "config": isinstance(values["config"], dict),
        "counts": _is_object(values["counts"], int)
        and all(0 <= count < LARGEST_COUNT for count in values["counts"].values()),
        "created": isinstance(values["created"], str),
        "files": _is_object(values["files"], dict)
        and all(map(_is_entry, values["files"].values())),
        "libraries": _is_object(values["libraries"], str),
    }
    if wrong := [name for name, is_right in checks.items() if not is_right]:
        raise ValueError(f"found {wrong[0]} of another type or range")


def _is_object(value: object, kind: Any) -> bool:  # noqa: ANN401 (a type, or a union of some)
    """Whether a value is a JSON object of values of a kind, which true and false are not."""
    return isinstance(value, dict) and all(
        isinstance(part, kind) and not isinstance(part, bool) for part in value.values()
    )


def _is_entry(entry: Mapping[str, object]) -> bool:
    digest = entry.get("sha256")
    return (
        entry.keys() == {"bytes", "sha256"}
        and type(entry["bytes"]) is int
        and 0 <= entry["bytes"] < LARGEST_COUNT
        and isinstance(digest, str)
        and DIGEST.fullmatch(digest) is not None
    )


def check_settings(index: Path, manifest: Manifest) -> None:
    """Hold the manifest of a whole index to what is read of its settings, counts and encoder.

    Raises:
        IndexCorruptError: one is missing, unknown or of another type.
    """
    path = folder_of(index, manifest.generation) / MANIFEST
    encoder = manifest.encoder
    if missing := [name for name in ("posts", "authors") if name not in manifest.counts]:
        raise corrupt(index, f"{path}: found no counts.{missing[0]}, expected a number")
    if encoder is not None:
        wrong = [name for name in ENCODER if not isinstance(encoder.get(name), str)]
        if wrong:
            raise corrupt(index, f"{path}: found no encoder.{wrong[0]}, expected text")
    try:
        BuildConfig.from_json(manifest.config)
    except ConfigError as error:
        raise corrupt(index, f"{path}: {error}") from error
    parts = {"vectors", "ranking"}
    if missing := sorted(parts - manifest.config.keys()):
        raise corrupt(index, f"{path}: found no config.{missing[0]}, expected its settings")


def _seal(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON, with a hash of itself: a flipped bit in it is found on opening."""
    values = asdict(manifest)
    return json.dumps(values | {"seal": _seal(values)}, indent=1).encode() + b"\n"


def library_versions() -> dict[str, str]:
    """Versions of the libraries that made the files."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
