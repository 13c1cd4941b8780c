"""Commands that answer: each parses, calls one plain function and prints what it returned."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hashlens.indexer.errors import CallError, HashlensError, InputError
from hashlens.indexer.text.escaping import count_noun
from hashlens.interrupts import INTERRUPTED
from hashlens.retriever.cli import options
from hashlens.retriever.cli.output import (
    SOME_REJECTED,
    print_json,
    print_table,
    say,
    warn,
    warn_bare,
)
from hashlens.retriever.cli.user_config import NAMED, UserConfig, places
from hashlens.retriever.index.default import find_index
from hashlens.retriever.index.version import program_version
from hashlens.retriever.json_format import FORMAT, MAX_CAPTION, format_answer

API_KEY = "HASHLENS_API_KEY"


@options.with_selection
def recommend(
    context: typer.Context,
    image: Annotated[Path | None, typer.Option(help="File of a picture.")] = None,
    caption: Annotated[
        str,
        typer.Option(help="A caption; hashtags in it count as seeds. `-` reads it from stdin."),
    ] = "",
    seed: options.Seeds = None,
    selection: options.SelectionArguments = options.NO_ARGUMENTS,
    index: options.ReadIndex = None,
    weights: options.Weights = None,
    check: options.Check = False,
    explain: options.Explain = False,
    as_json: options.Json = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print the hashtags alone, on one line, for pasting.")
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Also put the hashtags on the clipboard.")
    ] = False,
) -> None:
    """Recommend hashtags for a picture, a caption, seed hashtags, or any mix of these.

    Example: `hashlens recommend --image cat.jpg --caption "nap time" --platform instagram`
    """
    from hashlens.retriever.cli import clipboard
    from hashlens.retriever.cli.terminal_tables import answer_table, reasons_table
    from hashlens.retriever.query.parse import make_query
    from hashlens.retriever.recommender import Recommender

    if as_json and plain:
        raise typer.BadParameter("found --json and --plain, expected one of the two")
    if explain and plain:
        raise typer.BadParameter("found --explain and --plain, expected one of the two")
    options.check_files(weights=weights)
    if image is None:
        options.refuse_unused("is for pictures, and no --image is given", weights=weights)
    wanted = selection.to_selection(options.config_of(context))
    caption = read_stdin_caption() if caption == "-" else caption
    if not (image or caption.strip() or seed):
        raise CallError("nothing to go by: give --image, --caption or --seed, or more of them")
    query = make_query(image, caption, options.seeds_from(seed))
    index = index or find_index()
    recommender = Recommender.open(index, weights, check=check)
    answer = recommender.recommend(
        query, selection=wanted, evidence=not plain, explain=explain or as_json
    )
    for note in answer.notes:
        warn(note)
    line = " ".join(f"#{tag.display}" for tag in answer.tags)
    if as_json:
        more = {"index": str(index), "version": program_version()}
        print_json({"format": FORMAT, "id": None} | format_answer(answer, evidence=True) | more)
    elif plain:
        say(line)
    else:
        print_table(answer_table(answer))
    if explain and not as_json and not plain:
        print_table(reasons_table(answer))
    if copy:
        clipboard.copy(line)
        are = "is" if len(answer.tags) == 1 else "are"
        warn(f"{count_noun(len(answer.tags), 'hashtags')} {are} on the clipboard")
    warn(f"answered from {index}")


def read_stdin_caption() -> str:
    """Return all of stdin as a caption.

    Raises:
        CallError: stdin is closed.
        InputError: it is too long.
    """
    if sys.stdin is None:
        raise CallError("--caption -: found stdin closed, expected the caption there")
    stdin = typer.get_text_stream("stdin", encoding="utf-8", errors="replace")
    if stdin.isatty():
        warn("write the caption, and end it with Ctrl-D")
    text = str(stdin.read(MAX_CAPTION + 2))  # with the end of its last line
    if len(text) > MAX_CAPTION + 1 or len(text.rstrip("\n")) > MAX_CAPTION:
        raise InputError(
            f"--caption -: found more than {MAX_CAPTION:,} characters, expected a caption: "
            "give less, or use hashlens batch for many captions"
        )
    return text


@options.with_selection
def batch(
    context: typer.Context,
    posts: Annotated[
        Path,
        typer.Argument(
            help="Rows to answer (JSONL, CSV, Parquet), a folder of pictures, or - for stdin."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write, .jsonl or .csv, or - for JSON lines on stdout: one answer a line, "
            "in order."
        ),
    ],
    index: options.ReadIndex = None,
    selection: options.SelectionArguments = options.NO_ARGUMENTS,
    weights: options.Weights = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped run ended.")
    ] = False,
    check: options.Check = False,
) -> None:
    """Answer many queries: rows with any of id, image, caption and seeds.

    Hashtags in a row's caption are seeds, as in `recommend`. A row without an id has its number. A
    row that cannot be answered gets `error` instead of `tags`, and the others go on. Until all are
    answered, answers wait in `OUT.partial`, from which `--resume` goes on.

    Example: `hashlens batch photos --out hashtags.csv --platform instagram`
    """
    from hashlens.retriever.cli.batch_file import STDOUT, About, answers_file
    from hashlens.retriever.cli.progress_bar import progress_bar
    from hashlens.retriever.query.parse import find_queries, rows_file
    from hashlens.retriever.recommender import Recommender

    shown = "stdout" if out == STDOUT else out
    if resume and out == STDOUT:
        raise typer.BadParameter(
            "found --resume with --out -, expected a file: stdout keeps no answers to go on from"
        )
    options.check_files(weights=weights)
    wanted = selection.to_selection(options.config_of(context))
    index = index or find_index()
    recommender = Recommender.open(index, weights, check=check)
    for note in recommender.selection_notes(wanted):
        warn(note)
    about = About.of(recommender.index.manifest, wanted)
    with (
        rows_file(posts) as (source, root),
        progress_bar() as progress,
        answers_file(out, about, resume=resume) as answers,
    ):
        if answers.kept:
            warn_bare(f"{out}: {count_noun(len(answers.kept), 'answers')} taken over")
        elif resume:
            warn_bare(f"{out}: found no answers to go on from: all rows are answered")
        queries = find_queries(source, root, out)
        progress.stage("Answering", queries.count(), done=len(answers.kept))
        try:
            rows = answers.left(queries.read())
            for row_id, answer in recommender.stream(rows, selection=wanted):
                answers.write(row_id, answer)
                progress.advance()
        except KeyboardInterrupt:
            hint = "" if out == STDOUT else "; the same call with --resume goes on"
            warn(f"interrupted{hint}")
            raise typer.Exit(INTERRUPTED) from None
    if others := queries.others:
        some = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        are = "file is no picture" if len(others) == 1 else "files are no pictures"
        warn_bare(f"{posts}: {len(others):,} {are}: {some}")
    warn_bare(f"{shown}: {answers.answered:,} answered, {answers.failed:,} failed")
    warn(f"answered from {index}")
    if answers.failed:
        raise typer.Exit(SOME_REJECTED)


def serve(
    index: options.ReadIndex = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=API_KEY,
            help="Key that requests must carry, as Authorization: Bearer KEY. "
            "Other users of the machine see options, but not the environment.",
            show_default=False,
        ),
    ] = None,
    public_name: Annotated[
        list[str] | None,
        typer.Option(
            help="Host name by which a reverse proxy shows this server, such as "
            "tags.example.com; may be repeated."
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="Path below which a reverse proxy shows it, such as /tags.")
    ] = "",
    weights: options.Weights = None,
    check: options.Check = False,
) -> None:
    """Answer in the browser and over HTTP: a page at /, a JSON API documented at /docs.

    A new generation of the index is picked up while it runs. Pictures that are sent are not stored.

    Example: `hashlens serve --index my-index`
    """
    options.check_files(weights=weights)
    index = index or find_index()
    try:
        from hashlens.retriever.server.app import create_app
        from hashlens.retriever.server.app import serve as serve_app
        from hashlens.retriever.server.middleware import Rules, is_loopback
    except ModuleNotFoundError as error:
        raise HashlensError(
            f'found no {error.name}, which the page needs: pip install "hashlens[web]"'
        ) from error

    if (api_key is not None or API_KEY in os.environ) and not (api_key or "").strip():
        raise typer.BadParameter(
            f"found an empty API key in --api-key or {API_KEY}: name a key, or leave both out"
        )
    root = root_path.rstrip("/")
    if root and not (root.startswith("/") and root.isascii() and root.isprintable()):
        raise typer.BadParameter(f"--root-path: found {root_path!r}, expected one such as /tags")
    rules = Rules(host, api_key or "", public_names=tuple(public_name or ()))
    app = create_app(index, weights, rules, check=check, root_path=root)
    if not (api_key or is_loopback(host)):
        warn("anyone who reaches this address can ask; --api-key names a key")
    serve_app(app, host, port, lambda address: say(f"{index}: {address}"))


def inspect(index: options.ReadIndex = None, as_json: options.Json = False) -> None:
    """Show the contents of an index: posts, topics, hashtags, encoder and settings.

    Example: `hashlens inspect --index my-index`
    """
    from hashlens.retriever.cli.terminal_tables import plain, table
    from hashlens.retriever.summary import summarize

    index = index or find_index()
    summary = summarize(index)
    if as_json:
        print_json({"format": FORMAT, "index": str(index)} | summary)
        return
    tops = summary.pop("topics")
    print_table(table(f"{index}", ("", ""), [(name, plain(v)) for name, v in summary.items()]))
    rows = [(t["topic"], f"{t['posts']:,}", " ".join(f"#{h}" for h in t["hashtags"])) for t in tops]
    print_table(table("topics", ("topic", "posts", "most used hashtags"), rows))


def config(as_json: options.Json = False) -> None:
    """Show the file of your defaults, `hashlens.toml`, and its values.

    hashlens looks for it in the present folder, then in your configuration folder; HASHLENS_CONFIG
    names another file. Options of a command line replace its values; `--block` and `--pin` add to
    its lists. `[sets]` are your own hashtags, which `--set` puts first.

    Example: `hashlens config`
    """
    from hashlens.retriever.cli.terminal_tables import plain, table

    found = UserConfig.find()
    values: dict[str, Any] = asdict(found)
    for name, value in values.items():
        values[name] = str(value) if isinstance(value, Path) else value
        values[name] = list(value) if type(value) is tuple else values[name]
    values["sets"] = {name: list(tags) for name, tags in found.sets.items()}
    if as_json:
        print_json({"format": FORMAT} | values)
        return
    file, sets = values.pop("file"), values.pop("sets")
    if file is None:
        looked = ", ".join(str(path) for path in places())
        say(f"no file: looked for {looked}; {NAMED} is not set")
        return
    values["pin"] = [f"#{tag}" for tag in found.pin]
    rows = [(name, plain(value)) for name, value in values.items() if value not in (None, [])]
    rows += [(f"set {name}", plain([f"#{tag}" for tag in tags])) for name, tags in sets.items()]
    print_table(table(file, ("", ""), rows))
