"""Whether vectors are finite unit vectors, and stand for the posts and hashtags that rows hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.sparse import opened
from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.generations.filesystem import folders_in
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import YOUNG, Trained
from hashlens.indexer.types import Ids
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.milvus_segments import SUFFIX, MilvusVectors
from hashlens.indexer.vectors.segments import DEAD, dead_of, living_ids, paths_of, segment_ids

_BLOCK = 64 << 20  # bytes of vectors read at once
_EXACT, _HALF = 1e-3, 5e-3  # how far from 1 a length may be, in float32 and in float16
_CLASSES = 1000

_PICTURED = "select post_key from posts where image is not null"
_WORDED = """
    select distinct post_key from post_words join words using (word_id) semi join known using (word)
    semi join post_hashtags using (post_key)"""


def vector_troubles(folder: Path, store: Store, trained: Trained) -> Iterator[str]:
    """What is wrong with the vectors of a generation.

    Args:
        folder: of the generation.
        store: its rows.
        trained: what was known when vectors were learned.
    """
    posts = _ids(store, "select post_key as id from posts")
    pictured = _ids(store, f"select post_key as id from ({_PICTURED})")  # noqa: S608
    living = living_ids(folder / "images")
    yield from _strangers(folder / "images", living, pictured, "posts' picture")
    yield from _caption_troubles(folder, store)
    for path in folders_in(folder / "words"):
        yield from _space_troubles(path)
    yield from _hashtag_troubles(folder, store, trained)
    for kind in ("images", "captions"):  # last: what is in Milvus may be out of reach
        yield from _segment_troubles(folder / kind, posts)


def _segment_troubles(folder: Path, posts: Ids) -> Iterator[str]:
    """Each segment by itself, then whether they share ids, and who is dead."""
    given = [np.zeros(0, np.int64)]
    for path in paths_of(folder):
        given.append(segment_ids(path))
        if path.suffix == SUFFIX:
            yield from _milvus_troubles(path, MilvusVectors.open([path]))
        else:
            yield from _index_troubles(path, VectorIndex.open(path))
        classes = path.with_suffix(".npy")
        if classes.exists():
            yield from _class_troubles(classes, len(given[-1]))
    ids, times = np.unique(np.concatenate(given), return_counts=True)
    yield from _none(folder, ids[times > 1], "vectors of an id in two segments")
    dead = dead_of(folder)
    yield from _none(folder / DEAD, np.setdiff1d(dead, ids), "dead ids without a vector")
    yield from _none(folder / DEAD, np.intersect1d(dead, posts), "dead ids of posts that live")
    living = np.setdiff1d(ids, dead)
    yield from _strangers(folder, living, posts, "post")


def _caption_troubles(folder: Path, store: Store) -> Iterator[str]:
    """A tagged post has a caption vector where a word of it is known, and only there."""
    space = folder / "words" / ALL_TOPICS
    known = WordSpace.open(space).words if space.is_dir() else ()
    with store.lent(known={"word": list(known)}):
        worded = _ids(store, f"select post_key as id from ({_WORDED})")  # noqa: S608
    living, path = living_ids(folder / "captions"), folder / "captions"
    yield from _strangers(path, living, worded, "tagged post of known words")
    yield from _none(path, np.setdiff1d(worded, living), "tagged posts without a vector")


def _space_troubles(folder: Path) -> Iterator[str]:
    space = WordSpace.open(folder)
    if len(set(space.words)) != len(space.words):
        yield f"{folder}: found a word twice, expected each once"
    step = max(_BLOCK // (4 * space.dimensions), 1)
    for start in range(0, len(space), step):
        block = space.vectors[start : start + step].astype(np.float32)
        if trouble := _lengths(block, _HALF):
            yield f"{folder}: {trouble}"
            return


def _hashtag_troubles(folder: Path, store: Store, trained: Trained) -> Iterator[str]:
    """Learned vectors are of hashtags that were known then, young ones of others that are now."""
    now = _ids(store, "select tag_id as id from hashtags")
    then = np.flatnonzero(trained.tags)
    if len(trained.tags) > store.next_id("hashtag") or trained.first_post > store.next_id("post"):
        yield f"{folder / 'trained'}: found more hashtags or posts than were ever in the index"
    if (path := folder / "texts" / "hashtags.faiss").exists():
        index = VectorIndex.open(path)
        yield from _index_troubles(path, index)
        yield from _strangers(path, index.ids, then, "hashtag of the last training")
    for space in folders_in(folder / "words"):
        learned = np.zeros(0, np.int64)
        if (path := space / "hashtags.faiss").exists():
            index = VectorIndex.open(path)
            yield from _index_troubles(path, index)
            yield from _strangers(path, learned := index.ids, then, "hashtag of the last training")
        if (path := folder / YOUNG / f"{space.name}.faiss").exists():
            index = VectorIndex.open(path)
            yield from _index_troubles(path, index)
            yield from _strangers(path, index.ids, now, "hashtag")
            both = np.intersect1d(index.ids, learned)
            yield from _none(path, both, "hashtags that were learned, too")


def _index_troubles(path: Path, index: VectorIndex) -> Iterator[str]:
    ids = index.ids
    if len(ids) and ids[0] < 0:
        yield f"{path}: found id {ids[0]}, expected 0 or more"
    if (np.diff(ids) == 0).any():
        yield f"{path}: found an id twice, expected each once"
    step = max(_BLOCK // (4 * index.width), 1)
    for start in range(0, len(ids), step):
        if trouble := _lengths(index.reconstruct(ids[start : start + step]), _EXACT):
            yield f"{path}: {trouble}"
            return


def _milvus_troubles(path: Path, part: MilvusVectors) -> Iterator[str]:
    """The ids of a segment's file against what Milvus has of it, both ways, and the vectors."""
    there, worst = [np.zeros(0, np.int64)], None
    step = max(_BLOCK // (4 * part.width), 1)
    for start in range(0, len(part), step):
        ids = part.ids[start : start + step]
        places, vectors = part.stored(ids)
        there.append(ids[places])
        worst = worst or _lengths(vectors, _EXACT)
    if worst:
        yield f"{path}: in Milvus {worst}"
    known = np.concatenate(there)
    yield from _none(path, np.setdiff1d(part.ids, known), "ids without a vector in Milvus")
    if more := part.count() - len(known):
        yield f"{path}: found {more} vectors in Milvus that are of no id, expected none"


def _class_troubles(path: Path, rows: int) -> Iterator[str]:
    table = opened(path)
    if table.shape != (rows, _CLASSES) or table.dtype != np.float16:
        yield f"{path}: found {table.dtype} {table.shape}, expected float16 ({rows}, {_CLASSES})"
        return
    step = _BLOCK // (2 * _CLASSES)
    if not all(np.isfinite(table[s : s + step]).all() for s in range(0, rows, step)):
        yield f"{path}: found NaN or infinite values, expected probabilities"


def _lengths(vectors: NDArray[np.float32], tolerance: float) -> str | None:
    """What is wrong with the rows; None if nothing is."""
    if not np.isfinite(vectors).all():
        return "found NaN or infinite values, expected finite unit vectors"
    off = np.abs(np.linalg.norm(vectors, axis=1) - 1)
    if off.max(initial=0) > tolerance:
        return f"found a vector whose length is {off.max():.4f} away from 1"
    return None


def _ids(store: Store, query: str) -> Ids:
    ids: Ids = store.arrays(query)["id"].astype(np.int64)
    return ids


def _strangers(path: Path, found: Ids, wanted: Ids, what: str) -> Iterator[str]:
    return _none(path, np.setdiff1d(found, wanted), f"vectors of no {what}")


def _none(path: Path, ids: Ids, what: str) -> Iterator[str]:
    if len(ids):
        first = ", ".join(map(str, ids[:3].tolist()))
        yield f"{path}: found {len(ids)} {what}, expected none: id {first}"
