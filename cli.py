"""The command line: each command parses, calls one plain function and prints what it returned."""

from __future__ import annotations

from hashlens.interrupts import end_on_interrupt, loading

with loading():
    import sys
    from contextlib import AbstractContextManager, nullcontext
    from pathlib import Path
    from typing import TYPE_CHECKING, Annotated, Any, Literal

    import typer
    from typer.core import TyperCommand, TyperGroup
    from typer.models import CommandInfo

    from hashlens.evaluation.commands import benchmark, evaluate
    from hashlens.evaluation.usefulness.command import usefulness
    from hashlens.indexer.errors import ConfigError
    from hashlens.indexer.generations.generation import KEEP
    from hashlens.retriever.cli import options
    from hashlens.retriever.cli.maintenance_commands import (
        compact,
        encoders,
        history,
        rollback,
        verify,
    )
    from hashlens.retriever.cli.output import finish, prepare_streams, print_report, say, warn
    from hashlens.retriever.cli.query_commands import batch, config, inspect, recommend, serve
    from hashlens.retriever.cli.troubles import reporting
    from hashlens.retriever.cli.user_config import UserConfig
    from hashlens.retriever.index.default import DEFAULT_INDEX, FIRST_STEPS, bundled_index
    from hashlens.retriever.index.version import program_version

if TYPE_CHECKING:
    from hashlens.indexer.corpus.engine import Engine


class _Commands(TyperGroup):
    """Turns every error into one line and its exit status."""

    def main(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 (Typer's own types are private)
        with reporting():
            return super().main(*args, **more)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        # Within `main`, for Typer itself makes an end of some errors there.
        with reporting():
            return super().invoke(ctx)


class _Command(TyperCommand):
    """Refuses texts that are no text: nothing could look them up, or print them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        rest = super().parse_args(ctx, args)
        for given in ctx.params.values():  # names of files are paths, and may be of any bytes
            for value in given if isinstance(given, (list, tuple)) else [given]:
                if isinstance(value, str):
                    options.check_text(value)
        return rest


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
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Say where to begin if nothing is asked; else read the defaults that the command can use."""
    if version:
        say(f"hashlens {program_version()}")
        raise typer.Exit
    name = context.invoked_subcommand
    if name is None:
        say("Three commands to try:")
        for step, what in FIRST_STEPS:
            say("")
            say(f"  {step}")
            say(f"      {what}")
        say("")
        say("hashlens --help lists all commands, hashlens COMMAND --help their options.")
    elif isinstance(context.command, TyperGroup):
        command = context.command.get_command(context, name)
        # A file that is wrong stops only those that would read it.
        if command and any(parameter.name == "index" for parameter in command.params):
            context.obj = UserConfig.find()
            context.default_map = {name: context.obj.defaults}
            if context.obj.file and context.obj.is_used(each.name for each in command.params):
                warn(f"defaults are from {context.obj.file.absolute()}")


@app.command()
def build(
    posts: Annotated[list[Path], typer.Argument(help="Files or folders of posts.")],
    index: options.Index = DEFAULT_INDEX,
    encoder: Annotated[
        str,
        typer.Option(
            help="Picture encoder: auto, or a name from `hashlens encoders`.",
            callback=options.check_encoder,
        ),
    ] = "auto",
    weights: options.Weights = None,
    topics: Annotated[
        Path | None,
        typer.Option(help="File of your own topics (TOML).", show_default="the ten that ship"),
    ] = None,
    vectors: options.Vectors = None,
    pretrained: options.Pretrained = None,
    rule: Annotated[
        Literal["instagram", "x"],
        typer.Option(help="Rule by which hashtags are read: instagram, or x (stricter)."),
    ] = "instagram",
    from_starter: Annotated[
        bool,
        typer.Option(
            "--from-starter",
            help="Begin from the index that ships: a few hundred posts of yours are then enough.",
        ),
    ] = False,
    reader: options.Reader = "auto",
    column: options.Columns = None,
    first_comment: options.FirstComment = None,
    keep: options.Keep = KEEP,
    workers: options.Workers = 2,
    engine: options.EngineName = "local",
    address: options.Address = None,
    allow_forgotten: options.AllowForgotten = False,
    as_json: options.Json = False,
) -> None:
    """Build an index: read posts, encode their pictures, and learn from them.

    POSTS are JSONL, CSV or Parquet files with any of the fields id, image, caption, hashtags,
    author, taken_at and topic, folders of such files, or folders that Instaloader, gallery-dl or
    Instagram's account export wrote. An index that is already there keeps answering until the new
    one is whole.

    Example: `hashlens build my-posts more-posts.jsonl --index my-index`
    """
    from dataclasses import replace

    from hashlens.indexer.config import BuildConfig
    from hashlens.indexer.pipeline.build import build as build_index
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.training.fit import fit_ranker

    options.check_files(weights=weights, topics=topics, pretrained=pretrained)
    preset, vectors_in = options.vectors_from(vectors)
    work = _engine(engine, address, from_starter=from_starter)
    if from_starter:
        if vectors:
            raise ConfigError(
                f"--from-starter: found --vectors {vectors[0]}, expected none: the index has them"
            )
        options.refuse_unused(
            "does not go with --from-starter, whose index has its own encoder, topics and rule",
            encoder=None if encoder == "auto" else encoder,
            topics=topics,
            rule=None if rule == "instagram" else rule,
            pretrained=pretrained,
        )
        _begin(
            *(posts, index, reader, column, first_comment, weights, workers, keep),
            allow_forgotten=allow_forgotten,
            as_json=as_json,
        )
        return
    if pretrained:
        preset = replace(preset, pretrained=str(pretrained))
    config = BuildConfig(
        encoder=encoder,
        hashtag_rule=rule,
        first_comment=first_comment is not False,
        vectors=preset,
    )
    with progress_bar() as progress, work as by:
        report = build_index(
            posts,
            index,
            config=config,
            topics_file=topics,
            weights=weights,
            reader=reader,
            columns=options.columns_from(column),
            keep=keep,
            fit_ranker=fit_ranker,
            progress=progress,
            workers=workers,
            vectors_in=vectors_in,
            engine=by,
            allow_forgotten=allow_forgotten,
        )
    print_report(index, report, report.summary(), report.notes, as_json=as_json)
    finish(report.rejections)


def _engine(
    name: str, address: str | None, *, from_starter: bool
) -> AbstractContextManager[Engine]:
    """What does the work of a build, from when it is entered."""
    from hashlens.indexer.corpus.engine import LOCAL
    from hashlens.indexer.distributed.ray_engine import ray_engine

    if address and name != "ray":
        raise typer.BadParameter(
            "found --address without --engine ray, expected both: add --engine ray, or leave "
            "--address out to build on this machine"
        )
    if from_starter and name == "ray":
        raise typer.BadParameter(
            "found --from-starter with --engine ray, expected one of the two: what is added to the "
            "index that ships is built on this machine"
        )
    return ray_engine(address) if name == "ray" else nullcontext(LOCAL)


def _begin(
    posts: list[Path],
    index: Path,
    reader: str,
    column: list[str] | None,
    first_comment: bool | None,
    weights: Path | None,
    workers: int,
    keep: int,
    *,
    allow_forgotten: bool,
    as_json: bool,
) -> None:
    """Begin an index from the one that ships, and add posts to it."""
    from hashlens.indexer.pipeline.bootstrap import copy_index
    from hashlens.indexer.pipeline.update import update as update_index
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.training.fit import fit_ranker

    with progress_bar() as progress, copy_index(index, bundled_index()):
        report = update_index(
            posts,
            index,
            fit_ranker=fit_ranker,
            reader=reader,
            columns=options.columns_from(column),
            first_comment=first_comment,
            weights=weights,
            keep=keep,
            progress=progress,
            workers=workers,
            allow_forgotten=allow_forgotten,
        )
    print_report(index, report, report.summary(), report.notes, as_json=as_json)
    finish(report.rejections)


@app.command()
def update(
    posts: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders of posts, new and old ones.")
    ] = None,
    index: options.Index = DEFAULT_INDEX,
    delete: Annotated[
        Path | None,
        typer.Option(
            help="Ids of posts to remove: one a line, or a table with a column id.",
        ),
    ] = None,
    retrain: Annotated[
        bool | None,
        typer.Option(
            "--retrain/--no-retrain",
            help="Learn vectors, topics and ranking anew, or not.",
            show_default="where over a fifth of the posts are new since",
        ),
    ] = None,
    reader: options.Reader = "auto",
    column: options.Columns = None,
    first_comment: options.FirstComment = None,
    keep: options.Keep = KEEP,
    pretrained: options.Pretrained = None,
    weights: options.Weights = None,
    workers: options.Workers = 2,
    allow_forgotten: options.AllowForgotten = False,
    as_json: options.Json = False,
) -> None:
    """Add a new scrape to an index: add new posts, replace changed ones, and delete named ones.

    Posts that are there already are found by id and content and left alone, so the whole scrape
    may be given each time. Until the new state is whole, the old one answers.

    Example: `hashlens update my-scrape --index my-index`
    """
    from hashlens.indexer.pipeline.update import update as update_index
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.training.fit import fit_ranker

    options.check_files(delete=delete, weights=weights, pretrained=pretrained)
    if not posts:
        options.refuse_unused(
            "says how POSTS are read, and none are given",
            reader=None if reader == "auto" else reader,
            column=column,
        )
    if retrain is False:
        options.refuse_unused(
            "is for learning anew, which --no-retrain rules out", pretrained=pretrained
        )
    with progress_bar() as progress:
        report = update_index(
            posts or [],
            index,
            delete=delete,
            retrain=retrain,
            reader=reader,
            columns=options.columns_from(column),
            first_comment=first_comment,
            pretrained=pretrained,
            keep=keep,
            weights=weights,
            fit_ranker=fit_ranker,
            progress=progress,
            workers=workers,
            allow_forgotten=allow_forgotten,
        )
    if pretrained and not report.retrained:
        warn(f"--pretrained {pretrained}: not used, for nothing was learned anew: add --retrain")
    print_report(index, report, report.summary(), report.notes, as_json=as_json)
    finish(report.rejections)


@app.command()
def forget(
    index: options.Index = DEFAULT_INDEX,
    author: Annotated[
        str | None,
        typer.Option(help="Remove all posts of this author; case and a leading @ do not count."),
    ] = None,
    post: Annotated[str | None, typer.Option(help="Remove the post of this id.")] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Also learn vectors, topics and ranking anew, without these posts."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Remove a person's posts from an index and from every older state of it on disk.

    Words that only they used go as well. The index keeps hashes of the author and of the posts'
    ids: a later update or build with the same scrape leaves them out. Stopped halfway, the next
    command that writes to the index goes on with it.

    Example: `hashlens forget --author jane_doe --index my-index`
    """
    from hashlens.indexer.pipeline.forget import forget as forget_posts
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.training.fit import fit_ranker

    with progress_bar() as progress:
        report = forget_posts(
            index,
            author=author,
            post=post,
            retrain=retrain,
            fit_ranker=fit_ranker,
            progress=progress,
        )
    print_report(index, report, report.summary(), report.notes, as_json=as_json)


answering = (recommend, batch, serve, inspect, config)
judging = (evaluate, benchmark, usefulness)
for command in (*answering, *judging, verify, history, rollback, compact, encoders):
    app.command()(command)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made if it is missing.")],
) -> None:
    """Write a small folder of sample posts with pictures, to try hashlens on.

    Example: `hashlens sample demo-posts`
    """
    from hashlens.indexer.sample import gather_sample

    say(f"sample posts written to {gather_sample(folder)}")


for each in app.registered_commands:
    each.cls = _Command


def main() -> None:
    """Entry point of the console command."""
    end_on_interrupt()
    prepare_streams()
    asked = [each for each in app.registered_commands if _name(each) in sys.argv[1:2]]
    # Where a command is named, the options of the others need not be made ready.
    app.registered_commands = asked or app.registered_commands
    app(prog_name="hashlens")


def _name(command: CommandInfo) -> str:
    return str(command.name or getattr(command.callback, "__name__", ""))
