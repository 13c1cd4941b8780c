"""Features that a task's methods share: picture vectors, and topics of posts and queries.

Letters in shapes: n posts or queries, t topics, d width of picture vectors.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, VectorTable
from hashlens.evaluation.result_files import write_file
from hashlens.indexer.config import TopicConfig
from hashlens.indexer.embeddings.pretrained import load_pretrained
from hashlens.indexer.generations.filesystem import read_entry
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.topics.model import TopicModel, load_topics
from hashlens.indexer.topics.training import fit_topics
from hashlens.indexer.types import Embeddings, Floats, Post, TopicProbs
from hashlens.retriever.recommendation import Query

ENCODER = "efficientnet-lite0"  # available on every machine


def learn_features(
    train: Sequence[Post], queries: Sequence[Query], *, cache: Path | None = None
) -> Features:
    """Return picture vectors and topics of posts and queries; topics are learned from `train`.

    Pictures are not encoded if no query has one. The topics are the ten that ship. A query has
    topics from all its inputs, and `Query(image=...)` has those of its picture alone. A query with
    nothing known of its topic has no row.

    Args:
        train: posts to learn from.
        queries: of every combination of inputs.
        cache: folder for picture vectors by content, created if missing; None for no cache.

    Raises:
        EncoderError: the encoder's weights are not available.
        InputError: the cache cannot be written.
    """
    pictures = None
    if any(query.image for query in queries):
        paths = [post.image for post in train] + [query.image for query in queries]
        pictures = encode_pictures(paths, open_encoder(ENCODER), cache)
    table = load_topics()
    labels = [
        post.topic if post.topic in table.names else table.defining(post.hashtags) for post in train
    ]
    if not any(labels):
        return Features(pictures)
    terms, images = post_terms(train), [post.image for post in train]
    embeddings = None
    if pictures:
        rows, vectors = pictures.lookup(images)
        embeddings = Embeddings(rows, vectors) if len(rows) else None
    model = fit_topics(
        table,
        tokens=terms,
        labels=labels,
        groups=[post.author for post in train],
        images=embeddings,
        config=TopicConfig(),
        pretrained=load_pretrained(),
    )
    known, probs = _predict_topics(model, images, terms, pictures)
    for row, label in enumerate(labels):
        if label:
            known[row], probs[row] = True, np.eye(len(table.names))[table.names.index(label)]
    # Of an id that occurs twice, the first row counts.
    posts = {train[row].post_id: row for row in reversed(np.flatnonzero(known).tolist())}
    pictured = [*queries, *(Query(image=q.image) for q in queries if q.image)]
    unique = list(dict.fromkeys(pictured))
    known_queries, query_probs = _predict_topics(
        model, [query.image for query in unique], query_terms(unique), pictures
    )
    return Features(
        pictures,
        table.names,
        VectorTable(tuple(posts), probs[np.array(list(posts.values()), np.int64)]),
        VectorTable(
            tuple(unique[row] for row in np.flatnonzero(known_queries)),
            query_probs[known_queries],
        ),
    )


def post_terms(posts: Sequence[Post]) -> list[list[str]]:
    """Return the caption words and `#hashtags` of each post."""
    return [tokens(post.caption) + [f"#{tag}" for tag in post.hashtags] for post in posts]


def query_terms(queries: Sequence[Query]) -> list[list[str]]:
    """Return the caption words and `#seeds` of each query."""
    return [tokens(query.caption) + [f"#{seed}" for seed in query.seeds] for query in queries]


def encode_pictures(
    paths: Iterable[Path | None], encoder: ImageEncoder, cache: Path | None = None
) -> VectorTable[Path]:
    """Return unit vectors of the readable pictures by path; equal files are encoded once.

    Raises:
        InputError: the cache cannot be written.
    """
    digests: dict[Path, bytes] = {}
    for path in dict.fromkeys(paths):
        try:
            if path:
                digests[path] = bytes.fromhex(read_entry(path)["sha256"])
        except OSError:
            continue  # other methods may do without it
    file = cache / f"{encoder.name}-{encoder.weights_sha256[:16]}.npz" if cache else None
    vectors = _load_vectors(file, encoder.width)
    new = {digest: path for path, digest in digests.items() if digest not in vectors}
    if new:
        encoded = encoder.encode(list(new.values()))
        names = list(new)
        vectors |= {names[r]: v for r, v in zip(encoded.rows, encoded.vectors, strict=True)}
        if file:
            content = io.BytesIO()
            keys = np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, 32)
            values = np.array(list(vectors.values()), np.float32).reshape(-1, encoder.width)
            np.savez(content, digests=keys, vectors=values)
            write_file(file, content.getvalue())
    found = {path: vectors[digest] for path, digest in digests.items() if digest in vectors}
    values = np.array(list(found.values()), np.float32).reshape(-1, encoder.width)
    return VectorTable(tuple(found), values)


def _load_vectors(file: Path | None, width: int) -> dict[bytes, Floats]:
    """Return vectors by digest; none if the file is missing or damaged."""
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


def _predict_topics(
    model: TopicModel,
    images: Sequence[Path | None],
    terms: Sequence[Sequence[str]],
    pictures: VectorTable[Path] | None,
) -> tuple[NDArray[np.bool_], Floats]:
    """Return whether each topic is known, bool (n,), and probabilities float32 (n, t)."""
    text = model.from_tokens(terms)
    probs = text.probs.copy()
    known = np.ptp(probs, axis=1) > 0  # equal probabilities: no word is known
    if pictures and model.has_image_model:
        rows, vectors = pictures.lookup(images)
        if len(rows):
            by_text = TopicProbs(text.topics, text.probs[rows])
            probs[rows] = model.combine(model.from_images(vectors), by_text).probs
            known[rows] = True
    return known, probs
