"""The benchmark: every method learns from one part of the posts and is judged on the other.

What a method said is kept in `parts`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hashlens.evaluation.benchmark.ablation import ablation
from hashlens.evaluation.benchmark.cache import Parts, code_of, file_name
from hashlens.evaluation.benchmark.libraries import check_libraries
from hashlens.evaluation.benchmark.report import Judged, write_files
from hashlens.evaluation.benchmark.scoring import FORMAT, Known, judge, places
from hashlens.evaluation.benchmark.topic_accuracy import judge_topics
from hashlens.evaluation.methods.base import Features, Method
from hashlens.evaluation.methods.feature_learning import learn_features
from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.methods.method_registry import METHODS, VARIANTS
from hashlens.evaluation.metrics.intervals import paired_difference
from hashlens.evaluation.metrics.ranking import PerQuery
from hashlens.evaluation.tasks.suite import TOPICS, Prepared, Task, prepare
from hashlens.indexer.config import named
from hashlens.indexer.errors import ConfigError, HashlensError, InputError
from hashlens.indexer.progress import Progress, Silent

QUERIES = 2_000  # of each combination of inputs, where no other limit is given
COMPARED = ("P@5", "nDCG@10")  # by each, the baseline to beat is the one that has the most

# Features cost minutes where there are pictures: these methods are known to do without.
WITHOUT_FEATURES = frozenset(
    {"popularity", "cooccurrence", "item-knn", "ease", "post-vote", "tfidf-knn", "bm25-knn"}
    | {"word-counts", "spelled", "fasttext", "word2vec", "glove", "pretrained+word2vec", "lda"}
    | {Product.name, *VARIANTS}
)


def benchmark(
    tasks: Sequence[Task],
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    seed: int = 1,
    queries_limit: int | None = QUERIES,
    k: int = 10,
    ablate: bool = False,
    progress: Progress | None = None,
    on_message: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run methods over tasks, and write what came of it into `out`.

    Written are `report.json`, `report.html`, `per_query.csv`, `splits/*.json`, and `runs/*.run`
    and `*.qrels` as TREC's tools read them. Same posts and seed: same figures, times apart.

    Args:
        tasks: what to judge on; all are read before the first method learns.
        out: folder; made where it is missing. A run into it again reuses what was finished.
        methods: names of `METHODS`; all where None.
        seed: of splits, seed hashtags, drawn queries and bootstrap.
        queries_limit: most queries of each combination of inputs, drawn by hash; all where None.
        k: judged beside 1, 5 and 10.
        ablate: whether hashlens is also judged with each channel left out in turn, and with hard
            topics and without any.
        progress: told of every stage.
        on_message: told of what could not be used or failed.

    Returns:
        The JSON values of `report.json`.

    Raises:
        ConfigError: an unknown method, a task's name twice, a k or limit below 1, or a library
            that is not installed.
        InputError: posts cannot be read, split or asked by a task's inputs, or nothing be written.
    """
    chosen = {name: named(METHODS | VARIANTS, name, "--methods") for name in methods or METHODS}
    chosen |= VARIANTS if ablate else {}
    _check(tasks, queries_limit, k)
    check_libraries()
    progress, tell = progress or Silent(), on_message or (lambda message: None)
    _make(out)
    prepared = []
    for task in tasks:
        progress.stage(f"{task.name}: reading posts")
        prepared.append(prepare(task, seed=seed, limit=queries_limit))
        if rejections := prepared[-1].rejections:
            tell(f"{task.name}: {len(rejections):,} not used, the first: {rejections[0]}")
    report: dict[str, Any] = {"format": FORMAT, "seed": seed, "k": k}
    report |= {"queries_limit": queries_limit, "tasks": []}
    judged: list[Judged] = []
    for ready in prepared:
        ready.split.save(out / "splits" / f"{file_name(ready.task.name)}.json")
        run = _Run(ready, Parts(out / "parts"), seed, k, ablate, progress, tell)
        report["tasks"].append(run.outcome(chosen, judged))
    write_files(out, report, judged)
    return report


def _check(tasks: Sequence[Task], queries_limit: int | None, k: int) -> None:
    places(k)
    if queries_limit is not None and queries_limit < 1:
        raise ConfigError(f"queries: found a limit of {queries_limit}, expected 1 or more")
    names = [file_name(task.name) for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"tasks: found {', '.join(names) or 'none'}, expected each name once")


def _make(out: Path) -> None:
    try:
        for folder in ("parts", "splits", "runs"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror}; name another") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One task on its way to its part of the report."""

    ready: Prepared
    parts: Parts
    seed: int
    k: int
    ablate: bool
    progress: Progress
    tell: Callable[[str], None]

    def outcome(
        self, methods: Mapping[str, Callable[[], Method]], judged: list[Judged]
    ) -> dict[str, Any]:
        """The task's JSON values; `judged` gets what methods said."""
        ready = self.ready
        counts = {"train": len(ready.train), "test": len(ready.test)}
        head: dict[str, Any] = {"task": ready.task.name, "kind": ready.task.kind}
        head |= {"split": {"rule": ready.split.rule, "seed": self.seed} | counts}
        head |= {"rejected": sum(not r.post_kept for r in ready.rejections)}
        if ready.task.kind == TOPICS:
            return head | {"topic": self._topic()}
        said = self._said(methods)
        known = Known.of(ready.train)
        combinations = [self._combination(i, said, known, judged) for i in ready.questions]
        if self.ablate:
            head |= {"ablation": self._ablation()}
        return head | {"combinations": combinations}

    def _ablation(self) -> dict[str, Any]:
        ready = self.ready
        self.progress.stage(f"{ready.task.name}: leaving channels out")

        def work() -> dict[str, Any]:
            return ablation(ready.train, ready.questions, seed=self.seed, progress=self.progress)

        return self._kept("ablation", ablation.__module__, work)

    def _topic(self) -> dict[str, Any]:
        ready = self.ready

        def work() -> dict[str, Any]:
            return judge_topics(ready.train, ready.test, seed=self.seed, progress=self.progress)

        return self._kept("image topic", judge_topics.__module__, work)

    def _said(self, methods: Mapping[str, Callable[[], Method]]) -> dict[str, dict[str, Any]]:
        """What each method that reads any of the task's inputs answered, or its `error`."""

        @cache
        def features() -> Features:
            self.progress.stage(f"{self.ready.task.name}: learning features")
            return learn_features(self.ready.train, self.ready.queries, cache=self.parts.folder)

        said = {}
        for name, make in methods.items():
            self.progress.stage(f"{self.ready.task.name}: {name}", len(self.ready.questions) + 1)
            said[name] = self._method(name, make, features)
            if "error" in said[name]:
                self.tell(f"{self.ready.task.name}: {name} failed: {said[name]['error']}")
        return said

    def _method(
        self, name: str, make: Callable[[], Method], features: Callable[[], Features]
    ) -> dict[str, Any]:
        try:
            method = make()

            def work() -> dict[str, Any]:
                return self._answers(method, None if name in WITHOUT_FEATURES else features())

            return self._kept(name, type(method).__module__, work)
        except Exception as error:  # one method's bug must not cost the others' hours
            what = str(error) if isinstance(error, HashlensError) else repr(error)
            return {"error": what}

    def _answers(self, method: Method, features: Features | None) -> dict[str, Any]:
        began = time.perf_counter()
        method.fit(self.ready.train, features=features)
        said: dict[str, Any] = {"fit_s": time.perf_counter() - began, "inputs": {}}
        said["probabilities"] = bool(getattr(method, "probabilities", False))
        self.progress.advance()
        for inputs, asked in self.ready.questions.items():
            if not method.inputs or any(method.inputs & set(q.inputs) for q in asked.queries):
                began = time.perf_counter()
                rankings = method.recommend(asked.queries, max(places(self.k)))
                spent = 1000 * (time.perf_counter() - began) / len(rankings)
                said["inputs"][inputs] = {"rankings": rankings, "ms_per_query": spent}
            self.progress.advance()
        return said

    def _kept(self, name: str, module: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was kept of the same work by the same code, or else what `work` gives."""
        code = code_of(
            [module, "hashlens.evaluation.tasks.inputs", "hashlens.evaluation.methods.feature_learning"]
        )
        settings = [FORMAT, self.ready.digest(), self.seed, self.k, code]
        return self.parts.get(f"{self.ready.task.name}+{name}", settings, work)

    def _combination(
        self,
        inputs: str,
        said: Mapping[str, dict[str, Any]],
        known: Known,
        judged: list[Judged],
    ) -> dict[str, Any]:
        """JSON values of one combination of inputs: a row a method."""
        asked = self.ready.questions[inputs]
        by_id = {post.post_id: post.topic for post in self.ready.test}
        topics = [by_id[post_id] for post_id in asked.post_ids]
        rows: list[dict[str, Any]] = []
        found: dict[str, PerQuery] = {}
        for name, answer in said.items():
            if "error" in answer:
                rows.append({"method": name, "error": answer["error"]})
                continue
            if inputs not in answer["inputs"]:
                continue
            part = answer["inputs"][inputs]
            rankings = [[(tag, score) for tag, score in ranking] for ranking in part["rankings"]]
            row = {"method": name, "fit_s": answer["fit_s"], "ms_per_query": part["ms_per_query"]}
            try:
                found[name], figures = judge(
                    rankings,
                    asked,
                    known,
                    topics=topics,
                    probabilities=answer["probabilities"],
                    seed=self.seed,
                    k=self.k,
                )
            except HashlensError as error:  # it did not keep to the form of a ranking
                rows.append(row | {"error": str(error)})
                continue
            rows.append(row | figures)
            judged.append(Judged(self.ready.task.name, inputs, name, asked, rankings, found[name]))
        best = _compared(rows, found, self.seed)
        head = {"inputs": inputs, "queries": len(asked.queries), "left_out": dict(asked.left_out)}
        return head | {"best_baseline": best, "methods": rows}


def _compared(
    rows: Sequence[dict[str, Any]], found: Mapping[str, PerQuery], seed: int
) -> str | None:
    """Give each row its differences to the best baseline by each metric; the one by P@5."""
    baselines = [name for name in found if name not in (Product.name, *VARIANTS)]
    best = {
        metric: max(baselines, key=lambda name: found[name].column(metric).mean(), default=None)
        for metric in COMPARED
    }
    for row in rows:
        name = row["method"]
        row["differences"] = {
            metric: _difference(found[name], found[against], metric, seed) | {"against": against}
            for metric, against in best.items()
            if against is not None and name in found and name != against
        }
    return best[COMPARED[0]]


def _difference(one: PerQuery, other: PerQuery, metric: str, seed: int) -> dict[str, Any]:
    values, others = one.column(metric), other.column(metric)
    ratio = float(values.mean() / others.mean()) if others.any() else None
    return {"ratio": ratio} | paired_difference(values, others, seed)._asdict()
