"""The plots of a report, each as a title and a `data:` address of an SVG picture."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hashlens.evaluation.methods.hashlens import Product

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRODUCT = Product.name
NAMED = 6  # baselines that have a colour and a name, the best; all others are grey
_OWN = "#d9480f"
_COLOURS = ("#1864ab", "#2b8a3e", "#862e9c", "#0b7285", "#5c940d", "#495057")
_GREY = "#ced4da"

Plot = tuple[str, str]
Rows = Sequence[dict[str, Any]]


def page_plots(part: dict[str, Any]) -> list[Plot]:
    """Plots of one combination of inputs; those that nothing can be drawn in are left out.

    Args:
        part: of a report: `methods`, `best_baseline`.
    """
    rows = [row for row in part["methods"] if "error" not in row]
    rows.sort(key=lambda row: (-row["metrics"]["P@5"], row["method"]))
    if not rows:
        return []
    plots = [
        ("P@k by k", lambda axes: _curves(axes, rows)),
        ("P@5 against milliseconds a query", lambda axes: _speed(axes, rows)),
    ]
    shown = [row for row in rows if row["method"] in (PRODUCT, part["best_baseline"])]
    if len(rows[0]["topics"]) > 1 and shown:
        plots.append(("P@5 by topic", lambda axes: _topics(axes, shown)))
    stated = [row for row in rows if row["calibration"]]
    if stated:
        plots.append(("Stated probability, and share that came true", _reliability_of(stated)))
    return [(title, _drawn(title, draw)) for title, draw in plots]


def topic_plots(topic: dict[str, Any]) -> list[Plot]:
    """Plots of the task of telling topics: confusion, and calibration."""
    own = {"method": "topic", "calibration": topic["calibration"]}
    plots = [
        ("Topic of the picture (rows), and topic said (columns)", lambda a: _confusion(a, topic)),
        ("Stated probability, and share that came true", _reliability_of([own])),
    ]
    return [(title, _drawn(title, draw)) for title, draw in plots]


def _drawn(title: str, draw: Callable[[Axes], None]) -> str:
    """`data:` address of a plot; the same values give the same address."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11)
    draw(axes)
    file = io.BytesIO()
    nameless = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": title}), warnings.catch_warnings():
        # A topic's name may be in letters that the font lacks; the table has it in any case.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="svg", metadata=nameless)
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _plain(text: str) -> str:
    """The text with no sign that Matplotlib would take for a formula."""
    return text.replace("$", r"\$")


def _colours(rows: Rows) -> dict[str, str]:
    """Colour by method: the product's own, the best baselines', and grey."""
    others = [row["method"] for row in rows if row["method"] != PRODUCT]
    named = dict(zip(others[:NAMED], _COLOURS, strict=False))
    return {name: named.get(name, _GREY) for name in others} | {PRODUCT: _OWN}


def _curves(axes: Axes, rows: Rows) -> None:
    colours = _colours(rows)
    for row in reversed(rows):
        name, curve = row["method"], row["curve"]
        named = colours[name] != _GREY
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=colours[name],
            linewidth=2.6 if name == PRODUCT else 1.4,
            zorder=3 if name == PRODUCT else 2 if named else 1,
            label=_plain(name) if named else None,
        )
    axes.set(xlabel="k", ylabel="P@k", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, reverse=True)


def _speed(axes: Axes, rows: Rows) -> None:
    colours = _colours(rows)
    for row in rows:
        name, at = row["method"], (max(row["ms_per_query"], 1e-3), row["metrics"]["P@5"])
        low, high = row["intervals"]["P@5"]
        axes.plot([at[0]] * 2, [low, high], color=colours[name], linewidth=1)
        axes.plot(*at, "o", color=colours[name], markersize=7 if name == PRODUCT else 5)
        axes.annotate(_plain(name), at, (4, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="milliseconds a query", ylabel="P@5, 95 % interval")
    axes.set_ylim(0)


def _topics(axes: Axes, rows: Rows) -> None:
    names = list(rows[0]["topics"])
    colours = _colours(rows)
    height = 0.8 / len(rows)
    for number, row in enumerate(rows):
        axes.barh(
            [place + number * height for place in range(len(names))],
            [row["topics"][name]["P@5"] for name in names],
            height,
            color=colours[row["method"]],
            label=_plain(row["method"]),
        )
    labels = [f"{_plain(n)} ({rows[0]['topics'][n]['queries']})" for n in names]
    middle = (len(rows) - 1) * height / 2
    axes.set_yticks([place + middle for place in range(len(names))], labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="P@5 (queries in brackets)")
    axes.legend(frameon=False, fontsize=8)


def _reliability_of(rows: Rows) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        colours = _colours(rows)
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
        for row in rows:
            found, name = row["calibration"], row["method"]
            label = f"{_plain(name)}: error {found['error']:.3f}"
            axes.plot(found["predicted"], found["observed"], "o-", color=colours[name], label=label)
        axes.set(xlabel="stated probability", ylabel="share that came true")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.legend(frameon=False, fontsize=8)

    return draw


def _confusion(axes: Axes, topic: dict[str, Any]) -> None:
    names, counts = [_plain(name) for name in topic["topics"]], topic["confusion"]
    shares = [[count / max(sum(line), 1) for count in line] for line in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            if count:
                dark = shares[row][column] > 0.5
                colour = "white" if dark else "black"
                place = {"ha": "center", "va": "center"}
                axes.text(column, row, f"{count}", place, color=colour, fontsize=7)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
