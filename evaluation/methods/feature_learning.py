"""What is computed once of a task's posts and queries: picture vectors and topics.

Letters in shapes: n posts or queries, t topics, d width of picture vectors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Rows
from hashlens.indexer.config import TopicConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.errors import InputError
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.topics.model import TopicModel, TopicTable, load_topics
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, Floats, Post, Query, TopicProbs

ENCODER = "efficientnet-lite0"  # its weights come with the package, so any machine has them


def learn_features(
    train: Sequence[Post],
    queries: Sequence[Query],
    *,
    encoder: bool = True,
    cache: Path | None = None,
) -> Features:
    """Picture vectors of posts and queries, and their topics by heads that saw `train` alone.

    Pictures are left alone where no query has one. The topics are the ten that ship. A query has
    topics by all that it gives and, of its picture alone, under `Query(image=...)`; one that says
    nothing of its topic has no row.

    Args:
        train: posts to learn from.
        queries: those of every combination of inputs.
        encoder: whether to look at pictures at all.
        cache: folder for picture vectors, made where it is missing; by content, so that one
            folder serves all tasks. Nothing is kept where None.

    Raises:
        EncoderError: the encoder's weights cannot be had.
        InputError: the cache cannot be written.
    """
    pictures = None
    if encoder and any(query.image for query in queries):
        paths = [post.image for post in train] + [query.image for query in queries]
        pictures = picture_vectors(paths, open_encoder(ENCODER), cache)
    table = load_topics()
    terms = post_terms(train)
    labels = [_label(post, table) for post in train]
    if not any(labels):
        return Features(pictures)
    model = fit_topics(
        table,
        tokens=terms,
        labels=labels,
        groups=[post.author for post in train],
        images=_embeddings(train, pictures),
        config=TopicConfig(),
        pretrained=load_pretrained(),
    )
    images = [post.image for post in train]
    known, probs = _judged(model, images, terms, pictures)
    for row, label in enumerate(labels):
        if label:
            known[row], probs[row] = True, np.eye(len(table.names))[table.names.index(label)]
    asked = list(dict.fromkeys([*queries, *(Query(image=q.image) for q in queries if q.image)]))
    found, said = _judged(model, [q.image for q in asked], query_terms(asked), pictures)
    return Features(
        pictures,
        table.names,
        _rows([post.post_id for post in train], known, probs),
        Rows(tuple(q for q, has in zip(asked, found, strict=True) if has), said[found]),
    )


def post_terms(posts: Sequence[Post]) -> list[list[str]]:
    """Caption words and `#hashtags` of each post."""
    return [tokens(post.caption) + [f"#{tag}" for tag in post.hashtags] for post in posts]


def query_terms(queries: Sequence[Query]) -> list[list[str]]:
    """Caption words and `#seeds` of each query."""
    return [tokens(query.caption) + [f"#{seed}" for seed in query.seeds] for query in queries]


def picture_vectors(
    paths: Iterable[Path | None], encoder: ImageEncoder, cache: Path | None = None
) -> Rows[Path]:
    """Unit vectors of the readable pictures by their path; equal files are encoded once.

    Raises:
        InputError: the cache cannot be written.
    """
    digests = {path: _digest(path) for path in dict.fromkeys(paths) if path}
    file = cache / f"{encoder.name}-{encoder.weights_sha256[:16]}.npz" if cache else None
    vectors = _kept(file, encoder.width)
    new = {d: path for path, d in digests.items() if d and d not in vectors}
    if new:
        encoded = encoder.encode(list(new.values()))
        names = list(new)
        vectors |= {names[r]: v for r, v in zip(encoded.rows, encoded.vectors, strict=True)}
        if file:
            _keep(file, vectors)
    found = {path: vectors[d] for path, d in digests.items() if d in vectors}
    width = (0, encoder.width)
    return Rows(tuple(found), np.stack(list(found.values())) if found else np.empty(width, "f4"))


def _digest(path: Path) -> bytes:
    """SHA-256 of a file; empty where it cannot be read, as other methods may do without it."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return b""


def _kept(file: Path | None, width: int) -> dict[bytes, Floats]:
    """Vectors by digest; none where there is no such file or it was damaged."""
    if file is None or not file.is_file():
        return {}
    try:
        # Opened here, since NumPy leaves a damaged file open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
            digests, vectors = saved["digests"], saved["vectors"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}
    if digests.shape != (len(vectors), 32) or vectors.shape != (len(digests), width):
        return {}
    return {bytes(digest): vector for digest, vector in zip(digests, vectors, strict=True)}


def _keep(file: Path, vectors: dict[bytes, Floats]) -> None:
    part = file.with_suffix(f".{os.getpid()}.npz")
    digests = np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, 32)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if vectors:
            np.savez(part, digests=digests, vectors=np.stack(list(vectors.values())))
            os.replace(part, file)
    except OSError as error:
        raise InputError(
            f"{file}: cannot be written: {error.strerror}; name another folder"
        ) from error


def _label(post: Post, table: TopicTable) -> str | None:
    return post.topic if post.topic in table.names else table.defining(post.hashtags)


def _embeddings(posts: Sequence[Post], pictures: Rows[Path] | None) -> Embeddings | None:
    """Picture vectors by position of the post; None where there are none."""
    if pictures is None:
        return None
    places, vectors = pictures.of([post.image for post in posts])
    return Embeddings(places, vectors) if len(places) else None


def _judged(
    model: TopicModel,
    images: Sequence[Path | None],
    terms: Sequence[Sequence[str]],
    pictures: Rows[Path] | None,
) -> tuple[NDArray[np.bool_], Floats]:
    """Whether anything is known of each topic, bool (n,), and probabilities float32 (n, t)."""
    text = model.from_tokens(terms)
    probs = text.probs.copy()
    known = np.ptp(probs, axis=1) > 0  # even where no word was known
    if pictures and model.sees:
        places, vectors = pictures.of(images)
        if len(places):
            said = TopicProbs(text.topics, text.probs[places])
            probs[places] = model.combine(model.from_images(vectors), said).probs
            known[places] = True
    return known, probs


def _rows(keys: Sequence[str], known: NDArray[np.bool_], probs: Floats) -> Rows[str]:
    """Rows of what is known; of a key that stands twice, the first."""
    first = {keys[row]: row for row in reversed(np.flatnonzero(known).tolist())}
    return Rows(tuple(first), probs[np.array(list(first.values()), np.int64)])
