"""Collections of vectors in Milvus: on a server, or by Milvus Lite in a local file.

A row is `id` (int64, primary key), `segment` (int64) and `vector` (unit, float32). Scores are inner
products, which is cosine. A collection of up to 200,000 vectors gets the exact index FLAT, a larger
one the approximate AUTOINDEX, which the server chooses. Nothing here depends on the kind of index.
Reads are strongly consistent.

pymilvus is imported on first use. Milvus Lite allows one process at a time, in which it serves a
local port without a secret.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from hashlens.indexer.errors import (
    IndexCorruptError,
    SetupError,
    ShapeError,
    VectorsUnreachableError,
)
from hashlens.indexer.types import Floats, Ids
from hashlens.indexer.vectors.faiss_types import MAX_EXACT

TOKEN = "HASHLENS_MILVUS_TOKEN"  # noqa: S105 (environment variable: an API key, or USER:PASSWORD)
MAX_FETCHED = 16_384  # rows that Milvus returns for a query
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # gRPC uses these
_CONNECTING, _WORKING = 8, 120  # seconds
_MESSAGE_BYTES = 4 << 20  # bytes of vectors in a message: Milvus takes 64 MB, gRPC alone 4
_QUERIES = 256  # in one message

Library = Any  # pymilvus and its objects


class Collection:
    """An existing collection of vectors of one width."""

    def __init__(self, address: str, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self._address = address

    @classmethod
    def open(cls, address: str, name: str) -> Self:
        """Open a collection that was made before.

        Raises:
            VectorsUnreachableError: Milvus does not answer there.
            IndexCorruptError: there is no such collection, or it has other fields.
            SetupError: pymilvus is not installed.
        """
        with client_session(address) as client:
            if not client.has_collection(name, timeout=_WORKING):
                raise IndexCorruptError(
                    f"{address}: found no collection {name}, which this index keeps its vectors "
                    "in; somebody dropped it, or this is another Milvus than the one it was built "
                    "in: restore it there, or build the index again"
                )
            description = client.describe_collection(name, timeout=_WORKING)
            if "Loaded" not in str(client.get_load_state(name, timeout=_WORKING)["state"]):
                client.load_collection(name, timeout=_WORKING)
        fields = {field["name"]: field for field in description["fields"]}
        is_ours = set(fields) == {"id", "segment", "vector"}
        width = int(fields["vector"].get("params", {}).get("dim", 0)) if is_ours else 0
        if not width:
            raise IndexCorruptError(
                f"{address}: found collection {name} without ids, segments and vectors, expected "
                "one that hashlens made; build the index again"
            )
        return cls(address, name, width)

    @classmethod
    def make(cls, address: str, name: str, width: int, size: int) -> Self:
        """Make a collection without rows, in place of one with that name.

        Args:
            address: of Milvus.
            name: of letters, digits and underscores.
            width: of the vectors.
            size: number of vectors that will be in it at first.

        Raises:
            VectorsUnreachableError: Milvus does not answer there, or refuses.
            SetupError: pymilvus is not installed.
        """
        with client_session(address, making=True) as client:
            types = _pymilvus().DataType
            if client.has_collection(name, timeout=_WORKING):
                client.drop_collection(name, timeout=_WORKING)
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", types.INT64, is_primary=True)
            schema.add_field("segment", types.INT64)
            schema.add_field("vector", types.FLOAT_VECTOR, dim=width)
            indexes = client.prepare_index_params()
            kind = "FLAT" if size <= MAX_EXACT else "AUTOINDEX"
            indexes.add_index("vector", index_type=kind, metric_type="IP")
            client.create_collection(
                name, schema=schema, consistency_level="Strong", timeout=_WORKING
            )
            # There is nothing to index yet, and so nothing to wait for.
            client.create_index(name, indexes, sync=False, timeout=_WORKING)
            client.load_collection(name, timeout=_WORKING)
        return cls(address, name, width)

    def add(self, segment: int, keys: Ids, vectors: Floats) -> None:
        """Add a segment; first delete what a killed writer left of one with its number.

        Args:
            segment: its number.
            keys: new primary keys int64 (n,).
            vectors: float32 (n, width).

        Raises:
            ShapeError: the width differs.
            VectorsUnreachableError: Milvus does not answer, or refuses.
        """
        if vectors.shape[1] != self.width:
            raise ShapeError(
                f"found vectors of width {vectors.shape[1]}, expected {self.width} "
                f"as in the collection {self.name}"
            )
        with client_session(self._address) as client:
            client.delete(self.name, filter=f"segment == {segment}", timeout=_WORKING)
            for some in self._portions(len(keys)):
                rows = [
                    {"id": key, "segment": segment, "vector": vector}
                    for key, vector in zip(keys[some].tolist(), vectors[some], strict=True)
                ]
                client.insert(self.name, rows, timeout=_WORKING)
            if _is_file(self._address):  # a server has it on disk already
                client.flush(self.name, timeout=_WORKING)

    def count(self, segments: Sequence[int]) -> int:
        """Return the number of rows in segments."""
        with client_session(self._address) as client:
            found = client.query(
                self.name,
                filter=_in("segment", segments),
                output_fields=["count(*)"],
                timeout=_WORKING,
            )
        return int(found[0]["count(*)"])

    def fetch(self, keys: Ids) -> tuple[Ids, Floats]:
        """Return places in `keys` int64 (f,) of those with a row, and the vectors (f, width).

        Raises:
            VectorsUnreachableError: Milvus does not answer, or refuses.
        """
        vectors = np.zeros((len(keys), self.width), np.float32)
        there = np.zeros(len(keys), np.bool_)
        place = {key: place for place, key in enumerate(keys.tolist())}
        with client_session(self._address) as client:
            for some in self._portions(len(keys)):
                for row in client.query(
                    self.name,
                    filter=_in("id", keys[some].tolist()),
                    output_fields=["id", "vector"],
                    timeout=_WORKING,
                ):
                    vectors[place[row["id"]]] = row["vector"]
                    there[place[row["id"]]] = True
        return np.flatnonzero(there), vectors[there]

    def search(
        self, vectors: Floats, reach: int, segments: Sequence[int], without: Ids
    ) -> tuple[Ids, Floats]:
        """Return primary keys and scores (q, reach) of the nearest, by falling score.

        Ties are in any order. Places beyond the last neighbour have key -1 and score -inf.

        Args:
            vectors: unit queries float32 (q, width).
            reach: number of neighbours, 16,384 at most.
            segments: numbers of segments to search.
            without: primary keys int64 (r,) to skip.

        Raises:
            VectorsUnreachableError: Milvus does not answer, or refuses.
        """
        keys = np.full((len(vectors), reach), -1, np.int64)
        scores = np.full(keys.shape, -np.inf, np.float32)
        wanted = _in("segment", segments)
        if len(without):
            wanted += f" and not ({_in('id', without.tolist())})"
        with client_session(self._address) as client:
            for start in range(0, len(vectors), _QUERIES):
                found = client.search(
                    self.name,
                    data=list(vectors[start : start + _QUERIES]),
                    anns_field="vector",
                    limit=reach,
                    filter=wanted,
                    search_params={"metric_type": "IP"},
                    timeout=_WORKING,
                )
                for row, hits in enumerate(found, start):
                    keys[row, : len(hits)] = [hit["id"] for hit in hits]
                    scores[row, : len(hits)] = [hit["distance"] for hit in hits]
        return keys, scores

    def _portions(self, size: int) -> Iterator[slice]:
        """Yield slices of rows that fit into a message."""
        step = min(max(_MESSAGE_BYTES // (4 * self.width), 1), MAX_FETCHED)
        return (slice(start, start + step) for start in range(0, size, step))


def ping(address: str) -> None:
    """Check that Milvus answers.

    Raises:
        VectorsUnreachableError: it does not.
        SetupError: pymilvus is not installed.
    """
    with client_session(address, making=True) as client:
        client.list_collections(timeout=_CONNECTING)


def list_collections(address: str, prefix: str) -> list[str]:
    """Return the names of the collections there with a prefix."""
    with client_session(address) as client:
        return [name for name in client.list_collections() if name.startswith(prefix)]


def drop_collection(address: str, name: str) -> None:
    """Drop a collection, with every vector in it."""
    with client_session(address) as client:
        client.drop_collection(name, timeout=_WORKING)


def _in(field: str, values: Sequence[int]) -> str:
    return f"{field} in [{', '.join(map(str, values))}]"


@contextmanager
def client_session(address: str, *, making: bool = False) -> Iterator[Library]:
    """Return the client for an address; raise its errors as ours.

    Args:
        address: of Milvus.
        making: whether a missing file of Milvus Lite is made.

    Raises:
        VectorsUnreachableError: Milvus does not answer, or refuses.
        SetupError: pymilvus is not installed.
    """
    local = _is_file(address)
    if local and not making and not Path(address).exists():
        raise VectorsUnreachableError(
            f"{address}: found nothing there, expected the file of Milvus Lite that holds the "
            "vectors; put it back, or name where it is now in HASHLENS_VECTORS"
        )
    _pymilvus()
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    try:
        # pymilvus alone would retry for long. Proxies may reach what we do not.
        if not local and not any(os.environ.get(name) for name in _PROXIES):
            parts = urlsplit(address)
            port = parts.port or (443 if parts.scheme == "https" else 19530)
            socket.create_connection((parts.hostname or "", port), timeout=_CONNECTING).close()
        yield _client(address, os.environ.get(TOKEN, ""), os.getpid())
    except (MilvusException, RpcError, OSError) as error:
        reason = str(getattr(error, "message", "") or error).split("\n")[0]
        for secret in os.environ.get(TOKEN, "").split(":"):
            reason = reason.replace(secret or "\n", "...")
        reason = re.sub(r"\s+", " ", reason)[:300] or type(error).__name__
        raise VectorsUnreachableError(
            f"{address}: Milvus Lite cannot work with it ({reason}); one process at a time may use "
            "it: end the other, such as `hashlens serve`, or name a server's address"
            if local
            else f"{address}: found no Milvus that answers as it should ({reason}); see that it "
            f"runs there, and that {TOKEN} is set where it wants a secret"
        ) from error


def _is_file(address: str) -> bool:
    return address.endswith(".db") and "://" not in address


@cache
def _client(address: str, token: str, process: int) -> Library:
    """Return one client per address and process: Milvus Lite is locked by the first."""
    return _pymilvus().MilvusClient(address, token=token, timeout=_CONNECTING)


@cache
def _pymilvus() -> Library:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes to stderr by itself
    try:
        import pymilvus
    except ModuleNotFoundError as error:
        raise SetupError(
            f'found no {error.name}, which vectors in Milvus need: pip install "hashlens[milvus]"'
        ) from error
    for name in ("pymilvus", "pymilvus.milvus_client", "milvus_lite", "grpc._server"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    return pymilvus
