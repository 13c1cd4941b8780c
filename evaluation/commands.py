"""Commands that judge: each parses, calls one plain function and prints what it returned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashlens.indexer.text.escaping import count_noun
from hashlens.retriever.cli import options
from hashlens.retriever.cli.output import print_json, print_table, warn_bare
from hashlens.retriever.index.default import find_index


def evaluate(
    posts: Annotated[list[Path], typer.Argument(help="Posts that the index has not seen.")],
    index: options.ReadIndex = None,
    inputs: Annotated[
        str,
        typer.Option(
            help="Fields of each post that are given: image, caption, seeds:N, joined by commas."
        ),
    ] = "caption",
    seen: Annotated[
        bool, typer.Option("--allow-seen", help="Judge on posts of the index, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Number that seed hashtags are drawn by.")] = 1,
    as_json: options.Json = False,
) -> None:
    """Judge an index's own recommender on posts it has not seen.

    Hashtags are taken out of captions first. Seeds are drawn from a post's hashtags by sha256 of
    seed, post id and hashtag, the first N in that order, and are left out of what must be found.

    Example: `hashlens evaluate new-posts.jsonl --inputs caption,seeds:2`
    """
    from hashlens.evaluation.benchmark.scoring import evaluate_index
    from hashlens.retriever.cli.terminal_tables import table

    index = index or find_index()
    result = evaluate_index(index, posts, inputs, seen_allowed=seen, seed=seed)
    if as_json:
        print_json(result | {"index": str(index)})
        return
    title = f"{index} on {count_noun(result['queries'], 'queries')} of {result['inputs']}"
    spans = result["intervals"]
    rows = [
        (name, f"{mean:.4f}", "[{:.4f}, {:.4f}]".format(*spans[name]))
        for name, mean in result["metrics"].items()
    ]
    print_table(table(title, ("metric", "mean", "95 % interval"), rows))


def benchmark(
    posts: Annotated[list[Path], typer.Argument(help="Posts to split, learn from and judge on.")],
    out: Annotated[Path, typer.Option(help="Folder for the report; a stopped run goes on there.")],
    methods: Annotated[
        str | None, typer.Option(help="Names of methods, joined by commas.", show_default="all")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            help="Fields that are given, as in `evaluate`; may be repeated. Without it, POSTS must "
            "be a folder of the public collections, each with a task of its own."
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Rule of the split: author, time, post, or auto (the first that is known)."
        ),
    ] = "auto",
    seed: Annotated[
        int, typer.Option(help="Number that splits, seeds and intervals are drawn by.")
    ] = 1,
    limit: Annotated[int, typer.Option(help="Most queries of a task and its inputs.")] = 2000,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also judge hashlens without each of its parts.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Split posts, let every method learn and answer, and write a report.

    Near-duplicates stay on one side of the split, hashtags are taken out of captions, and the
    product is judged beside the methods of the report it comes from and the strongest simple ones.
    It needs an extra: `pip install "hashlens[benchmark]"`.

    Example: `hashlens benchmark my-posts --out report --inputs caption --inputs image,caption`
    """
    from hashlens.evaluation.benchmark.report import COLUMNS, rows
    from hashlens.evaluation.benchmark.run import benchmark as run
    from hashlens.evaluation.tasks.suite import tasks_named
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.cli.terminal_tables import table

    with progress_bar() as progress:
        report = run(
            tasks_named(posts, inputs, rule=split),
            out,
            methods=methods.split(",") if methods else None,
            seed=seed,
            queries_limit=limit,
            ablate=ablation,
            progress=progress,
            on_message=warn_bare,
        )
    if as_json:
        print_json(report)
    else:
        print_table(table(f"{out / 'report.html'}", COLUMNS, rows(report)))
