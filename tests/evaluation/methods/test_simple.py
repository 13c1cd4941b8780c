"""The simple methods, on few posts worked by hand, and the rules of all methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashlens.evaluation.methods.base import (
    Features,
    Method,
    Ranking,
    TermIndex,
    VectorTable,
    keep_nearest,
    rank,
)
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
from hashlens.evaluation.methods.knn import ImageKnn, PostVote
from hashlens.indexer.errors import ConfigError, ShapeError
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query

SEED_METHODS: list[Callable[[], Method]] = [Cooccurrence, ItemKnn, Ease, PostVote]
TEXT_METHODS: list[Callable[[], Method]] = [TfidfKnn, Bm25Knn, WordCounts, Spelled]
SIMPLE = [Popularity, TopicPopularity, ImageKnn, *SEED_METHODS, *TEXT_METHODS]


def posts(*lists: str, captions: tuple[str, ...] = ()) -> list[Post]:
    """Return posts 0, 1, ... with the hashtags of each text, and captions if given."""
    texts = captions or ("",) * len(lists)
    return [
        Post(str(row), caption=text, hashtags=(own := tuple(tags.split())), forms=own)
        for row, (tags, text) in enumerate(zip(lists, texts, strict=True))
    ]


def fit_and_ask(method: Method, train: list[Post], query: Query, k: int = 9) -> Ranking:
    method.fit(train)
    return method.recommend([query], k)[0]


def is_close(found: Ranking, expected: list[tuple[str, float]]) -> bool:
    same = [tag for tag, _ in found] == [tag for tag, _ in expected]
    return same and [s for _, s in found] == pytest.approx([s for _, s in expected], rel=1e-5)


# Of these four posts a is in 3, b in 2, c in 3; d is in one, so it is never recommended.
ABC = posts("a b", "a b c", "a c", "c d")


def test_popularity_is_the_share_of_posts() -> None:
    expected = [("a", 3 / 4), ("c", 3 / 4), ("b", 2 / 4)]
    assert is_close(fit_and_ask(Popularity(), ABC, Query(caption="anything")), expected)


def test_popularity_still_gives_k_if_the_seeds_are_the_most_used() -> None:
    assert is_close(
        fit_and_ask(Popularity(), ABC, Query(seeds=("a", "c", "d")), k=1), [("b", 2 / 4)]
    )


def test_topic_popularity_weights_each_topics_shares_by_its_probability() -> None:
    probs = np.array([[1, 0], [1, 0], [0.5, 0.5], [0, 1]], np.float32)
    query = Query(caption="a cat")
    features = Features(
        topics=("pets", "food"),
        post_topics=VectorTable(("0", "1", "2", "3"), probs),
        query_topics=VectorTable((query,), np.array([[0.75, 0.25]], np.float32)),
    )
    method = TopicPopularity()
    method.fit(ABC, features=features)
    known, unknown = method.recommend([query, Query(caption="another")], 9)
    # Pets holds 2.5 posts: a 2.5, b 2, c 1.5 of them. Food holds 1.5: a 0.5, c 1.5.
    a, b, c = 0.75 + 0.25 / 3, 0.75 * 2 / 2.5, 0.75 * 1.5 / 2.5 + 0.25
    assert is_close(known, [("a", a), ("c", c), ("b", b)])
    assert unknown == []


def test_cooccurrence_sums_the_shares_of_the_seeds_posts() -> None:
    # Of a's posts 2/3 have b and 2/3 c; of b's posts all have a and 1/2 c.
    assert is_close(
        fit_and_ask(Cooccurrence(), ABC, Query(seeds=("a",))), [("b", 2 / 3), ("c", 2 / 3)]
    )
    both = fit_and_ask(Cooccurrence(), ABC, Query(seeds=("a", "b", "unknown")))
    assert is_close(both, [("c", 2 / 3 + 1 / 2)])


def test_item_knn_sums_cosines() -> None:
    # cos(a, b) = 2 / sqrt(3 * 2), cos(a, c) = 2 / sqrt(3 * 3), cos(b, c) = 1 / sqrt(2 * 3).
    expected = [("b", 2 / math.sqrt(6)), ("c", 2 / 3)]
    assert is_close(fit_and_ask(ItemKnn(), ABC, Query(seeds=("a",))), expected)
    both = fit_and_ask(ItemKnn(), ABC, Query(seeds=("a", "b")))
    assert is_close(both, [("c", 2 / 3 + 1 / math.sqrt(6))])


def test_ease_is_the_closed_form_of_two_hashtags() -> None:
    # Gram [[2, 2], [2, 3]] plus 1 on the diagonal has the inverse [[4, -2], [-2, 3]] / 8, so
    # the weight from x to y, -P[x, y] / P[y, y], is 2 / 3, and from y to x 2 / 4.
    train = posts("x y", "x y", "y")
    assert is_close(fit_and_ask(Ease(penalty=1), train, Query(seeds=("x",))), [("y", 2 / 3)])
    assert is_close(fit_and_ask(Ease(penalty=1), train, Query(seeds=("y",))), [("x", 2 / 4)])


def test_ease_columns_solve_the_ridge_regression_that_leaves_the_hashtag_out() -> None:
    draws = np.random.default_rng(3).random((60, 5)) < 0.4
    train = posts(*(" ".join(np.array(list("abcde"))[row]) or "a" for row in draws))
    uses = TermIndex.count(post.hashtags for post in train).matrix([p.hashtags for p in train])
    dense = uses.toarray()
    method = Ease(penalty=7)
    method.fit(train)
    given, wanted = dense[:, :4], dense[:, 4]
    ridge = np.linalg.solve(given.T @ given + 7 * np.eye(4), given.T @ wanted)
    for tag, weight in zip("abcd", ridge, strict=True):
        found = dict(method.recommend([Query(seeds=(tag,))], 9)[0]).get("e", 0.0)
        assert found == pytest.approx(max(weight, 0), rel=1e-4, abs=1e-6)


def test_post_vote_adds_the_cosines_of_posts_that_share_seeds() -> None:
    a, b = math.log1p(4 / 3), math.log1p(4 / 2)  # idf; c weighs as a
    ab, abc, ac = a / math.hypot(a, b), a / math.hypot(a, b, a), a / math.hypot(a, a)
    found = fit_and_ask(PostVote(), ABC, Query(seeds=("a",)))
    assert is_close(found, [("c", abc + ac), ("b", ab + abc)])
    assert is_close(fit_and_ask(PostVote(neighbours=1), ABC, Query(seeds=("a",))), [("c", ac)])


TEXTS = posts(
    "cat pets",
    "cat",
    "pets dog",
    "dog",
    "goldenhour",
    "goldenhour",
    captions=("soft cat", "soft", "loud dog", "loud loud dog", "golden hour walk", "sea"),
)


def test_tfidf_knn_adds_the_cosines_of_similar_captions() -> None:
    train = posts("cat pets", "cat", "pets", captions=("soft cat", "soft", "loud"))
    rare, common = math.log(4 / 2) + 1, math.log(4 / 3) + 1  # smoothed idf of scikit-learn
    first = common / math.hypot(common, rare)
    found = fit_and_ask(TfidfKnn(), train, Query(caption="Soft, soft!"))
    assert is_close(found, [("cat", first + 1), ("pets", first)])
    assert is_close(fit_and_ask(TfidfKnn(neighbours=1), train, Query(caption="soft")), [("cat", 1)])


def test_bm25_knn_adds_the_scores_of_similar_captions() -> None:
    train = posts("cat pets", "cat", "pets", captions=("soft cat", "soft", "loud"))
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))

    def score(length: int) -> float:
        return idf / (1 + 1.5 * (1 - 0.75 + 0.75 * length / (4 / 3)))

    found = fit_and_ask(Bm25Knn(), train, Query(caption="soft"))
    assert is_close(found, [("cat", score(2) + score(1)), ("pets", score(2))])


def test_word_counts_sum_idf_times_the_share_of_the_words_posts() -> None:
    # soft: posts 0 and 1, both with cat, one with pets. dog: posts 2 and 3. cat: one post alone.
    idf = math.log(6 / 2)
    found = fit_and_ask(WordCounts(), TEXTS, Query(caption="Soft, soft cat"))
    assert is_close(found, [("cat", idf), ("pets", idf / 2)])
    found = fit_and_ask(WordCounts(), TEXTS, Query(caption="soft dog"))
    assert is_close(found, [("cat", idf), ("dog", idf), ("pets", idf / 2 + idf / 2)])


def test_spelled_finds_words_alone_and_joined() -> None:
    # Captions spell cat once, dog twice and goldenhour once, and each time the post uses it.
    found = fit_and_ask(Spelled(), TEXTS, Query(caption="Golden hour with cat and dog"))
    assert is_close(found, [("dog", 2 / 4), ("cat", 1 / 3), ("goldenhour", 1 / 3)])
    assert fit_and_ask(Spelled(), TEXTS, Query(caption="golden, bright hour")) == []


def test_spelled_joins_three_words() -> None:
    train = posts("i_b", "isawthis", "isawthis", captions=("", "i saw this", "I saw this"))
    assert is_close(
        fit_and_ask(Spelled(), train, Query(caption="i saw this")), [("isawthis", 2 / 4)]
    )


def pictures() -> tuple[list[Post], Features]:
    """Return three posts with unit vectors at 0, 60 and 180 degrees, and a query at 0."""
    train = [
        Post(str(row), image=Path(f"{row}.png"), hashtags=tags, forms=tags)
        for row, tags in enumerate([("a", "b"), ("b",), ("a",)])
    ]
    vectors = np.array([[1, 0], [0.5, math.sqrt(0.75)], [-1, 0], [1, 0]], np.float32)
    paths = (*(post.image for post in train if post.image), Path("query.png"))
    return train, Features(pictures=VectorTable(paths, vectors))


def test_image_knn_adds_the_cosines_of_similar_pictures() -> None:
    train, features = pictures()
    method = ImageKnn()
    method.fit(train, features=features)
    queries = [Query(image=Path("query.png")), Query(image=Path("unknown.png"))]
    known, unknown = method.recommend(queries, 9)
    assert is_close(known, [("b", 1.5), ("a", 1)])
    assert unknown == []


@pytest.mark.parametrize("method", SIMPLE)
def test_answers_are_empty_without_the_inputs_of_the_method(method: Callable[[], Method]) -> None:
    made = method()
    given = {
        "image": Query(image=Path("x.png")),
        "caption": Query(caption="soft dog"),
        "seeds": Query(seeds=("cat",)),
    }
    made.fit(TEXTS)
    for name, query in given.items():
        if made.inputs and name not in made.inputs:
            assert made.recommend([query], 5) == [[]]
    assert made.recommend([], 5) == []


@pytest.mark.parametrize("method", SIMPLE)
def test_answers_are_empty_without_posts(method: Callable[[], Method]) -> None:
    assert fit_and_ask(method(), [], Query(Path("x.png"), "soft dog", ("cat",))) == []


@pytest.mark.parametrize("method", SIMPLE)
def test_k_below_one_is_refused(method: Callable[[], Method]) -> None:
    with pytest.raises(ConfigError, match="k: found 0, expected 1 or more"):
        fit_and_ask(method(), ABC, Query(seeds=("a",)), k=0)


@pytest.mark.parametrize("method", [Popularity, *SEED_METHODS, *TEXT_METHODS])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_scores_strictly_decrease_without_seeds_or_brands_in_any_order_of_posts(
    method: Callable[[], Method], data: st.DataObject
) -> None:
    tags = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True).map(" ".join)
    rows = data.draw(st.lists(st.tuples(tags, tags), min_size=1, max_size=8))
    train = posts(*(own for own, _ in rows), captions=tuple(text for _, text in rows))
    seeds = tuple(data.draw(st.lists(st.sampled_from("abcdef"), max_size=3, unique=True)))
    query = Query(caption="a b f", seeds=seeds)
    found = fit_and_ask(method(), train, query, k=3)
    uses = [sum(tag in post.hashtags for post in train) for tag, _ in found]
    assert len(found) <= 3
    assert not {tag for tag, _ in found} & set(seeds)
    assert all(count >= 2 for count in uses)
    scores = [score for _, score in found]
    assert all(above > below > 0 for above, below in pairwise(scores))
    again = fit_and_ask(method(), data.draw(st.permutations(train)), query, k=3)
    assert is_close(again, found)


def test_ties_go_by_key_and_k_cuts_among_them() -> None:
    train = posts("z seed", "m seed", "a seed", "z seed", "m seed", "a seed")
    found = fit_and_ask(Cooccurrence(), train, Query(seeds=("seed",)), k=2)
    assert [tag for tag, _ in found] == ["a", "m"]
    assert found[0][1] == pytest.approx(1 / 3)
    assert np.float32(found[0][1]) > np.float32(found[1][1])  # also for tools in single precision


def test_batches_give_what_single_queries_give(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [Query(seeds=(tag,)) for tag in "abcab"]
    method = ItemKnn()
    method.fit(ABC)
    alone = [method.recommend([query], 5)[0] for query in queries]
    monkeypatch.setattr(
        "hashlens.evaluation.methods.base._MAX_CELLS", 6
    )  # two queries of three hashtags
    assert method.recommend(queries, 5) == alone


def test_nearest_keeps_ties_with_the_last_and_nothing_below_zero() -> None:
    rows: NDArray[np.float64] = np.array([[0.5, 0.9, 0.5, 0.1], [-1.0, 0.0, 0.3, -0.2]])
    kept = keep_nearest(rows, 2).toarray()
    assert kept == pytest.approx(np.array([[0.5, 0.9, 0.5, 0], [0, 0, 0.3, 0]]))


def test_hashtags_with_a_score_of_zero_or_less_are_left_out() -> None:
    vocabulary = TermIndex.count([["a", "b", "c"]], min_posts=1)
    scores = np.array([[-1.0, 0.0, 0.2]])
    found = rank([Query(caption="x")], 5, vocabulary, lambda _: scores)
    assert [tag for tag, _ in found[0]] == ["c"]


def test_a_vocabulary_keeps_the_most_used_ties_by_key() -> None:
    lists = [["a", "b", "c"], ["b", "c"], ["a", "d"], ["c"]]
    assert TermIndex.count(lists).terms == ("a", "b", "c")
    assert TermIndex.count(lists, max_terms=2).terms == ("a", "c")
    matrix = TermIndex.count(lists).matrix([["c", "a", "c", "unknown"], []])
    assert matrix.toarray().tolist() == [[1, 0, 1], [0, 0, 0]]


def test_vectors_are_found_by_key_and_checked() -> None:
    rows = VectorTable(("x", "y"), np.array([[1, 2], [3, 4]], np.float32))
    places, values = rows.lookup(["y", None, "unknown", "x", "y"])
    assert places.tolist() == [0, 3, 4]
    assert values.tolist() == [[3, 4], [1, 2], [3, 4]]
    with pytest.raises(ShapeError, match="expected float32"):
        VectorTable(("x",), np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError, match="one twice"):
        VectorTable(("x", "x"), np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError, match="one for each of 3 topics"):
        Features(topics=("a", "b", "c"), post_topics=rows)


def test_fasttext_learns_which_words_go_with_which_hashtag() -> None:
    pytest.importorskip("fasttext", reason="needs the optional package fasttext")
    words = ("cat", "dog", "sea", "sun", "bread", "cake", "shoe", "ring", "tower", "bridge")
    train = posts(*[f"the{word}" for word in words] * 300, captions=words * 300)
    method = FastText()
    method.fit(train)
    queries = [*(Query(caption=f"{word}!") for word in words), Query(seeds=("thecat",))]
    found = method.recommend(queries, 1)
    expected = [*([f"the{word}"] for word in words), []]
    assert [[tag for tag, _ in ranking] for ranking in found] == expected
    again = FastText()
    again.fit(train)
    assert again.recommend(queries, 1) == found
    assert fit_and_ask(method, [], queries[0]) == []


def test_fasttext_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fasttext", None)
    with pytest.raises(ConfigError, match=r"pip install 'hashlens\[fasttext\]'"):
        FastText().fit(TEXTS)
