"""The report as Markdown: a table with a row for each method and a column for each task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hashlens.evaluation.metrics.ranking import MAIN_METRICS
from hashlens.evaluation.result_files import Json


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> list[str]:
    """Return the lines of a Markdown table; `align` is the marker of all columns but the first."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return [lines[0], f"| --- |{f' {align} |' * (len(head) - 1)}", *lines[1:]]


def format_markdown(report: Json) -> str:
    """Return P@5 / nDCG@10 of each method on each task, the best P@5 of a column in bold.

    Notes compare hashlens with the best other method by each metric, with the 95 % interval of the
    difference (paired bootstrap). A second table has the gain of each channel.
    """
    columns = [
        (f"{task['task']}: {part['inputs']}", part["methods"])
        for task in report["tasks"]
        for part in task.get("combinations", ())
    ]
    methods = list(dict.fromkeys(row["method"] for _, rows in columns for row in rows))
    cells = [_format_column(rows) for _, rows in columns]
    table = ([m, *(column.get(m, "") for column in cells)] for m in methods)
    lines = format_table(["method", *(name for name, _ in columns)], table, "---")
    lines.append("")
    for name, rows in columns:
        for row in rows:
            if row["method"] == "hashlens" and row.get("differences"):
                lines.append(f"- {name}: {_format_differences(row)}")
    for task in report["tasks"]:
        if topic := task.get("topic"):
            low, high = topic["interval"]
            lines.append(
                f"- {task['task']}: topic of a picture, accuracy {topic['accuracy']:.3f} "
                f"[{low:.3f}, {high:.3f}]"
            )
            if found := topic.get("left_out"):
                each = ", ".join(f"{o['origin']} {o['accuracy']:.2f}" for o in found["origins"])
                lines[-1] += (
                    f"; left-out collections: {found['errors']:,} errors, "
                    f"{found['head_errors']:,} by the plain logistic head ({each})"
                )
    return "\n".join([*lines, *_format_ablation(report)]) + "\n"


def _format_column(rows: Sequence[Json]) -> dict[str, str]:
    """Return a cell by method."""
    scored = {row["method"]: row["metrics"] for row in rows if "metrics" in row}
    best = max((metrics["P@5"] for metrics in scored.values()), default=0)
    cells = {row["method"]: "failed" for row in rows if "error" in row}
    for method, metrics in scored.items():
        text = " / ".join(f"{metrics[name]:.3f}".removeprefix("0") for name in MAIN_METRICS)
        cells[method] = f"**{text}**" if metrics["P@5"] == best else text
    return cells


def _format_differences(row: Json) -> str:
    parts = []
    for metric, found in row["differences"].items():
        ratio = f" ({found['ratio']:.2f} times)" if found["ratio"] else ""
        interval = f"[{found['low']:+.3f}, {found['high']:+.3f}]"
        parts.append(f"{metric} {found['diff']:+.3f}{ratio} {interval} against {found['against']}")
    if row.get("calibration"):
        parts.append(f"calibration error {row['calibration']['error']:.3f}")
    return "; ".join(parts)


def _format_ablation(report: Json) -> list[str]:
    """Return a table of nDCG@10 that is lost without each channel, and its milliseconds."""
    columns = [
        (f"{task['task']}: {inputs}", found["channels"])
        for task in report["tasks"]
        for inputs, found in task.get("ablation", {}).items()
    ]
    if not columns:
        return []
    rows = []
    for channel in columns[0][1]:
        cells = [channel]
        for _, channels in columns:
            gain = channels[channel]["gain"]["nDCG@10"]
            text = f"{gain['diff']:+.4f}"
            if gain["low"] > 0 or gain["high"] < 0:
                text = f"**{text}**"
            cells.append(f"{text}, {channels[channel]['ms']:.1f} ms")
        rows.append(cells)
    return [
        "",
        *format_table(["without", *(name for name, _ in columns)], rows, "---"),
        "",
        "nDCG@10 that is lost without a channel (bold if its 95 % interval excludes zero), and the "
        "milliseconds that it costs a query in a batch.",
    ]
