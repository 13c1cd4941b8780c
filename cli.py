"""The command line: each command parses, calls one plain function and prints what it returned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from indexer.errors import HashlensError, IndexUnusableError
from retriever import options
from retriever.forms import FORMAT, answer_json, row_json
from retriever.selection import DIVERSITY, GENERIC

if TYPE_CHECKING:
    from rich.table import Table

    from indexer.schema import Rejection

SOME_REJECTED = 3
INTERRUPTED = 130


class _Commands(TyperGroup):
    """Turns our errors into one line and their exit status; anything else is a bug and shows."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (Typer's own types are private)
        try:
            return super().invoke(ctx)
        except HashlensError as error:
            typer.echo(f"hashlens: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            typer.echo("hashlens: interrupted; nothing half-made was left", err=True)
            ctx.exit(INTERRUPTED)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="""Hashtags for a photo, a caption or some seed hashtags, learned from your own posts.

    Start with these three:

    - `hashlens sample demo-posts` writes a small folder of posts to try things on
    - `hashlens build demo-posts --index demo-index` learns from them
    - `hashlens recommend --caption "walking the dog at sunset" --index demo-index` asks
    """,
)

DEFAULT_INDEX = Path("index")


@app.command()
def build(
    posts: Annotated[list[Path], typer.Argument(help="Files or folders of posts.")],
    index: options.Index = DEFAULT_INDEX,
    encoder: Annotated[
        str, typer.Option(help="Picture encoder: auto, or a name from `hashlens encoders`.")
    ] = "auto",
    weights: options.Weights = None,
    topics: Annotated[
        Path | None, typer.Option(help="Your own topics (TOML); the ten that ship otherwise.")
    ] = None,
    vectors: options.Vectors = "default",
    pretrained: options.Pretrained = None,
    rule: Annotated[
        str, typer.Option(help="Which hashtags a caption holds: instagram, or x (stricter).")
    ] = "instagram",
    workers: Annotated[int, typer.Option(min=1, help="Threads to use.")] = 2,
    as_json: options.Json = False,
) -> None:
    """Learn from posts: read them, encode their pictures, and publish a new index.

    POSTS are JSONL, CSV or Parquet files with any of the fields id, image, caption, hashtags,
    author, taken_at and topic, or folders that hold such files. An index that is already there
    keeps answering until the new one is whole.
    """
    from dataclasses import asdict, replace

    from indexer.build import build as build_index
    from indexer.build import described
    from indexer.config import VECTOR_PRESETS, BuildConfig, named
    from retriever.bar import progress_bar
    from retriever.fitting import fit_ranker

    preset = named(VECTOR_PRESETS, vectors, "--vectors")
    if pretrained:
        preset = replace(preset, pretrained=str(pretrained))
    config = BuildConfig(encoder=encoder, hashtag_rule=rule, vectors=preset)
    with progress_bar() as progress:
        report = build_index(
            posts,
            index,
            config=config,
            topics_file=topics,
            weights=weights,
            fit_ranker=fit_ranker,
            progress=progress,
            workers=workers,
        )
    if as_json:
        _print_json({"format": FORMAT, "index": str(index)} | asdict(report))
    else:
        typer.echo(f"{index}: {described(report)}")
        typer.echo("".join(f"hashlens: {note}\n" for note in report.notes), err=True, nl=False)
    _finish(report.rejections)


@app.command()
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
        _print_json({"format": FORMAT, "id": None} | answer_json(answer, evidence=True))
    elif plain:
        typer.echo(" ".join(f"#{tag.display}" for tag in answer.tags))
    else:
        _print(answer_table(answer))
        if explain:
            _print(evidence_table(answer))


@app.command()
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


@app.command()
def evaluate(
    posts: Annotated[list[Path], typer.Argument(help="Posts that the index has not seen.")],
    index: options.Index = DEFAULT_INDEX,
    inputs: Annotated[
        str,
        typer.Option(help="What of each post is given: image, caption, seeds:N, joined by commas."),
    ] = "caption",
    seen: Annotated[
        bool, typer.Option("--allow-seen", help="Judge on posts of the index, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Draws other seed hashtags.")] = 1,
    as_json: options.Json = False,
) -> None:
    """Judge an index's own recommender on posts it has not seen.

    Hashtags are taken out of captions first. Seeds are drawn from a post's hashtags by sha256 of
    seed, post id and hashtag, the first N in that order, and are left out of what must be found.
    """
    from evaluation.judge import evaluate_index
    from retriever.tables import table

    result = evaluate_index(index, posts, inputs, seen_allowed=seen, seed=seed)
    if as_json:
        _print_json(result)
        return
    title = f"{index} on {result['queries']:,} queries of {result['inputs']}"
    spans = result["intervals"]
    rows = [
        (name, f"{mean:.4f}", "[{:.4f}, {:.4f}]".format(*spans[name]))
        for name, mean in result["metrics"].items()
    ]
    _print(table(title, ("metric", "mean", "95 % interval"), rows))


@app.command()
def benchmark(
    posts: Annotated[list[Path], typer.Argument(help="Posts to split, learn from and judge on.")],
    out: Annotated[Path, typer.Option(help="Folder for the report; a stopped run goes on there.")],
    methods: Annotated[
        str | None, typer.Option(help="Methods, joined by commas; all otherwise.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            help="What is given, as in `evaluate`; may be repeated. Without it, POSTS is "
            "a folder of the public collections, each with a task of its own."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="author, time, post, or auto (the first of these that is known).")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of splits, seeds and intervals.")] = 1,
    limit: Annotated[int, typer.Option(help="Most queries of a task and its inputs.")] = 2000,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also judge hashlens without each of its parts.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Split posts, let every method learn and answer, and write a report.

    Near-duplicates stay on one side of the split, hashtags are taken out of captions, and the
    product is judged beside the methods of the report it comes from and the strongest simple ones.
    """
    from evaluation.benchmark import benchmark as run
    from evaluation.report import COLUMNS, rows
    from evaluation.suite import tasks_named
    from retriever.bar import progress_bar
    from retriever.tables import table

    with progress_bar() as progress:
        report = run(
            tasks_named(posts, inputs, rule=split),
            out,
            methods=methods.split(",") if methods else None,
            seed=seed,
            queries_limit=limit,
            ablate=ablation,
            progress=progress,
            on_message=lambda message: typer.echo(message, err=True),
        )
    if as_json:
        _print_json(report)
    else:
        _print(table(f"{out / 'report.html'}", COLUMNS, rows(report)))


@app.command()
def inspect(index: options.Index = DEFAULT_INDEX, as_json: options.Json = False) -> None:
    """Show what an index holds: posts, topics, hashtags, encoder and settings."""
    from retriever.summary import summarize
    from retriever.tables import plain, table

    summary = summarize(index)
    if as_json:
        _print_json({"format": FORMAT} | summary)
        return
    tops = summary.pop("topics")
    _print(table(f"{index}", ("", ""), [(name, plain(v)) for name, v in summary.items()]))
    rows = [(t["topic"], f"{t['posts']:,}", " ".join(f"#{h}" for h in t["hashtags"])) for t in tops]
    _print(table("topics", ("topic", "posts", "most used hashtags"), rows))


@app.command()
def verify(index: options.Index = DEFAULT_INDEX, as_json: options.Json = False) -> None:
    """Check every file of an index against its recorded size and hash."""
    from indexer.generation import verify as find_troubles

    troubles = find_troubles(index)
    if as_json:
        _print_json({"format": FORMAT, "sound": not troubles, "troubles": list(troubles)})
    else:
        typer.echo("\n".join(troubles) or f"{index}: sound")
    if troubles:
        raise typer.Exit(IndexUnusableError.exit_code)


@app.command()
def history(index: options.Index = DEFAULT_INDEX, as_json: options.Json = False) -> None:
    """List the generations of an index that are still on disk."""
    from indexer.generation import history as list_generations
    from retriever.tables import table

    rows = [(g.number, g.manifest.created, g.manifest.counts) for g in list_generations(index)]
    if as_json:
        names = ("generation", "created", "counts")
        entries = [dict(zip(names, row, strict=True)) for row in rows]
        _print_json({"format": FORMAT, "generations": entries})
        return
    shown = [(str(number), created, f"{counts['posts']:,}") for number, created, counts in rows]
    _print(table(f"{index}", ("generation", "created", "posts"), shown))


@app.command()
def rollback(
    index: options.Index = DEFAULT_INDEX,
    to: Annotated[int | None, typer.Option(help="Generation; the one before otherwise.")] = None,
) -> None:
    """Return to an older generation, after checking that it is whole."""
    from indexer.generation import rollback as return_to

    typer.echo(f"{index}: back at generation {return_to(index, to).number}")


@app.command()
def encoders(
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure those at hand, seconds each.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the picture encoders, where their weights are or come from, and their speed here."""
    from dataclasses import asdict

    from indexer.available import COLUMNS, encoder_infos, row
    from retriever.tables import table

    infos = encoder_infos(measure=measure)
    if as_json:
        _print_json({"format": FORMAT, "encoders": [asdict(info) for info in infos]})
    else:
        _print(table("encoders", COLUMNS, [row(info) for info in infos]))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made if it is missing.")],
) -> None:
    """Write a small folder of sample posts with pictures, to try hashlens on."""
    from indexer.sample import gather_sample

    typer.echo(f"sample posts written to {gather_sample(folder)}")


def _print(table: Table) -> None:
    from rich.console import Console

    # Piped, a table is as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _finish(rejections: tuple[Rejection, ...]) -> None:
    """Report what could not be used, and exit with 3 where whole posts were rejected."""
    from retriever.tables import unused

    for line in unused(rejections):
        typer.echo(line, err=True)
    if not all(rejection.post_kept for rejection in rejections):
        raise typer.Exit(SOME_REJECTED)


def main() -> None:
    """Entry point of the console command."""
    app()
