"""Everything that answers; never reads scrapes, never builds.

The names below are the Python interface of hashlens; each is loaded when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes long to load, and Ctrl-C is not handled yet
if TYPE_CHECKING:
    from typing import Any

    from indexer.schema import Query, Recommendation
    from retriever.recommend import Recommender
    from retriever.selection import Selection

__all__ = ["Query", "Recommendation", "Recommender", "Selection"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any of the names)
    if name == "Recommender":
        from retriever.recommend import Recommender

        return Recommender
    if name == "Selection":
        from retriever.selection import Selection

        return Selection
    if name in ("Query", "Recommendation"):
        from indexer import schema

        return getattr(schema, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
