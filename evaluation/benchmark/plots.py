"""The plots of a report, each as a title and a `data:` address of an SVG picture."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hashlens.evaluation.methods.hashlens import Product
from hashlens.evaluation.result_files import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRODUCT = Product.name
_PRODUCT_COLOUR, _GREY = "#d9480f", "#ced4da"
# Of the best baselines; all others are grey and without a label.
_COLOURS = ("#1864ab", "#2b8a3e", "#862e9c", "#0b7285", "#5c940d", "#495057")
_CALIBRATION_TITLE = "Predicted probability, and share of true outcomes"

Plot = tuple[str, str]
Rows = Sequence[Json]


def plot_methods(part: Json) -> list[Plot]:
    """Return the plots of one combination of inputs, without those that have no data.

    Args:
        part: of a report, with `methods` and `best_baseline`.
    """
    rows = [row for row in part["methods"] if "error" not in row]
    rows.sort(key=lambda row: (-row["metrics"]["P@5"], row["method"]))
    if not rows:
        return []
    plots = [
        _render("P@k by k", lambda axes: _draw_curves(axes, rows)),
        _render("P@5 against milliseconds a query", lambda axes: _draw_speed(axes, rows)),
    ]
    compared = [row for row in rows if row["method"] in (PRODUCT, part["best_baseline"])]
    if len(rows[0]["topics"]) > 1 and compared:
        plots.append(_render("P@5 by topic", lambda axes: _draw_topics(axes, compared)))
    calibrated = [row for row in rows if row["calibration"]]
    if calibrated:
        plots.append(_render(_CALIBRATION_TITLE, lambda axes: _draw_calibration(axes, calibrated)))
    return plots


def plot_topics(topic: Json) -> list[Plot]:
    """Return the plots of a task of kind `topics`: confusion and calibration."""
    row = {"method": "topic", "calibration": topic["calibration"]}

    def draw_confusion(axes: Axes) -> None:
        names, counts = [_escape(name) for name in topic["topics"]], topic["confusion"]
        shares = [[count / max(sum(line), 1) for count in line] for line in counts]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, line in enumerate(counts):
            for column, count in enumerate(line):
                if count:
                    colour = "white" if shares[row][column] > 0.5 else "black"
                    centre = {"ha": "center", "va": "center"}
                    axes.text(column, row, f"{count}", centre, color=colour, fontsize=7)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)

    title = "True topic of the picture (rows), and predicted topic (columns)"
    return [
        _render(title, draw_confusion),
        _render(_CALIBRATION_TITLE, lambda axes: _draw_calibration(axes, [row])),
    ]


def _render(title: str, draw: Callable[[Axes], None]) -> Plot:
    """Return a title and the address of a plot; the same values give the same address."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11)
    draw(axes)
    file = io.BytesIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": title}), warnings.catch_warnings():
        # The font may lack letters of a topic's name; the table has them.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="svg", metadata=no_metadata)
    code = base64.b64encode(file.getvalue()).decode("ascii")
    return title, f"data:image/svg+xml;base64,{code}"


def _escape(text: str) -> str:
    """Return the text without signs that Matplotlib takes for a formula."""
    return text.replace("$", r"\$")


def _choose_colours(rows: Rows) -> dict[str, str]:
    """Return the colour of each method."""
    others = [row["method"] for row in rows if row["method"] != PRODUCT]
    colours = dict.fromkeys(others, _GREY) | dict(zip(others, _COLOURS, strict=False))
    return colours | {PRODUCT: _PRODUCT_COLOUR}


def _draw_curves(axes: Axes, rows: Rows) -> None:
    colours = _choose_colours(rows)
    for row in reversed(rows):
        name, curve = row["method"], row["curve"]
        labelled = colours[name] != _GREY
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=colours[name],
            linewidth=2.6 if name == PRODUCT else 1.4,
            zorder=3 if name == PRODUCT else 2 if labelled else 1,
            label=_escape(name) if labelled else None,
        )
    axes.set(xlabel="k", ylabel="P@k", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, reverse=True)


def _draw_speed(axes: Axes, rows: Rows) -> None:
    colours = _choose_colours(rows)
    for row in rows:
        name, at = row["method"], (max(row["ms_per_query"], 1e-3), row["metrics"]["P@5"])
        axes.plot([at[0]] * 2, row["intervals"]["P@5"], color=colours[name], linewidth=1)
        axes.plot(*at, "o", color=colours[name], markersize=7 if name == PRODUCT else 5)
        axes.annotate(_escape(name), at, (4, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="milliseconds a query", ylabel="P@5, 95 % interval")
    axes.set_ylim(0)


def _draw_topics(axes: Axes, rows: Rows) -> None:
    names = list(rows[0]["topics"])
    colours = _choose_colours(rows)
    height = 0.8 / len(rows)
    for number, row in enumerate(rows):
        axes.barh(
            [place + number * height for place in range(len(names))],
            [row["topics"][name]["P@5"] for name in names],
            height,
            color=colours[row["method"]],
            label=_escape(row["method"]),
        )
    labels = [f"{_escape(n)} ({rows[0]['topics'][n]['queries']})" for n in names]
    middle = (len(rows) - 1) * height / 2
    axes.set_yticks([place + middle for place in range(len(names))], labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="P@5 (queries in brackets)")
    axes.legend(frameon=False, fontsize=8)


def _draw_calibration(axes: Axes, rows: Rows) -> None:
    colours = _choose_colours(rows)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    for row in rows:
        bins, name = row["calibration"], row["method"]
        label = f"{_escape(name)}: error {bins['error']:.3f}"
        axes.plot(bins["predicted"], bins["observed"], "o-", color=colours[name], label=label)
    axes.set(xlabel="predicted probability", ylabel="share of true outcomes")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
