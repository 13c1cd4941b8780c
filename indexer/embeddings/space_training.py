"""Vectors of words and hashtags, learned from posts: Word2Vec, GloVe, pretrained and Word2Vec.

Word2Vec is gensim's (Mikolov et al. 2013, negative sampling). Pretrained words keep one space
with the new ones: see `_train_pretrained`.
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
from hashlens.indexer.text.token_lists import TokenLists
from hashlens.indexer.types import Floats, Ids

if TYPE_CHECKING:
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec
    from scipy import sparse

Progress = Callable[[float], None]
Sentences = Sequence[Sequence[str]]

# With window 0 each round shuffles a post and pairs each word with this many on either side: an
# even sample of all its pairs. All pairs would take several times longer, for long captions.
_BAG_WINDOW = 5
# Words commoner than this share of all are partly passed over (Mikolov et al. 2013, 2.3), but
# only once they were seen this often: of a small set of posts every word is needed.
_SAMPLE = 1e-4
_MIN_SAMPLED_COUNT = 100
# Length that pretrained vectors start from: the longer, the less a round of training turns them.
_PRETRAINED_LENGTH = 4.0
# How much less than new words the known ones move, 0 to 1. See `_train_pretrained`.
_ANCHOR = 0.7


def train_space(
    sentences: Sentences,
    config: VectorConfig,
    *,
    pretrained: WordSpace | None = None,
    workers: int = 1,
    on_progress: Progress | None = None,
) -> WordSpace:
    """Learn one space from posts; the same input gives the same space where `workers` is 1.

    Args:
        sentences: a post each; caption words bare, hashtags as `#key`.
        config: method and settings; `pretrained+word2vec` takes its width from `pretrained`.
        pretrained: needed by `pretrained+word2vec`; not looked at by the other methods.
        workers: threads of Word2Vec; more than one is faster and no longer repeatable.
        on_progress: told the share done, 0 to 1.

    Returns:
        Words seen `min_count` times or more, by falling count, then the remaining pretrained
        words with count 0. With no word seen so often, only the latter, or an empty space.

    Raises:
        InputError: `pretrained+word2vec` was given no pretrained words.
    """
    if config.hashtags_as_text:
        sentences = TokenLists.of(map(_strip_sign, sentence) for sentence in sentences)
    elif not isinstance(sentences, TokenLists):
        sentences = TokenLists.of(sentences)
    if config.method == "pretrained+word2vec":
        if pretrained is None or not len(pretrained):
            raise InputError("vectors: found no pretrained words, expected some; load them first")
        return _train_pretrained(sentences, config, pretrained, workers, on_progress)
    vocabulary = _vocabulary(sentences, config.min_count)
    if not vocabulary:
        return WordSpace((), np.empty((0, config.dimensions), np.float32), np.empty(0, np.int64))
    if config.method == "glove":
        vectors = _train_glove(sentences, vocabulary, config, on_progress)
    else:
        model = _new_word2vec(vocabulary, config, config.dimensions, workers)
        vectors = _fit_word2vec(model, sentences, config, on_progress)
    return WordSpace.normalized(vocabulary, vectors, _counts(vocabulary))


def _strip_sign(word: str) -> str:
    return word[1:] if word.startswith("#") and len(word) > 1 else word


def _vocabulary(sentences: TokenLists, min_count: int) -> dict[str, int]:
    """Words seen `min_count` times or more with their counts, by falling count, then by word."""
    counts = np.bincount(sentences.numbers, minlength=len(sentences.words)).tolist()
    least = max(min_count, 1)
    kept = ((w, n) for w, n in zip(sentences.words, counts, strict=True) if n >= least)
    return dict(sorted(kept, key=lambda pair: (-pair[1], pair[0])))


def _counts(vocabulary: dict[str, int]) -> Ids:
    return np.fromiter(vocabulary.values(), np.int64, len(vocabulary))


def _word_positions(sentences: TokenLists, words: Sequence[str]) -> tuple[Ids, Ids]:
    """Of every word that is one of some, in order, its sentence and its place among those."""
    place_of = {word: place for place, word in enumerate(words)}
    places = np.array([place_of.get(word, -1) for word in sentences.words], np.int64)
    found = places[sentences.numbers]
    owners = np.repeat(np.arange(len(sentences)), sentences.lengths)
    return owners[found >= 0], found[found >= 0]


def _train_glove(
    sentences: TokenLists,
    vocabulary: dict[str, int],
    config: VectorConfig,
    on_progress: Progress | None,
) -> Floats:
    from hashlens.indexer.embeddings.glove import count_cooccurrences, fit_glove

    size = len(vocabulary)
    owners, places = _word_positions(sentences, tuple(vocabulary))
    ends = np.cumsum(np.bincount(owners, minlength=len(sentences)))
    pairs = count_cooccurrences(np.split(places, ends[:-1]), size, config.window)
    return fit_glove(pairs, size, config.dimensions, config.epochs, config.seed, on_progress)


class _Posts:
    """Posts as gensim reads them, once a round; `shuffled` gives each round an order of its own."""

    def __init__(self, sentences: Sentences, shuffled: bool, seed: int) -> None:
        self._sentences = sentences
        self._shuffled = shuffled
        self._random = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Sequence[str]]:
        if not self._shuffled:
            yield from self._sentences
            return
        for sentence in self._sentences:
            # Up to here every word meets every other in any order.
            if len(sentence) <= _BAG_WINDOW + 1:
                yield sentence
            else:
                yield [sentence[place] for place in self._random.permutation(len(sentence))]


def _stable_hash(word: str) -> int:
    # Python's own hash of strings differs from one process to the next.
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def _new_word2vec(
    vocabulary: dict[str, int], config: VectorConfig, width: int, workers: int
) -> Word2Vec:
    """A gensim model that knows the words, in the vocabulary's order, and has learned nothing."""
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
        hashfxn=_stable_hash,
    )
    model.build_vocab_from_freq(vocabulary)
    return model


def _fit_word2vec(
    model: Word2Vec, sentences: Sentences, config: VectorConfig, on_progress: Progress | None
) -> Floats:
    """Input vectors float32 (v, d) after `epochs` rounds."""
    posts = _Posts(sentences, config.window == 0, config.seed)
    model.train(
        posts,
        total_examples=len(sentences),
        epochs=config.epochs,
        callbacks=[_rounds(config.epochs, on_progress)] if on_progress else (),
    )
    vectors: Floats = model.wv.vectors
    return vectors


def _rounds(epochs: int, on_progress: Progress) -> CallbackAny2Vec:
    from gensim.models.callbacks import CallbackAny2Vec

    class Rounds(CallbackAny2Vec):  # type: ignore[misc]
        done = 0

        def on_epoch_end(self, model: Word2Vec) -> None:
            self.done += 1
            on_progress(self.done / epochs)

    return Rounds()


def _train_pretrained(
    sentences: TokenLists,
    config: VectorConfig,
    pretrained: WordSpace,
    workers: int,
    on_progress: Progress | None,
) -> WordSpace:
    """Learn new words and hashtags into the space of pretrained words.

    New words start among what they are posted with. Known words start where they are and, their
    input vectors held back, teach the output layer what the space means, which draws new
    words to their place in it. Let loose, the words of the posts drift away from the
    pretrained words that no post holds. What drift is left is turned out: the latter follow by
    the rotation that fits the words that both know best.
    """
    vocabulary = _vocabulary(sentences, config.min_count)
    if not vocabulary:
        return pretrained
    words = tuple(vocabulary)
    known, rows = pretrained.lookup(words)
    model = _new_word2vec(vocabulary, config, pretrained.dimensions, workers)
    with _one_thread():
        model.wv.vectors[:] = _PRETRAINED_LENGTH * _initial_vectors(
            _incidence(sentences, words), words, pretrained
        )
    locks = np.ones(len(words), np.float32)
    locks[known] = 1 - _ANCHOR
    model.wv.vectors_lockf = locks
    vectors = _fit_word2vec(model, sentences, config, on_progress)
    with _one_thread():
        turned = _procrustes_align(pretrained.vectors, rows, vectors[known])
    others = np.ones(len(pretrained), bool)
    others[rows] = False
    rest = np.flatnonzero(others)
    return WordSpace.normalized(
        words + tuple(pretrained.words[row] for row in rest.tolist()),
        np.concatenate([vectors, turned[rest]]),
        np.concatenate([_counts(vocabulary), np.zeros(len(rest), np.int64)]),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Products of matrices on one thread: on several they add up in another order."""
    import scipy.linalg  # noqa: F401 (it brings a BLAS of its own, which must be there to be bound)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def _initial_vectors(
    beside: sparse.csr_array, words: tuple[str, ...], pretrained: WordSpace
) -> Floats:
    """Where words start, unit float32 (v, d): their pretrained vector, or that of their company.

    A new hashtag is placed among what it is posted with, not at the word that it spells: posts
    use #apple and #nofilter in senses of their own.
    """
    starts = np.zeros((len(words), pretrained.dimensions), np.float32)
    spelled, rows = pretrained.lookup([_strip_sign(word) for word in words])
    starts[spelled] = pretrained.vectors[rows]
    new = np.setdiff1d(np.arange(len(words)), pretrained.lookup(words)[0])
    company = _context_means(beside, starts)[new]
    starts[new] = np.where(company.any(axis=1, keepdims=True), company, starts[new])
    return starts


def _context_means(beside: sparse.csr_array, meanings: Floats) -> Floats:
    """Mean direction of the posts that hold each word; unit or zero float32 (v, d).

    A post's direction is the mean of its words' `meanings`, rare words weighing more.
    """
    rarity = np.log(beside.shape[0] / np.maximum(beside.sum(axis=0), 1))
    known = np.linalg.norm(meanings, axis=1) > 0
    # What all words share would make every mean alike.
    centre = meanings[known].mean(axis=0) if known.any() else np.float32(0)
    centred = np.where(known[:, None], meanings - centre, 0)
    directions = _normalize(beside @ (centred * rarity[:, None]))
    return _normalize(beside.T @ directions).astype(np.float32)


def _normalize(rows: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[Any] = rows / np.where(lengths > 1e-9, lengths, np.inf)
    return unit


def _incidence(sentences: TokenLists, words: Sequence[str]) -> sparse.csr_array:
    """Which post holds which word: ones, float32 (n, v)."""
    from scipy import sparse

    held = _word_positions(sentences, words)
    ones = np.ones(len(held[0]), np.float32)
    beside = sparse.coo_array((ones, held), shape=(len(sentences), len(words))).tocsr()
    beside.data[:] = 1
    return beside


def _procrustes_align(vectors: NDArray[Any], rows: Ids, targets: Floats) -> Floats:
    """All pretrained vectors turned so that `rows` meet `targets` best (Schonemann 1966)."""
    from scipy.linalg import orthogonal_procrustes

    # The axes, at little weight, stand for themselves: what too few words leave open stays put.
    axes = 0.1 * np.eye(vectors.shape[1], dtype=np.float32)
    turn, _ = orthogonal_procrustes(
        np.vstack([vectors[rows], axes]), np.vstack([_normalize(targets), axes])
    )
    turned: Floats = vectors @ turn.astype(np.float32)
    return turned
