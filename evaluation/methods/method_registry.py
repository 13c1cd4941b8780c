"""All methods of the benchmark by name, and the libraries that they need."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hashlens.evaluation.methods import embeddings
from hashlens.evaluation.methods.base import Method
from hashlens.evaluation.methods.caption_methods import (
    Bm25Knn,
    FastText,
    Spelled,
    TfidfKnn,
    WordCounts,
)
from hashlens.evaluation.methods.counting import (
    Cooccurrence,
    Ease,
    ItemKnn,
    Popularity,
    TopicPopularity,
)
from hashlens.evaluation.methods.embeddings import NearestHashtags, NearestInTopic
from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.methods.knn import ImageKnn, PostVote
from hashlens.evaluation.methods.topic_models import ImageLabels, ImageTopic, Lda
from hashlens.indexer.config import BuildConfig, RankingConfig
from hashlens.indexer.libraries import require_libraries

LIBRARIES = ("bm25s", "matplotlib", "sklearn", "torch")  # of the extra `benchmark`

_SIMPLE: tuple[type[Method], ...] = (
    *(Popularity, TopicPopularity, Cooccurrence, ItemKnn, Ease, PostVote),
    *(TfidfKnn, Bm25Knn, WordCounts, Spelled, FastText, ImageKnn),
)
_EMBEDDINGS: dict[str, Callable[[str], Method]] = {
    "word2vec": partial(NearestHashtags, config=embeddings.WORD2VEC),
    "word2vec+topics": partial(NearestInTopic, config=embeddings.WORD2VEC),
    "glove": partial(NearestHashtags, config=embeddings.GLOVE),
    "glove+topics": partial(NearestInTopic, config=embeddings.GLOVE),
    "pretrained+word2vec": partial(NearestHashtags, config=embeddings.PRETRAINED),
    # The whole system of the report: pretrained vectors, trained further for each topic.
    "hierarchical": partial(NearestInTopic, config=embeddings.PRETRAINED),
}
_REPORT: tuple[type[Method], ...] = (ImageTopic, ImageLabels, Lda)

METHODS: dict[str, Callable[[], Method]] = {
    **{method.name: method for method in _SIMPLE},
    **{name: partial(make, name) for name, make in _EMBEDDINGS.items()},
    **{method.name: method for method in _REPORT},
    Product.name: Product,
}

# hashlens with the likeliest topic alone, and without topics, to compare with soft topics.
VARIANTS: dict[str, Callable[[], Method]] = {
    f"{Product.name}-{name}": partial(Product, BuildConfig(ranking=RankingConfig(gate=gate)))
    for name, gate in (("hard-topics", "hard"), ("no-topics", "none"))
}


def check_libraries() -> None:
    """Check that the libraries of the benchmark are installed.

    Raises:
        SetupError: a library is missing.
    """
    require_libraries(LIBRARIES, "methods and plots of the benchmark need", "benchmark")
