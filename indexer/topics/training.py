"""Training of the topic model; the image head is in `image_training`."""

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

MASKED_VIEW, PLAIN_VIEW = 1, 2  # of a text: without its defining hashtags, without any
MIN_POSTS, MAX_WORDS = 2, 50_000  # posts of a word; words of posts, and as many pretrained
MEANING_WEIGHT = 2.0  # of the mean vector of a text, beside its words
MAX_POSTS_PER_TOPIC = 6_000  # with texts, or pictures: more add minutes, not accuracy
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
    """Train both heads on the posts of known topic.

    The text head sees each text whole, without its defining hashtags, and without any hashtag, so
    that it also learns from the words beside them. `#sunset` and `sunset` are one word to it.
    Through pretrained vectors it also classifies words that no post contains. In both heads, every
    topic has the same weight, whatever its share of posts.

    Args:
        table: the topics.
        tokens: caption words and `#hashtags` of each of n posts.
        labels: topic of each post, or None.
        groups: author of each post, or None; one author's posts share a fold.
        images: picture vectors; ids are positions in `tokens`.
        config: settings.
        pretrained: vectors of words, commonest first.
        classes: probabilities of ImageNet's classes of each picture, float32 (m, 1000).
        texts: a unit vector of each topic's prompts, float32 (t, d), if the encoder reads text.

    Returns:
        The model, without a head that has too few labelled posts; texts can replace the image
        head.
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
        shown = None
        if classes is not None:
            shown = (classes[places], classes_by_words(table, pretrained))
        image = fit_image_model(
            images.vectors[places], topics[rows], folds[rows], len(number), config, shown, texts
        )
    return TopicModel(table, image, text, vocabulary, idf, plain)


def _text_head(
    table: TopicTable,
    tokens: Sequence[Sequence[str]],
    topics: Ids,
    folds: Ids,
    config: TopicConfig,
    pretrained: WordSpace | None,
) -> tuple[Head | None, dict[str, int], Floats, float]:
    """Return the text head, its vocabulary with idf, and the temperature of plain captions."""
    from scipy import sparse

    known = [r for r in np.flatnonzero(topics >= 0).tolist() if len(tokens[r])]
    rows = _sampled(known, topics, config.seed)
    taught = trainable_topics(topics[rows])
    rows = rows[np.isin(topics[rows], taught)]
    if not taught:
        return None, {}, np.zeros(0, np.float32), 1.0
    texts, owners, kinds = _views(table, tokens, rows)
    vocabulary, idf = _vocabulary(texts, pretrained)
    meanings = np.zeros((len(vocabulary), pretrained.dimensions if pretrained else 0), np.float32)
    if pretrained:
        positions, found = pretrained.lookup(list(vocabulary))
        meanings[positions] = MEANING_WEIGHT * pretrained.vectors[found]
    cells, columns, values = tfidf(texts, vocabulary, idf)
    features = sparse.csr_matrix((values, (cells, columns)), shape=(len(texts), len(idf)))
    fit = _text_fitter(features, meanings, topics[owners], len(table.names))
    scores, held = cross_validate(
        fit,
        lambda head, some: features[some] @ head[0].T + head[1],
        topics[owners],
        folds[owners],
    )
    # Queries look like texts without their defining hashtags.
    masked, plain = (
        fit_temperature(scores[kinds[held] == kind], topics[owners[held[kinds[held] == kind]]])
        for kind in (MASKED_VIEW, PLAIN_VIEW)
    )
    masked = masked or 1.0
    weights, bias = fit(np.arange(len(owners)))
    return Head(weights / masked, bias / masked), vocabulary, idf, plain / masked if plain else 1.0


def _views(
    table: TopicTable, tokens: Sequence[Sequence[str]], rows: Ids
) -> tuple[list[list[str]], Ids, Ids]:
    """Return texts of posts: whole, without defining hashtags, and without any; owners; kinds."""
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
    """Return at most `MAX_POSTS_PER_TOPIC` rows of each topic, in order."""
    shuffled = np.random.default_rng(seed).permutation(np.array(rows, dtype=np.int64))
    of_each = [
        shuffled[topics[shuffled] == topic][:MAX_POSTS_PER_TOPIC]
        for topic in np.unique(topics[rows])
    ]
    return np.sort(np.concatenate([*of_each, np.zeros(0, np.int64)])).astype(np.int64)


def _vocabulary(
    texts: Sequence[Sequence[str]], pretrained: WordSpace | None
) -> tuple[dict[str, int], Floats]:
    """Return the commonest words of the texts, then pretrained words; and their smoothed idf."""
    posts = Counter(word for text in texts for word in set(map(strip_sign, text)))
    common = sorted((-n, word) for word, n in posts.items() if n >= MIN_POSTS)[:MAX_WORDS]
    counts = {word: -n for n, word in common}
    for word in pretrained.words[:MAX_WORDS] if pretrained else ():
        counts.setdefault(word, posts[word])
    idf = np.log((1 + len(texts)) / (1 + np.array(list(counts.values())))) + 1
    return {word: at for at, word in enumerate(counts)}, idf.astype(np.float32)


def _text_fitter(features: sparse.csr_matrix, meanings: Floats, topics: Ids, width: int) -> Fit:
    """Return a fit of logistic regression on words and their mean vector, as one weight a word.

    The mean is linear in the words, so it adds a share to each word's weight: the text head stays
    a bag of words.
    """
    from scipy import sparse

    both = sparse.hstack([features, sparse.csr_matrix(features @ meanings)], format="csr")

    def fit(some: NDArray[np.int64]) -> tuple[Floats, Floats]:
        weights, bias, classes = fit_logistic(
            both[some], topics[some], 1 / (TEXT_STRENGTH * len(some))
        )
        of_words, of_meanings = np.split(weights, [features.shape[1]], axis=1)
        return expand_topics(of_words + of_meanings @ meanings.T, bias, classes, width)

    return fit
