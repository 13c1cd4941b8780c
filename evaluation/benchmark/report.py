"""The files of a benchmark: JSON, CSV, Markdown, an HTML page with plots, and TREC files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from hashlens.evaluation.benchmark.markdown import format_markdown
from hashlens.evaluation.benchmark.plots import Plot, plot_methods, plot_topics
from hashlens.evaluation.methods.base import Ranking, strictly_decreasing
from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.metrics.ranking import FAMILIES, QueryMetrics
from hashlens.evaluation.result_files import Json, to_file_name, write_file
from hashlens.evaluation.tasks.inputs import SEED_RULE, QuerySet
from hashlens.indexer.text.escaping import csv_cell

COLUMNS = (
    *("task", "inputs", "method", "P@1", "P@5", "nDCG@10", "hit@5"),
    *("P@5 against best", "fit s", "ms a query"),
)
_CSV_METRICS = ("P@1", "P@5", "P@10", "R@5", "R@10", "hit@5", "nDCG@10")
_PAGE_COLUMNS = ("answered", "coverage", "novelty", "generic@5", "calibration error")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;
color:#1d2430}h1,h2,h3{line-height:1.2}table{border-collapse:collapse;margin:1rem 0;font-size:13px}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #dfe3ea;white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr.product{background:#fff3e0;font-weight:600}
td.error{text-align:left;color:#a3242b;white-space:normal}img{max-width:100%}
.wide{overflow-x:auto}.plots{display:flex;flex-wrap:wrap;gap:1rem}.plots img{max-width:34rem}"""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRun:
    """A method's answers to the queries of one combination of inputs, and their metrics."""

    task: str
    inputs: str
    method: str
    queries: QuerySet
    rankings: Sequence[Ranking]
    metrics: QueryMetrics


def write_report(out: Path, report: Json, judged: Sequence[JudgedRun]) -> None:
    """Write all files of a benchmark into `out`, `report.json` last.

    Raises:
        InputError: a file cannot be written.
    """
    for each in judged:
        name = f"{to_file_name(each.task)}.{to_file_name(each.inputs)}"
        qrels = "".join(  # TREC's form: query 0 document relevance
            f"{_quote_spaces(post_id)} 0 {_quote_spaces(tag)} 1\n"
            for post_id, right in zip(each.queries.post_ids, each.queries.answers, strict=True)
            for tag in right
        )
        write_file(out / "runs" / f"{name}.qrels", qrels)
        run = []  # TREC's form: query Q0 document rank score run
        for post_id, ranking in zip(each.queries.post_ids, each.rankings, strict=True):
            # Scores must strictly decrease in single precision, too.
            decreasing = strictly_decreasing([tag for tag, _ in ranking], [s for _, s in ranking])
            for place, (tag, score) in enumerate(decreasing, start=1):
                names = f"{_quote_spaces(post_id)} Q0 {_quote_spaces(tag)}"
                run.append(f"{names} {place} {score:.9g} {_quote_spaces(each.method)}\n")
        write_file(out / "runs" / f"{name}.{to_file_name(each.method)}.run", "".join(run))
    write_file(out / "per_query.csv", format_per_query(judged))
    write_file(out / "report.html", format_page(report))
    write_file(out / "report.md", format_markdown(report))
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    write_file(out / "report.json", text + "\n")


def _quote_spaces(text: str) -> str:
    """Return the text with white space quoted as in URLs."""
    return "".join(quote(c) if c.isspace() or c == "%" else c for c in text)


def format_per_query(judged: Sequence[JudgedRun]) -> str:
    """Return CSV with the metrics of each query."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("task", "inputs", "method", "post_id", *_CSV_METRICS))
    for each in judged:
        columns = [each.metrics.column(name).round(6).tolist() for name in _CSV_METRICS]
        for post_id, *values in zip(each.queries.post_ids, *columns, strict=True):
            names = map(csv_cell, (each.task, each.inputs, each.method, post_id))
            writer.writerow((*names, *values))
    return lines.getvalue()


def list_rows(report: Json) -> list[tuple[str, ...]]:
    """Return a row of texts under `COLUMNS` for each method, by task and inputs.

    The row of a task of kind `topics` has the accuracy in place of P@1.
    """
    rows: list[tuple[str, ...]] = []
    for task in report["tasks"]:
        if "topic" in task:
            topic = task["topic"]
            accuracy = f"{topic['accuracy']:.3f} {_format_interval(topic['interval'])}"
            empty = [""] * (len(COLUMNS) - 4)
            rows.append((task["task"], "image", "topic accuracy", accuracy, *empty))
        for part in task.get("combinations", ()):
            rows += [(task["task"], part["inputs"], *_list_cells(row)) for row in part["methods"]]
    return rows


def _list_cells(row: Json) -> tuple[str, ...]:
    if "error" in row:
        return (row["method"], f"failed: {row['error']}", *[""] * (len(COLUMNS) - 4))
    metrics, difference = row["metrics"], row["differences"].get("P@5")
    return (
        row["method"],
        f"{metrics['P@1']:.3f}",
        f"{metrics['P@5']:.3f} {_format_interval(row['intervals']['P@5'])}",
        f"{metrics['nDCG@10']:.3f}",
        f"{metrics['hit@5']:.3f}",
        f"{difference['diff']:+.3f}, p {difference['p']:.4f}" if difference else "",
        f"{row['fit_s']:.1f}",
        f"{row['ms_per_query']:.2f}",
    )


def _format_interval(interval: Sequence[float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def format_page(report: Json) -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    limit = report["queries_limit"]
    queries = f"at most {limit:,} queries a row" if limit else "all queries"
    sections = "\n".join(part for task in report["tasks"] for part in _format_task(task))
    meanings = "".join(f"<li><b>{n}@k</b> {escape(text)}</li>" for n, text in FAMILIES.items())
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>hashlens benchmark</title>
<style>{_STYLE}</style><h1>hashlens benchmark</h1>
<p>Seed {report["seed"]}, {queries}. Brackets are 95 % bootstrap intervals; differences are to the
best other method by P@5, paired over the queries.</p>
{sections}
<h2>What the columns mean</h2><ul>{meanings}</ul>
<p>Seeds: {escape(SEED_RULE)}.</p></html>"""


def _format_task(task: Json) -> Iterator[str]:
    split = task["split"]
    yield f"<h2>{escape(task['task'])}</h2>"
    yield (
        f"<p>Split by {escape(split['rule'])}: {split['train']:,} posts to learn from, "
        f"{split['test']:,} to be tested on.</p>"
    )
    if "topic" in task:
        yield from _format_topic(task["topic"])
    for part in task.get("combinations", ()):
        yield f"<h3>{escape(part['inputs'])}: {part['queries']:,} queries</h3>"
        rows = sorted(part["methods"], key=lambda row: -row.get("metrics", {}).get("P@5", -1))
        yield _format_table((*COLUMNS[2:], *_PAGE_COLUMNS), map(_format_method, rows))
        yield _format_plots(plot_methods(part))
    for inputs, found in task.get("ablation", {}).items():
        yield f"<h3>Gain of each channel: {escape(inputs)}</h3>"
        lines = []
        for channel, part in found["channels"].items():
            gains = (part["gain"][metric] for metric in found["metrics"])
            cells = [
                f"{gain['diff']:+.4f} {_format_interval((gain['low'], gain['high']))}"
                for gain in gains
            ]
            lines.append(_format_row((channel, *cells, f"{part['ms']:.2f}")))
        yield _format_table(("without", *found["metrics"], "ms a query"), lines)


def _format_topic(topic: Json) -> Iterator[str]:
    texts = f", their texts alone {topic['zero_shot']:.3f}" if "zero_shot" in topic else ""
    yield (
        f"<p>Accuracy {topic['accuracy']:.3f} {_format_interval(topic['interval'])} over "
        f"{topic['queries']:,} pictures ({escape(topic['encoder'])}); calibration error "
        f"{topic['calibration']['error']:.3f}; the plain logistic head alone has accuracy "
        f"{topic['head_accuracy']:.3f}{texts}.</p>"
    )
    yield _format_plots(plot_topics(topic))
    if left_out := topic.get("left_out"):
        yield (
            "<h3>Collections left out in turn, judged by a model of all others</h3>"
            f"<p>{left_out['errors']:,} errors; the plain logistic head alone makes "
            f"{left_out['head_errors']:,}.</p>"
        )
        names = ("collection", "topic", "pictures", "accuracy", "plain head")
        lines = []
        for row in left_out["origins"]:
            shares = (f"{row[name]:.3f}" for name in ("accuracy", "head_accuracy"))
            lines.append(_format_row((row["origin"], row["topic"], f"{row['queries']:,}", *shares)))
        yield _format_table(names, lines)


def _format_method(row: Json) -> str:
    kind = " class=product" if row["method"] == Product.name else ""
    cells = _list_cells(row)
    if "error" in row:
        width = len(COLUMNS) - 3 + len(_PAGE_COLUMNS)
        error = f"<td class=error colspan={width}>{escape(cells[1])}</td>"
        return f"<tr{kind}><td>{escape(row['method'])}</td>{error}</tr>"
    figures = [f"{row[name]:.3f}" for name in _PAGE_COLUMNS[:-1]]
    calibration = f"{row['calibration']['error']:.3f}" if row["calibration"] else ""
    return _format_row((*cells, *figures, calibration), attributes=kind)


def _format_row(cells: Iterable[str], tag: str = "td", attributes: str = "") -> str:
    texts = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr{attributes}>{texts}</tr>"


def _format_table(head: Sequence[str], lines: Iterable[str]) -> str:
    table = f"<table>{_format_row(head, 'th')}{''.join(lines)}</table>"
    return f"<div class=wide>{table}</div>"


def _format_plots(plots: Sequence[Plot]) -> str:
    images = (f'<img alt="{escape(title)}" src="{address}">' for title, address in plots)
    return f"<div class=plots>{''.join(images)}</div>"
