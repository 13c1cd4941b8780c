"""The location of a generation's vectors in Milvus, and permission to connect to it.

GEN/milvus.json          the address, for people to read; the collections; the segment it added
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
ADDRESS = "HASHLENS_VECTORS"  # environment variable: the allowed location, milvus:ADDRESS
MAX_GENERATIONS = 1 << 23  # a segment's number and a post's key share 63 bits
_MAX_BYTES = 4096  # of the file
_INDEX = re.compile(r"[0-9a-f]{12}", re.ASCII)
_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, RecursionError, ConfigError)
_ALLOWED: ContextVar[str] = ContextVar("allowed")


def parse_address(place: str) -> str:
    """Return the address in `milvus:ADDRESS`: `http(s)://HOST:PORT`, or a file of Milvus Lite.

    A file's path is made absolute.

    Raises:
        ConfigError: it is not an address, or contains a user name or password.
    """
    found = place.removeprefix(SCHEME)
    if found.endswith(".db") and "://" not in found:
        return os.path.abspath(Path(found).expanduser())
    parts = urlsplit(found)
    if "@" in found or parts.query or parts.fragment:
        # The message does not repeat it: it may contain a password.
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
    """Allow connections to an address that the caller named; None allows nothing."""
    if address is None:
        yield
        return
    token = _ALLOWED.set(address)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


@dataclass(frozen=True, slots=True)
class MilvusLocation:
    """Location of vectors: collections `hashlens_{index}_{made}_{kind}`, one for each kind.

    `address` is the address at the time of writing. `index` is random. `owner` is the inode of the
    index folder: a copy of the folder has another one, and must not write into these collections.
    `made` is the generation that made the collections. `segment` is the generation of this file,
    and the number of the segment that it adds.
    """

    address: str
    index: str
    owner: int
    made: int
    segment: int

    @classmethod
    def first(cls, address: str, index: Path, number: int) -> Self:
        """Return the location of the first generation of an index folder in Milvus."""
        return cls(address, secrets.token_hex(6), index.stat().st_ino, number, number)

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Return the location of a generation's vectors; None if they are in files.

        Raises:
            IndexCorruptError: its file cannot be read.
        """
        path = folder / LOCATION_FILE
        if not os.path.lexists(path):
            return None
        try:
            with open(path, "rb", opener=open_nofollow) as file:
                return cls(**json.loads(file.read(_MAX_BYTES)))._validated()
        except _UNREADABLE as error:
            raise unreadable(path, error) from error

    def save(self, folder: Path) -> None:
        """Write it into a generation's folder."""
        (folder / LOCATION_FILE).write_text(
            json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8"
        )

    def next_segment(self, index: Path, number: int) -> MilvusLocation:
        """Return the location of a generation that adds a segment to the same collections.

        Raises:
            HashlensError: they belong to another folder, of which this one is a copy.
        """
        if not self.owned_by(index):
            raise HashlensError(
                f"{index}: found an index that was copied or restored, and shares its vectors with "
                "the folder it was; make them its own first: "
                f"`hashlens compact --index {index}`"
            )
        return MilvusLocation(self.used, self.index, self.owner, self.made, number)

    def new_collections(self, index: Path, number: int) -> MilvusLocation:
        """Return the location of a generation that makes its own collections there."""
        if not self.owned_by(index):
            return MilvusLocation.first(self.used, index, number)
        return MilvusLocation(self.used, self.index, self.owner, number, number)

    def owned_by(self, index: Path) -> bool:
        """Return whether the collections belong to this folder, not to one that it is a copy of."""
        return self.owner == index.stat().st_ino

    @property
    def prefix(self) -> str:
        """Common prefix of the names of this index's collections."""
        return f"hashlens_{self.index}_"

    def collection(self, kind: str) -> str:
        """Return the name of the collection of a kind."""
        return f"{self.prefix}{self.made}_{kind}"

    @property
    def used(self) -> str:
        """The address to use: that of `allow_address`, or of the environment.

        Raises:
            VectorsUnreachableError: neither names one.
            ConfigError: it is not an address.
        """
        if named := _ALLOWED.get(None) or os.environ.get(ADDRESS):
            return parse_address(SCHEME + named.removeprefix(SCHEME))
        raise VectorsUnreachableError(
            f"this index keeps its vectors in Milvus, at {self.address}, and an index alone is not "
            f"followed there; if you trust it, set {ADDRESS}={SCHEME}{self.address}"
        )

    def _validated(self) -> Self:
        numbers = (self.owner, self.made, self.segment)
        # People will read it: it must be an address, without control characters.
        sound = self.address.isprintable() and parse_address(SCHEME + self.address) == self.address
        sound = sound and bool(_INDEX.fullmatch(self.index))
        sound = sound and all(type(number) is int and number >= 0 for number in numbers)
        if not sound or max(self.made, self.segment) >= MAX_GENERATIONS:
            raise ValueError("found another form than hashlens writes")
        return self
