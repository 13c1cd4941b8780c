"""Which posts an open erasure is of, in every generation, and the pictures kept of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from hashlens.indexer.errors import IndexUnusableError
from hashlens.indexer.generations.generation import all_numbers, open_current, open_leased
from hashlens.indexer.images.kept_pictures import kept_pictures
from hashlens.indexer.storage.store import Store


@dataclass(frozen=True, slots=True)
class Trace:
    """One post or repost as a generation names it."""

    post_id: str
    author: str | None
    image: str | None


Wanted = Callable[[str, str | None], bool]  # of a post's id and author


def traces_in(store: Store, is_wanted: Wanted) -> list[Trace]:
    """The posts and reposts of a store that are wanted."""
    rows = store.rows(
        "select post_id, author, image from posts "
        "union all select post_id, author, image from copies"
    )
    return [Trace(*row) for row in rows if is_wanted(row[0], row[1])]


def traces_of(index: Path, is_wanted: Wanted) -> list[Trace]:
    """Those of all generations that can be read, oldest first.

    Raises:
        IndexMissingError: there is no index.
        IndexCorruptError: the live generation cannot be read.
    """
    live = open_current(index).number
    found: list[Trace] = []
    for number in all_numbers(index):
        with nullcontext() if number == live else suppress(IndexUnusableError):
            generation = open_leased(index, number)
            with Store.open(generation.folder / "posts.duckdb") as store:
                found += traces_in(store, is_wanted)
    return found


def erase_pictures(index: Path, is_wanted: Wanted, staying: Collection[str]) -> int:
    """Remove the pictures of wanted posts from the user's cache; returns how many.

    Pictures of data sets in Parquet or ZIP files are kept there. Other pictures are the user's own.

    Args:
        index: its folder.
        is_wanted: whose pictures go.
        staying: paths of pictures that a post which stays has as well.
    """
    folder = kept_pictures().resolve()
    paths = {Path(trace.image) for trace in traces_of(index, is_wanted) if trace.image}
    gone = 0
    for path in sorted(paths):
        if path.parent.resolve() == folder and str(path) not in staying and path.exists():
            path.unlink(missing_ok=True)
            gone += 1
    return gone
