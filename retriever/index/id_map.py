"""Values of a table by key: read row by row at first, then all at once."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Any, Generic, TypeVar

from hashlens.indexer.storage.store import Store

MAX_STORE_QUERIES = 4  # put to the store; more calls mean that there are many queries
MAX_ROWS = 500_000  # kept in memory; of larger tables the store is asked every time

Key = TypeVar("Key", int, str)
Value = TypeVar("Value")


class IdMap(Generic[Key, Value]):
    """Values by key: ids of words and hashtags, or the names of ids."""

    def __init__(self, store: Store, columns: str, table: str, number: str, limit: int) -> None:
        """Take a table, its columns, the key first, and the limit of its ids.

        An id that is not below the limit is forged, and ignored.
        """
        key = columns.split(",")[0]
        self._store = store
        self._all = f"select {columns} from {table} where {number} between 0 and {limit - 1}"  # noqa: S608 (own names)
        self._some = f"{self._all} and {key} in (select unnest(?))"
        self._left = MAX_STORE_QUERIES if limit <= MAX_ROWS else inf
        self._values: dict[Key, Value] | None = None

    def lookup(self, keys: Collection[Key]) -> dict[Key, Value]:
        """Return values of the keys that are in the table."""
        if not keys:
            return {}
        self._left -= 1
        if self._values is None and self._left >= 0:
            return _by_key(self._store.rows(self._some, [list(keys)]))
        if self._values is None:
            self._values = _by_key(self._store.rows(self._all))
        values = self._values
        return {key: values[key] for key in keys if key in values}


def _by_key(rows: list[tuple[Any, ...]]) -> dict[Any, Any]:
    return {row[0]: row[1] if len(row) == 2 else row[1:] for row in rows}
