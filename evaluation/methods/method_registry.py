"""Every method that can be judged, by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hashlens.evaluation.methods.base import Method
from hashlens.evaluation.methods.counting import (
    Cooccurrence,
    Ease,
    ItemKnn,
    Popularity,
    TopicPopularity,
)
from hashlens.evaluation.methods.embeddings import (
    GLOVE,
    PRETRAINED,
    WORD2VEC,
    NearestHashtags,
    NearestInTopic,
)
from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.methods.knn import ImageKnn, PostVote
from hashlens.evaluation.methods.caption_methods import Bm25Knn, FastText, Spelled, TfidfKnn, WordCounts
from hashlens.evaluation.methods.topic_models import ImageLabels, ImageTopic, Lda
from hashlens.indexer.config import BuildConfig, RankingConfig

_SIMPLE: tuple[type[Method], ...] = (
    Popularity,
    TopicPopularity,
    Cooccurrence,
    ItemKnn,
    Ease,
    PostVote,
    TfidfKnn,
    Bm25Knn,
    WordCounts,
    Spelled,
    FastText,
    ImageKnn,
)
_VECTORS: dict[str, Callable[[str], Method]] = {
    "word2vec": partial(NearestHashtags, config=WORD2VEC),
    "word2vec+topics": partial(NearestInTopic, config=WORD2VEC),
    "glove": partial(NearestHashtags, config=GLOVE),
    "glove+topics": partial(NearestInTopic, config=GLOVE),
    "pretrained+word2vec": partial(NearestHashtags, config=PRETRAINED),
    # The report's whole system: pretrained and trained further, a space for each topic.
    "hierarchical": partial(NearestInTopic, config=PRETRAINED),
}
_REPORT: tuple[type[Method], ...] = (ImageTopic, ImageLabels, Lda)

METHODS: dict[str, Callable[[], Method]] = {
    **{kind.name: kind for kind in _SIMPLE},
    **{name: partial(make, name) for name, make in _VECTORS.items()},
    **{kind.name: kind for kind in _REPORT},
    Product.name: Product,
}

# hashlens with the likeliest topic alone, and without topics: what the soft ones bring.
VARIANTS: dict[str, Callable[[], Method]] = {
    f"{Product.name}-{name}": partial(Product, BuildConfig(ranking=RankingConfig(gate=gate)))
    for name, gate in (("hard-topics", "hard"), ("no-topics", "none"))
}
