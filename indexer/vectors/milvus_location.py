"""Where the vectors of a generation's posts are, if not in its folder; and who may go there.

GEN/milvus.json          the address, for people to read; which collections; the segment it added
GEN/images/NNNN.milvus   ids of a segment, as a `.npy` file; their vectors are in Milvus

An index never decides what is connected to or opened, because it may come from a stranger.
`HASHLENS_VECTORS` names the address, or the call that makes the index (`allow_address`). The
address in the index is for people to read.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from hashlens.indexer.errors import (
    ConfigError,
    HashlensError,
    VectorsUnreachableError,
    unreadable,
)
from hashlens.indexer.generations.filesystem import open_nofollow

LOCATION_FILE = "milvus.json"
SCHEME = "milvus:"
ADDRESS = "HASHLENS_VECTORS"  # environment variable: the place that may be used, milvus:ADDRESS
MAX_GENERATIONS = 1 << 23  # a segment's number and a post's key share 63 bits
_LARGEST = 4096  # bytes of the file
_INDEX = re.compile(r"[0-9a-f]{12}", re.ASCII)
_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, RecursionError, ConfigError)
_NAMED: ContextVar[str] = ContextVar("named")


def parse_address(place: str) -> str:
    """The address in `milvus:ADDRESS`: a server's `http(s)://HOST:PORT`, or a file of Milvus Lite.

    A file's path is made absolute.

    Raises:
        ConfigError: it is none, or holds a user name or password.
    """
    found = place.removeprefix(SCHEME)
    if found.endswith(".db") and "://" not in found:
        return os.path.abspath(Path(found).expanduser())
    parts = urlsplit(found)
    if "@" in found or parts.query or parts.fragment:
        # Not shown: it may be a password.
        raise ConfigError(
            "vectors: found an address with a user, password or parameters in it, expected "
            "milvus:http://HOST:PORT; put the secret into HASHLENS_MILVUS_TOKEN"
        )
    if not place.startswith(SCHEME) or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"vectors: found {place!r}, expected milvus:http://HOST:PORT (or https), or "
            "milvus:FILE.db for Milvus Lite"
        )
    return found


@contextmanager
def allow_address(address: str | None) -> Iterator[None]:
    """Have an address used in this context, as whoever calls has named it; nothing where None."""
    if address is None:
        yield
        return
    token = _NAMED.set(address)
    try:
        yield
    finally:
        _NAMED.reset(token)


@dataclass(frozen=True, slots=True)
class MilvusLocation:
    """Where vectors are: collections `hashlens_{index}_{made}_{kind}`, one a kind.

    `address` is where they were when this was written. `index` is drawn at random, and `owner` is
    the number of the index folder's inode: a copy of the folder has another, and must not write
    into these collections. `made` is the generation that made the collections, `segment` the
    one that this was written by, and the number of the segment that it adds.
    """

    address: str
    index: str
    owner: int
    made: int
    segment: int

    @classmethod
    def first(cls, address: str, index: Path, number: int) -> Self:
        """Of the first generation of an index folder that has its vectors there."""
        return cls(address, secrets.token_hex(6), _inode(index), number, number)

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Of a generation's folder; None where its vectors are files.

        Raises:
            IndexCorruptError: it cannot be understood.
        """
        path = folder / LOCATION_FILE
        if not os.path.lexists(path):
            return None
        try:
            with open(path, "rb", opener=open_nofollow) as file:
                return cls(**json.loads(file.read(_LARGEST)))._validated()
        except _UNREADABLE as error:
            raise unreadable(path, error) from error

    def save(self, folder: Path) -> None:
        """Write it into a generation's folder."""
        (folder / LOCATION_FILE).write_text(
            json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8"
        )

    def next_segment(self, index: Path, number: int) -> MilvusLocation:
        """Of a generation that adds a segment to the same collections.

        Raises:
            HashlensError: they belong to another folder, which this one is a copy of.
        """
        if not self.owned_by(index):
            raise HashlensError(
                f"{index}: found an index that was copied or restored, and shares its vectors with "
                "the folder it was; make them its own first: "
                f"`hashlens compact --index {index}`"
            )
        return MilvusLocation(self.used, self.index, self.owner, self.made, number)

    def new_collections(self, index: Path, number: int) -> MilvusLocation:
        """Of a generation that makes collections of its own, in the same place."""
        if not self.owned_by(index):
            return MilvusLocation.first(self.used, index, number)
        return MilvusLocation(self.used, self.index, self.owner, number, number)

    def owned_by(self, index: Path) -> bool:
        """Whether the collections are this folder's, and no other's that it is a copy of."""
        return self.owner == _inode(index)

    @property
    def prefix(self) -> str:
        """What the names of all collections of this index begin with."""
        return f"hashlens_{self.index}_"

    def collection(self, kind: str) -> str:
        """Name of the collection of a kind."""
        return f"{self.prefix}{self.made}_{kind}"

    @property
    def used(self) -> str:
        """The address to use: the one that was named for this call, or in the environment.

        Raises:
            VectorsUnreachableError: none was.
            ConfigError: it is no address.
        """
        if named := _NAMED.get(None) or os.environ.get(ADDRESS):
            return parse_address(SCHEME + named.removeprefix(SCHEME))
        raise VectorsUnreachableError(
            f"this index keeps its vectors in Milvus, at {self.address}, and an index alone is not "
            f"followed there; if you trust it, set {ADDRESS}={SCHEME}{self.address}"
        )

    def _validated(self) -> Self:
        numbers = (self.owner, self.made, self.segment)
        # What is told to people must be an address, without a terminal's commands in it.
        sound = self.address.isprintable() and parse_address(SCHEME + self.address) == self.address
        sound = sound and bool(_INDEX.fullmatch(self.index))
        sound = sound and all(type(number) is int and number >= 0 for number in numbers)
        if not sound or max(self.made, self.segment) >= MAX_GENERATIONS:
            raise ValueError("found another form than hashlens writes")
        return self


def _inode(folder: Path) -> int:
    return folder.stat().st_ino
