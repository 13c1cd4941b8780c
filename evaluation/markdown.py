"""The report as a small Markdown table: methods down, tasks across, for a README."""

from __future__ import annotations

from typing import Any

SHOWN = ("P@5", "nDCG@10")


def markdown(report: dict[str, Any]) -> str:
    """P@5 / nDCG@10 of each method on each task and inputs, the best P@5 of a column in bold.

    Below the table stand the queries of each column, and hashlens against the best other method
    with its 95 % interval (paired bootstrap).
    """
    columns = [
        (f"{task['task']}: {part['inputs']}", part["methods"])
        for task in report["tasks"]
        for part in task.get("combinations", ())
    ]
    methods = list(dict.fromkeys(row["method"] for _, rows in columns for row in rows))
    cells = [_column(rows) for _, rows in columns]
    lines = [
        "| method | " + " | ".join(name for name, _ in columns) + " |",
        "| --- |" + " --- |" * len(columns),
        *(f"| {m} | " + " | ".join(cell.get(m, "") for cell in cells) + " |" for m in methods),
    ]
    return "\n".join([*lines, "", *_notes(columns), *_topics(report)]) + "\n"


def _column(rows: list[dict[str, Any]]) -> dict[str, str]:
    scored = {row["method"]: row["metrics"] for row in rows if "metrics" in row}
    best = max((metrics["P@5"] for metrics in scored.values()), default=0)
    cells = {row["method"]: "failed" for row in rows if "error" in row}
    for method, metrics in scored.items():
        text = " / ".join(f"{metrics[name]:.3f}".removeprefix("0") for name in SHOWN)
        cells[method] = f"**{text}**" if metrics["P@5"] == best else text
    return cells


def _notes(columns: list[tuple[str, list[dict[str, Any]]]]) -> list[str]:
    notes = []
    for name, rows in columns:
        for row in rows:
            found = row.get("difference")
            if row["method"] == "hashlens" and found:
                notes.append(
                    f"- {name}: hashlens {found['diff']:+.3f} P@5 "
                    f"[{found['low']:+.3f}, {found['high']:+.3f}], p {found['p']:.4f}, "
                    f"against the best other method, {found['against']}"
                )
    return notes


def _topics(report: dict[str, Any]) -> list[str]:
    return [
        f"- {task['task']}: topic of a picture, accuracy {task['topic']['accuracy']:.3f} "
        f"[{task['topic']['interval'][0]:.3f}, {task['topic']['interval'][1]:.3f}]"
        for task in report["tasks"]
        if "topic" in task
    ]
