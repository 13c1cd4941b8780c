"""The course report's other methods: LDA over posts, and pictures alone by topic or by hashtag.

Letters in shapes: n posts, q queries, v hashtags, t topics, d width of picture vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import Features, Ranking, Scores, Vocabulary, answers
from hashlens.evaluation.methods.embeddings import topic_posts, topic_shares
from hashlens.evaluation.methods.feature_learning import post_terms, query_terms
from hashlens.indexer.types import Floats, Post, Query

if TYPE_CHECKING:
    import torch
    from gensim.models import LdaModel

TOPICS = 10  # as in the report
PASSES = 3  # over all posts; each takes seconds for a thousand posts with long captions
WORDS = 50_000  # the most used words and hashtags are modelled
LABEL_POSTS = 5  # a hashtag of fewer posts has no place in the multi-label head
EPOCHS, BATCH, RATE, DECAY = 30, 256, 1e-3, 1e-4

_Bag = list[tuple[int, int]]


class Lda:
    """Latent Dirichlet allocation: sum over topics of P(topic given query) * P(tag given topic).

    Blei, Ng & Jordan 2003, learned online as in Hoffman, Blei & Bach 2010 (gensim), over caption
    words and hashtags, `#sunset` being another word than `sunset`.
    """

    name = "lda"
    inputs = frozenset({"caption", "seeds"})

    def __init__(self, topics: int = TOPICS, passes: int = PASSES, seed: int = 1) -> None:
        """Take the number of topics, rounds over all posts, and the seed."""
        self._topics, self._passes, self._seed = topics, passes, seed

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn topics; see `Method`."""
        terms = post_terms(posts)
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        self._words = Vocabulary.of(terms, most=WORDS)
        bags = [bag for bag in map(self._bag, terms) if bag]
        self._model = self._learned(bags) if bags else None
        numbers = [
            (c, self._words.numbers.get(f"#{t}")) for t, c in self._vocabulary.numbers.items()
        ]
        modelled = [(column, word) for column, word in numbers if word is not None]
        self._tags = np.zeros((self._topics, len(self._vocabulary.terms)))
        if self._model and modelled:
            columns, words = zip(*modelled, strict=True)
            self._tags[:, list(columns)] = self._model.get_topics()[:, list(words)]

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        weights = np.zeros((len(queries), self._topics))
        for row, text in enumerate(query_terms(queries)):
            if self._model and (bag := self._bag(text)):
                # Inference starts at random: each query from the same start, whatever came before.
                self._model.random_state = np.random.RandomState(self._seed)
                gamma = self._model.inference([bag])[0][0]
                weights[row] = gamma / gamma.sum()
        scores: NDArray[np.float64] = weights @ self._tags
        return scores

    def _bag(self, text: Sequence[str]) -> _Bag:
        numbers = self._words.numbers
        return sorted(Counter(numbers[word] for word in text if word in numbers).items())

    def _learned(self, bags: list[_Bag]) -> LdaModel:
        from gensim.models import LdaModel

        return LdaModel(
            bags,
            num_topics=self._topics,
            id2word=dict(enumerate(self._words.terms)),
            passes=self._passes,
            eval_every=None,
            random_state=self._seed,
        )


class ImageTopic:
    """The most used hashtags of the picture's likeliest topic, by share of the topic's posts.

    The topic is that of the picture alone, whatever else the query gives, from `Features`.
    """

    name = "image-only"
    inputs = frozenset({"image"})

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Count by topic; see `Method`."""
        self._vocabulary = Vocabulary.of(post.hashtags for post in posts)
        self._queries = features.query_topics if features else None
        self._shares = topic_shares(posts, topic_posts(posts, features), self._vocabulary)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        if self._queries is not None:
            seen = [Query(image=q.image) if q.image else None for q in queries]
            known, probs = self._queries.of(seen)
            for topic, shares in self._shares.items():
                scores[known[probs.argmax(axis=1) == topic]] = shares
        return scores


class ImageLabels:
    """A linear multi-label head on picture vectors, by binary cross-entropy of each hashtag.

    It knows the hashtags of `LABEL_POSTS` training pictures or more; a score is the probability
    that it states.
    """

    name = "image-only-multilabel"
    inputs = frozenset({"image"})
    probabilities = True

    def __init__(self, epochs: int = EPOCHS, rate: float = RATE, seed: int = 1) -> None:
        """Take the rounds over all pictures, the size of a step, and the seed of their order."""
        self._epochs, self._rate, self._seed = epochs, rate, seed

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Train the head; see `Method`."""
        self._pictures = features.pictures if features else None
        self._vocabulary = Vocabulary.of(())
        if self._pictures is None:
            return
        places, vectors = self._pictures.of([post.image for post in posts])
        tags = [posts[place].hashtags for place in places.tolist()]
        self._vocabulary = Vocabulary.of(tags, min_posts=LABEL_POSTS)
        if not self._vocabulary.terms:
            self._pictures = None
            return
        self._weights, self._bias = self._learned(vectors, tags)

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Rank; see `Method`."""
        return answers(queries, k, self._vocabulary, self._score)

    def _score(self, queries: Sequence[Query]) -> Scores:
        from scipy.special import expit

        scores = np.zeros((len(queries), len(self._vocabulary.terms)))
        if self._pictures is not None:
            places, vectors = self._pictures.of([query.image for query in queries])
            scores[places] = expit(vectors @ self._weights.T + self._bias)
        return scores

    def _learned(self, vectors: Floats, tags: Sequence[Sequence[str]]) -> tuple[Floats, Floats]:
        """Weights float32 (v, d) and bias (v,), on pictures as they are."""
        import torch

        uses = self._vocabulary.matrix(tags)
        mean, scale = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
        layer = torch.nn.Linear(vectors.shape[1], uses.shape[1])
        shares = np.asarray(uses.mean(axis=0)).ravel().clip(1e-6, 1 - 1e-6)
        with torch.no_grad():  # starts from what is known without any picture
            layer.weight.zero_()
            layer.bias.copy_(torch.from_numpy(np.log(shares / (1 - shares))))
        optimizer = torch.optim.AdamW(layer.parameters(), lr=self._rate, weight_decay=DECAY)
        order = torch.Generator().manual_seed(self._seed)
        inputs = torch.from_numpy((vectors - mean) / scale)
        for _ in range(self._epochs):
            for batch in torch.split(torch.randperm(len(inputs), generator=order), BATCH):
                wanted = torch.from_numpy(uses[batch.numpy()].toarray()).float()
                _step(layer, optimizer, inputs[batch], wanted)
        weights = layer.weight.detach().numpy() / scale
        bias: Floats = layer.bias.detach().numpy() - weights @ mean
        return weights, bias


def _step(
    layer: torch.nn.Linear,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    wanted: torch.Tensor,
) -> None:
    from torch.nn import functional

    optimizer.zero_grad()
    # Summed over hashtags: a mean would make steps of a long vocabulary tiny.
    loss = functional.binary_cross_entropy_with_logits(layer(inputs), wanted, reduction="sum")
    (loss / len(inputs)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
