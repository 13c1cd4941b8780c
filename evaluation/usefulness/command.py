"""The command `hashlens usefulness`: it parses, calls one plain function and prints the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hashlens.indexer.text.escaping import count_noun
from hashlens.retriever.cli import options
from hashlens.retriever.cli.output import print_json, print_table, say, warn
from hashlens.retriever.index.default import bundled_index, find_index

MAX_SHOWN = 10  # disagreements on stderr; JSON has all
COLUMNS = {  # of the table, by figure
    "would_use": "would use",
    "useful": "useful",
    "harmful": "harmful",
    "mean_answered": "answered",
    "posts_four_useful": "posts with 4+ useful",
    "posts_any_harmful": "posts with harmful",
    "mean_grade": "mean grade",
    "ungraded": "ungraded",
}
WITH_INTERVAL = ("would_use", "useful", "harmful")


def usefulness(
    panel: Annotated[
        Path | None,
        typer.Argument(help="Folder of a panel.", show_default="the panel that ships"),
    ] = None,
    index: options.ReadIndex = None,
    part: Annotated[
        Literal["steering", "test", "all"],
        typer.Option(help="Posts to ask about: steering, test (never tune on it), or all."),
    ] = "all",
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Also score simple baselines.")
    ] = True,
    posts: Annotated[
        list[Path] | None,
        typer.Option(help="Posts that neighbour baselines learn from; may be repeated."),
    ] = None,
    ungraded: Annotated[
        Path | None, typer.Option(help="File for the answers that nobody graded yet.")
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Score an index's answers by graded hashtags: who would use them, and which do harm.

    A panel is a folder of posts with graded hashtags; docs/evaluation.md says how to add to it.
    Shares are of the hashtags answered, with 95 % bootstrap intervals over posts.

    Example: `hashlens usefulness --ungraded to-grade.jsonl`
    """
    from hashlens.evaluation.usefulness.panel import panel_default, read_panel
    from hashlens.evaluation.usefulness.study import measure_usefulness
    from hashlens.retriever.cli.progress_bar import progress_bar

    if posts and not baselines:
        options.refuse_unused("is for baselines, which --no-baselines rules out", posts=posts)
    if as_json:
        options.refuse_unused("is for tables, which --json replaces", markdown=as_markdown)
    with progress_bar() as progress:
        result = measure_usefulness(
            read_panel(panel or panel_default()),
            index or find_index(),
            part=part,
            baselines=baselines,
            sources=posts or (),
            ungraded=ungraded,
            progress=progress,
        )
    for line in result["disagreements"][:MAX_SHOWN]:
        warn(f"{line}; the lower grade counts")
    if (more := len(result["disagreements"]) - MAX_SHOWN) > 0:
        warn(f"{count_noun(more, 'more disagreements')}; --json lists all")
    if as_json:
        print_json(result)
        return
    _print_tables(result, as_markdown=as_markdown)


def _print_tables(result: dict[str, Any], *, as_markdown: bool) -> None:
    from hashlens.retriever.cli.terminal_tables import table

    name = result["index"]
    asked = "the bundled index" if Path(name) == bundled_index() else name
    shown = f"{asked} on {count_noun(result['posts'], 'posts')} ({result['part']})"
    groups = {shown: result["systems"]}
    groups |= {f"hashlens by {name}": rows for name, rows in result["groups"].items()}
    for title, systems in groups.items():
        columns = ("", "posts", *COLUMNS.values())
        rows = [
            (name, f"{row['posts']:,}", *(_cell(row, figure) for figure in COLUMNS))
            for name, row in systems.items()
        ]
        if as_markdown:
            cells = (columns, ("---",) * len(columns), *rows)
            for line in (f"**{title}**", "", *(f"| {' | '.join(row)} |" for row in cells), ""):
                say(line)
        else:
            print_table(table(title, columns, rows))
    kappa = "none" if result["kappa"] is None else f"{result['kappa']:.2f}"
    say(
        f"without a grade {result['ungraded']:,}, gradings that disagree "
        f"{len(result['disagreements']):,}, graded twice {result['graded_twice']:,}, "
        f"weighted kappa {kappa}"
    )


def _cell(row: dict[str, Any], figure: str) -> str:
    value, span = row[figure], row["intervals"][figure]
    if value is None:
        return ""
    shown = f"{value:.2f}" if figure in ("mean_answered", "mean_grade") else f"{value:.3f}"
    return shown + (" [{:.2f}, {:.2f}]".format(*span) if span and figure in WITH_INTERVAL else "")
