"""The commands `evaluate` and `benchmark`: each calls one function and prints its result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashlens.indexer.text.escaping import count_noun
from hashlens.retriever.cli import options
from hashlens.retriever.cli.output import print_json, print_table, warn_bare
from hashlens.retriever.index.default import find_index


def evaluate(
    posts: Annotated[list[Path], typer.Argument(help="Posts that are not in the index.")],
    index: options.ReadIndex = None,
    inputs: Annotated[
        str,
        typer.Option(
            help="Fields of each post that are used: image, caption, seeds:N, joined by commas."
        ),
    ] = "caption",
    seen: Annotated[
        bool, typer.Option("--allow-seen", help="Also use posts that are in the index.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random draw of seed hashtags.")] = 1,
    as_json: options.Json = False,
) -> None:
    """Judge an index's recommender on posts that are not in the index.

    Hashtags are removed from captions first. With `seeds:N`, N of a post's hashtags are given, and
    the others must be predicted. The draw sorts hashtags by the SHA-256 of seed, post id and
    hashtag.

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
    intervals = result["intervals"]
    rows = [
        (name, f"{mean:.4f}", "[{:.4f}, {:.4f}]".format(*intervals[name]))
        for name, mean in result["metrics"].items()
    ]
    print_table(table(title, ("metric", "mean", "95 % interval"), rows))


def benchmark(
    posts: Annotated[list[Path], typer.Argument(help="Posts for training and test.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the report; an interrupted run continues there.")
    ],
    methods: Annotated[
        str | None, typer.Option(help="Names of methods, joined by commas.", show_default="all")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            help="Fields that are used, as in `evaluate`; may be repeated. Without it, POSTS must "
            "be a folder of the public collections, and each has a standard task."
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Rule of the split: author, time, post, or auto (the first that posts allow)."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of splits, seed hashtags and intervals.")] = 1,
    limit: Annotated[int, typer.Option(help="Most queries for each task and inputs.")] = 2000,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also judge hashlens without each of its channels.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compare hashlens with other methods on a split of posts, and write a report.

    Near-duplicates stay in one part of the split, and hashtags are removed from captions. The other
    methods are those of the course report that hashlens is based on, and the strongest simple ones.
    It needs an extra: `pip install "hashlens[benchmark]"`.

    Example: `hashlens benchmark my-posts --out report --inputs caption --inputs image,caption`
    """
    from hashlens.evaluation.benchmark.report import COLUMNS, list_rows
    from hashlens.evaluation.benchmark.run import run_benchmark
    from hashlens.evaluation.tasks.suite import choose_tasks
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.cli.terminal_tables import table

    with progress_bar() as progress:
        report = run_benchmark(
            choose_tasks(posts, inputs, rule=split),
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
        print_table(table(f"{out / 'report.html'}", COLUMNS, list_rows(report)))
