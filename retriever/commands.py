"""Commands that answer: each parses, calls one plain function and prints what it returned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from indexer.errors import HashlensError
from retriever import options
from retriever.forms import FORMAT, answer_json, row_json
from retriever.options import DEFAULT_INDEX
from retriever.printed import SOME_REJECTED, print_json, print_table
from retriever.selection import DIVERSITY, GENERIC


def recommend(
    image: Annotated[Path | None, typer.Option(help="A picture.")] = None,
    caption: Annotated[str, typer.Option(help="A caption; hashtags in it count as seeds.")] = "",
    seed: options.Seeds = None,
    k: options.K = None,
    min_probability: options.MinProbability = 0.0,
    diversity: options.Diversity = DIVERSITY,
    generic: options.Generic = GENERIC,
    mix: options.Mix = "",
    block: options.Block = None,
    pin: options.Pin = None,
    platform: options.Platform = None,
    index: options.Index = DEFAULT_INDEX,
    weights: options.Weights = None,
    explain: options.Explain = False,
    as_json: options.Json = False,
    plain: Annotated[bool, typer.Option(help="Only the hashtags, on one line.")] = False,
) -> None:
    """Recommend hashtags for a picture, a caption, seed hashtags, or any mix of these."""
    from indexer.queries import make_query
    from retriever.recommend import Recommender
    from retriever.tables import answer_table, evidence_table

    selection = options.selection_from(
        k, min_probability, diversity, generic, mix, block, pin, platform
    )
    query = make_query(image, caption, seed or [])
    recommender = Recommender.open(index, weights)
    answer = recommender.recommend(query, selection=selection, explain=explain or as_json)
    for note in answer.notes:
        typer.echo(f"hashlens: {note}", err=True)
    if as_json:
        print_json({"format": FORMAT, "id": None} | answer_json(answer, evidence=True))
    elif plain:
        typer.echo(" ".join(f"#{tag.display}" for tag in answer.tags))
    else:
        print_table(answer_table(answer))
        if explain:
            print_table(evidence_table(answer))


def batch(
    posts: Annotated[
        Path, typer.Argument(help="Rows to answer (JSONL, CSV, Parquet), or a folder of pictures.")
    ],
    out: Annotated[Path, typer.Option(help="JSONL file to write, one answer a line, in order.")],
    index: options.Index = DEFAULT_INDEX,
    k: options.K = None,
    min_probability: options.MinProbability = 0.0,
    diversity: options.Diversity = DIVERSITY,
    generic: options.Generic = GENERIC,
    mix: options.Mix = "",
    block: options.Block = None,
    pin: options.Pin = None,
    platform: options.Platform = None,
    weights: options.Weights = None,
) -> None:
    """Answer many queries: rows with any of id, image, caption and seeds.

    Hashtags that a row already has, in its caption or beside it, are not looked at. A row that
    cannot be answered gets `error` instead of `tags`, and the others go on.
    """
    from indexer.queries import count_queries, read_queries, whole_file
    from retriever.bar import progress_bar
    from retriever.recommend import Recommender

    selection = options.selection_from(
        k, min_probability, diversity, generic, mix, block, pin, platform
    )
    for note in selection.notes:
        typer.echo(f"hashlens: {note}", err=True)
    recommender = Recommender.open(index, weights)
    failed = answered = 0
    with progress_bar() as progress, whole_file(out) as lines:
        progress.stage("Answering", count_queries(posts))
        for row_id, answer in recommender.stream(read_queries(posts), selection=selection):
            failed += isinstance(answer, HashlensError)
            answered += not isinstance(answer, HashlensError)
            lines.write(json.dumps(row_json(row_id, answer), ensure_ascii=False) + "\n")
            progress.advance()
    typer.echo(f"{out}: {answered:,} answered, {failed:,} failed", err=True)
    if failed:
        raise typer.Exit(SOME_REJECTED)


def inspect(index: options.Index = DEFAULT_INDEX, as_json: options.Json = False) -> None:
    """Show what an index holds: posts, topics, hashtags, encoder and settings."""
    from retriever.summary import summarize
    from retriever.tables import plain, table

    summary = summarize(index)
    if as_json:
        print_json({"format": FORMAT} | summary)
        return
    tops = summary.pop("topics")
    print_table(table(f"{index}", ("", ""), [(name, plain(v)) for name, v in summary.items()]))
    rows = [(t["topic"], f"{t['posts']:,}", " ".join(f"#{h}" for h in t["hashtags"])) for t in tops]
    print_table(table("topics", ("topic", "posts", "most used hashtags"), rows))
