"""Checks that vectors are finite unit vectors of existing posts and hashtags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.sparse import open_npy
from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.generations.filesystem import folders_in
from hashlens.indexer.images.torch_network import IMAGENET_CLASSES
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import NEW_HASHTAGS, TrainingCounts
from hashlens.indexer.types import Ids
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.milvus_segments import SUFFIX, MilvusVectors
from hashlens.indexer.vectors.segments import (
    DELETED,
    deleted_ids,
    live_ids,
    segment_ids,
    segment_paths,
)

_BLOCK = 64 << 20  # bytes of vectors that are read at once
_EXACT, _HALF = 1e-3, 5e-3  # how far from 1 a length may be, in float32 and in float16

_WORDED = """
    select distinct post_key from post_words join words using (word_id) semi join known using (word)
    semi join post_hashtags using (post_key)"""


def find_vector_problems(folder: Path) -> Iterator[str]:
    """Yield problems of the vectors of a generation in a folder."""
    with Store.open(folder / "posts.duckdb") as store:
        posts = _ids(store, "select post_key as id from posts")
        pictured = _ids(store, "select post_key as id from posts where image is not null")
        images = live_ids(folder / "images")
        yield from _strangers(folder / "images", images, pictured, "posts' picture")
        # Exactly the tagged posts with a known word have a caption vector.
        space_folder, captions = folder / "words" / ALL_TOPICS, folder / "captions"
        known = WordSpace.open(space_folder).words if space_folder.is_dir() else ()
        with store.registered(known={"word": list(known)}):
            worded = _ids(store, f"select post_key as id from ({_WORDED})")  # noqa: S608
        live = live_ids(captions)
        yield from _strangers(captions, live, worded, "tagged post of known words")
        yield from _none(captions, np.setdiff1d(worded, live), "tagged posts without a vector")
        for path in folders_in(folder / "words"):
            space = WordSpace.open(path)
            if len(set(space.words)) != len(space.words):
                yield f"{path}: found a word twice, expected each once"
            yield from _length_problems(
                path, len(space), space.dimensions, space.vectors.__getitem__, _HALF
            )
        yield from _hashtag_problems(folder, store)
    for kind in ("images", "captions"):  # last: Milvus may be out of reach
        yield from _segment_problems(folder / kind, posts)


def _segment_problems(folder: Path, posts: Ids) -> Iterator[str]:
    """Check each segment, then ids in several segments, and deleted ids."""
    given = [np.zeros(0, np.int64)]
    for path in segment_paths(folder):
        given.append(segment_ids(path))
        if path.suffix == SUFFIX:
            yield from _milvus_problems(path, MilvusVectors.open([path]))
        else:
            yield from _index_problems(path, VectorIndex.open(path))
        classes = path.with_suffix(".npy")
        if classes.exists():
            table, rows = open_npy(classes), len(given[-1])
            step = _BLOCK // (2 * IMAGENET_CLASSES)
            if table.shape != (rows, IMAGENET_CLASSES) or table.dtype != np.float16:
                shape = f"float16 ({rows}, {IMAGENET_CLASSES})"
                yield f"{classes}: found {table.dtype} {table.shape}, expected {shape}"
            elif not all(np.isfinite(table[s : s + step]).all() for s in range(0, rows, step)):
                yield f"{classes}: found NaN or infinite values, expected probabilities"
    ids, times = np.unique(np.concatenate(given), return_counts=True)
    yield from _none(folder, ids[times > 1], "vectors of an id in two segments")
    dead = deleted_ids(folder)
    yield from _none(folder / DELETED, np.setdiff1d(dead, ids), "dead ids without a vector")
    yield from _none(folder / DELETED, np.intersect1d(dead, posts), "dead ids of posts that live")
    living = np.setdiff1d(ids, dead)
    yield from _strangers(folder, living, posts, "post")


def _hashtag_problems(folder: Path, store: Store) -> Iterator[str]:
    """Check that trained vectors are of hashtags of that time, and new ones of later hashtags."""
    trained = TrainingCounts.open(folder / "trained")
    now = _ids(store, "select tag_id as id from hashtags")
    then = np.flatnonzero(trained.tags)
    if len(trained.tags) > store.next_id("hashtag") or trained.first_post > store.next_id("post"):
        yield f"{folder / 'trained'}: found more hashtags or posts than were ever in the index"
    if (path := folder / "texts" / "hashtags.faiss").exists():
        index = VectorIndex.open(path)
        yield from _index_problems(path, index)
        yield from _strangers(path, index.ids, then, "hashtag of the last training")
    for space in folders_in(folder / "words"):
        learned = np.zeros(0, np.int64)
        if (path := space / "hashtags.faiss").exists():
            index = VectorIndex.open(path)
            yield from _index_problems(path, index)
            yield from _strangers(path, learned := index.ids, then, "hashtag of the last training")
        if (path := folder / NEW_HASHTAGS / f"{space.name}.faiss").exists():
            index = VectorIndex.open(path)
            yield from _index_problems(path, index)
            yield from _strangers(path, index.ids, now, "hashtag")
            both = np.intersect1d(index.ids, learned)
            yield from _none(path, both, "hashtags that were learned, too")


def _index_problems(path: Path, index: VectorIndex) -> Iterator[str]:
    ids = index.ids
    if len(ids) and ids[0] < 0:
        yield f"{path}: found id {ids[0]}, expected 0 or more"
    if (np.diff(ids) == 0).any():
        yield f"{path}: found an id twice, expected each once"
    yield from _length_problems(
        path, len(ids), index.width, lambda some: index.reconstruct(ids[some]), _EXACT
    )


def _length_problems(
    path: Path,
    size: int,
    width: int,
    read: Callable[[slice], NDArray[np.floating[Any]]],
    tolerance: float,
) -> Iterator[str]:
    """Yield the first problem of vectors (size, width), read in blocks."""
    step = max(_BLOCK // (4 * width), 1)
    for start in range(0, size, step):
        block = read(slice(start, start + step)).astype(np.float32, copy=False)
        if problem := _lengths(block, tolerance):
            yield f"{path}: {problem}"
            return


def _milvus_problems(path: Path, part: MilvusVectors) -> Iterator[str]:
    """Compare the ids of a segment's file with Milvus, in both directions; check the vectors."""
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


def _lengths(vectors: NDArray[np.float32], tolerance: float) -> str | None:
    """Return the problem of some rows, or None."""
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
