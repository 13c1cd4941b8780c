"""Collections of vectors in Milvus: a server, or Milvus Lite in a file of this machine.

A row is `id` (int64, primary key), `segment` (int64) and `vector` (unit, float32). Scores are inner
products, which is cosine. A collection of up to 200,000 vectors is made with the index FLAT, which
is exact; a larger one with AUTOINDEX, the server's own choice, which is approximate. Another may
take its place on the server: nothing here depends on the kind. Reads are strongly consistent.

pymilvus is imported on first use. Milvus Lite takes one process at a time, in which it serves a
port of this machine's own address, without a secret.
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
MAX_FETCHED = 16_384  # rows that Milvus gives a query at most
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # gRPC goes by these
_CONNECTING, _WORKING = 8, 120  # seconds
_AT_ONCE = 4 << 20  # bytes of vectors in a message: Milvus takes 64 MB, gRPC alone 4
_QUERIES = 256  # answered by one message

Library = Any  # pymilvus and its objects


class Collection:
    """A collection that is there, of vectors of one width."""

    def __init__(self, address: str, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self._address = address

    @classmethod
    def open(cls, address: str, name: str) -> Self:
        """One that was made before.

        Raises:
            VectorsUnreachableError: Milvus does not answer there.
            IndexCorruptError: there is no such collection, or it holds something else.
            SetupError: pymilvus is not installed.
        """
        with client_session(address) as client:
            if not client.has_collection(name, timeout=_WORKING):
                raise IndexCorruptError(
                    f"{address}: found no collection {name}, which this index keeps its vectors "
                    "in; somebody dropped it, or this is another Milvus than the one it was built "
                    "in: restore it there, or build the index again"
                )
            width = _width(client.describe_collection(name, timeout=_WORKING))
            if "Loaded" not in str(client.get_load_state(name, timeout=_WORKING)["state"]):
                client.load_collection(name, timeout=_WORKING)
        if not width:
            raise IndexCorruptError(
                f"{address}: found collection {name} without ids, segments and vectors, expected "
                "one that hashlens made; build the index again"
            )
        return cls(address, name, width)

    @classmethod
    def make(cls, address: str, name: str, width: int, size: int) -> Self:
        """A new one without rows, in place of what has the name.

        Args:
            address: of Milvus.
            name: of letters, digits and underscores.
            width: of the vectors.
            size: how many vectors will be in it at first.

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
            # There is nothing to index yet, nor to wait for.
            client.create_index(name, indexes, sync=False, timeout=_WORKING)
            client.load_collection(name, timeout=_WORKING)
        return cls(address, name, width)

    def add(self, segment: int, keys: Ids, vectors: Floats) -> None:
        """Add a segment; what a killed writer left of one with its number goes first.

        Args:
            segment: its number.
            keys: primary keys int64 (n,) that no other row has.
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
        """How many rows the segments have."""
        with client_session(self._address) as client:
            found = client.query(
                self.name,
                filter=_in("segment", segments),
                output_fields=["count(*)"],
                timeout=_WORKING,
            )
        return int(found[0]["count(*)"])

    def fetch(self, keys: Ids) -> tuple[Ids, Floats]:
        """Places in `keys` int64 (f,) of those that have a row, and the vectors float32 (f, width).

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
        """Primary keys and scores (q, reach) of the nearest, by falling score, ties in no order.

        Places beyond the last neighbour have key -1 and score -inf.

        Args:
            vectors: unit queries float32 (q, width).
            reach: neighbours wanted, 16,384 at most.
            segments: numbers of those that are searched.
            without: primary keys int64 (r,) that are passed over.

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
        """Slices of rows that a message takes."""
        step = min(max(_AT_ONCE // (4 * self.width), 1), MAX_FETCHED)
        return (slice(start, start + step) for start in range(0, size, step))


def ping(address: str) -> None:
    """Make sure that Milvus answers.

    Raises:
        VectorsUnreachableError: it does not.
        SetupError: pymilvus is not installed.
    """
    with client_session(address, making=True) as client:
        client.list_collections(timeout=_CONNECTING)


def list_collections(address: str, prefix: str) -> list[str]:
    """Names of the collections there that begin so."""
    with client_session(address) as client:
        return [name for name in client.list_collections() if name.startswith(prefix)]


def drop_collection(address: str, name: str) -> None:
    """Drop a collection, with every vector in it."""
    with client_session(address) as client:
        client.drop_collection(name, timeout=_WORKING)


def _in(field: str, values: Sequence[int]) -> str:
    return f"{field} in [{', '.join(map(str, values))}]"


def _width(description: dict[str, Any]) -> int:
    """Width of the vectors of a collection; 0 where it is not one of ours."""
    fields = {field["name"]: field for field in description["fields"]}
    if set(fields) != {"id", "segment", "vector"}:
        return 0
    return int(fields["vector"].get("params", {}).get("dim", 0))


@contextmanager
def client_session(address: str, *, making: bool = False) -> Iterator[Library]:
    """The client at an address, and its errors as ours."""
    local = _is_file(address)
    if local and not making and not Path(address).exists():
        raise VectorsUnreachableError(
            f"{address}: found nothing there, expected the file of Milvus Lite that holds the "
            "vectors; put it back, or name where it is now in HASHLENS_VECTORS"
        )
    errors = _errors()
    try:
        if not local:
            check_reachable(address)
        yield _client(address, os.environ.get(TOKEN, ""), os.getpid())
    except errors as error:
        raise VectorsUnreachableError(_reason(address, error, local=local)) from error


def _is_file(address: str) -> bool:
    return address.endswith(".db") and "://" not in address


def check_reachable(address: str) -> None:
    """See whether anybody listens: pymilvus alone would try again for long."""
    parts = urlsplit(address)
    if any(os.environ.get(name) for name in _PROXIES):  # which may reach what we do not
        return
    port = parts.port or (443 if parts.scheme == "https" else 19530)
    socket.create_connection((parts.hostname or "", port), timeout=_CONNECTING).close()


@cache
def _client(address: str, token: str, process: int) -> Library:
    """One client an address for this process: Milvus Lite is locked by the first."""
    return _pymilvus().MilvusClient(address, token=token, timeout=_CONNECTING)


def _reason(address: str, error: Exception, *, local: bool) -> str:
    """One line on what went wrong."""
    said = str(getattr(error, "message", "") or error).split("\n")[0]
    for secret in os.environ.get(TOKEN, "").split(":"):
        said = said.replace(secret or "\n", "...")
    said = re.sub(r"\s+", " ", said)[:300] or type(error).__name__
    if local:
        return (
            f"{address}: Milvus Lite cannot work with it ({said}); one process at a time may use "
            "it: end the other, such as `hashlens serve`, or name a server's address"
        )
    return (
        f"{address}: found no Milvus that answers as it should ({said}); see that it runs there, "
        f"and that {TOKEN} is set where it wants a secret"
    )


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


@cache
def _errors() -> tuple[type[Exception], ...]:
    """What pymilvus, and the ways to a server, raise."""
    _pymilvus()
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    return (MilvusException, RpcError, OSError)
