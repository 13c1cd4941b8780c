"""The figures of `speed` as Markdown, and cost against size as a plot."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

Figures = dict[str, Any]
Cell = Callable[[Figures], str]

MIB = 2**20


def _lists(found: Figures) -> str:
    near = found["neighbours"]
    return f"{near['recall']:.3f} ({', '.join(sorted(set(near['kinds'])))})" if near else ""


# What is compared across sizes.
COSTS: dict[str, Callable[[Figures], float]] = {
    "build": lambda each: each["build"]["seconds"],
    "build memory": lambda each: each["build"]["peak_mib"],
    "disk": lambda each: each["bytes"],
    "update": lambda each: each["update"]["seconds"],
    "query": lambda each: each["query"]["median_ms"],
    "query memory": lambda each: each["query"]["resident_mib"],
    "cold": lambda each: median(each["cold_s"]),
}
_ROWS: dict[str, Cell] = {
    "build, s": lambda f: f"{f['build']['seconds']:,.0f}",
    "build, peak MiB": lambda f: f"{f['build']['peak_mib']:,.0f}",
    "index, bytes a post": lambda f: f"{f['bytes'] / f['build']['counts']['posts']:,.0f}",
    "update of 1,000 posts, s": lambda f: f"{f['update']['seconds']:.1f}",
    "caption query, warm, median ms": lambda f: f"{f['query']['median_ms']:.1f}",
    "caption query, warm, p99 ms": lambda f: f"{f['query']['p99_ms']:.1f}",
    "captions in `batch`, a second": lambda f: f"{f['query']['batch_a_second']:.0f}",
    "memory while asked, MiB": lambda f: f"{f['query']['resident_mib']:,.0f}",
    "`hashlens recommend --caption`, s": lambda f: f"{median(f['cold_s']):.2f}",
    "nearest captions, ms (exact)": lambda f: (
        f"{f['neighbours']['ms']:.2f} ({f['neighbours']['exact_ms']:.2f})"
        if f["neighbours"]
        else ""
    ),
    "recall@100 of these (kind)": _lists,
}


def speed_markdown(figures: Figures) -> str:
    """Tables by size, of build stages, of profiles, of limits and of peers."""
    machine, sizes = figures["machine"], figures["sizes"]
    lines = [
        f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}. Posts are "
        f"synthesised from {figures['real_posts']:,} real ones by resampling with noise.",
        "",
        *_table(
            ["", *(f"{int(size):,} posts" for size in sizes)],
            ([name, *(cell(found) for found in sizes.values())] for name, cell in _ROWS.items()),
        ),
        "",
        *_table(
            ["build, s", *(f"{int(size):,} posts" for size in sizes)],
            (
                [stage, *(f"{f['build']['stages'].get(stage, 0):.1f}" for f in sizes.values())]
                for stage in _stages(sizes.values())
            ),
        ),
        "",
        *_growth(figures["growth"]),
        "",
        *_profiles(figures.get("profiles", {})),
        "",
        *_limits(figures.get("limits", {})),
        "",
        *_peers(figures.get("peers", {})),
    ]
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    written = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}", *written]


def _stages(sizes: Iterable[Figures]) -> list[str]:
    return list(dict.fromkeys(stage for found in sizes for stage in found["build"]["stages"]))


def _growth(growth: Figures) -> list[str]:
    """Each cost at the largest size as a multiple of that at the smallest."""
    rows = (
        [name, f"{times:.1f}", "no" if times > growth["n_log_n"] else "yes"]
        for name, times in growth["times"].items()
    )
    return _table(
        [
            f"from {growth['from']:,} to {growth['to']:,} posts",
            "times as much",
            f"within n log n ({growth['n_log_n']:.0f})",
        ],
        rows,
    )


def _profiles(profiles: Figures) -> list[str]:
    """Our functions that take most of a build and of queries, as shares under the profiler."""
    rows = (
        [
            work,
            f"{found['ours']:.0%}",
            "<br>".join(f"`{name}` {share:.1%}" for name, share in found["largest"]),
        ]
        for work, found in profiles.items()
    )
    return _table(["profile", "ours", "our largest functions"], rows) if profiles else []


def _limits(limits: Figures) -> list[str]:
    names = {
        "read": "posts read; JSON parsed",
        "train": "all vectors learned; gensim alone",
        "add": "vectors added; FAISS alone",
    }
    rows = [
        [name, f"{limits[key]['seconds']:.2f}", f"{limits[key]['limit']:.2f}"]
        for key, name in names.items()
        if key in limits
    ]
    lines = _table(["s", "ours", "limit"], rows) if rows else []
    if encode := limits.get("encode"):
        ours = {way: median(encode["ratios"][way]) for way in ("ready_session", "ready_threads")}
        lines += [
            "",
            f"Pictures a second, files to vectors: {encode['pipeline']:.1f}. ONNX Runtime on ready "
            f"tensors: {encode['ready_session']:.1f} by its own threads "
            f"(ratio {ours['ready_session']:.2f}), {encode['ready_threads']:.1f} by a thread for "
            f"each core (ratio {ours['ready_threads']:.2f}).",
        ]
    return lines


def _peers(peers: Figures) -> list[str]:
    rows = []
    for name, found in peers.items():
        if "missing" in found:
            rows.append([name, f"`{found['missing']}` is not installed", "", "", ""])
        elif "train_s" in found:
            rows.append([name, f"{found['train_s']:.1f} (training)", f"{found['ms']:.2f}", "", ""])
        else:
            sizes = [f"{found['recall']:.3f}", f"{found['bytes'] / MIB:.1f}"]
            low, high = found["ms_quartiles"]
            query = f"{found['ms']:.3f} ({low:.3f} to {high:.3f})"
            rows.append([name, f"{found['add_s']:.2f}", query, *sizes])
    if not rows:
        return []
    return _table(
        ["caption vectors", "add, s", "query, ms (quartiles)", "recall@100", "MiB on disk"], rows
    )


def speed_plot(figures: Figures) -> bytes:
    """Each cost as a multiple of that at the smallest size, beside n log n, as SVG."""
    import math

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
