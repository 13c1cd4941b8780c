"""Hashtags for a photo, a caption or some seed hashtags, learned from your own posts, offline.

The names below are the Python interface of hashlens; each is loaded when it is first asked for.
"""

TYPE_CHECKING = False  # `typing` and `__future__` take long, and Ctrl-C is not handled yet
if TYPE_CHECKING:
    from typing import Any

    from hashlens.retriever.recommendation import Query, Recommendation
    from hashlens.retriever.recommender import Recommender
    from hashlens.retriever.selection.selection import Selection

__all__ = ["Query", "Recommendation", "Recommender", "Selection"]


def __getattr__(name: str) -> "Any":  # noqa: ANN401 (any of the names)
    if name == "Recommender":
        from hashlens.retriever.recommender import Recommender

        return Recommender
    if name == "Selection":
        from hashlens.retriever.selection.selection import Selection

        return Selection
    if name in ("Query", "Recommendation"):
        from hashlens.retriever import recommendation

        return getattr(recommendation, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("hashlens")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
