"""The other methods of the course report: LDA, and pictures alone by topic or by hashtag.

Letters in shapes: n posts, q queries, v hashtags, t topics, d width of picture vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Scores, ScoringMethod, TermIndex
from hashlens.evaluation.methods.embeddings import posts_by_topic, topic_shares
from hashlens.evaluation.methods.feature_learning import post_terms, query_terms
from hashlens.indexer.types import Floats, Post
from hashlens.retriever.recommendation import Query

TOPICS = 10  # as in the report
PASSES = 3  # over all posts; each takes seconds for a thousand posts with long captions
MAX_WORDS = 50_000  # the most used words and hashtags are modelled
MIN_LABEL_POSTS = 5  # of a hashtag in the multi-label head
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 30, 256, 1e-3, 1e-4

_Bag = list[tuple[int, int]]


class Lda(ScoringMethod):
    """Latent Dirichlet allocation: sum over topics of P(topic given query) * P(tag given topic).

    Blei, Ng & Jordan 2003, learned online as in Hoffman, Blei & Bach 2010 (gensim), over caption
    words and hashtags; `#sunset` and `sunset` are different words.
    """

    name = "lda"
    inputs = frozenset({"caption", "seeds"})

    def __init__(self, topics: int = TOPICS, passes: int = PASSES, seed: int = 1) -> None:
        """Set the number of topics, the passes over all posts, and the seed."""
        self._topics, self._passes, self._seed = topics, passes, seed

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn topics; see `Method`."""
        from gensim.models import LdaModel

        terms = post_terms(posts)
        self._vocabulary = TermIndex.count(post.hashtags for post in posts)
        self._words = TermIndex.count(terms, max_terms=MAX_WORDS)
        self._model: LdaModel | None = None
        self._tags = np.zeros((self._topics, len(self._vocabulary.terms)))
        bags = [bag for bag in map(self._count_words, terms) if bag]
        if not bags:
            return
        self._model = LdaModel(
            bags,
            num_topics=self._topics,
            id2word=dict(enumerate(self._words.terms)),
            passes=self._passes,
            eval_every=None,
            random_state=self._seed,
        )
        words = self._words.numbers
        modelled = [
            (column, words[f"#{tag}"])
            for tag, column in self._vocabulary.numbers.items()
            if f"#{tag}" in words
        ]
        if modelled:
            columns, numbers = zip(*modelled, strict=True)
            self._tags[:, list(columns)] = self._model.get_topics()[:, list(numbers)]

    def _score(self, queries: Sequence[Query]) -> Scores:
        weights = np.zeros((len(queries), self._topics))
        for row, text in enumerate(query_terms(queries)):
            if self._model and (bag := self._count_words(text)):
                # Inference starts at random; the same start makes queries independent.
                self._model.random_state = np.random.RandomState(self._seed)
                gamma = self._model.inference([bag])[0][0]
                weights[row] = gamma / gamma.sum()
        scores: NDArray[np.float64] = weights @ self._tags
        return scores

    def _count_words(self, text: Sequence[str]) -> _Bag:
        numbers = self._words.numbers
        return sorted(Counter(numbers[word] for word in text if word in numbers).items())


class ImageTopic(ScoringMethod):
    """The most used hashtags of the picture's likeliest topic, by share of the topic's posts.

    `Features` give the topic of the picture alone; the rest of the query is not used.
    """

    name = "image-only"
    inputs = frozenset({"image"})

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count hashtags by topic; see `Method`."""
        self._vocabulary = TermIndex.count(post.hashtags for post in posts)
        self._queries = features.query_topics if features else None
        self._shares = topic_shares(posts, posts_by_topic(posts, features), self._vocabulary)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = self._zeros(queries)
        if self._queries is not None:
            pictures = [Query(image=q.image) if q.image else None for q in queries]
            known, probs = self._queries.lookup(pictures)
            for topic, shares in self._shares.items():
                scores[known[probs.argmax(axis=1) == topic]] = shares
        return scores


class ImageLabels(ScoringMethod):
    """A linear multi-label head on picture vectors, with binary cross-entropy for each hashtag.

    It knows the hashtags of `MIN_LABEL_POSTS` training pictures or more. Scores are probabilities.
    """

    name = "image-only-multilabel"
    inputs = frozenset({"image"})
    probabilities = True

    def __init__(self, epochs: int = EPOCHS, rate: float = LEARNING_RATE, seed: int = 1) -> None:
        """Set the epochs, the learning rate, and the seed of the order of pictures."""
        self._epochs, self._rate, self._seed = epochs, rate, seed

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Train the head; see `Method`."""
        self._pictures = features.pictures if features else None
        self._vocabulary = TermIndex.count(())
        if self._pictures is None:
            return
        rows, vectors = self._pictures.lookup([post.image for post in posts])
        tags = [posts[row].hashtags for row in rows.tolist()]
        self._vocabulary = TermIndex.count(tags, min_posts=MIN_LABEL_POSTS)
        if not self._vocabulary.terms:
            self._pictures = None
            return
        self._weights, self._bias = self._fit_head(vectors, tags)

    def _score(self, queries: Sequence[Query]) -> Scores:
        from scipy.special import expit

        scores = self._zeros(queries)
        if self._pictures is not None:
            rows, vectors = self._pictures.lookup([query.image for query in queries])
            scores[rows] = expit(vectors @ self._weights.T + self._bias)
        return scores

    def _fit_head(self, vectors: Floats, tags: Sequence[Sequence[str]]) -> tuple[Floats, Floats]:
        """Return weights float32 (v, d) and bias (v,) for unscaled picture vectors."""
        import torch
        from torch.nn import functional

        uses = self._vocabulary.matrix(tags)
        mean, scale = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
        layer = torch.nn.Linear(vectors.shape[1], uses.shape[1])
        shares = np.asarray(uses.mean(axis=0)).ravel().clip(1e-6, 1 - 1e-6)
        with torch.no_grad():  # start from the probability without any picture
            layer.weight.zero_()
            layer.bias.copy_(torch.from_numpy(np.log(shares / (1 - shares))))
        optimizer = torch.optim.AdamW(layer.parameters(), lr=self._rate, weight_decay=WEIGHT_DECAY)
        order = torch.Generator().manual_seed(self._seed)
        inputs = torch.from_numpy((vectors - mean) / scale)
        for _ in range(self._epochs):
            for batch in torch.split(torch.randperm(len(inputs), generator=order), BATCH):
                targets = torch.from_numpy(uses[batch.numpy()].toarray()).float()
                logits = layer(inputs[batch])
                # The sum over hashtags: a mean would make steps of a long vocabulary tiny.
                loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
                optimizer.zero_grad()
                (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        weights = layer.weight.detach().numpy() / scale
        bias: Floats = layer.bias.detach().numpy() - weights @ mean
        return weights, bias
