"""Rows of one table by a key: asked of the store at first, then all held in memory."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Any, Generic, TypeVar

from hashlens.indexer.storage.store import Store

MAX_STORE_QUERIES = 4  # questions put to the store; who asks more often is no single query
MAX_ROWS = 500_000  # rows that are held; of larger tables the store is asked every time

Key = TypeVar("Key", int, str)
Value = TypeVar("Value")


class IdMap(Generic[Key, Value]):
    """Values by key: ids of words and hashtags, or the names of ids."""

    def __init__(self, store: Store, columns: str, table: str, number: str, limit: int) -> None:
        """Take a table, its columns, the key first, and what its ids are below.

        An id that is not below the limit is forged, and passed over.
        """
        key = columns.split(",")[0]
        self._store = store
        self._all = f"select {columns} from {table} where {number} between 0 and {limit - 1}"  # noqa: S608 (own names)
        self._some = f"{self._all} and {key} in (select unnest(?))"
        self._asks = (
            MAX_STORE_QUERIES if limit <= MAX_ROWS else inf
        )  # questions still put to the store
        self._held: dict[Key, Value] | None = None

    def of(self, keys: Collection[Key]) -> dict[Key, Value]:
        """Values of those keys that are in the table."""
        if not keys:
            return {}
        self._asks -= 1
        if self._held is None and self._asks >= 0:
            return _by_key(self._store.rows(self._some, [list(keys)]))
        if self._held is None:
            self._held = _by_key(self._store.rows(self._all))
        held = self._held
        return {key: held[key] for key in keys if key in held}


def _by_key(rows: list[tuple[Any, ...]]) -> dict[Any, Any]:
    return {row[0]: row[1] if len(row) == 2 else row[1:] for row in rows}
