"""Vectors of words and hashtags, learned from posts: Word2Vec, GloVe, pretrained and Word2Vec.

Word2Vec is gensim's (Mikolov et al. 2013, negative sampling). Pretrained words share a space with
new ones: see `_train_pretrained`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import VectorConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import InputError
from hashlens.indexer.libraries import require_libraries
from hashlens.indexer.text.hashtags import strip_sign
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Floats, Ids

if TYPE_CHECKING:
    from gensim.models import Word2Vec
    from scipy import sparse

Progress = Callable[[float], None]
Sentences = Sequence[Sequence[str]]

# With window 0 each round shuffles a post and pairs each word with this many on either side: an
# even sample of all its pairs. All pairs of long captions would take several times longer.
_BAG_WINDOW = 5
# Words commoner than this share of all are subsampled (Mikolov et al. 2013, 2.3), but only beyond
# this count: a small set of posts needs every word.
_SAMPLE = 1e-4
_MIN_SAMPLED_COUNT = 100
# Initial length of pretrained vectors: the longer, the less a round of training turns them.
_PRETRAINED_LENGTH = 4.0
# How much less known words move than new ones, 0 to 1. See `_train_pretrained`.
_ANCHOR = 0.7


def train_space(
    sentences: Sentences,
    config: VectorConfig,
    *,
    pretrained: WordSpace | None = None,
    workers: int = 1,
    on_progress: Progress | None = None,
) -> WordSpace:
    """Learn one space from posts; repeatable if `workers` is 1.

    Args:
        sentences: tokens of each post; caption words bare, hashtags as `#key`.
        config: method and settings; `pretrained+word2vec` takes its width from `pretrained`.
        pretrained: needed by `pretrained+word2vec`, ignored by the other methods.
        workers: threads of Word2Vec; more than one is faster and not repeatable.
        on_progress: called with the share done, 0 to 1.

    Returns:
        Words that occur `min_count` times or more, by falling count, then the other pretrained
        words with count 0. Without any such word, only the latter, or an empty space.

    Raises:
        InputError: `pretrained+word2vec` got no pretrained words.
        SetupError: a library that the method needs is missing.
    """
    if config.hashtags_as_text:
        sentences = TokenLists.of(map(strip_sign, sentence) for sentence in sentences)
    elif not isinstance(sentences, TokenLists):
        sentences = TokenLists.of(sentences)
    # Words with their counts, by falling count, then by word.
    totals = np.bincount(sentences.numbers, minlength=len(sentences.words)).tolist()
    least = max(config.min_count, 1)
    frequent = ((w, n) for w, n in zip(sentences.words, totals, strict=True) if n >= least)
    vocabulary = dict(sorted(frequent, key=lambda pair: (-pair[1], pair[0])))
    if config.method == "pretrained+word2vec":
        if pretrained is None or not len(pretrained):
            raise InputError("vectors: found no pretrained words, expected some; load them first")
        if not vocabulary:
            return pretrained
        return _train_pretrained(sentences, vocabulary, config, pretrained, workers, on_progress)
    if not vocabulary:
        return WordSpace.empty(config.dimensions)
    check_method(config)
    if config.method == "glove":
        from hashlens.indexer.embeddings.glove import count_cooccurrences, fit_glove

        size = len(vocabulary)
        owners, places = _word_positions(sentences, tuple(vocabulary))
        ends = np.cumsum(np.bincount(owners, minlength=len(sentences)))
        pairs = count_cooccurrences(np.split(places, ends[:-1]), size, config.window)
        vectors = fit_glove(pairs, size, config.dimensions, config.epochs, config.seed, on_progress)
    else:
        model = _new_word2vec(vocabulary, config, config.dimensions, workers)
        vectors = _fit_word2vec(model, sentences, config, on_progress)
    counts = np.fromiter(vocabulary.values(), np.int64, len(vocabulary))
    return WordSpace.normalized(vocabulary, vectors, counts)


def check_method(config: VectorConfig) -> None:
    """Check that the library of a training method is installed, before work that needs it.

    Raises:
        SetupError: it is missing.
    """
    if config.method == "glove":
        require_libraries(["torch"], "GloVe vectors need", "torch")


def _word_positions(sentences: TokenLists, words: Sequence[str]) -> tuple[Ids, Ids]:
    """Return, for every occurrence of one of some words, its sentence and its place in `words`."""
    place_of = {word: place for place, word in enumerate(words)}
    places = np.array([place_of.get(word, -1) for word in sentences.words], np.int64)
    found = places[sentences.numbers]
    owners = np.repeat(np.arange(len(sentences)), sentences.lengths)
    return owners[found >= 0], found[found >= 0]


class _Posts:
    """Posts as gensim reads them, once a round; `shuffled` gives each round another order."""

    def __init__(self, sentences: Sentences, shuffled: bool, seed: int) -> None:
        self._sentences = sentences
        self._shuffled = shuffled
        self._random = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Sequence[str]]:
        if not self._shuffled:
            yield from self._sentences
            return
        for sentence in self._sentences:
            # In shorter posts every word meets every other in any order.
            if len(sentence) <= _BAG_WINDOW + 1:
                yield sentence
            else:
                yield [sentence[place] for place in self._random.permutation(len(sentence))]


def _new_word2vec(
    vocabulary: dict[str, int], config: VectorConfig, width: int, workers: int
) -> Word2Vec:
    """Return an untrained gensim model of the words, in the vocabulary's order."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=width,
        window=config.window or _BAG_WINDOW,
        shrink_windows=config.window > 0,
        min_count=1,
        sg=int(config.skip_gram),
        negative=config.negative,
        sample=max(_SAMPLE, _MIN_SAMPLED_COUNT / sum(vocabulary.values())),
        seed=config.seed,
        workers=workers,
        sorted_vocab=0,
        # Python's own hash of strings differs from one process to the next.
        hashfxn=lambda word: zlib.crc32(word.encode("utf-8", "surrogatepass")),
    )
    model.build_vocab_from_freq(vocabulary)
    return model


def _fit_word2vec(
    model: Word2Vec, sentences: Sentences, config: VectorConfig, on_progress: Progress | None
) -> Floats:
    """Return input vectors float32 (v, d) after `epochs` rounds."""
    from gensim.models.callbacks import CallbackAny2Vec

    class Rounds(CallbackAny2Vec):  # type: ignore[misc]
        done = 0

        def on_epoch_end(self, model: Word2Vec) -> None:
            self.done += 1
            if on_progress:
                on_progress(self.done / config.epochs)

    model.train(
        _Posts(sentences, config.window == 0, config.seed),
        total_examples=len(sentences),
        epochs=config.epochs,
        callbacks=[Rounds()],
    )
    vectors: Floats = model.wv.vectors
    return vectors


def _train_pretrained(
    sentences: TokenLists,
    vocabulary: dict[str, int],
    config: VectorConfig,
    pretrained: WordSpace,
    workers: int,
    on_progress: Progress | None,
) -> WordSpace:
    """Learn new words and hashtags into the space of pretrained words.

    New words start at the mean of their contexts. Known words start at their pretrained vectors,
    which move little; through the output layer they draw new words to their place in the space. If
    they moved freely, the words of the posts would drift away from the pretrained words that no
    post contains. These follow the remaining drift, by the rotation that best fits the known words.
    """
    words = tuple(vocabulary)
    known, rows = pretrained.lookup(words)
    model = _new_word2vec(vocabulary, config, pretrained.dimensions, workers)
    with _one_thread():
        model.wv.vectors[:] = _PRETRAINED_LENGTH * _initial_vectors(sentences, words, pretrained)
    locks = np.ones(len(words), np.float32)
    locks[known] = 1 - _ANCHOR
    model.wv.vectors_lockf = locks
    vectors = _fit_word2vec(model, sentences, config, on_progress)
    with _one_thread():
        turned = procrustes_align(pretrained.vectors, rows, vectors[known])
    others = np.ones(len(pretrained), bool)
    others[rows] = False
    rest = np.flatnonzero(others)
    counts = np.fromiter(vocabulary.values(), np.int64, len(vocabulary))
    return WordSpace.normalized(
        words + tuple(pretrained.words[row] for row in rest.tolist()),
        np.concatenate([vectors, turned[rest]]),
        np.concatenate([counts, np.zeros(len(rest), np.int64)]),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Multiply matrices on one thread: several add up in another order."""
    import scipy.linalg  # noqa: F401 (its own BLAS must be loaded before it can be limited)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def _initial_vectors(
    sentences: TokenLists, words: tuple[str, ...], pretrained: WordSpace
) -> Floats:
    """Return the pretrained vector of each word, or the mean of its contexts; unit float32 (v, d).

    A new hashtag starts at its contexts, not at the word that it spells: posts use #apple and
    #nofilter in their own senses.
    """
    from scipy import sparse

    occurrences = _word_positions(sentences, words)
    ones = np.ones(len(occurrences[0]), np.float32)
    shape = (len(sentences), len(words))
    incidence = sparse.coo_array((ones, occurrences), shape=shape).tocsr()
    incidence.data[:] = 1
    starts = np.zeros((len(words), pretrained.dimensions), np.float32)
    spelled, rows = pretrained.lookup([strip_sign(word) for word in words])
    starts[spelled] = pretrained.vectors[rows]
    new = np.setdiff1d(np.arange(len(words)), pretrained.lookup(words)[0])
    contexts = context_means(incidence, starts)[new]
    starts[new] = np.where(contexts.any(axis=1, keepdims=True), contexts, starts[new])
    return starts


def context_means(incidence: sparse.csr_array, meanings: Floats) -> Floats:
    """Return the mean direction of the posts that contain each word; unit or zero float32 (v, d).

    A post's direction is the mean of its words' `meanings`, in which rare words weigh more.
    """
    rarity = np.log(incidence.shape[0] / np.maximum(incidence.sum(axis=0), 1))
    known = np.linalg.norm(meanings, axis=1) > 0
    # The common part of all words would make all means alike.
    centre = meanings[known].mean(axis=0) if known.any() else np.float32(0)
    centred = np.where(known[:, None], meanings - centre, 0)
    directions = _normalize(incidence @ (centred * rarity[:, None]))
    return _normalize(incidence.T @ directions).astype(np.float32)


def _normalize(rows: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[Any] = rows / np.where(lengths > 1e-9, lengths, np.inf)
    return unit


def procrustes_align(vectors: NDArray[Any], rows: Ids, targets: Floats) -> Floats:
    """Rotate all pretrained vectors so that `rows` fit `targets` best (Schonemann 1966)."""
    from scipy.linalg import orthogonal_procrustes

    # The axes, with little weight, keep directions in place that too few words determine.
    axes = 0.1 * np.eye(vectors.shape[1], dtype=np.float32)
    rotation, _ = orthogonal_procrustes(
        np.vstack([vectors[rows], axes]), np.vstack([_normalize(targets), axes])
    )
    rotated: Floats = vectors @ rotation.astype(np.float32)
    return rotated
