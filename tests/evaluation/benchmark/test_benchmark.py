"""The benchmark on the sample posts: figures, files, continued runs, and refused input."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ir_measures
import pytest

from hashlens.evaluation.benchmark.cache import ResultCache, hash_code
from hashlens.evaluation.benchmark.report import COLUMNS, format_page, list_rows
from hashlens.evaluation.benchmark.run import WITHOUT_FEATURES, run_benchmark
from hashlens.evaluation.methods.base import Features, Ranking
from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.methods.method_registry import METHODS
from hashlens.evaluation.result_files import to_file_name
from hashlens.evaluation.tasks.suite import Task, standard_tasks
from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.errors import ConfigError, InputError
from hashlens.indexer.types import Post
from hashlens.retriever.recommendation import Query
from tests.support.reports import timeless

FEW = ["popularity", "cooccurrence", "word-counts"]
READ_QRELS: Any = ir_measures.read_trec_qrels
READ_RUN: Any = ir_measures.read_trec_run
MEASURES = {
    "P@1": ir_measures.P @ 1,
    "P@5": ir_measures.P @ 5,
    "R@10": ir_measures.R @ 10,
    "nDCG@10": ir_measures.nDCG @ 10,
    "hit@5": ir_measures.Success @ 5,
    "MAP@10": ir_measures.AP @ 10,
}


def make_tasks(
    source: Path, inputs: Sequence[str], name: str = "posts", rule: str = "auto"
) -> tuple[Task, ...]:
    return (Task(name, (source,), tuple(inputs), rule),)


class Broken:
    """A method with a bug."""

    name = "broken"
    inputs: frozenset[str] = frozenset()

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        raise ZeroDivisionError("no <posts>")

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        raise NotImplementedError


class Unsorted(Broken):
    """A method whose scores do not decrease."""

    name = "unsorted"

    def fit(self, posts: Sequence[Post], *, features: Features | None = None) -> None:
        """Learn nothing."""

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return [[("dog", 0.5), ("cat", 0.5)] for _ in queries]


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    """Register two faulty methods, and hashlens with settings that build fast."""
    vectors = VectorConfig("word2vec", min_count=1, epochs=1)
    small = BuildConfig(encoder="efficientnet-lite0", vectors=vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "hashlens.evaluation.benchmark.run.WITHOUT_FEATURES",
            WITHOUT_FEATURES | {"broken", "unsorted"},
        )
        patch.setitem(METHODS, "broken", Broken)
        patch.setitem(METHODS, "unsorted", Unsorted)
        patch.setitem(METHODS, "hashlens", lambda: Product(small))
        yield


@pytest.fixture(scope="module")
def captions(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the sample posts without their pictures."""
    lines = (sample_folder / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    source = tmp_path_factory.mktemp("captions") / "posts.jsonl"
    posts = [json.loads(line) | {"image": None} for line in lines]
    source.write_text("\n".join(map(json.dumps, posts)), encoding="utf-8")
    return source


Run = tuple[Path, dict[str, Any], list[str]]


@pytest.fixture(scope="module")
def finished(registered: None, captions: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return folder, report and messages of a run over two combinations of inputs."""
    out, messages = tmp_path_factory.mktemp("benchmark") / "out", list[str]()
    tasks = make_tasks(captions, ["caption", "seeds:1,caption"], name="sample")
    names = [*FEW, "topic-popularity", "broken", "unsorted", "hashlens"]
    return out, run_benchmark(tasks, out, methods=names, on_message=messages.append), messages


def test_figures_agree_with_the_run_and_qrels_files(finished: Run) -> None:
    out, report, _ = finished
    assert json.loads((out / "report.json").read_text()) == report
    (task,) = report["tasks"]
    judged = 0
    for part in task["combinations"]:
        name = f"sample.{to_file_name(part['inputs'])}"
        qrels = list(READ_QRELS(str(out / "runs" / f"{name}.qrels")))
        for row in (row for row in part["methods"] if "error" not in row):
            run = READ_RUN(str(out / "runs" / f"{name}.{row['method']}.run"))
            found = ir_measures.calc_aggregate(list(MEASURES.values()), qrels, list(run))
            for metric, measure in MEASURES.items():
                assert row["metrics"][metric] == pytest.approx(found[measure], abs=1e-9)
                low, high = row["intervals"][metric]
                assert low <= row["metrics"][metric] <= high
            for place, metric in ((0, "P@1"), (4, "P@5"), (9, "P@10")):
                assert row["curve"][place] == pytest.approx(row["metrics"][metric])
            judged += 1
    assert judged == 4 + 5  # co-occurrence does not read captions
    assert [part["inputs"] for part in task["combinations"]] == ["caption", "caption,seeds:1"]


def test_a_method_that_reads_none_of_the_inputs_is_left_out(finished: Run) -> None:
    _, report, _ = finished
    methods = [
        {row["method"] for row in part["methods"]} for part in report["tasks"][0]["combinations"]
    ]
    assert methods[1] - methods[0] == {"cooccurrence"}  # it reads seeds alone


def test_a_faulty_method_is_a_row_and_the_others_run(finished: Run) -> None:
    _, report, messages = finished
    for part in report["tasks"][0]["combinations"]:
        errors = {row["method"]: row["error"] for row in part["methods"] if "error" in row}
        assert errors.keys() == {"broken", "unsorted"}
        assert "ZeroDivisionError('no <posts>')" in errors["broken"]
        assert "strictly fall" in errors["unsorted"]
    assert messages == ["sample: broken failed: ZeroDivisionError('no <posts>')"]
    assert "no &lt;posts&gt;" in format_page(report)


def test_the_per_query_file_has_the_same_means(finished: Run) -> None:
    out, report, _ = finished
    with (out / "per_query.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for part in report["tasks"][0]["combinations"]:
        for row in (row for row in part["methods"] if "error" not in row):
            of = (part["inputs"], row["method"])
            own = [line for line in lines if (line["inputs"], line["method"]) == of]
            assert len(own) == len({line["post_id"] for line in own}) == part["queries"]
            mean = sum(float(line["P@5"]) for line in own) / len(own)
            assert mean == pytest.approx(row["metrics"]["P@5"], abs=1e-6)


def test_differences_are_to_the_best_baseline(finished: Run) -> None:
    _, report, _ = finished
    for part in report["tasks"][0]["combinations"]:
        sound = {row["method"]: row for row in part["methods"] if "error" not in row}
        for metric in ("P@5", "nDCG@10"):
            means = {name: row["metrics"][metric] for name, row in sound.items()}
            best = max((n for n in means if n != "hashlens"), key=means.__getitem__)
            assert metric not in sound[best]["differences"]
            for name in means.keys() - {best}:
                found = sound[name]["differences"][metric]
                assert means[found["against"]] == means[best]
                assert found["diff"] == pytest.approx(means[name] - means[best])
                assert 0 < found["p"] <= 1
        assert part["best_baseline"] in sound.keys() - {"hashlens"}


def test_topics_answers_and_calibration_are_judged(finished: Run) -> None:
    _, report, _ = finished
    for part in report["tasks"][0]["combinations"]:
        by_name = {row["method"]: row for row in part["methods"] if "error" not in row}
        for row in by_name.values():
            assert 0 < sum(topic["queries"] for topic in row["topics"].values()) <= part["queries"]
            assert (row["calibration"] is not None) == (row["method"] == "hashlens")
            assert 0 <= row["coverage"] <= row["answered"] <= 1
        assert by_name["topic-popularity"]["answered"] > 0.8  # it has features
        own = by_name["hashlens"]["calibration"]
        gaps = [abs(p - o) for p, o in zip(own["predicted"], own["observed"], strict=True)]
        weighed = sum(gap * n for gap, n in zip(gaps, own["counts"], strict=True))
        assert own["error"] == pytest.approx(weighed / sum(own["counts"]))


def test_the_page_has_plots_and_loads_nothing_from_outside(finished: Run) -> None:
    out, _, _ = finished
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text.count('src="data:image/svg+xml;base64,') == 2 * 4
    assert re.findall(r"https?://", text) == []
    assert "<script" not in text


def test_the_page_shows_the_accuracy_of_left_out_collections() -> None:
    cats = {"origin": "<cats>", "topic": "pets", "queries": 2_000}
    cats |= {"accuracy": 0.75, "head_accuracy": 0.5, "said": [1_500, 500]}
    topic = {
        "queries": 10,
        "accuracy": 0.9,
        "interval": [0.8, 1.0],
        "encoder": "efficientnet-lite0",
        "head_accuracy": 0.8,
        "topics": ["pets", "food"],
        "confusion": [[5, 0], [1, 4]],
        "calibration": {"error": 0.02, "predicted": [0.9], "observed": [0.9], "counts": [10]},
        "left_out": {"errors": 500, "head_errors": 1_000, "origins": [cats]},
    }
    split = {"rule": "post", "train": 40, "test": 10}
    task = {"task": "pictures", "split": split, "topic": topic}
    text = format_page({"seed": 1, "queries_limit": None, "tasks": [task]})
    assert "plain logistic head alone has accuracy 0.800.</p>" in text
    topic["zero_shot"] = 0.7
    with_texts = format_page({"seed": 1, "queries_limit": None, "tasks": [task]})
    assert "alone has accuracy 0.800, their texts alone 0.700.</p>" in with_texts
    assert "500 errors; the plain logistic head alone makes 1,000." in text
    cells = "<td>&lt;cats&gt;</td><td>pets</td><td>2,000</td><td>0.750</td><td>0.500</td>"
    assert f"<tr>{cells}</tr>" in text


def test_terminal_rows(finished: Run) -> None:
    _, report, _ = finished
    found = list_rows(report)
    assert {len(row) for row in found} == {len(COLUMNS)}
    first = report["tasks"][0]["combinations"][0]["methods"][0]
    low, high = first["intervals"]["P@5"]
    assert found[0][:5] == (
        *("sample", "caption", "popularity", f"{first['metrics']['P@1']:.3f}"),
        f"{first['metrics']['P@5']:.3f} [{low:.3f}, {high:.3f}]",
    )
    assert [row[3] for row in found if row[2] == "broken"] == [
        "failed: ZeroDivisionError('no <posts>')"
    ] * 2


def test_a_second_run_reuses_finished_work(
    finished: Run, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, report, _ = finished
    out = tmp_path / "out"
    shutil.copytree(first, out)
    stored = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert len(stored) == 6  # without the broken method
    # Only the work of a damaged file is repeated.
    (damaged,) = (path for path in stored if ".sample+popularity." in f".{path.name}")
    damaged.write_text("{")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("learned again")

    monkeypatch.setattr(Product, "fit", fail)
    monkeypatch.setattr(METHODS["word-counts"], "fit", fail)
    tasks = make_tasks(captions, ["caption", "seeds:1,caption"], name="sample")
    names = [*FEW, "topic-popularity", "broken", "unsorted", "hashlens"]
    again = run_benchmark(tasks, out, methods=names)
    assert timeless(again) == timeless(report)
    changed = {p for p in (out / "parts").iterdir() if p.stat().st_mtime_ns != stored.get(p)}
    assert changed == {damaged}


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(
    sample_folder: Path, tmp_path: Path
) -> None:
    tasks = make_tasks(sample_folder, ["caption,seeds:1"])
    runs = [
        run_benchmark(tasks, tmp_path / str(n), methods=FEW, seed=seed, queries_limit=12)
        for n, seed in enumerate((1, 1, 2))
    ]
    assert timeless(runs[0]) == timeless(runs[1]) != timeless(runs[2])
    for name in ("splits/posts.json", "per_query.csv"):
        first, second, other = ((tmp_path / n / name).read_bytes() for n in "012")
        assert first == second != other
    assert runs[0]["tasks"][0]["combinations"][0]["queries"] == 12


def test_a_dollar_or_markup_in_a_topic_is_escaped(tmp_path: Path) -> None:
    posts = [
        {"id": f"p {n}", "hashtags": ["a", "b", f"c{n % 3}"], "topic": f"<b>${n % 2}^{{$"}
        for n in range(40)
    ]
    source = tmp_path / "posts.jsonl"
    source.write_text("\n".join(map(json.dumps, posts)))
    out = tmp_path / "out"
    report = run_benchmark(make_tasks(source, ["seeds:1"], rule="post"), out, methods=FEW[:2])
    (part,) = report["tasks"][0]["combinations"]
    assert set(part["methods"][0]["topics"]) == {"<b>$0^{$", "<b>$1^{$"}
    assert "<b>$" not in (out / "report.html").read_text()
    qrels = (out / "runs" / "posts.seeds1.qrels").read_text().splitlines()
    assert {len(line.split()) for line in qrels} == {4}
    assert qrels[0].startswith("p%20")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"methods": ["popularty"]}, ConfigError, "--methods: .* did you mean popularity?"),
        ({"k": 0}, ConfigError, "k: found 0, expected 1"),
        ({"queries_limit": 0}, ConfigError, "limit of 0, expected 1"),
        ({"inputs": ["seeds:90"]}, InputError, "no hashtag to predict beside 90 given as seeds"),
        ({"inputs": ["sound"]}, ConfigError, "found 'sound', expected image, caption"),
        ({"inputs": []}, ConfigError, "found 0 combinations of inputs, expected one or more"),
        ({"rule": "moon"}, ConfigError, "found split rule 'moon', expected one of author"),
    ],
)
def test_invalid_settings_are_refused_in_one_line(
    change: dict[str, Any],
    error: type[Exception],
    message: str,
    sample_folder: Path,
    tmp_path: Path,
) -> None:
    task = {"inputs": ["caption"], "rule": "auto"} | change
    settings = {"methods": FEW} | {n: change[n] for n in change if n not in ("inputs", "rule")}

    def run() -> None:
        tasks = make_tasks(sample_folder, task["inputs"], rule=task["rule"])
        run_benchmark(tasks, tmp_path, **settings)

    with pytest.raises(error, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("posts", "message"),
    [
        (
            [{"caption": "nothing but words here"}, {"caption": "and some other words"}],
            "no hashtag",
        ),
        ([{"hashtags": ["one", "two"]}], "found 1 posts that must all stay together"),
        ([{"author": "nobody"}], "found no usable post"),
    ],
)
def test_too_few_posts_or_posts_without_hashtags_are_refused(
    posts: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    source = tmp_path / "posts.jsonl"
    source.write_text("\n".join(map(json.dumps, posts)))
    with pytest.raises(InputError, match=message):
        run_benchmark(make_tasks(source, ["caption"]), tmp_path / "out", methods=FEW)


def test_two_tasks_of_one_name_and_no_tasks_are_refused(
    sample_folder: Path, tmp_path: Path
) -> None:
    task = Task("same", (sample_folder,), ("caption",))
    for tasks in ((task, task), ()):
        with pytest.raises(ConfigError, match="expected each name once"):
            run_benchmark(tasks, tmp_path)


def test_standard_tasks_are_those_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none of the folders instagram_captions, harrison"):
        standard_tasks(tmp_path)
    for name in ("tweets_images", "topic_images"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "posts.jsonl").touch()
    tweets, topics = standard_tasks(tmp_path)
    assert tweets.inputs == ("image", "caption", "image,caption", "image,caption,seeds:1")
    assert (topics.name, topics.kind, topics.inputs) == ("topic_images", "topics", ())


def test_results_depend_on_settings_and_failures_are_not_stored(tmp_path: Path) -> None:
    parts, calls = ResultCache(tmp_path), []

    def work(value: int) -> Callable[[], dict[str, Any]]:
        return lambda: calls.append(value) or {"value": value}  # type: ignore[func-returns-value]

    assert [parts.load_or_compute("a/b", [1], work(n))["value"] for n in (1, 2)] == [1, 1]
    assert parts.load_or_compute("a/b", [2], work(3))["value"] == 3
    assert calls == [1, 3]
    with pytest.raises(ZeroDivisionError):
        parts.load_or_compute("bad", [], lambda: {"value": 1 / 0})
    assert len(list(tmp_path.iterdir())) == 2


def test_the_hash_covers_indirect_imports() -> None:
    reached = set(hash_code(["hashlens.evaluation.methods.hashlens"]))
    assert reached > set(hash_code(["hashlens.retriever.ranking.ranker"])) | set(
        hash_code(["hashlens.evaluation.methods.base"])
    )
    assert not set(hash_code(["hashlens.retriever.ranking.ranker"])) <= set(
        hash_code(["hashlens.evaluation.methods.counting"])
    )
