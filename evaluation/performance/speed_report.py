"""The figures of `speed` as Markdown, and costs by size as a plot."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from statistics import median

from hashlens.evaluation.benchmark.markdown import format_table
from hashlens.evaluation.result_files import Json

# Costs that are compared across sizes.
COSTS: dict[str, Callable[[Json], float]] = {
    "build": lambda each: each["build"]["seconds"],
    "build memory": lambda each: each["build"]["peak_mib"],
    "disk": lambda each: each["bytes"],
    "update": lambda each: each["update"]["seconds"],
    "query": lambda each: each["query"]["median_ms"],
    "query memory": lambda each: each["query"]["resident_mib"],
    "cold": lambda each: median(each["cold_s"]),
}
_ROWS: dict[str, Callable[[Json], str]] = {
    "build, s": lambda f: f"{f['build']['seconds']:,.0f}",
    "build, peak MiB": lambda f: f"{f['build']['peak_mib']:,.0f}",
    "index, bytes a post": lambda f: f"{f['bytes'] / f['build']['counts']['posts']:,.0f}",
    "update of 1,000 posts, s": lambda f: f"{f['update']['seconds']:.1f}",
    "caption query, warm, median ms": lambda f: f"{f['query']['median_ms']:.1f}",
    "caption query, warm, p99 ms": lambda f: f"{f['query']['p99_ms']:.1f}",
    "captions in `batch`, a second": lambda f: f"{f['query']['batch_a_second']:.0f}",
    "memory of queries, MiB": lambda f: f"{f['query']['resident_mib']:,.0f}",
    "`hashlens recommend --caption`, s": lambda f: f"{median(f['cold_s']):.2f}",
    "nearest captions, ms (exact)": lambda f: (
        "{ms:.2f} ({exact_ms:.2f})".format(**near) if (near := f["neighbours"]) else ""
    ),
    "recall@100 of these (kind)": lambda f: (
        f"{near['recall']:.3f} ({', '.join(sorted(set(near['kinds'])))})"
        if (near := f["neighbours"])
        else ""
    ),
}
_LIMITS = {
    "read": "posts read; JSON parsed",
    "train": "all vectors learned; gensim alone",
    "add": "vectors added; FAISS alone",
}


def format_speed(figures: Json) -> str:
    """Return tables by size, of build stages, growth, profiles, limits and peers."""
    machine, sizes, growth = figures["machine"], figures["sizes"], figures["growth"]
    columns = [f"{int(size):,} posts" for size in sizes]
    stages = dict.fromkeys(stage for f in sizes.values() for stage in f["build"]["stages"])
    bound = growth["n_log_n"]
    peers = []
    for name, found in figures.get("peers", {}).items():
        if "missing" in found:
            peers.append([name, f"`{found['missing']}` is not installed", "", "", ""])
        elif "train_s" in found:
            peers.append([name, f"{found['train_s']:.1f} (training)", f"{found['ms']:.2f}", "", ""])
        else:
            query = f"{found['ms']:.3f} ({{:.3f}} to {{:.3f}})".format(*found["ms_quartiles"])
            sizes_mib = f"{found['bytes'] / 2**20:.1f}"
            cells = [f"{found['add_s']:.2f}", query, f"{found['recall']:.3f}", sizes_mib]
            peers.append([name, *cells])
    tables = [
        _table(["", *columns], [[n, *map(cell, sizes.values())] for n, cell in _ROWS.items()]),
        _table(
            ["build, s", *columns],
            [
                [stage, *(f"{f['build']['stages'].get(stage, 0):.1f}" for f in sizes.values())]
                for stage in stages
            ],
        ),
        _table(
            [
                f"from {growth['from']:,} to {growth['to']:,} posts",
                "times as much",
                f"within n log n ({bound:.0f})",
            ],
            [
                [name, f"{times:.1f}", "no" if times > bound else "yes"]
                for name, times in growth["times"].items()
            ],
        ),
        _table(
            ["profile", "ours", "our largest functions"],
            [
                [
                    work,
                    f"{found['ours']:.0%}",
                    "<br>".join(f"`{name}` {share:.1%}" for name, share in found["largest"]),
                ]
                for work, found in figures.get("profiles", {}).items()
            ],
        ),
        *_format_limits(figures.get("limits", {})),
        _table(
            ["caption vectors", "add, s", "query, ms (quartiles)", "recall@100", "MiB on disk"],
            peers,
        ),
    ]
    head = (
        f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}. Posts are "
        f"synthesised from {figures['real_posts']:,} real ones by resampling with noise."
    )
    return "\n\n".join([head, *filter(None, tables)]) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(format_table(head, rows, "---:")) if rows else ""


def _format_limits(limits: Json) -> list[str]:
    rows = [
        [name, f"{limits[key]['seconds']:.2f}", f"{limits[key]['limit']:.2f}"]
        for key, name in _LIMITS.items()
        if key in limits
    ]
    parts = [_table(["s", "ours", "limit"], rows)]
    if encode := limits.get("encode"):
        ratios = {name: median(values) for name, values in encode["ratios"].items()}
        parts.append(
            f"Pictures a second, files to vectors: {encode['pipeline']:.1f}. ONNX Runtime on ready "
            f"tensors: {encode['ready_session']:.1f} by its own threads "
            f"(ratio {ratios['ready_session']:.2f}), {encode['ready_threads']:.1f} by a thread for "
            f"each core (ratio {ratios['ready_threads']:.2f})."
        )
    return parts


def plot_speed(figures: Json) -> bytes:
    """Return an SVG of each cost as a multiple of that of the smallest size, beside n log n."""
    from matplotlib.figure import Figure

    sizes = figures["sizes"]
    numbers = list(map(int, sizes))
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="posts", ylabel="times as much")
    axes.spines[["top", "right"]].set_visible(False)
    first = numbers[0] * math.log(max(numbers[0], 2))
    bound = [n * math.log(max(n, 2)) / first for n in numbers]
    axes.plot(numbers, bound, color="#ced4da", linestyle="--", label="n log n")
    for name, cost in COSTS.items():
        values = [cost(each) for each in sizes.values()]
        axes.plot(numbers, [value / values[0] for value in values], marker="o", label=name)
    axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
