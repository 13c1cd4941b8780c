"""The report as a small Markdown table: methods down, tasks across, for a README."""

from __future__ import annotations

from typing import Any

SHOWN = ("P@5", "nDCG@10")


def markdown(report: dict[str, Any]) -> str:
    """P@5 / nDCG@10 of each method on each task and inputs, the best P@5 of a column in bold.

    Below the table stand the queries of each column, and hashlens against the best other method
    by each metric, with the 95 % interval of the difference (paired bootstrap).
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
    return "\n".join([*lines, "", *_notes(columns), *_topics(report), *_ablation(report)]) + "\n"


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
            if row["method"] == "hashlens" and row.get("differences"):
                found = "; ".join(_against(m, d) for m, d in row["differences"].items())
                stated = row.get("calibration")
                error = f"; calibration error {stated['error']:.3f}" if stated else ""
                notes.append(f"- {name}: {found}{error}")
    return notes


def _against(metric: str, found: dict[str, Any]) -> str:
    ratio = f" ({found['ratio']:.2f} times)" if found["ratio"] else ""
    return (
        f"{metric} {found['diff']:+.3f}{ratio} [{found['low']:+.3f}, {found['high']:+.3f}] "
        f"against {found['against']}"
    )


def _topics(report: dict[str, Any]) -> list[str]:
    return [
        f"- {task['task']}: topic of a picture, accuracy {task['topic']['accuracy']:.3f} "
        f"[{task['topic']['interval'][0]:.3f}, {task['topic']['interval'][1]:.3f}]"
        f"{_left_out(task['topic'])}"
        for task in report["tasks"]
        if "topic" in task
    ]


def _left_out(topic: dict[str, Any]) -> str:
    """Errors where collections are left out in turn; nothing where none were."""
    if "left_out" not in topic:
        return ""
    found = topic["left_out"]
    each = ", ".join(f"{row['origin']} {row['accuracy']:.2f}" for row in found["origins"])
    return (
        f"; left-out collections: {found['errors']:,} errors, {found['head_errors']:,} by the "
        f"plain logistic head ({each})"
    )


def _ablation(report: dict[str, Any]) -> list[str]:
    """A table of what each channel brings: nDCG@10 lost without it, and its milliseconds."""
    columns = [
        (f"{task['task']}: {inputs}", found["channels"])
        for task in report["tasks"]
        for inputs, found in task.get("ablation", {}).items()
    ]
    if not columns:
        return []
    channels = list(columns[0][1])
    return [
        "",
        "| without | " + " | ".join(name for name, _ in columns) + " |",
        "| --- |" + " --- |" * len(columns),
        *(
            f"| {channel} | " + " | ".join(_gain(found[channel]) for _, found in columns) + " |"
            for channel in channels
        ),
        "",
        "nDCG@10 that is lost without a channel (bold where its 95 % interval is clear of zero), "
        "and the milliseconds that it costs a query in a batch.",
    ]


def _gain(found: dict[str, Any]) -> str:
    gain = found["gain"]["nDCG@10"]
    text = f"{gain['diff']:+.4f}"
    clear = gain["low"] > 0 or gain["high"] < 0
    return f"{f'**{text}**' if clear else text}, {found['ms']:.1f} ms"
