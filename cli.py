"""The command line: each command parses, calls one plain function and prints what it returned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evaluation.commands import benchmark, evaluate
from indexer.errors import HashlensError, IndexUnusableError
from retriever import options
from retriever.commands import batch, config, inspect, recommend
from retriever.defaultindex import FIRST_STEPS, index_default
from retriever.forms import FORMAT
from retriever.options import DEFAULT_INDEX
from retriever.printed import INTERRUPTED, finish, print_json, print_table
from retriever.userconfig import UserConfig


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
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Hashtags for a photo, a caption or some seed hashtags, learned from your own posts.\n\n"
    "Start with these three:\n\n"
    + "\n".join(f"- `{command}` {what}" for command, what in FIRST_STEPS),
)


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """Say where to begin if nothing is asked; else read the defaults that the command can use."""
    name = context.invoked_subcommand
    if name is None:
        typer.echo("Three commands to try:\n")
        typer.echo("".join(f"  {step}\n      {what}\n" for step, what in FIRST_STEPS))
        typer.echo("hashlens --help lists all commands, hashlens COMMAND --help their options.")
    elif isinstance(context.command, TyperGroup):
        command = context.command.get_command(context, name)
        # A file that is wrong stops only those that would read it.
        if command and any(parameter.name == "index" for parameter in command.params):
            context.obj = UserConfig.find()
            context.default_map = {name: context.obj.defaults}


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

    Example: `hashlens build my-posts more-posts.jsonl --index my-index`
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
        print_json({"format": FORMAT, "index": str(index)} | asdict(report))
    else:
        typer.echo(f"{index}: {described(report)}")
        typer.echo("".join(f"hashlens: {note}\n" for note in report.notes), err=True, nl=False)
    finish(report.rejections)


for command in (recommend, batch, evaluate, benchmark, inspect, config):
    app.command()(command)


@app.command()
def verify(index: options.ReadIndex = None, as_json: options.Json = False) -> None:
    """Check every file of an index against its recorded size and hash.

    Example: `hashlens verify --index my-index`
    """
    from indexer.generation import verify as find_troubles

    index = index or index_default()
    troubles = find_troubles(index)
    if as_json:
        print_json({"format": FORMAT, "sound": not troubles, "troubles": list(troubles)})
    else:
        typer.echo("\n".join(troubles) or f"{index}: sound")
    if troubles:
        raise typer.Exit(IndexUnusableError.exit_code)


@app.command()
def history(index: options.ReadIndex = None, as_json: options.Json = False) -> None:
    """List the generations of an index that are still on disk.

    Example: `hashlens history --index my-index`
    """
    from indexer.generation import history as list_generations
    from retriever.tables import table

    index = index or index_default()
    rows = [(g.number, g.manifest.created, g.manifest.counts) for g in list_generations(index)]
    if as_json:
        names = ("generation", "created", "counts")
        entries = [dict(zip(names, row, strict=True)) for row in rows]
        print_json({"format": FORMAT, "generations": entries})
        return
    shown = [(str(number), created, f"{counts['posts']:,}") for number, created, counts in rows]
    print_table(table(f"{index}", ("generation", "created", "posts"), shown))


@app.command()
def rollback(
    index: options.Index = DEFAULT_INDEX,
    to: Annotated[int | None, typer.Option(help="Generation; the one before otherwise.")] = None,
) -> None:
    """Return to an older generation, after checking that it is whole.

    Example: `hashlens rollback --index my-index --to 3`
    """
    from indexer.generation import rollback as return_to

    typer.echo(f"{index}: back at generation {return_to(index, to).number}")


@app.command()
def encoders(
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure those at hand, seconds each.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the picture encoders, where their weights are or come from, and their speed here.

    Example: `hashlens encoders --measure`
    """
    from dataclasses import asdict

    from indexer.available import COLUMNS, encoder_infos, row
    from retriever.tables import table

    infos = encoder_infos(measure=measure)
    if as_json:
        print_json({"format": FORMAT, "encoders": [asdict(info) for info in infos]})
    else:
        print_table(table("encoders", COLUMNS, [row(info) for info in infos]))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made if it is missing.")],
) -> None:
    """Write a small folder of sample posts with pictures, to try hashlens on.

    Example: `hashlens sample demo-posts`
    """
    from indexer.sample import gather_sample

    typer.echo(f"sample posts written to {gather_sample(folder)}")


def main() -> None:
    """Entry point of the console command."""
    app(prog_name="hashlens")
