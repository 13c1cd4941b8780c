"""Commands that look after an index: each parses, calls one plain function and prints."""

from __future__ import annotations

from typing import Annotated

import typer

from hashlens.indexer.errors import IndexUnusableError
from hashlens.indexer.generations.generation import KEEP
from hashlens.retriever.cli import options
from hashlens.retriever.cli.output import print_json, print_report, print_table, say
from hashlens.retriever.index.default import DEFAULT_INDEX, find_index
from hashlens.retriever.json_format import FORMAT


def verify(index: options.ReadIndex = None, as_json: options.Json = False) -> None:
    """Check an index: every file's hash, then whether rows, vectors and counts fit together.

    It names what is wrong, and which generation is sound.

    Example: `hashlens verify --index my-index`
    """
    from hashlens.indexer.verify.verify import verify as find_troubles
    from hashlens.retriever.ranking.ranker import Ranker

    index = index or find_index()
    verdict = find_troubles(index, open_ranker=Ranker.open)
    if as_json:
        print_json({"format": FORMAT, "index": str(index)} | verdict.to_json())
    else:
        for line in (*verdict.troubles, verdict.advice(index)):
            say(line)
    if not verdict.sound:
        raise typer.Exit(IndexUnusableError.exit_code)


def history(index: options.ReadIndex = None, as_json: options.Json = False) -> None:
    """List the generations of an index that are still on disk.

    Example: `hashlens history --index my-index`
    """
    from hashlens.indexer.generations.generation import history as list_generations
    from hashlens.retriever.cli.terminal_tables import table

    index = index or find_index()
    rows = [(g.number, g.manifest.created, g.manifest.counts) for g in list_generations(index)]
    if as_json:
        names = ("generation", "created", "counts")
        entries = [dict(zip(names, encoder_row, strict=True)) for encoder_row in rows]
        print_json({"format": FORMAT, "index": str(index), "generations": entries})
        return
    shown = [
        (str(number), created, f"{counts.get('posts', 0):,}") for number, created, counts in rows
    ]
    print_table(table(f"{index}", ("generation", "created", "posts"), shown))


def rollback(
    index: options.Index = DEFAULT_INDEX,
    to: Annotated[
        int | None, typer.Option(help="Number of the generation.", show_default="the one before")
    ] = None,
) -> None:
    """Return to an older generation, after checking that it is whole.

    Example: `hashlens rollback --index my-index --to 3`
    """
    from hashlens.indexer.generations.generation import rollback as return_to

    say(f"{index}: back at generation {return_to(index, to).number}")


def encoders(
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure the speed of those whose weights are here; each takes seconds.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the picture encoders, where their weights are or come from, and, if asked, their speed.

    Example: `hashlens encoders --measure`
    """
    from dataclasses import asdict

    from hashlens.indexer.images.catalog import COLUMNS, encoder_infos, encoder_row
    from hashlens.retriever.cli.terminal_tables import table

    infos = encoder_infos(measure=measure)
    if as_json:
        print_json({"format": FORMAT, "encoders": [asdict(info) for info in infos]})
    else:
        print_table(table("encoders", COLUMNS, [encoder_row(info) for info in infos]))


def compact(
    index: options.Index = DEFAULT_INDEX,
    keep: options.Keep = KEEP,
    as_json: options.Json = False,
) -> None:
    """Make an index small again: merge its segments, and drop what removed posts left.

    Answers stay the same. Older generations hold removed posts until they go.

    Example: `hashlens compact --index my-index`
    """
    from hashlens.indexer.pipeline.compact import compact as compact_index
    from hashlens.retriever.cli.progress_bar import progress_bar

    with progress_bar() as progress:
        report = compact_index(index, keep=keep, progress=progress)
    print_report(index, report, report.summary(), as_json=as_json)
