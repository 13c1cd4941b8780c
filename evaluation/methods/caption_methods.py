"""Methods that read the caption: similar captions, word counts, spelled hashtags, fastText."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import (
    Features,
    Ranking,
    Scores,
    ScoringMethod,
    TermIndex,
    keep_nearest,
    rank,
    sum_columns,
)
from hashlens.evaluation.methods.knn import NearestPosts
from hashlens.indexer.errors import SetupError
from hashlens.indexer.text.hashtags import tokens
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

if TYPE_CHECKING:
    from scipy import sparse

SHRINKAGE = 2.0  # added to the number of captions that spell a hashtag
MAX_SPELLED_WORDS = 3  # that are joined to a hashtag
FASTTEXT_SETTINGS = ((5, 0.1), (5, 0.5), (20, 0.1), (20, 0.5))  # epochs, learning rate

_LABEL = "__label__"  # fastText's prefix of classes
_CAPTION = frozenset({"caption"})


class _CaptionKnn(NearestPosts):
    """Posts with similar captions vote for their hashtags, weighted by similarity."""

    inputs = _CAPTION
    neighbours = 100

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Store the words and hashtags of posts that have both; see `Method`."""
        self._vocabulary = TermIndex.count(post.hashtags for post in posts)
        known = self._vocabulary.numbers.keys()
        tagged = [
            (tokens(p.caption), p.hashtags) for p in posts if not known.isdisjoint(p.hashtags)
        ]
        voters = [(words, tags) for words, tags in tagged if words]
        self._uses = self._vocabulary.matrix([tags for _, tags in voters])
        self._width = len(voters)
        if voters:
            self._index([words for words, _ in voters])

    def _score(self, queries: Sequence[Query]) -> Scores:
        if not self._width:
            return self._zeros(queries)
        similarities = self._compare([tokens(query.caption) for query in queries])
        scores: Scores = keep_nearest(similarities, self._neighbours) @ self._uses
        return scores

    @abstractmethod
    def _index(self, texts: list[list[str]]) -> None:
        """Index the words of n posts."""

    @abstractmethod
    def _compare(self, texts: list[list[str]]) -> NDArray[np.floating[Any]]:
        """Return similarities (q, n) of the words of queries to those of each post."""


class TfidfKnn(_CaptionKnn):
    """Similarity is the cosine of tf-idf vectors, with (1 + ln tf) * smoothed idf as weights."""

    name = "tfidf-knn"

    def _index(self, texts: list[list[str]]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True)
        self._posts = self._vectorizer.fit_transform(texts).T.tocsr()

    def _compare(self, texts: list[list[str]]) -> NDArray[np.floating[Any]]:
        cosines: NDArray[np.float64] = (self._vectorizer.transform(texts) @ self._posts).toarray()
        return cosines


class Bm25Knn(_CaptionKnn):
    """Similarity is Lucene's BM25, with k1 1.5 and b 0.75 (Lù, "BM25S", 2024)."""

    name = "bm25-knn"

    def _index(self, texts: list[list[str]]) -> None:
        import bm25s

        self._posts = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        self._posts.index(texts, show_progress=False)

    def _compare(self, texts: list[list[str]]) -> NDArray[np.floating[Any]]:
        known = self._posts.vocab_dict
        scores = np.zeros((len(texts), self._width), np.float32)
        for row, words in enumerate(texts):
            if words := [word for word in words if word in known]:
                scores[row] = self._posts.get_scores(words)
        return scores


class WordCounts(ScoringMethod):
    """Sum over the caption's words of idf(word) * P(tag given word).

    P is the share of the word's posts that use the hashtag; idf is ln(n / posts with the word).
    Words of a single post are left out.
    """

    name = "word-counts"
    inputs = _CAPTION

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count words with hashtags; see `Method`."""
        from scipy import sparse

        tags, texts = [post.hashtags for post in posts], [tokens(post.caption) for post in posts]
        self._vocabulary, self._words = TermIndex.count(tags), TermIndex.count(texts)
        words = self._words.matrix(texts)
        posts_with = sum_columns(words)
        weights = np.log(max(len(posts), 1) / posts_with) / posts_with
        self._weights = sparse.diags(weights) @ (words.T @ self._vocabulary.matrix(tags))

    def _score(self, queries: Sequence[Query]) -> Scores:
        words = self._words.matrix([tokens(query.caption) for query in queries])
        scores: Scores = words @ self._weights
        return scores


class Spelled(ScoringMethod):
    """Hashtags that the caption's words spell, single words or up to three joined.

    A score is the share of the captions spelling a hashtag whose posts use it, shrunk by
    `SHRINKAGE`: a caption with `goldenhour` uses it as a hashtag more often than one with `the`.
    """

    name = "spelled"
    inputs = _CAPTION

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count how often spelled hashtags are used; see `Method`."""
        tags = [post.hashtags for post in posts]
        self._vocabulary = TermIndex.count(tags)
        spelled = self._find_spelled([post.caption for post in posts])
        used = spelled.multiply(self._vocabulary.matrix(tags))
        self._shares = sum_columns(used) / (sum_columns(spelled) + SHRINKAGE)

    def _score(self, queries: Sequence[Query]) -> Scores:
        spelled = self._find_spelled([query.caption for query in queries])
        return spelled.multiply(self._shares).tocsr()

    def _find_spelled(self, captions: Sequence[str]) -> sparse.csr_matrix:
        """Return float64 (q, v), 1 where a caption spells a hashtag."""
        texts = [tokens(caption) for caption in captions]
        return self._vocabulary.matrix(
            [
                [
                    "".join(words[start : start + length])
                    for length in range(1, MAX_SPELLED_WORDS + 1)
                    for start in range(len(words) - length + 1)
                ]
                for words in texts
            ]
        )


class FastText:
    """A linear classifier on averaged word vectors: Joulin et al., "Bag of tricks" (2017).

    It uses hierarchical softmax over the hashtags. A tenth of the training authors is held out to
    choose the epochs and learning rate of `FASTTEXT_SETTINGS` by P@5. It needs the optional package
    `fasttext`, and runs in one thread to be repeatable. Scores are one over the rank.
    """

    name = "fasttext"
    inputs = _CAPTION

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Choose the settings and train; see `Method`.

        Raises:
            SetupError: the package is not installed.
        """
        self._vocabulary = TermIndex.count(post.hashtags for post in posts)
        numbers = self._vocabulary.numbers
        by_author: dict[str, list[_Example]] = {}
        for post in posts:
            labels = frozenset(numbers[tag] for tag in post.hashtags if tag in numbers)
            example = _Example(" ".join(tokens(post.caption)), labels)
            if example.text and labels:
                by_author.setdefault(post.author or post.post_id, []).append(example)
        parts = [by_author[author] for author in sorted(by_author)]
        held_out = list(chain(*parts[::10]))
        rest = [example for at, part in enumerate(parts) if at % 10 for example in part]

        def count_hits(settings: tuple[int, float]) -> int:
            model = _train_fasttext(rest, settings)
            if model is None:
                return 0
            answers, _ = model.predict([example.text for example in held_out], k=5)
            return sum(
                len(example.labels.intersection(map(_label_number, labels)))
                for example, labels in zip(held_out, answers, strict=True)
            )

        best = max(FASTTEXT_SETTINGS, key=count_hits)
        self._model = _train_fasttext(held_out + rest, best)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank hashtags by the model; see `Method`."""
        most = k + max((len(query.seeds) for query in queries), default=0)

        def score(batch: Sequence[Query]) -> Scores:
            scores = np.zeros((len(batch), len(self._vocabulary.terms)))
            texts = [" ".join(tokens(query.caption)) for query in batch]
            rows = [row for row, text in enumerate(texts) if text]
            if self._model and rows:
                answers, _ = self._model.predict([texts[row] for row in rows], k=most)
                # For several texts, fastText 0.9.2 orders labels rightly but repeats one score.
                for row, labels in zip(rows, answers, strict=True):
                    ranks = np.arange(1, len(labels) + 1)
                    scores[row, [*map(_label_number, labels)]] = 1 / ranks
            return scores

        return rank(queries, k, self._vocabulary, score)


class _Example(NamedTuple):
    """The words of a post, and the numbers of its hashtags."""

    text: str
    labels: frozenset[int]


def _train_fasttext(examples: Sequence[_Example], settings: tuple[int, float]) -> Any:  # noqa: ANN401 (untyped)
    """Return a fastText model; None without examples."""
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


def _label_number(label: str) -> int:
    return int(label.removeprefix(_LABEL))
