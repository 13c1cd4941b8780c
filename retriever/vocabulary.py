"""Ids of an index's words or hashtags: asked of the store at first, then all held in memory."""

from __future__ import annotations

from collections.abc import Collection

from indexer.store import Store

FIRST = 4  # questions put to the store; who asks more often is no single query


class Vocabulary:
    """One table of terms and their ids."""

    def __init__(self, store: Store, table: str, term: str, number: str, limit: int) -> None:
        """Take a table, its columns, and what its ids are below: others may be forged."""
        self._store = store
        within = f"{number} between 0 and {limit - 1}"
        self._all = f"select {term}, {number} from {table} where {within}"  # noqa: S608 (own names)
        self._some = f"{self._all} and {term} in (select unnest(?))"
        self._asked = 0
        self._held: dict[str, int] | None = None

    def ids(self, terms: Collection[str]) -> dict[str, int]:
        """Ids of those terms that are in the table."""
        if not terms:
            return {}
        self._asked += 1
        if self._held is None and self._asked <= FIRST:
            return dict(self._store.rows(self._some, [list(terms)]))
        if self._held is None:
            self._held = dict(self._store.rows(self._all))
        held = self._held
        return {term: held[term] for term in terms if term in held}
