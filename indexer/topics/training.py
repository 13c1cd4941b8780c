"""Training of what tells topics: the text head here, the image head beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import TopicConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.text.hashtags import strip_sign
from hashlens.indexer.topics.cross_validation import (
    Fit,
    assign_folds,
    cross_validate,
    expand_topics,
    fit_temperature,
    trainable_topics,
)
from hashlens.indexer.topics.image_model import Head
from hashlens.indexer.topics.image_training import fit_image_model, zero_shot_model
from hashlens.indexer.topics.imagenet_topics import classes_by_words
from hashlens.indexer.topics.logistic import fit_logistic
from hashlens.indexer.topics.model import TopicModel, TopicTable, tfidf
from hashlens.indexer.types import Embeddings, Floats, Ids

if TYPE_CHECKING:
    from scipy import sparse

MASKED_VIEW, PLAIN = 1, 2  # views of a text: without its defining hashtags, without any
MIN_POSTS, MAX_WORDS = 2, 50_000  # a word's posts; words of the posts, and as many pretrained
MEANING_WEIGHT = 2.0  # how much the mean meaning of a text counts beside its words
MAX_POSTS_PER_TOPIC = 6_000  # labelled texts, or pictures, a topic: more add minutes, not accuracy
TEXT_STRENGTH = 0.3  # inverse weight of the text head's L2 penalty


def fit_topics(
    table: TopicTable,
    *,
    tokens: Sequence[Sequence[str]],
    labels: Sequence[str | None],
    groups: Sequence[str | None],
    images: Embeddings | None,
    config: TopicConfig,
    pretrained: WordSpace | None = None,
    classes: Floats | None = None,
    texts: Floats | None = None,
) -> TopicModel:
    """Train both heads on the posts whose topic is known.

    The text head sees each text whole, without its defining hashtags, and without any, so that it
    also learns from what stands beside them. To it, `#sunset` is the word `sunset`; through
    pretrained vectors it also judges words that no post holds. Both heads weigh topics evenly,
    whatever their share of posts.

    Args:
        table: the topics.
        tokens: caption words and `#hashtags` of each of n posts.
        labels: topic of each post, or None.
        groups: author of each post, or None; one author's posts share a fold.
        images: picture vectors; ids are positions in `tokens`.
        config: settings.
        pretrained: vectors of words, commonest first.
        classes: probabilities of ImageNet's classes of each picture, float32 (m, 1000).
        texts: a unit vector of each topic's prompts, float32 (t, d), where the encoder reads text.

    Returns:
        The model; a head that had too few labelled posts is absent from it, but for pictures that
        texts can judge.
    """
    number = {name: place for place, name in enumerate(table.names)}
    topics = np.array([number.get(label, -1) if label else -1 for label in labels], dtype=np.int64)
    folds = assign_folds(groups, config.seed)
    text, vocabulary, idf, plain = _text_head(table, tokens, topics, folds, config, pretrained)
    image = None if texts is None else zero_shot_model(texts)
    if images is not None:
        known = np.flatnonzero(topics[images.ids] >= 0).tolist()
        places = _sampled(known, topics[images.ids], config.seed)
        rows = images.ids[places]
        seen = None
        if classes is not None:
            seen = (classes[places], classes_by_words(table, pretrained))
        shown = (images.vectors[places], topics[rows], folds[rows], len(number))
        image = fit_image_model(*shown, config, seen, texts)
    return TopicModel(table, image, text, vocabulary, idf, plain)


def _text_head(
    table: TopicTable,
    tokens: Sequence[Sequence[str]],
    topics: Ids,
    folds: Ids,
    config: TopicConfig,
    pretrained: WordSpace | None,
) -> tuple[Head | None, dict[str, int], Floats, float]:
    known = [r for r in np.flatnonzero(topics >= 0).tolist() if len(tokens[r])]
    rows = _sampled(known, topics, config.seed)
    taught = trainable_topics(topics[rows])
    rows = rows[np.isin(topics[rows], taught)]
    if not taught:
        return None, {}, np.zeros(0, np.float32), 1.0
    texts, owners, kinds = _views(table, tokens, rows)
    vocabulary, idf = _vocabulary(texts, pretrained)
    meanings = _meanings(vocabulary, pretrained)
    features = _sparse(texts, vocabulary, idf)
    fit = _text_fitter(features, meanings, topics[owners], len(table.names))
    scores, held = cross_validate(
        fit,
        lambda head, some: features[some] @ head[0].T + head[1],
        topics[owners],
        folds[owners],
    )
    # Texts without their defining hashtags are what queries look like.
    masked, plain = (
        fit_temperature(scores[kinds[held] == kind], topics[owners[held[kinds[held] == kind]]])
        for kind in (MASKED_VIEW, PLAIN)
    )
    masked = masked or 1.0
    weights, bias = fit(np.arange(len(owners)))
    return Head(weights / masked, bias / masked), vocabulary, idf, plain / masked if plain else 1.0


def _views(
    table: TopicTable, tokens: Sequence[Sequence[str]], rows: Ids
) -> tuple[list[list[str]], Ids, Ids]:
    """Texts of the posts, each whole, without defining hashtags, and without any; owners; kinds."""
    hidden = {f"#{tag}" for tags in table.hashtags for tag in tags}
    keeps: tuple[Callable[[str], bool], ...] = (
        lambda _: True,
        lambda token: token not in hidden,
        lambda token: not token.startswith("#"),
    )
    views = [
        (text, row, kind)
        for kind, keep in enumerate(keeps)
        for row in rows.tolist()
        if (text := [token for token in tokens[row] if keep(token)])
    ]
    texts, owners, kinds = zip(*views, strict=True)
    return list(texts), np.array(owners, dtype=np.int64), np.array(kinds, dtype=np.int64)


def _sampled(rows: list[int], topics: Ids, seed: int) -> Ids:
    """At most PER_TOPIC rows of each topic, in order."""
    shuffled = np.random.default_rng(seed).permutation(np.array(rows, dtype=np.int64))
    of_each = [
        shuffled[topics[shuffled] == topic][:MAX_POSTS_PER_TOPIC]
        for topic in np.unique(topics[rows])
    ]
    return np.sort(np.concatenate([*of_each, np.zeros(0, np.int64)])).astype(np.int64)


def _vocabulary(
    texts: Sequence[Sequence[str]], pretrained: WordSpace | None
) -> tuple[dict[str, int], Floats]:
    """The commonest words of the texts, then of the pretrained; and their smoothed idf."""
    posts = Counter(word for text in texts for word in set(map(strip_sign, text)))
    common = sorted((-n, word) for word, n in posts.items() if n >= MIN_POSTS)[:MAX_WORDS]
    counts = {word: -n for n, word in common}
    for word in pretrained.words[:MAX_WORDS] if pretrained else ():
        counts.setdefault(word, posts[word])
    idf = np.log((1 + len(texts)) / (1 + np.array(list(counts.values())))) + 1
    return {word: at for at, word in enumerate(counts)}, idf.astype(np.float32)


def _meanings(vocabulary: dict[str, int], pretrained: WordSpace | None) -> Floats:
    """Pretrained vector of each word, float32 (v, d), zeros where there is none; d may be 0."""
    if pretrained is None:
        return np.zeros((len(vocabulary), 0), np.float32)
    meanings = np.zeros((len(vocabulary), pretrained.dimensions), np.float32)
    positions, rows = pretrained.lookup(list(vocabulary))
    meanings[positions] = MEANING_WEIGHT * pretrained.vectors[rows]
    return meanings


def _sparse(
    texts: Sequence[Sequence[str]], vocabulary: dict[str, int], idf: Floats
) -> sparse.csr_matrix:
    from scipy import sparse

    rows, columns, values = tfidf(texts, vocabulary, idf)
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(texts), len(idf)))


def _text_fitter(features: sparse.csr_matrix, meanings: Floats, topics: Ids, width: int) -> Fit:
    """Logistic regression on words and on their mean meaning, as one weight a word.

    The mean is linear in the words, so what it adds to a topic is a share of each word's weight:
    a text head that has learned meanings is still a bag of words.
    """
    from scipy import sparse

    both = sparse.hstack([features, sparse.csr_matrix(features @ meanings)], format="csr")

    def fit(some: NDArray[np.int64]) -> tuple[Floats, Floats]:
        weights, bias, classes = fit_logistic(both[some], topics[some], TEXT_STRENGTH)
        of_words, of_meanings = np.split(weights, [features.shape[1]], axis=1)
        return expand_topics(of_words + of_meanings @ meanings.T, bias, classes, width)

    return fit
