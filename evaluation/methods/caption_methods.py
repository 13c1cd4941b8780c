"""Methods that read the caption: posts with similar words, hashtags of words, spelled hashtags."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Ranking, Scores, Vocabulary, answers, nearest
from hashlens.indexer.errors import SetupError
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Post, Query

if TYPE_CHECKING:
    from scipy import sparse

NEIGHBOURS = 100
SHRINKAGE = 2.0  # captions that spell a hashtag in vain, added to every count
LONGEST_SPELLED = 3  # words joined
FASTTEXT_SETTINGS = ((5, 0.1), (5, 0.5), (20, 0.1), (20, 0.5))  # epochs, learning rate

_LABEL = "__label__"  # what fastText marks classes with
_CAPTION = frozenset({"caption"})


class _TextKnn(ABC):
    """Posts with similar captions vote for their hashtags, each by its likeness."""

    inputs = _CAPTION

    def __init__(self, neighbours: int = NEIGHBOURS) -> None:
        """Take how many posts vote; those that tie with the last vote too."""
        self._neighbours = neighbours

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Keep the words and hashtags of posts that have both; see `Method`."""
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        known = self._vocabulary.numbers
        read = [
            (tokens(p.caption), p.hashtags)
            for p in posts
            if not known.keys().isdisjoint(p.hashtags)
        ]
        voters = [(words, tags) for words, tags in read if words]
        self._uses = self._vocabulary.matrix([tags for _, tags in voters])
        if voters:
            self._learn([words for words, _ in voters])

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score, width=self._uses.shape[0])

    def _score(self, queries: Sequence[Query]) -> Scores:
        if not self._uses.shape[0]:
            return np.zeros((len(queries), len(self._vocabulary.terms)))
        likeness = self._likeness([tokens(query.caption) for query in queries])
        found: Scores = nearest(likeness, self._neighbours) @ self._uses
        return found

    @abstractmethod
    def _learn(self, texts: list[list[str]]) -> None:
        """Index the words of n posts."""

    @abstractmethod
    def _likeness(self, texts: list[list[str]]) -> NDArray[np.floating[Any]]:
        """Likeness (q, n) of the words of queries to each post's."""


class TfidfKnn(_TextKnn):
    """Likeness is the cosine of tf-idf vectors, with (1 + ln tf) * smoothed idf as weights."""

    name = "tfidf-knn"

    def _learn(self, texts: list[list[str]]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True)
        self._posts = self._vectorizer.fit_transform(texts).T.tocsr()

    def _likeness(self, texts: list[list[str]]) -> NDArray[np.floating[Any]]:
        found: NDArray[np.float64] = (self._vectorizer.transform(texts) @ self._posts).toarray()
        return found


class Bm25Knn(_TextKnn):
    """Likeness is BM25 as Lucene has it, k1 1.5 and b 0.75 (Lù, "BM25S", 2024)."""

    name = "bm25-knn"

    def _learn(self, texts: list[list[str]]) -> None:
        import bm25s

        self._posts = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        self._posts.index(texts, show_progress=False)

    def _likeness(self, texts: list[list[str]]) -> NDArray[np.floating[Any]]:
        known = self._posts.vocab_dict
        found = np.zeros((len(texts), self._uses.shape[0]), np.float32)
        for row, words in enumerate(texts):
            if words := [word for word in words if word in known]:
                found[row] = self._posts.get_scores(words)
        return found


class WordCounts:
    """Sum over the caption's words of idf(word) * P(tag given word).

    P is the share of the word's posts that use the hashtag; idf is ln(n / posts with the word).
    Words of a single post are left out.
    """

    name = "word-counts"
    inputs = _CAPTION

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count words with hashtags; see `Method`."""
        from scipy import sparse

        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        texts = [tokens(post.caption) for post in posts]
        self._words = Vocabulary.of(texts)
        words = self._words.matrix(texts)
        posts_with = np.asarray(words.sum(axis=0)).ravel()
        weights = np.log(max(len(posts), 1) / posts_with) / posts_with
        uses = self._vocabulary.matrix([post.hashtags for post in posts])
        self._weights = sparse.diags(weights) @ (words.T @ uses)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        words = self._words.matrix([tokens(query.caption) for query in queries])
        found: Scores = words @ self._weights
        return found


class Spelled:
    """Hashtags that the caption's words spell, alone or up to three neighbours joined.

    A score is the share of training posts that use the hashtag, of those whose caption spells it,
    shrunk by `SHRINKAGE`: `goldenhour` is meant as a hashtag more often than `the`.
    """

    name = "spelled"
    inputs = _CAPTION

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count how often spelled hashtags are used; see `Method`."""
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        spelled = self._spelled([post.caption for post in posts])
        both = spelled.multiply(self._vocabulary.matrix([post.hashtags for post in posts]))
        used, seen = (np.asarray(counts.sum(axis=0)).ravel() for counts in (both, spelled))
        self._shares = used / (seen + SHRINKAGE)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        return self._spelled([query.caption for query in queries]).multiply(self._shares).tocsr()

    def _spelled(self, captions: Sequence[str]) -> sparse.csr_matrix:
        """float64 (q, v): 1 where a caption spells a hashtag."""
        return self._vocabulary.matrix([list(_joined(tokens(text))) for text in captions])


def _joined(words: Sequence[str]) -> Iterator[str]:
    for length in range(1, LONGEST_SPELLED + 1):
        for start in range(len(words) - length + 1):
            yield "".join(words[start : start + length])


class FastText:
    """A linear classifier on averaged word vectors: Joulin et al., "Bag of tricks" (2017).

    Hierarchical softmax over the hashtags; epochs and learning rate are those of
    `FASTTEXT_SETTINGS` that do best (P@5) on a tenth of the training authors, held out. It needs
    the optional package `fasttext`, and one thread: more would not give the same twice.
    Scores are one over the rank.
    """

    name = "fasttext"
    inputs = _CAPTION

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Tune and train; see `Method`.

        Raises:
            SetupError: the package is not installed.
        """
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        by_author: dict[str, list[_Example]] = {}
        for post in posts:
            example = _Example.of(post, self._vocabulary)
            if example.text and example.labels:
                by_author.setdefault(post.author or post.post_id, []).append(example)
        parts = [by_author[author] for author in sorted(by_author)]
        held = list(chain(*parts[::10]))
        rest = [example for at, part in enumerate(parts) if at % 10 for example in part]
        self._model = _trained(held + rest, _tuned(rest, held))

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        most = max((len(query.seeds) for query in queries), default=0)
        return answers(queries, k, self._vocabulary, lambda batch: self._score(batch, k + most))

    def _score(self, queries: Sequence[Query], most: int) -> Scores:
        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        texts = [" ".join(tokens(query.caption)) for query in queries]
        asked = [row for row, text in enumerate(texts) if text]
        if self._model and asked:
            found, _ = self._model.predict([texts[row] for row in asked], k=most)
            # Asked for several texts, fastText 0.9.2 orders labels rightly and repeats one score.
            for row, labels in zip(asked, found, strict=True):
                scores[row, [*map(_number, labels)]] = 1 / np.arange(1, len(labels) + 1)
        return scores


class _Example(NamedTuple):
    """What fastText learns from of a post: its words, and its hashtags' numbers."""

    text: str
    labels: frozenset[int]

    @classmethod
    def of(cls, post: Post, vocabulary: Vocabulary) -> Self:
        known = [tag for tag in post.hashtags if tag in vocabulary.numbers]
        return cls(
            " ".join(tokens(post.caption)), frozenset(vocabulary.numbers[tag] for tag in known)
        )


def _tuned(seen: Sequence[_Example], unseen: Sequence[_Example]) -> tuple[int, float]:
    """The settings whose model, trained on the seen, finds most of the unseen in five places."""

    def hits(settings: tuple[int, float]) -> int:
        model = _trained(seen, settings)
        if model is None:
            return 0
        found, _ = model.predict([example.text for example in unseen], k=5)
        return sum(
            len(example.labels.intersection(map(_number, labels)))
            for example, labels in zip(unseen, found, strict=True)
        )

    return max(FASTTEXT_SETTINGS, key=hits)


def _trained(examples: Sequence[_Example], settings: tuple[int, float]) -> Any:  # noqa: ANN401 (untyped)
    """A fastText model; None where there is nothing to learn from."""
    try:
        import fasttext
    except ImportError as error:
        raise SetupError(
            "method fasttext: found no package `fasttext`, expected it installed; "
            "pip install 'hashlens[fasttext]', or leave the method out"
        ) from error
    if not examples:
        return None
    epochs, rate = settings
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "posts.txt")
        with path.open("w", encoding="utf-8") as file:
            for text, labels in examples:
                marks = " ".join(f"{_LABEL}{number}" for number in sorted(labels))
                file.write(f"{marks} {text}\n")
        return fasttext.train_supervised(
            str(path), epoch=epochs, lr=rate, dim=50, minCount=2, loss="hs", thread=1, verbose=0
        )


def _number(label: str) -> int:
    return int(label.removeprefix(_LABEL))
