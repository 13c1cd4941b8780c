"""The benchmark: every method learns from one part of the posts and is judged on the other.

The answers of each method are cached in `parts`, so that an interrupted run can continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from hashlens.evaluation.benchmark.ablation import run_ablation
from hashlens.evaluation.benchmark.cache import ResultCache, hash_code
from hashlens.evaluation.benchmark.report import JudgedRun, write_report
from hashlens.evaluation.benchmark.scoring import FORMAT, TrainCounts, list_cutoffs, score_rankings
from hashlens.evaluation.benchmark.topic_accuracy import judge_topics
from hashlens.evaluation.methods.base import Features, Method
from hashlens.evaluation.methods.feature_learning import learn_features
from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.methods.method_registry import METHODS, VARIANTS, check_libraries
from hashlens.evaluation.metrics.intervals import paired_difference
from hashlens.evaluation.metrics.ranking import MAIN_METRICS, QueryMetrics
from hashlens.evaluation.result_files import Json, to_file_name, write_file
from hashlens.evaluation.tasks.inputs import make_queries
from hashlens.evaluation.tasks.suite import TOPICS, PreparedTask, Task, prepare_task
from hashlens.indexer.config import choose
from hashlens.indexer.errors import ConfigError, HashlensError, InputError
from hashlens.indexer.progress import NullProgress, Progress

MAX_QUERIES = 2_000  # of each combination of inputs, unless another limit is given

# Features of pictures cost minutes; these methods do not need them.
WITHOUT_FEATURES = frozenset(
    {"popularity", "cooccurrence", "item-knn", "ease", "post-vote", "tfidf-knn", "bm25-knn"}
    | {"word-counts", "spelled", "fasttext", "word2vec", "glove", "pretrained+word2vec", "lda"}
    | {Product.name, *VARIANTS}
)

MakeMethod = Callable[[], Method]


def run_benchmark(
    tasks: Sequence[Task],
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    seed: int = 1,
    queries_limit: int | None = MAX_QUERIES,
    k: int = 10,
    ablate: bool = False,
    progress: Progress | None = None,
    on_message: Callable[[str], None] = lambda message: None,
) -> Json:
    """Run methods on tasks, and write the results into `out`.

    The files are `report.json`, `report.html`, `report.md`, `per_query.csv`, `splits/*.json`, and
    `runs/*.run` and `*.qrels` in TREC's format. The same posts and seed give the same figures,
    except times.

    Args:
        tasks: all are read before the first method learns.
        out: folder, created if missing; a second run into it reuses finished work.
        methods: names of `METHODS`; None for all.
        seed: of splits, seed hashtags, drawn queries and bootstrap.
        queries_limit: most queries of each combination of inputs, drawn at random; None for all.
        k: judged beside 1, 5 and 10.
        ablate: whether hashlens is also judged with each channel left out in turn, with hard topics
            and without topics.
        progress: receives every stage.
        on_message: receives notes on rejected posts and failed methods.

    Returns:
        The JSON values of `report.json`.

    Raises:
        ConfigError: a method is unknown, two tasks have one name, k or the limit is below 1, or a
            library is not installed.
        InputError: posts cannot be read or split, none has the inputs of a task, or files cannot be
            written.
    """
    chosen = {name: choose(METHODS | VARIANTS, name, "--methods") for name in methods or METHODS}
    chosen |= VARIANTS if ablate else {}
    list_cutoffs(k)
    if queries_limit is not None and queries_limit < 1:
        raise ConfigError(f"queries: found a limit of {queries_limit}, expected 1 or more")
    names = [to_file_name(task.name) for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"tasks: found {', '.join(names) or 'none'}, expected each name once")
    check_libraries()
    progress = progress or NullProgress()
    try:
        for folder in ("parts", "splits", "runs"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror}; name another") from error
    prepared = []
    for task in tasks:
        progress.stage(f"{task.name}: reading posts")
        prepared.append(prepare_task(task, seed=seed, limit=queries_limit))
        if rejections := prepared[-1].rejections:
            on_message(f"{task.name}: {len(rejections):,} not used, the first: {rejections[0]}")
    report: Json = {"format": FORMAT, "seed": seed, "k": k}
    report |= {"queries_limit": queries_limit, "tasks": []}
    judged: list[JudgedRun] = []
    for ready in prepared:
        write_file(out / "splits" / f"{to_file_name(ready.task.name)}.json", ready.split.to_json())
        cached = ResultCache(out / "parts")
        task_run = _TaskRun(ready, cached, seed, k, ablate, progress, on_message)
        report["tasks"].append(task_run.run(chosen, judged))
    write_report(out, report, judged)
    return report


@dataclass(frozen=True, slots=True, eq=False)
class _TaskRun:
    """One task with its settings."""

    ready: PreparedTask
    cached: ResultCache
    seed: int
    k: int
    ablate: bool
    progress: Progress
    on_message: Callable[[str], None]

    def run(self, methods: Mapping[str, MakeMethod], judged: list[JudgedRun]) -> Json:
        """Return the task's part of the report; `judged` receives the runs of methods."""
        ready = self.ready
        result: Json = {"task": ready.task.name, "kind": ready.task.kind}
        result["split"] = {"rule": ready.split.rule, "seed": self.seed}
        result["split"] |= {"train": len(ready.train), "test": len(ready.test)}
        result["rejected"] = sum(not r.post_kept for r in ready.rejections)
        settings: Json = {"seed": self.seed, "progress": self.progress}
        if ready.task.kind == TOPICS:
            judge = partial(judge_topics, ready.train, ready.test, **settings)
            return result | {"topic": self._cache("image topic", judge_topics.__module__, judge)}
        answers = self._run_methods(methods)
        counts = TrainCounts.count(ready.train)
        combinations = [self._judge(inputs, answers, counts, judged) for inputs in ready.queries]
        if self.ablate:
            self.progress.stage(f"{ready.task.name}: leaving channels out")
            ablate = partial(run_ablation, ready.train, ready.queries, **settings)
            result["ablation"] = self._cache("ablation", run_ablation.__module__, ablate)
        return result | {"combinations": combinations}

    def _run_methods(self, methods: Mapping[str, MakeMethod]) -> dict[str, Json]:
        """Return each method's answers, or its `error`."""

        @cache
        def features() -> Features:
            self.progress.stage(f"{self.ready.task.name}: learning features")
            queries = self.ready.unique_queries()
            return learn_features(self.ready.train, queries, cache=self.cached.folder)

        answers = {}
        for name, make in methods.items():
            self.progress.stage(f"{self.ready.task.name}: {name}", len(self.ready.queries) + 1)
            try:
                answers[name] = self._run_method(name, make, features)
            except Exception as error:  # one method's bug must not cost the others' hours
                what = str(error) if isinstance(error, HashlensError) else repr(error)
                answers[name] = {"error": what}
                self.on_message(f"{self.ready.task.name}: {name} failed: {what}")
        return answers

    def _run_method(self, name: str, make: MakeMethod, features: Callable[[], Features]) -> Json:
        method = make()

        def run() -> Json:
            learned = None if name in WITHOUT_FEATURES else features()
            began = time.perf_counter()
            method.fit(self.ready.train, features=learned)
            result: Json = {"fit_s": time.perf_counter() - began, "inputs": {}}
            result["probabilities"] = bool(getattr(method, "probabilities", False))
            self.progress.advance()
            for inputs, part in self.ready.queries.items():
                if not method.inputs or any(method.inputs & set(q.inputs) for q in part.queries):
                    began = time.perf_counter()
                    rankings = method.recommend(part.queries, max(list_cutoffs(self.k)))
                    ms = 1000 * (time.perf_counter() - began) / len(rankings)
                    result["inputs"][inputs] = {"rankings": rankings, "ms_per_query": ms}
                self.progress.advance()
            return result

        return self._cache(name, type(method).__module__, run)

    def _cache(self, name: str, module: str, compute: Callable[[], Json]) -> Json:
        """Return the cached result of the same work by the same code, or compute it."""
        code = hash_code([module, make_queries.__module__, learn_features.__module__])
        settings = [FORMAT, self.ready.digest(), self.seed, self.k, code]
        return self.cached.load_or_compute(f"{self.ready.task.name}+{name}", settings, compute)

    def _judge(
        self,
        inputs: str,
        answers: Mapping[str, Json],
        counts: TrainCounts,
        judged: list[JudgedRun],
    ) -> Json:
        """Return the JSON values of one combination of inputs, with a row for each method."""
        queries = self.ready.queries[inputs]
        topic_of = {post.post_id: post.topic for post in self.ready.test}
        topics = [topic_of[post_id] for post_id in queries.post_ids]
        rows: list[Json] = []
        metrics: dict[str, QueryMetrics] = {}
        for name, answer in answers.items():
            if "error" in answer:
                rows.append({"method": name, "error": answer["error"]})
                continue
            if inputs not in answer["inputs"]:
                continue
            part = answer["inputs"][inputs]
            rankings = [[(tag, score) for tag, score in ranking] for ranking in part["rankings"]]
            row = {"method": name, "fit_s": answer["fit_s"], "ms_per_query": part["ms_per_query"]}
            try:
                metrics[name], figures = score_rankings(
                    rankings,
                    queries,
                    counts,
                    topics=topics,
                    probabilities=answer["probabilities"],
                    seed=self.seed,
                    k=self.k,
                )
            except HashlensError as error:  # the answer is not a valid ranking
                rows.append(row | {"error": str(error)})
                continue
            rows.append(row | figures)
            judged.append(
                JudgedRun(self.ready.task.name, inputs, name, queries, rankings, metrics[name])
            )
        best = self._add_differences(rows, metrics)
        head = {"inputs": inputs, "queries": len(queries.queries)}
        head |= {"left_out": dict(queries.left_out)}
        return head | {"best_baseline": best, "methods": rows}

    def _add_differences(
        self, rows: Sequence[Json], metrics: Mapping[str, QueryMetrics]
    ) -> str | None:
        """Add to each row its differences to the best baselines, and return the best by P@5."""
        baselines = [name for name in metrics if name not in (Product.name, *VARIANTS)]
        best = {
            metric: max(baselines, key=lambda n: metrics[n].column(metric).mean(), default=None)
            for metric in MAIN_METRICS
        }
        for row in rows:
            row["differences"] = {}
            for metric, against in best.items():
                name = row["method"]
                if against is not None and name in metrics and name != against:
                    values, others = (metrics[each].column(metric) for each in (name, against))
                    ratio = float(values.mean() / others.mean()) if others.any() else None
                    difference = paired_difference(values, others, self.seed)._asdict()
                    row["differences"][metric] = {"ratio": ratio} | difference
                    row["differences"][metric]["against"] = against
        return best[MAIN_METRICS[0]]
