"""Boosted trees through C, against LightGBM's own Python package; and harmful files."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from time import sleep
from typing import Any

import lightgbm
import numpy as np
import pytest

from hashlens.indexer.errors import IndexCorruptError
from hashlens.retriever.ranking import tree_model
from hashlens.retriever.ranking.tree_model import MIN_PARALLEL_ROWS, TreeModel

FEATURES = 4


def samples(rows: int, seed: int) -> np.ndarray:
    """Random features, one in six missing."""
    draw = np.random.default_rng(seed)
    found = draw.normal(size=(rows, FEATURES)).astype(np.float32)
    found[draw.random(found.shape) < 1 / 6] = np.nan
    return found


@pytest.fixture(scope="module", params=["binary", "lambdarank"])
def booster(request: pytest.FixtureRequest) -> lightgbm.Booster:
    features = samples(600, 1)
    right = np.nan_to_num(features[:, 0]) + np.isnan(features[:, 1]) > 0.3
    settings = {
        "objective": request.param,
        "num_leaves": 7,
        "verbose": -1,
        "num_threads": 1,
        "deterministic": True,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
    }
    groups = [20] * 30 if request.param == "lambdarank" else None
    data = lightgbm.Dataset(features, right.astype(int), group=groups)
    return lightgbm.train(settings, data, 12)


@pytest.fixture(scope="module")
def model(booster: lightgbm.Booster) -> str:
    return str(booster.model_to_string())


def test_scores_are_lightgbms_own(booster: lightgbm.Booster, model: str) -> None:
    features = samples(300, 2)
    features[0] = np.nan
    features[1] = 0  # the border of LightGBM's idea of a missing zero
    trees = TreeModel(model)
    assert trees.features == FEATURES
    scores = trees.scores(features)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, booster.predict(features, raw_score=True), rtol=1e-6)
    parts = trees.scores(features, 0, 5) + trees.scores(features, 5)
    np.testing.assert_allclose(parts, scores, atol=1e-5)


def test_threads_never_ask_lightgbm_at_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call, now, most = tree_model._call, Semaphore(0), []

    def counted(*arguments: Any) -> None:
        now.release()
        most.append(now._value)
        sleep(0.005)
        call(*arguments)
        now.acquire()

    trees, asked = (
        TreeModel(model),
        [samples(rows, rows) for rows in (1, MIN_PARALLEL_ROWS + 1) * 8],
    )
    alone = [trees.scores(features) for features in asked]
    monkeypatch.setattr(tree_model, "_call", counted)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(trees.scores, asked))
    assert most == [1] * len(asked)
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_first_trees_are_a_forest_of_their_own(model: str) -> None:
    trees, features = TreeModel(model), samples(100, 3)
    assert len(trees) == 12
    for count in (1, 5, 12):
        first = trees.first(count)
        assert len(first) == count
        np.testing.assert_array_equal(first.scores(features), trees.scores(features, 0, count))


def test_contributions_add_up_to_the_score_and_are_much_like_treeshap(
    booster: lightgbm.Booster, model: str
) -> None:
    features = samples(300, 2)
    features[0] = np.nan
    trees = TreeModel(model)
    found = trees.contributions(features)
    rest = trees.scores(features) - found.sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-5)  # what all rows begin with
    shap = np.asarray(booster.predict(features, pred_contrib=True))[:, :-1]
    assert np.corrcoef(found.ravel(), shap.ravel())[0, 1] > 0.9
    unused = set(range(FEATURES)) - set(np.flatnonzero(booster.feature_importance()).tolist())
    assert not found[:, sorted(unused)].any()


def test_no_rows_and_rows_not_side_by_side_are_scored(model: str) -> None:
    trees, features = TreeModel(model), samples(50, 3)
    assert trees.scores(features[:0]).shape == (0,)
    assert trees.contributions(features[:0]).shape == (0, FEATURES)
    reversed_rows = np.asfortranarray(features)[::-1]
    np.testing.assert_array_equal(trees.scores(reversed_rows), trees.scores(features)[::-1])


def test_other_features_than_it_learned_from_are_refused(model: str) -> None:
    with pytest.raises(IndexCorruptError, match="found 4 features, expected 5"):
        TreeModel(model).scores(np.zeros((2, 5), np.float32))


def test_what_is_kept_scores_as_what_was_given(model: str, tmp_path: Path) -> None:
    trees, features = TreeModel(model), samples(100, 4)
    path = tmp_path / "order.txt"
    path.write_text(trees.text)
    again = TreeModel.open(path)
    assert again.text == trees.text
    np.testing.assert_array_equal(again.scores(features), trees.scores(features))


def test_trees_of_a_single_leaf_are_sound() -> None:
    data = lightgbm.Dataset(np.zeros((50, 2)), np.arange(50) % 2)
    flat = lightgbm.train({"objective": "binary", "verbose": -1}, data, 2)
    scores = TreeModel(flat.model_to_string()).scores(np.ones((3, 2), np.float32))
    np.testing.assert_allclose(scores, flat.predict(np.ones((3, 2)), raw_score=True), atol=1e-6)


def changed(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """Return a change to the numbers of the first line of that name."""

    def apply(text: str) -> str:
        def rewritten(match: re.Match[str]) -> str:
            return f"{name}={' '.join(change(match[1].split()))}"

        return re.sub(rf"^{name}=(.*)$", rewritten, text, count=1, flags=re.MULTILINE)

    return apply


def first(value: str) -> Callable[[list[str]], list[str]]:
    return lambda numbers: [value, *numbers[1:]]


HARMFUL: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "garbage": lambda _: "\x00\xff not a model " * 100,
    "another file": lambda _: '{"columns": []}',
    "no trees": lambda text: text.split("Tree=0")[0] + "end of trees\n",
    "cut in a tree": lambda text: text[: text.index("threshold=") + 30],
    "cut in the head": lambda text: text[:60],
    "child past the nodes": changed("right_child", first("99")),
    "child past the leaves": changed("left_child", first("-99")),
    "child of itself": changed("left_child", first("0")),
    "cycle": changed("right_child", lambda numbers: [*numbers[:-1], "1"]),
    "two parents of one node": changed("left_child", lambda n: [n[1], *n[1:]]),
    "children swapped with nothing": changed("left_child", lambda numbers: numbers[:-1]),
    "feature past the last": changed("split_feature", first("4")),
    "feature below the first": changed("split_feature", first("-1")),
    "features too many to count": changed("max_feature_idx", first("99999999999")),
    "no features": changed("max_feature_idx", first("-1")),
    "number too large": changed("split_feature", first("9" * 30)),
    "more digits than Python reads": changed("num_leaves", first("9" * 5000)),
    "split by categories": changed("decision_type", first("1")),
    "categories counted": changed("num_cat", first("1")),
    "linear leaves": changed("is_linear", first("1")),
    "more leaves than values": changed("num_leaves", lambda n: [str(int(n[0]) + 1)]),
    "no leaves": changed("num_leaves", first("0")),
    "leaves without end": changed("num_leaves", first("2000000000")),
    "no leaf values": lambda text: text.replace("leaf_value=", "leaf_worth="),
    "threshold that is none": changed("threshold", first("nan")),
    "no number": changed("threshold", first("x")),
    "no counts": lambda text: text.replace("internal_count=", "internal_size="),
}


@pytest.mark.parametrize("harm", HARMFUL)
def test_harmful_models_are_refused(harm: str, model: str, tmp_path: Path) -> None:
    bad = HARMFUL[harm](model)
    assert bad != model
    with pytest.raises(IndexCorruptError, match="ranker: found"):
        TreeModel(bad)
    (tmp_path / "order.txt").write_text(bad, encoding="utf-8")
    with pytest.raises(IndexCorruptError):
        TreeModel.open(tmp_path / "order.txt")


# LightGBM follows these without a look: each would read or write past its memory.
TRUSTED: dict[str, Callable[[str], str]] = {
    "sizes of trees": changed("tree_sizes", lambda numbers: ["99999999"] * len(numbers)),
    "more trees than there are": changed("tree_sizes", lambda numbers: [*numbers, "4000000000"]),
    "classes to write": changed("num_class", first("1000")),
    "trees of each round": changed("num_tree_per_iteration", first("1000")),
    "names of features": changed("feature_names", first("a b c d e f")),
    "a tree that only it sees": lambda text: text.replace("Tree=1\n", "Tree=01 \nx=1\n\nTree=1\n"),
    "a tree after the end": lambda text: text + "Tree=99\nnum_leaves=900\n\n",
}


@pytest.mark.parametrize("harm", TRUSTED)
def test_what_a_file_says_of_sizes_is_not_passed_on(harm: str, model: str) -> None:
    bad, features = TRUSTED[harm](model), samples(20, 5)
    assert bad != model
    np.testing.assert_array_equal(
        TreeModel(bad).scores(features), TreeModel(model).scores(features)
    )


@pytest.mark.filterwarnings("ignore:overflow")  # what damage makes of a value
def test_damaged_bytes_are_refused_or_harmless(model: str) -> None:
    draw, features, refused = np.random.default_rng(6), samples(20, 7), 0
    for _ in range(300):
        bad = list(model)
        for place in draw.integers(0, model.index("end of trees"), 2):
            bad[place] = draw.choice(list("0123456789-. =e\n"))
        try:
            trees = TreeModel("".join(bad))
        except IndexCorruptError:
            refused += 1
        else:
            if trees.features == FEATURES:
                assert trees.scores(features).shape == (20,)
                assert trees.contributions(features).shape == features.shape
    assert 50 < refused < 250


def test_missing_large_and_unreadable_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IndexCorruptError, match=r"order\.txt"):
        TreeModel.open(tmp_path / "order.txt")
    (tmp_path / "order.txt").write_bytes(b"tree\n\xff\xfe")
    with pytest.raises(IndexCorruptError, match=r"order\.txt"):
        TreeModel.open(tmp_path / "order.txt")
    monkeypatch.setattr("hashlens.retriever.ranking.tree_model._MAX_BYTES", 1 << 20)
    (tmp_path / "order.txt").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(IndexCorruptError, match="more than 1 MB"):
        TreeModel.open(tmp_path / "order.txt")


def forest(trees: int, leaves: int, features: int) -> str:
    """Return a valid model of chain-shaped trees, as a stranger may write one."""
    nodes = leaves - 1
    below = [*range(1, nodes), ~0] if nodes else []
    lines = [f"num_leaves={leaves}", "num_cat=0"]
    rows: dict[str, Sequence[int]] = {"leaf_value": [1] * leaves}
    if nodes:
        whole = [0] * nodes
        rows |= dict.fromkeys(("split_feature", "threshold", "decision_type"), whole)
        rows |= {"internal_value": whole, "internal_count": whole, "leaf_count": [1] * leaves}
        rows |= {"left_child": below, "right_child": [~leaf for leaf in range(1, leaves)]}
    lines += [f"{name}={' '.join(map(str, row))}" for name, row in rows.items()]
    head = f"tree\nversion=v4\nnum_class=1\nmax_feature_idx={features - 1}\n"
    body = "\n".join(lines)
    return head + "".join(f"\nTree={n}\n{body}\n" for n in range(trees)) + "\nend of trees\n"


@pytest.mark.parametrize(
    ("trees", "leaves", "features"),
    [(10_001, 1, 1), (900, 1, 10_000), (9, 1_024, 1_000), (9_000, 2, 500)],
)
def test_trees_times_leaves_times_features_are_bounded(
    trees: int, leaves: int, features: int
) -> None:
    with pytest.raises(IndexCorruptError, match=f"{trees} trees of up to {leaves} leaves"):
        TreeModel(forest(trees, leaves, features))


def test_one_long_tree_among_many_short_ones_counts_for_all() -> None:
    long = forest(1, 1_024, 66).removesuffix("\nend of trees\n")
    short = forest(200, 1, 66).split("Tree=0", 1)[1]
    with pytest.raises(IndexCorruptError, match="201 trees of up to 1024 leaves"):
        TreeModel(f"{long}\nTree=1{short}")


def test_the_largest_forest_explains_in_bounded_memory() -> None:
    found = TreeModel(forest(126, 1_000, 66))
    features = np.zeros((300, 66), np.float32)
    tracemalloc.start()
    shares = found.contributions(features)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300 << 20
    # Every row goes left through all of them, to leaves of 1 from means of 0.
    assert shares[:, 0].tolist() == [126] * 300
    assert not shares[:, 1:].any()
