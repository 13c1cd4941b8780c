"""What is written of a benchmark: rows for people, files for programs, and a page with plots."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hashlens.evaluation.benchmark.cache import file_name, write_whole
from hashlens.evaluation.benchmark.markdown import markdown
from hashlens.evaluation.benchmark.plots import page_plots, topic_plots
from hashlens.evaluation.methods.base import Ranking
from hashlens.evaluation.methods.hashlens import Product, falling
from hashlens.evaluation.metrics.ranking import FAMILIES, PerQuery
from hashlens.evaluation.tasks.inputs import SEED_RULE, Questions
from hashlens.indexer.text.escaping import csv_cell

COLUMNS = (
    *("task", "inputs", "method", "P@1", "P@5", "nDCG@10", "hit@5"),
    *("P@5 against best", "fit s", "ms a query"),
)
_PER_QUERY = ("P@1", "P@5", "P@10", "R@5", "R@10", "hit@5", "nDCG@10")
_MORE = ("answered", "coverage", "novelty", "generic@5", "calibration error")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;
color:#1d2430}h1,h2,h3{line-height:1.2}table{border-collapse:collapse;margin:1rem 0;font-size:13px}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #dfe3ea;white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr.product{background:#fff3e0;font-weight:600}
td.error{text-align:left;color:#a3242b;white-space:normal}img{max-width:100%}
.wide{overflow-x:auto}.plots{display:flex;flex-wrap:wrap;gap:1rem}.plots img{max-width:34rem}"""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one method said to the questions of one combination of inputs, and its metrics."""

    task: str
    inputs: str
    method: str
    questions: Questions
    rankings: Sequence[Ranking]
    found: PerQuery


def rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each method under each task and inputs, as texts under `COLUMNS`.

    The task of telling topics has a row too, with the accuracy in the place of P@1.
    """
    found: list[tuple[str, ...]] = []
    for task in report["tasks"]:
        if "topic" in task:
            topic = task["topic"]
            accuracy = f"{topic['accuracy']:.3f} {_span(topic['interval'])}"
            empty = [""] * (len(COLUMNS) - 4)
            found.append((task["task"], "image", "topic accuracy", accuracy, *empty))
        for part in task.get("combinations", ()):
            for row in part["methods"]:
                found.append((task["task"], part["inputs"], *_cells(row)))
    return found


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return (row["method"], f"failed: {row['error']}", *[""] * (len(COLUMNS) - 4))
    metrics = row["metrics"]
    return (
        row["method"],
        f"{metrics['P@1']:.3f}",
        f"{metrics['P@5']:.3f} {_span(row['intervals']['P@5'])}",
        f"{metrics['nDCG@10']:.3f}",
        f"{metrics['hit@5']:.3f}",
        _difference(row["differences"].get("P@5")),
        f"{row['fit_s']:.1f}",
        f"{row['ms_per_query']:.2f}",
    )


def _span(interval: Sequence[float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _difference(found: dict[str, Any] | None) -> str:
    return f"{found['diff']:+.3f}, p {found['p']:.4f}" if found else ""


def write_files(out: Path, report: dict[str, Any], judged: Sequence[Judged]) -> None:
    """Write all files of a benchmark into `out`, which has a folder `runs`; the report comes last.

    Raises:
        InputError: one cannot be written.
    """
    for each in judged:
        name = f"{file_name(each.task)}.{file_name(each.inputs)}"
        write_whole(out / "runs" / f"{name}.qrels", "".join(_qrels(each.questions)))
        write_whole(out / "runs" / f"{name}.{file_name(each.method)}.run", "".join(_run(each)))
    write_whole(out / "per_query.csv", _per_query(judged))
    write_whole(out / "report.html", page(report))
    write_whole(out / "report.md", markdown(report))
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(out / "report.json", text + "\n")


def _qrels(questions: Questions) -> Iterator[str]:
    """TREC's form: query 0 document relevance."""
    for post_id, right in zip(questions.post_ids, questions.answers, strict=True):
        for tag in right:
            yield f"{_word(post_id)} 0 {_word(tag)} 1\n"


def _run(judged: Judged) -> Iterator[str]:
    """TREC's form: query Q0 document rank score run. Scores fall even in single precision."""
    for post_id, ranking in zip(judged.questions.post_ids, judged.rankings, strict=True):
        ranked = falling([tag for tag, _ in ranking], [score for _, score in ranking])
        for place, (tag, score) in enumerate(ranked, start=1):
            yield f"{_word(post_id)} Q0 {_word(tag)} {place} {score:.9g} {_word(judged.method)}\n"


def _word(text: str) -> str:
    """The text without white space, which parts columns; other letters stay."""
    return "".join(quote(c) if c.isspace() or c == "%" else c for c in text)


def _per_query(judged: Sequence[Judged]) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("task", "inputs", "method", "post_id", *_PER_QUERY))
    for each in judged:
        columns = [each.found.column(name).round(6).tolist() for name in _PER_QUERY]
        for post_id, *values in zip(each.questions.post_ids, *columns, strict=True):
            names = map(csv_cell, (each.task, each.inputs, each.method, post_id))
            writer.writerow((*names, *values))
    return lines.getvalue()


def page(report: dict[str, Any]) -> str:
    """The report as one HTML page that needs no other file and no network."""
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>hashlens benchmark</title>"]
    parts += [f"<style>{_STYLE}</style><h1>hashlens benchmark</h1>"]
    limit = report["queries_limit"]
    asked = f"at most {limit:,} queries a row" if limit else "all queries"
    parts.append(
        f"<p>Seed {report['seed']}, {asked}. Brackets are 95 % bootstrap intervals; differences "
        "are to the best other method by P@5, paired over the queries.</p>"
    )
    parts += [section for task in report["tasks"] for section in _task(task)]
    meanings = "".join(f"<li><b>{n}@k</b> {escape(what)}</li>" for n, what in FAMILIES.items())
    parts.append(f"<h2>What the columns mean</h2><ul>{meanings}</ul>")
    parts.append(f"<p>Seeds: {escape(SEED_RULE)}.</p></html>")
    return "\n".join(parts)


def _task(task: dict[str, Any]) -> Iterator[str]:
    split = task["split"]
    yield f"<h2>{escape(task['task'])}</h2>"
    yield (
        f"<p>Split by {escape(split['rule'])}: {split['train']:,} posts to learn from, "
        f"{split['test']:,} to be tested on.</p>"
    )
    if "topic" in task:
        topic = task["topic"]
        yield (
            f"<p>Accuracy {topic['accuracy']:.3f} {_span(topic['interval'])} over "
            f"{topic['queries']:,} pictures ({escape(topic['encoder'])}); calibration error "
            f"{topic['calibration']['error']:.3f}; the plain logistic head alone has accuracy "
            f"{topic['head_accuracy']:.3f}{_by_texts(topic)}.</p>"
        )
        yield _images(topic_plots(topic))
        if "left_out" in topic:
            yield from _left_out(topic["left_out"])
    for part in task.get("combinations", ()):
        yield f"<h3>{escape(part['inputs'])}: {part['queries']:,} queries</h3>"
        yield _table(part)
        yield _images(page_plots(part))
    for inputs, found in task.get("ablation", {}).items():
        yield f"<h3>What each channel brings: {escape(inputs)}</h3>"
        yield _channels(found)


def _by_texts(topic: dict[str, Any]) -> str:
    """How the topics' texts alone do, where the encoder reads text."""
    return f", their texts alone {topic['zero_shot']:.3f}" if "zero_shot" in topic else ""


def _left_out(found: dict[str, Any]) -> Iterator[str]:
    """What each left-out collection's pictures were judged to be by the rest."""
    yield (
        "<h3>Collections left out in turn, judged by what was learned from all others</h3>"
        f"<p>{found['errors']:,} errors; the plain logistic head alone makes "
        f"{found['head_errors']:,}.</p>"
    )
    names = ("collection", "topic", "pictures", "accuracy", "plain head")
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = []
    for row in found["origins"]:
        figures = (f"{row['queries']:,}", f"{row['accuracy']:.3f}", f"{row['head_accuracy']:.3f}")
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (row["topic"], *figures))
        lines.append(f"<tr><td>{escape(row['origin'])}</td>{cells}</tr>")
    yield f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _table(part: dict[str, Any]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in (*COLUMNS[2:], *_MORE))
    lines = []
    for row in sorted(part["methods"], key=lambda r: -r.get("metrics", {}).get("P@5", -1)):
        kind = " class=product" if row["method"] == Product.name else ""
        name, *cells = _cells(row)
        if "error" in row:
            width = len(COLUMNS) - 3 + len(_MORE)
            texts = f"<td class=error colspan={width}>{escape(cells[0])}</td>"
        else:
            texts = "".join(f"<td>{escape(cell)}</td>" for cell in (*cells, *_more(row)))
        lines.append(f"<tr{kind}><td>{escape(name)}</td>{texts}</tr>")
    return f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _channels(found: dict[str, Any]) -> str:
    """What is lost without each channel, with the interval, and what it costs."""
    head = "".join(f"<th>{name}</th>" for name in ("without", *found["metrics"], "ms a query"))
    lines = []
    for channel, part in found["channels"].items():
        losses = (
            f"{gain['diff']:+.4f} {_span((gain['low'], gain['high']))}"
            for gain in (part["gain"][metric] for metric in found["metrics"])
        )
        cells = "".join(f"<td>{cell}</td>" for cell in (*losses, f"{part['ms']:.2f}"))
        lines.append(f"<tr><td>{escape(channel)}</td>{cells}</tr>")
    return f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _more(row: dict[str, Any]) -> list[str]:
    stated = row["calibration"]
    figures = [f"{row[name]:.3f}" for name in _MORE[:-1]]
    return [*figures, f"{stated['error']:.3f}" if stated else ""]


def _images(plots: Sequence[tuple[str, str]]) -> str:
    images = (f'<img alt="{escape(title)}" src="{address}">' for title, address in plots)
    return f"<div class=plots>{''.join(images)}</div>"
