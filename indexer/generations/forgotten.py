"""Authors and posts that an index was told to forget: salted hashes, in a file beside `CURRENT`.

    INDEX/forgotten.json    outlasts `build`, `compact` and `rollback`, and goes with copies

The file holds no name and no id. An erasure is written down here before it begins. Until it is
finished, every writer goes on with it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from hashlens.indexer.errors import IndexCorruptError
from hashlens.indexer.generations.filesystem import check_place, open_nofollow, write_durably
from hashlens.indexer.generations.manifest import NAME
from hashlens.indexer.text.authors import fold_author

FORGOTTEN_FILE = "forgotten.json"
FORMAT = 1
MAX_BYTES = 1 << 30  # of the file: some thirty million hashes
_DIGEST = 16  # bytes of a hash
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Forgotten:
    """What an index was told to forget.

    `hashes` are of authors and of post ids. `erasing` are those of them whose posts may still be
    in a generation. `clean` is the first generation without them, 0 where there is none yet.
    `residue` are hashes of posts that an update deleted, and of their authors: the rows are gone,
    and their words may still be in the room that rows took, and in the vocabulary.

    Where a file was written for generation `until`, that is to be published with it, `added` and
    `lifted` are what changed: an update that was killed before has changed nothing.
    """

    salt: str = field(default_factory=lambda: secrets.token_hex(_DIGEST))
    hashes: frozenset[str] = frozenset()
    erasing: frozenset[str] = frozenset()
    clean: int = 0
    residue: frozenset[str] = frozenset()
    until: int = 0
    added: frozenset[str] = frozenset()
    lifted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, index: Path) -> Self:
        """The list of an index folder as it is now; an empty one where there is no file.

        Raises:
            IndexCorruptError: the file cannot be read.
        """
        return cls._read(index)._as_of(index)

    @classmethod
    def settle(cls, index: Path) -> None:
        """Write down what the list is now, before another writer takes an unpublished number."""
        found = cls._read(index)
        if found.until:
            found._as_of(index).save(index)

    @classmethod
    def _read(cls, index: Path) -> Self:
        check_place(index)
        path = index / FORGOTTEN_FILE
        try:
            with open(path, "rb", opener=open_nofollow) as file:
                found = json.loads(file.read(MAX_BYTES))
            return cls(**_checked(found))
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except _UNREADABLE as error:
            raise IndexCorruptError(
                f"{path}: cannot be read ({error}), expected the hashes of what is forgotten; put "
                "back a copy of that file, or remove it and run `hashlens forget` again"
            ) from error

    def save(self, index: Path) -> None:
        """Write the list into an index folder, whole or not at all."""
        values = asdict(self) | {name: sorted(getattr(self, name)) for name in _SETS}
        text = json.dumps({"format": FORMAT} | values, indent=0)
        write_durably(index / FORGOTTEN_FILE, f"{text}\n".encode())

    def changed_with(self, generation: int, before: Self) -> Self:
        """The list as it is to be from a generation on that is not published yet."""
        added, lifted = self.hashes - before.hashes, before.hashes - self.hashes
        return replace(self, until=generation, added=added, lifted=lifted)

    def _as_of(self, index: Path) -> Self:
        if not self.until:
            return self
        hashes = self.hashes
        if _live_number(index) < self.until:
            hashes = (hashes - self.added) | self.lifted
        none = frozenset[str]()
        return replace(self, hashes=hashes, until=0, added=none, lifted=none)

    @cached_property
    def _key(self) -> bytes:
        return bytes.fromhex(self.salt)

    def _hash(self, kind: str, name: str) -> str:
        text = f"{kind} {name}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=_DIGEST).hexdigest()

    def of_author(self, author: str) -> str:
        """The hash of an author, the same for all spellings of the name."""
        return self._hash("author", fold_author(author))

    def of_post(self, post_id: str) -> str:
        """The hash of a post's id."""
        return self._hash("post", post_id)

    def hashes_of(self, post_id: str, author: str | None) -> frozenset[str]:
        """The hashes by which a post can be on the list."""
        found = {self.of_post(post_id)}
        if author is not None:
            found.add(self.of_author(author))
        return frozenset(found)

    def holds(self, post_id: str, author: str | None) -> bool:
        """Whether a post is on the list, by its id or by its author."""
        return bool(self.hashes) and not self.hashes.isdisjoint(self.hashes_of(post_id, author))

    def is_erasing(self, post_id: str, author: str | None) -> bool:
        """Whether a post is to be erased."""
        return not self.erasing.isdisjoint(self.hashes_of(post_id, author))

    def deleted(self, post_ids: Iterable[str], found: Iterable[tuple[str, str | None]]) -> Self:
        """The list with these posts on it; `found` are ids and authors of those that were there."""
        residue = self.residue.union(*(self.hashes_of(*each) for each in found))
        return replace(self, hashes=self.hashes.union(map(self.of_post, post_ids)), residue=residue)

    def without(self, hashes: Collection[str]) -> Self:
        """The list with these hashes lifted."""
        return replace(
            self, hashes=self.hashes.difference(hashes), erasing=self.erasing.difference(hashes)
        )

    def start_erasure(self, authors: Iterable[str], post_ids: Iterable[str]) -> Self:
        """The list with these on it, and an erasure of them begun."""
        asked = {*map(self.of_author, authors), *map(self.of_post, post_ids)}
        return replace(self, hashes=self.hashes | asked, erasing=self.erasing | asked, clean=0)

    def cleaned(self, generation: int) -> Self:
        """The list once a generation without them is published."""
        return replace(self, clean=generation, residue=frozenset())

    def finished(self) -> Self:
        """The list once all older generations are gone, too."""
        return replace(self, erasing=frozenset(), clean=0)


_SETS = ("hashes", "erasing", "residue", "added", "lifted")
_NUMBERS = ("clean", "until")


def _live_number(index: Path) -> int:
    """The generation that `CURRENT` names; 0 where it names none."""
    try:
        with open(index / "CURRENT", "rb", opener=open_nofollow) as file:
            name = file.read(100).decode("ascii", "replace").split()[0]
    except (OSError, IndexError):
        return 0
    return int(name[4:]) if NAME.fullmatch(name) else 0


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a list, from its file.

    Raises:
        ValueError, TypeError, KeyError: they are of another form.
    """
    if found["format"] != FORMAT:
        raise ValueError(f"found format {found['format']!r}, expected {FORMAT}")
    sets = {name: frozenset(found[name]) for name in _SETS}
    if not all(isinstance(entry, str) for entries in sets.values() for entry in entries):
        raise ValueError("found an entry that is no text")
    numbers = {name: found[name] for name in _NUMBERS}
    is_sound = all(type(number) is int for number in numbers.values())
    if not is_sound or not 16 <= len(bytes.fromhex(found["salt"])) <= 64:
        raise ValueError("found another salt or number than expected")
    return {"salt": found["salt"]} | numbers | sets
