"""Metrics and intervals, by cases worked by hand, plain definitions, and simulation."""

from __future__ import annotations

import random
from itertools import product
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens.evaluation.metrics.intervals import bootstrap_means, paired_difference
from hashlens.evaluation.metrics.ranking import (
    FAMILIES,
    QueryMetrics,
    calibration,
    coverage,
    evaluate,
    generic_hashtags,
    generic_share,
    novelty,
)
from hashlens.indexer.errors import ConfigError, InputError, ShapeError


def a_run(tags: str) -> list[tuple[str, float]]:
    """Return a run of one-letter hashtags, best first."""
    return [(tag, 1 / rank) for rank, tag in enumerate(tags, 1)]


def test_a_query_worked_by_hand() -> None:
    # Right: b and d at ranks 2 and 4 of five, and z, never found.
    found = evaluate([a_run("abcde")], [("b", "d", "z")], ks=(1, 5, 10))
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    ndcg = (1 / log2(3) + 1 / log2(5)) / ideal
    average = (1 / 2 + 2 / 4) / 3
    expected = {
        **{"P@1": 0, "P@5": 2 / 5, "P@10": 2 / 10},
        **{"R@1": 0, "R@5": 2 / 3, "R@10": 2 / 3},
        **{"F1@1": 0, "F1@5": 2 * 2 / (5 + 3), "F1@10": 2 * 2 / (10 + 3)},
        **{"hit@1": 0, "hit@5": 1, "hit@10": 1},
        **{"nDCG@1": 0, "nDCG@5": ndcg, "nDCG@10": ndcg},
        **{"MAP@1": 0, "MAP@5": average, "MAP@10": average},
    }
    assert found.metrics == tuple(expected)
    assert found.means() == pytest.approx(expected)


def test_a_short_run_is_divided_by_k_and_an_unanswered_query_counts_nothing() -> None:
    found = evaluate([a_run("a"), [], a_run("ba")], [("a", "b"), ("a",), ("a",)], ks=(1, 5))
    assert found.column("P@5").tolist() == pytest.approx([1 / 5, 0, 1 / 5])
    assert found.column("R@5").tolist() == pytest.approx([1 / 2, 0, 1])
    assert found.column("P@1").tolist() == [1, 0, 0]
    assert found.column("nDCG@1").tolist() == [1, 0, 0]  # the best possible one place holds one
    assert found.values[1].tolist() == [0] * 12
    assert found.means()["P@5"] == pytest.approx(2 / 15)
    assert evaluate([[], []], [("a",), ("b",)]).values.tolist() == [[0] * 18] * 2


def brute_force(tags: str, right: str, k: int) -> dict[str, float]:
    """Return the metrics by their definitions in `FAMILIES`."""
    hits = [tag in right for tag in tags[:k]]
    precision, recall = sum(hits) / k, sum(hits) / len(right)
    best = sum(1 / log2(rank + 1) for rank in range(1, min(k, len(right)) + 1))
    gain = sum(hit / log2(rank + 1) for rank, hit in enumerate(hits, 1))
    average = sum(hit * sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1))
    return {
        "P": precision,
        "R": recall,
        "F1": 2 * precision * recall / (precision + recall) if any(hits) else 0,
        "hit": float(any(hits)),
        "nDCG": gain / best,
        "MAP": average / len(right),
    }


letters = st.permutations("abcdefghijkl").map("".join)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(letters, st.integers(0, 12), st.sets(st.sampled_from("abcdefxyz"), min_size=1)),
        min_size=1,
        max_size=6,
    )
)
def test_every_metric_follows_its_definition(cases: list[tuple[str, int, set[str]]]) -> None:
    runs = [a_run(tags[:length]) for tags, length, _ in cases]
    found = evaluate(runs, [right for _, _, right in cases], ks=(1, 3, 10))
    for row, (tags, length, right) in zip(found.values, cases, strict=True):
        plain = {k: brute_force(tags[:length], "".join(right), k) for k in (1, 3, 10)}
        expected = [plain[k][name] for name, k in product(FAMILIES, (1, 3, 10))]
        assert row.tolist() == pytest.approx(expected, abs=1e-9)


def test_scores_that_are_equal_in_single_precision_keep_their_order() -> None:
    tags = "zyxwvutsrqponmlkjihgfedcba"
    for names in (tags, tags[::-1]):
        run = [(tag, 1 - rank * 1e-12) for rank, tag in enumerate(names)]
        assert evaluate([run], [(names[4],)], ks=(5,)).column("MAP@5")[0] == pytest.approx(1 / 5)


def test_hashtags_of_any_script_are_judged() -> None:
    run = [("путешествия", 3.0), ("旅行", 2.0), ("🌊", 1.0)]
    assert evaluate([run], [("旅行", "🌊")], ks=(3,)).column("P@3")[0] == pytest.approx(2 / 3)


def test_order_and_repeats_of_k_do_not_matter() -> None:
    runs, answers = [a_run("abc"), a_run("cab")], ["a", "b"]
    once = evaluate(runs, answers, ks=(1, 2))
    again = evaluate(runs, answers, ks=(2, 1, 2))
    assert again.metrics == once.metrics
    assert again.values.tolist() == once.values.tolist()


@pytest.mark.parametrize(
    ("runs", "answers", "ks", "error", "message"),
    [
        ([a_run("a")], [("a",)], (0, 5), ConfigError, "k: found 0, 5, expected 1 or more"),
        ([a_run("a")], [("a",)], (), ConfigError, "k: found none"),
        ([a_run("a")], [("a",), ("b",)], (1,), ShapeError, "found 1 runs for 2 queries"),
        ([], [], (1,), InputError, "found 0 of 0 queries without right hashtags"),
        ([a_run("a")] * 2, [("a",), ()], (1,), InputError, "found 1 of 2 queries without"),
        ([a_run("aba")], [("a",)], (1,), ShapeError, "of query 0, that names a hashtag twice"),
        ([[("a", 1.0), ("b", 1.0)]], [("a",)], (1,), ShapeError, "do not strictly fall"),
        ([[("a", 1.0), ("b", float("nan"))]], [("a",)], (1,), ShapeError, "do not strictly"),
    ],
)
def test_invalid_runs_are_refused(runs, answers, ks, error, message) -> None:
    with pytest.raises(error, match=message):
        evaluate(runs, answers, ks)


def test_metrics_per_query_are_read_only_and_named() -> None:
    found = QueryMetrics(("P@1", "P@5"), np.array([[1.0, 0.2], [0.0, 0.4]]))
    assert found.means() == pytest.approx({"P@1": 0.5, "P@5": 0.3})
    assert not found.values.flags.writeable
    with pytest.raises(ConfigError, match="found 'P@2', expected one of P@1, P@5"):
        found.column("P@2")
    with pytest.raises(ShapeError, match=r"found float64 \(2, 1\), expected float64 \(any, 2\)"):
        QueryMetrics(("P@1", "P@5"), np.zeros((2, 1)))


def test_coverage_is_the_share_of_the_vocabulary_ever_recommended() -> None:
    runs = [a_run("abc"), a_run("bax"), []]
    assert coverage(runs, "abcdefgh", 2) == 2 / 8
    assert coverage(runs, "abcdefgh", 3) == 3 / 8
    with pytest.raises(InputError, match="found no training hashtags"):
        coverage(runs, [], 5)


def test_novelty_is_the_mean_of_bits() -> None:
    uses = {"a": 8, "b": 2, "c": 1}
    # Of 16 posts: a is worth 1 bit, b 3, c 4, and x, unknown, 4.
    assert novelty([a_run("ab"), a_run("ac"), []], uses, 16, 5) == (1 + 3 + 1 + 4) / 4
    assert novelty([a_run("xb")], uses, 16, 1) == 4
    assert novelty([[]], uses, 16, 5) == 0
    for posts in (0, 7):
        with pytest.raises(InputError, match=f"found {posts} training posts"):
            novelty([], uses, posts, 5)


def test_generic_hashtags_are_the_most_used() -> None:
    uses = {f"t{number:03d}": 300 - number for number in range(300)}
    assert generic_hashtags(uses) == {"t000", "t001", "t002"}
    assert generic_hashtags({"b": 5, "a": 5, "c": 9}, 0.7) == {"c", "a"}
    assert generic_hashtags({"b": 5, "a": 5}) == {"a"}
    with pytest.raises(ConfigError, match="found a share of 0"):
        generic_hashtags(uses, 0)


def test_generic_share_counts_places_of_the_first_k() -> None:
    runs = [a_run("axbyza"[:5]), a_run("xya"), []]
    assert generic_share(runs, {"a", "b"}, 5) == 3 / 8
    assert generic_share(runs, {"a", "b"}, 2) == 1 / 4
    assert generic_share([[]], {"a"}) == 0


def test_calibration_worked_by_hand() -> None:
    found = calibration([0.9, 0.1, 0.2, 0.8], [True, False, True, True], bins=2)
    assert found.predicted.tolist() == pytest.approx([0.15, 0.85])
    assert found.observed.tolist() == [0.5, 1]
    assert found.counts.tolist() == [2, 2]
    assert found.error == pytest.approx((0.35 + 0.15) / 2)


def test_equal_probabilities_share_a_bin_so_that_ties_cost_nothing() -> None:
    found = calibration([0.25] * 60 + [0.75] * 40, [1, 0, 0, 0] * 15 + [1, 1, 1, 0] * 10)
    assert found.counts.tolist() == [60, 40]
    assert found.error == pytest.approx(0)


def test_bins_hold_equally_many_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    stated = rng.permutation(np.linspace(0, 1, 3000) ** 3)
    true = rng.random(3000) < stated
    found = calibration(stated, true)
    assert found.counts.tolist() == [200] * 15
    # The mean absolute error of a share of 200 draws of probability p is sqrt(2 p (1-p)/200/pi).
    noise = np.sqrt(2 * found.predicted * (1 - found.predicted) / 200 / np.pi).mean()
    assert 0.4 * noise < found.error < 1.6 * noise
    assert calibration(stated[::-1], true[::-1]).error == pytest.approx(found.error)
    assert calibration(stated / 2, true).error == pytest.approx(0.125, abs=0.02)


@pytest.mark.parametrize(
    ("stated", "true", "bins", "error", "message"),
    [
        ([], [], 15, InputError, "found no predictions"),
        ([0.5], [1, 0], 15, ShapeError, "expected two rows of one length"),
        ([1.5], [1], 15, ShapeError, "expected probabilities in"),
        ([float("nan")], [1], 15, ShapeError, "expected probabilities in"),
        ([0.5], [2], 15, ShapeError, "outcomes 0 or 1"),
        ([0.5], [1], 0, ConfigError, "found 0 bins"),
    ],
)
def test_invalid_predictions_are_refused(stated, true, bins, error, message) -> None:
    with pytest.raises(error, match=message):
        calibration(stated, true, bins)


def bootstrap_mean(values, seed: int, resamples: int = 2000) -> tuple[float, float]:
    """Return the interval of the mean of one column."""
    column = np.array(values, dtype=np.float64)[:, None]
    low, high, _ = bootstrap_means(column, seed, resamples)
    return float(low[0]), float(high[0])


def test_the_interval_of_two_values_is_that_of_their_three_means() -> None:
    # Means of two draws of {0, 1}: 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert bootstrap_mean([0, 1], seed=1) == (0, 1)
    assert bootstrap_mean([3, 3, 3], seed=1) == (3, 3)
    assert bootstrap_mean([0.25], seed=1) == (0.25, 0.25)


def test_the_interval_is_that_of_the_exact_bootstrap_distribution() -> None:
    values = [0.0, 1.0, 2.0, 5.0]
    every = np.sort([np.mean(drawn) for drawn in product(values, repeat=4)])
    low, high = bootstrap_mean(values, seed=3, resamples=20_000)
    # 256 equally likely means lie in steps of 1/4; sampling may move a quantile by one step.
    assert low == pytest.approx(np.quantile(every, 0.025), abs=0.26)
    assert high == pytest.approx(np.quantile(every, 0.975), abs=0.26)


def test_intervals_contain_the_true_mean_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(5)
    contained = 0
    for trial in range(300):
        low, high = bootstrap_mean(rng.exponential(size=80), seed=trial, resamples=500)
        contained += low <= 1 <= high
    # Skewed values and 80 queries: a percentile interval holds a little less than 95 %.
    assert 0.89 <= contained / 300 <= 0.98


def test_intervals_of_columns_equal_those_of_each_column_and_are_repeatable() -> None:
    values = np.random.default_rng(2).random((500, 3))
    low, high, means = bootstrap_means(values, seed=4, resamples=300)
    assert means.shape == (3, 300)
    for column in range(3):
        alone = bootstrap_mean(values[:, column], seed=4, resamples=300)
        assert alone == (low[column], high[column])
    assert bootstrap_mean(values[:, 0], seed=4) != bootstrap_mean(values[:, 0], seed=5)
    # The normal interval, which a mean of 500 uniform values is close to.
    spread = 1.96 * values.std(axis=0) / np.sqrt(500)
    assert high - low == pytest.approx(2 * spread, rel=0.15)
    assert (high + low) / 2 == pytest.approx(values.mean(axis=0), abs=0.1 * spread.max())


def test_intervals_of_many_queries_are_drawn_in_batches() -> None:
    values = np.arange(300_000) % 2 * 1.0
    low, high = bootstrap_mean(values, seed=1, resamples=100)
    spread = 1.96 * 0.5 / np.sqrt(300_000)
    assert (low, high) == pytest.approx((0.5 - spread, 0.5 + spread), abs=0.4 * spread)


def test_a_paired_difference_worked_by_hand() -> None:
    # Differences 1 and -1 have mean 0: every resample is at least as extreme.
    assert paired_difference([1, 0], [0, 1], seed=1) == (0, -1, 1, 1)
    assert paired_difference([1, 2, 3], [1, 2, 3], seed=1) == (0, 0, 0, 1)
    # Always 1/2 better: no shifted resample is as extreme, so only the observed one counts.
    assert paired_difference([1, 2, 3], [0.5, 1.5, 2.5], seed=1) == (0.5, 0.5, 0.5, 1 / 2001)
    # Differences 0 and 1, shifted to -1/2 and 1/2: half of the resampled means are extreme.
    found = paired_difference([0, 1], [0, 0], seed=1, resamples=20_000)
    assert found[:3] == (0.5, 0, 1)
    assert found.p == pytest.approx(0.5, abs=0.02)


def test_a_difference_changes_sign_with_the_order_of_methods() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(200), rng.random(200) + 0.03
    one, other = paired_difference(a, b, seed=2), paired_difference(b, a, seed=2)
    assert one[:3] == pytest.approx((-other.diff, -other.high, -other.low))
    assert one.p == other.p
    assert one == paired_difference(a, b, seed=2)


def test_p_values_reject_chance_one_time_in_twenty_and_find_real_differences() -> None:
    rng = np.random.default_rng(8)
    chance, real = 0, 0
    for trial in range(300):
        shared, noise = rng.random(60), rng.normal(size=60)
        chance += paired_difference(shared + noise, shared, trial, resamples=400).p < 0.05
        real += paired_difference(shared + noise + 0.5, shared, trial, resamples=400).p < 0.05
    # 0.5 is 3.9 standard errors of 60 differences: the power of a z test is 97 %.
    assert 0.02 <= chance / 300 <= 0.09
    assert real / 300 > 0.93


@pytest.mark.parametrize(
    ("a", "b", "resamples", "error", "message"),
    [
        ([], [], 9, InputError, "found no values"),
        ([1, 2], [1], 9, ShapeError, r"found values of shape \(2,\) and \(1,\)"),
        ([1, float("nan")], [1, 2], 9, ShapeError, "expected finite numbers"),
        ([[1]], [[1]], 9, ShapeError, r"found values of shape \(1, 1\)"),
        ([1], [1], 0, ConfigError, "found 0 resamples"),
    ],
)
def test_values_without_an_interval_are_refused(a, b, resamples, error, message) -> None:
    with pytest.raises(error, match=message):
        paired_difference(a, b, 1, resamples)


def test_runs_of_shuffled_queries_have_the_same_means() -> None:
    rng = random.Random(4)
    cases = [
        ("".join(rng.sample("abcdefgh", 8)), tuple(rng.sample("abcdefgh", 3))) for _ in "ab" * 9
    ]
    shuffled = rng.sample(cases, len(cases))
    means = [
        evaluate([a_run(tags) for tags, _ in each], [right for _, right in each]).means()
        for each in (cases, shuffled)
    ]
    assert means[0] == pytest.approx(means[1])
